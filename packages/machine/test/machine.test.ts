/** The one machine: run, paused, reset, saved, restored, cloned, limited. */
import { readFileSync } from "node:fs";
import { assemble } from "@hyperfile/decoder";
import { RAM_BASE } from "@hyperfile/devices";
import { guestIn } from "@hyperfile/jit/memory";
import { riscvPool } from "@hyperfile/jit/riscv";
import { describe, expect, it } from "vitest";
import { buildElf } from "../../devices/test/images.js";
import { type MachineEnd, type RiscvVirt, type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, zstdCodec } from "../src/snapshot/index.js";

const MEBIBYTE = 1 << 20;
const code = (source: string) => assemble(source, { xlen: 64, origin: RAM_BASE }).bytes;

/** Collects what a machine prints. */
class Terminal {
  text = "";
  onText: () => void = () => {};
  private readonly decoder = new TextDecoder();

  write(bytes: Uint8Array): void {
    this.text += this.decoder.decode(bytes, { stream: true });
    this.onText();
  }
}

/** Prints the word in `a1` and powers off with status 3. */
const HELLO = `
        la   a0, text
        li   a1, 0x10000000
1:      lbu  a2, 0(a0)
        beqz a2, 2f
        sb   a2, 0(a1)
        addi a0, a0, 1
        j    1b
2:      li   a0, 0x100000
        li   a1, 0x33333
        sw   a1, 0(a0)
        j    .
text:   .asciz "hello"
`;

/** Prints what is typed, and powers off with status 5 after a q. It stores nothing. */
const ECHO = `
        li   a1, 0x10000000
1:      lbu  a2, 5(a1)
        andi a2, a2, 1
        beqz a2, 1b
        lbu  a2, 0(a1)
        sb   a2, 0(a1)
        li   a3, 'q'
        bne  a2, a3, 1b
        li   a0, 0x100000
        li   a1, 0x53333
        sw   a1, 0(a0)
        j    .
`;

describe("a machine", () => {
  it("runs bare code to its power-off", async () => {
    const console = new Terminal();
    const machine = riscvVirt({ ramBytes: MEBIBYTE, boot: { code: code(HELLO) }, console });
    expect(await machine.run()).toEqual({ kind: "off", status: 3 });
    expect(console.text).toBe("hello");
    expect(machine.statistics()).toMatchObject({ guestInstructions: machine.retired() });
  });

  it.each([32, 64] as const)("ends as an RV%s program of Berkeley's tools tells the host", async (xlen) => {
    const store = xlen === 64 ? "sd" : "sw";
    const [tohost, fromhost] = [RAM_BASE + 0x8000, RAM_BASE + 0x8008];
    const end = (status: number) => `li a0, ${2 * status + 1}\n ${store} a0, 0(a1)\n j .\n`;
    // Characters are written by one store of 8 bytes, which RV32 has not.
    const hello = `
        li   a2, 0x0101000000000000
        la   a3, text
1:      lbu  a0, 0(a3)
        beqz a0, 3f
        or   a0, a0, a2
        sd   a0, 0(a1)
2:      ld   a0, 8(a1)
        beqz a0, 2b
        sd   zero, 8(a1)
        addi a3, a3, 1
        j    1b
text:   .asciz "hello, host"
        .balign 4
3:
`;
    const source = `li a1, ${tohost}\n ${xlen === 64 ? hello : ""} ${end(5)}`;
    const bytes = buildElf({
      xlen,
      segments: [{ gpa: RAM_BASE, bytes: assemble(source, { xlen, origin: RAM_BASE }).bytes }],
      symbols: [
        { name: "tohost", value: tohost },
        { name: "fromhost", value: fromhost },
      ],
    });
    const console = new Terminal();
    const boot = { program: { name: "told.elf", bytes } };
    const machine = riscvVirt({ ramBytes: MEBIBYTE, boot, console, instructions: 10_000_000 });
    expect(await machine.run()).toEqual({ kind: "off", status: 5 });
    expect(console.text).toBe(xlen === 64 ? "hello, host" : "");
  });

  it("runs by the automatic tier unless told otherwise", () => {
    const of = (tier?: "auto" | "js") =>
      riscvVirt({ ramBytes: MEBIBYTE, boot: { code: code("j .\n") }, ...(tier && { tier }) }).statistics();
    expect(of()).toEqual(of("auto"));
    expect(of()).not.toEqual(of("js"));
  });

  it("ends at its limit of instructions, exactly; where it is stuck it says why", async () => {
    const limited = riscvVirt({
      ramBytes: MEBIBYTE,
      boot: { code: code("1: j 1b\n") },
      instructions: 123_457,
    });
    expect(await limited.run()).toEqual({ kind: "stopped", reason: "instructions" });
    expect(limited.retired()).toBe(123_457);
    const stuck = riscvVirt({ ramBytes: MEBIBYTE, boot: { code: code(".word 0\n") } });
    const end = (await stuck.run()) as Extract<MachineEnd, { kind: "stuck" }>;
    expect(end.kind).toBe("stuck");
    expect(end.message).toMatch(/illegal instruction at 0x80000000/);
  });

  it("boots again when it is reset, or ends, as its owner wants", async () => {
    const source = "li a0, 0x100000\n li a1, 0x7777\n sw a1, 0(a0)\n j .\n";
    const ends = riscvVirt({ ramBytes: MEBIBYTE, boot: { code: code(source) }, onReset: "end" });
    expect(await ends.run()).toEqual({ kind: "off", status: 0 });
    const boots = riscvVirt({ ramBytes: MEBIBYTE, boot: { code: code(source) } });
    boots.observe(() => {
      if (boots.loop.counters.resets === 3) boots.stop("enough");
    });
    expect(await boots.run()).toEqual({ kind: "stopped", reason: "enough" });
  });

  it("that is reset where no frame is free fails alone, and boots once there are some; its neighbours go on", async () => {
    const pool = riscvPool({ frameBytes: MEBIBYTE });
    const SMALL = MEBIBYTE / 8;
    const inPool = () => guestIn(pool, { ramBytes: SMALL, ramBase: RAM_BASE });
    const boot = { code: code(ECHO) };
    const terminals = [new Terminal(), new Terminal(), new Terminal()] as const;
    const original = riscvVirt({ ramBytes: SMALL, boot, console: terminals[0], memory: inPool() });
    const beside = { ramBytes: SMALL, boot, console: terminals[1], beside: original };
    const neighbour = riscvVirt({ ...beside, memory: inPool() });
    const answers = async (machine: RiscvVirt, terminal: Terminal, letter: string) => {
      const heard = new Promise<void>((resolve) => {
        terminal.onText = () => terminal.text.endsWith(letter) && resolve();
      });
      machine.receive(new TextEncoder().encode(letter));
      await heard;
    };
    const [running, going] = [original.run(), neighbour.run()];
    await answers(original, terminals[0], "a");
    await answers(neighbour, terminals[1], "b");
    // What a clone shares is not free when the original lets go of it.
    const release = original.loop.standStill();
    const clone = original.clone({ console: terminals[2] });
    release();
    const cloned = clone.run();
    const filler = guestIn(pool, { ramBytes: 2 * MEBIBYTE, ramBase: RAM_BASE }).guest;
    let filled = 0;
    while (filler.write(RAM_BASE + filled * 4096, Uint8Array.of(1))) filled++;
    expect(filled).toBeGreaterThan(100);
    original.reset();
    await expect(running).rejects.toMatchObject({
      code: "E_BOOT",
      message: expect.stringMatching(
        /^the code of \d+ bytes does not fit at 0x80000000: .* free some of the host's$/,
      ),
    });
    await answers(clone, terminals[2], "c");
    await answers(neighbour, terminals[1], "d");
    filler.free();
    const again = original.run();
    await answers(original, terminals[0], "e");
    for (const machine of [original, clone, neighbour]) machine.receive(new TextEncoder().encode("q"));
    expect(await Promise.all([again, cloned, going])).toEqual(Array(3).fill({ kind: "off", status: 5 }));
    expect(terminals.map(({ text }) => text)).toEqual(["aeq", "bdq", "cq"]);
  });

  it("refuses what does not make a machine, in one line", () => {
    const image = { name: "k", bytes: new Uint8Array(10) };
    for (const [boot, message] of [
      [{}, "nothing to boot: give a kernel, a program or code"],
      [
        { code: code(HELLO), program: image },
        "more than one thing to boot: give a kernel, a program or code",
      ],
      [
        { code: code(HELLO), initrd: image },
        "firmware and initrd go with a kernel: give one, or leave them out",
      ],
      [{ code: new Uint8Array(5000) }, "5000 bytes of code for 4096 bytes of RAM: give it more"],
    ] as const)
      expect(() => riscvVirt({ ramBytes: 4096, boot })).toThrow(
        expect.objectContaining({ code: "E_BOOT", message }),
      );
  });

  it("announces its hart and its devices in the device tree, and takes devices of others", async () => {
    const machine = riscvVirt({ ramBytes: MEBIBYTE, boot: { code: code(HELLO) }, devices: ["entropy"] });
    expect(Object.keys(machine.board.save())).toContain("virtio0:rng");
    expect(machine.balloon).toBeUndefined();
    expect(machine.state.config).toEqual({
      xlen: 64,
      ramBytes: MEBIBYTE,
      board: "virt",
      devices: "entropy",
      time: "host",
    });
  });
});

const kernel = {
  name: "guest64.elf",
  bytes: readFileSync(new URL("../../../examples/guest/bin/guest64.elf", import.meta.url)),
};
const RAM = 16 * MEBIBYTE;

describe("the embedded guest on it", () => {
  /** Runs a machine until its console has `text`. */
  async function until(machine: RiscvVirt, terminal: Terminal, text: string): Promise<void> {
    terminal.onText = () => terminal.text.includes(text) && machine.stop("seen");
    const guard = setTimeout(() => machine.stop("too late"), 60_000);
    expect(await machine.run()).toEqual({ kind: "stopped", reason: "seen" });
    clearTimeout(guard);
  }

  it("goes on where it was saved, in another machine and in clones, each on its own console", async () => {
    const codec = await zstdCodec();
    const pool = riscvPool({ frameBytes: 64 * MEBIBYTE });
    const options = (console: Terminal): RiscvVirtOptions => ({
      ramBytes: RAM,
      boot: { kernel },
      console,
      memory: guestIn(pool, { ramBytes: RAM, ramBase: RAM_BASE }),
    });
    const terminals = [new Terminal(), new Terminal(), new Terminal()] as const;
    const original = riscvVirt(options(terminals[0]));
    await until(original, terminals[0], "guest# ");
    const bytes = Buffer.concat(encodeMachine(original.state, codec).pieces);
    const clone = original.clone({ console: terminals[1] });
    const restored = riscvVirt({ ...options(terminals[2]), beside: original });
    restoreMachine(bytes, restored.state, codec, { lazy: true });
    for (const [machine, terminal, word] of [
      [clone, terminals[1], "clone"],
      [restored, terminals[2], "restored"],
    ] as const) {
      machine.receive(new TextEncoder().encode(`echo I am ${word}\rpoweroff 7\r`));
      expect(await machine.run()).toEqual({ kind: "off", status: 7 });
      expect(terminal.text).toContain(`I am ${word}`);
      expect(terminal.text).not.toContain("WRONG");
    }
    expect(terminals[0].text).not.toContain("I am");
    for (const machine of [original, clone, restored]) machine.free();
    pool.pool.bury();
    expect(pool.pool.used).toBeLessThanOrEqual(1);
  });
});
