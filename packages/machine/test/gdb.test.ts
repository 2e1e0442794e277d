/** A machine under GDB: the protocol by hand, and the real debugger where there is one. */
import { execFile, spawnSync } from "node:child_process";
import { connect } from "node:net";
import type { Tier } from "@hyperfile/jit";
import { expect, it } from "vitest";
import { serveMachineGdb } from "../src/debug/node/gdb-machine.js";
import { riscvVirt } from "../src/index.js";

/** A raw client of GDB's protocol: sends packets, gives replies. */
function client(port: number) {
  const socket = connect(port, "127.0.0.1");
  let buffer = "";
  const waiting: ((reply: string) => void)[] = [];
  socket.on("data", (data) => {
    buffer += data.toString("latin1");
    for (let match = /\$([^#]*)#../.exec(buffer); match !== null; match = /\$([^#]*)#../.exec(buffer)) {
      buffer = buffer.slice(match.index + match[0].length);
      socket.write("+");
      waiting.shift()?.(match[1]!);
    }
  });
  const sum = (body: string) =>
    [...body].reduce((total, character) => (total + character.charCodeAt(0)) & 255, 0);
  return {
    ask: (body: string) =>
      new Promise<string>((resolve) => {
        waiting.push(resolve);
        socket.write(`$${body}#${sum(body).toString(16).padStart(2, "0")}`);
      }),
    close: () => socket.destroy(),
  };
}

/** addi a0, a0, 1; addi a0, a0, 2; j . - 8 */
const LOOP = [0x00150513, 0x00250513, 0xff9ff06f];

/** Runs instructions from the start of RAM, under a debugger that has to connect first. */
async function debugged(words: readonly number[], tier: Tier) {
  const code = new Uint8Array(Uint32Array.from(words).buffer);
  const machine = riscvVirt({ ramBytes: 1 << 20, boot: { code }, clock: "frozen", tier });
  const { port, close } = await serveMachineGdb(machine, 0);
  return { port, run: machine.run().finally(close) };
}

it("lets a debugger read, step, break, continue and kill", async () => {
  const { port, run } = await debugged(LOOP, "js");
  const gdb = client(port);
  expect(await gdb.ask("?")).toMatch(/^T05/);
  expect(await gdb.ask("qXfer:features:read:target.xml:0,4000")).toContain("riscv:rv64");
  expect(await gdb.ask("p20")).toBe("0000008000000000");
  expect(await gdb.ask("m80000000,4")).toBe("13051500");
  expect(await gdb.ask("s")).toMatch(/^T05/);
  expect(await gdb.ask("pa")).toBe("0100000000000000");
  expect(await gdb.ask("Z0,80000008,4")).toBe("OK");
  expect(await gdb.ask("c")).toMatch(/^T05/);
  expect(await gdb.ask("p20")).toBe("0800008000000000");
  expect(await gdb.ask("pa")).toBe("0300000000000000");
  // A second round of the loop comes back to the same breakpoint.
  expect(await gdb.ask("c")).toMatch(/^T05/);
  expect(await gdb.ask("pa")).toBe("0600000000000000");
  expect(await gdb.ask("Pa=6400000000000000")).toBe("OK");
  expect(await gdb.ask("pa")).toBe("6400000000000000");
  expect(await gdb.ask("m10,4")).toBe("E14");
  expect(await gdb.ask("vKill;1")).toBe("OK");
  expect((await run).kind).toBe("stopped");
  gdb.close();
});

const GDB = "gdb-multiarch";
const hasGdb = spawnSync(GDB, ["--version"]).status === 0;

/** Runs GDB's commands against a stub; gives what it prints. */
const gdb = (port: number, osabi: string, commands: readonly string[]) =>
  new Promise<string>((resolve, reject) => {
    const all = [
      `set osabi ${osabi}`,
      "set architecture riscv:rv64",
      `target remote 127.0.0.1:${port}`,
      ...commands,
    ];
    const args = ["-nx", "-batch", ...all.flatMap((command) => ["-ex", command])];
    execFile(GDB, args, { timeout: 60_000 }, (error, out, err) =>
      error === null ? resolve(out + err) : reject(error),
    );
  });

// For Linux GDB steps by breakpoints of its own.
it.skipIf(!hasGdb).each(["none", "GNU/Linux"])(
  "works with GDB for %s: watchpoints, CSRs, the mode, WFI and monitor",
  async (osabi) => {
    // auipc s0, 1; ld a1, 0(s0); addi a0, a0, 1; sd a0, 0(s0); wfi; j . - 12
    const words = [0x00001417, 0x00043583, 0x00150513, 0x00a43023, 0x10500073, 0xff5ff06f];
    const { port, run } = await debugged(words, "auto");
    const out = await gdb(port, osabi, [
      "p $priv",
      "p/x $mtvec",
      "set $mscratch = 0x123",
      "p/x $mscratch",
      "monitor help",
      "monitor translate 80000000",
      "watch *(long *)0x80001000",
      "continue",
      "p/x $pc",
      "delete",
      "stepi",
      "stepi",
      "p/x $pc",
      "rwatch *(long *)0x80001000",
      "set $pc = 0x80000004",
      "continue",
      "kill",
    ]);
    expect(out).toMatch(/\$1 = .*3/);
    expect(out).toContain("= 0x123");
    expect(out).toMatch(/help: this list/);
    expect(out).toContain("0x80000000 in M mode: read 0x80000000");
    expect(out).toMatch(/watchpoint \d+: \*\(long \*\)0x80001000\s+Old value = 0\s+New value = 1/);
    expect(out).toMatch(/read watchpoint \d+: \*\(long \*\)0x80001000\s+Value = 1/);
    // The store has run, and after it WFI, and the jump back.
    expect([...out.matchAll(/\$\d+ = (0x8\w+)/g)].map(([, value]) => value)).toEqual([
      "0x80000010",
      "0x80000008",
    ]);
    expect((await run).kind).toBe("stopped");
  },
  120_000,
);
