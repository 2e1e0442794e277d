import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { createMachine, disassemble, explain } from "./machine.js";
import type { MachineEnd, MachineOptions } from "./machine-types.js";

const guestFile = (xlen: number) => new URL(`../../guest/bin/guest${xlen}.elf`, import.meta.url);
const SECONDS = 60;

/** Runs a machine, typing `input` once `prompt` appears; gives what it printed and how it ended. */
async function runMachine(
  options: Partial<MachineOptions>,
  input = "",
  prompt = "guest# ",
): Promise<{ text: string; end: MachineEnd; statistics: Record<string, unknown> }> {
  let text = "";
  let pending = input;
  const machine = await createMachine({
    xlen: 64,
    memoryBytes: 16 << 20,
    append: "",
    tier: "js",
    verifyEmitted: "all",
    deterministic: false,
    ...options,
    console: {
      write(bytes) {
        text += new TextDecoder().decode(bytes);
        if (pending === "" || !text.includes(prompt)) return;
        const all = new TextEncoder().encode(pending);
        pending = "";
        expect(machine.receive(all)).toBe(all.length);
      },
    },
  });
  const limit = setTimeout(() => machine.stop("timeout"), SECONDS * 1000);
  const end = await machine.run();
  clearTimeout(limit);
  return { text, end, statistics: machine.statistics() };
}

/** A minimal ELF file of RV64 code at the start of RAM. */
function elfOf(words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(120 + 4 * words.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, 0x80000000n, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 5, true);
  view.setBigUint64(72, 120n, true);
  view.setBigUint64(80, 0x80000000n, true);
  view.setBigUint64(88, 0x80000000n, true);
  view.setBigUint64(96, BigInt(4 * words.length), true);
  view.setBigUint64(104, BigInt(4 * words.length), true);
  words.forEach((word, index) => {
    view.setInt32(120 + 4 * index, word, true);
  });
  return bytes;
}

/** lui t0, 0x100; lui t1, 0x3; addi t1, t1, 0x333; lui t2, 0x70; or t1, t1, t2; sw t1, 0(t0); j . */
const exitSeven = [0x001002b7, 0x00003337, 0x33330313, 0x000703b7, 0x00736333, 0x0062a023, 0x0000006f];

describe.each([64, 32] as const)("the embedded guest on RV%i", (xlen) => {
  it.each(["interpreter", "js"] as const)(
    "boots to its shell and passes its own checks, tier %s",
    async (tier) => {
      const kernel = { name: "guest", bytes: await readFile(guestFile(xlen)) };
      const { text, end, statistics } = await runMachine(
        { xlen, kernel, tier },
        "echo hello there\nburn 1\ntouch 256\nsmc\nfp\ndigest 1000\npoweroff 5\n",
      );
      expect(text).toContain("hello there");
      expect(text).not.toContain("WRONG");
      for (const command of ["burn", "touch", "smc", "fp"])
        expect(text).toMatch(new RegExp(`${command}.*ok`));
      expect(text).toMatch(/[0-9a-f]{64}/);
      expect(end).toEqual({ kind: "off", status: 5 });
      expect(statistics.guestInstructions).toBeGreaterThan(1_000_000);
    },
  );
});

describe("a deterministic machine", () => {
  it("ends alike after the same number of instructions in both tiers", async () => {
    const counts: unknown[] = [];
    for (const tier of ["interpreter", "js"] as const) {
      const elf = { name: "seven.elf", bytes: elfOf(exitSeven) };
      const { statistics, end } = await runMachine({ elf, tier, deterministic: true });
      counts.push([statistics.guestInstructions, end]);
    }
    expect(counts[0]).toEqual(counts[1]);
  });
});

describe("bare-metal programs", () => {
  it("end with the exit code that they give the test finisher", async () => {
    const { end } = await runMachine({ elf: { name: "seven.elf", bytes: elfOf(exitSeven) } });
    expect(end).toEqual({ kind: "exit", status: 7 });
  });

  it("are reported with cause and place where they trap without a handler", async () => {
    const { end } = await runMachine({ elf: { name: "bad.elf", bytes: elfOf([0x00000013, 0xffffffff]) } });
    expect(end.kind).toBe("error");
    expect(end.status).toBe(1);
    expect(end.message).toMatch(/illegal instruction at 0x80000004.*0xffffffff/);
  });

  it("are refused where they don't fit into memory", async () => {
    const bytes = elfOf(exitSeven);
    new DataView(bytes.buffer).setBigUint64(88, 0x10000n, true);
    await expect(runMachine({ elf: { name: "low.elf", bytes } })).rejects.toThrow(
      /linked to 0x10000, RAM begins at 0x80000000/,
    );
  });

  it("are refused where the file is truncated", async () => {
    const bytes = elfOf(exitSeven).subarray(0, 130);
    await expect(runMachine({ elf: { name: "cut.elf", bytes } })).rejects.toThrow(/cut\.elf.*truncated/);
  });
});

describe("a look at a program", () => {
  it("explains a block in all its stages", () => {
    const program = { name: "seven.elf", bytes: elfOf(exitSeven) };
    const { stages } = explain(program, { xlen: undefined, at: undefined, backend: "both" });
    const text = stages.map(({ name, lines }) => `== ${name}\n${lines.join("\n")}\n`).join("\n");
    expect(text).toMatch(
      /== assembly[\s\S]*lui t0,0x100[\s\S]*== IR[\s\S]*== optimised IR[\s\S]*== JavaScript of the region[\s\S]*== WebAssembly/,
    );
    expect(text).toContain("function r_0()");
    expect(text).toContain("st32(");
  });

  it("disassembles its code", () => {
    const lines = [...disassemble({ name: "seven.elf", bytes: elfOf(exitSeven) }, { xlen: undefined })];
    expect(lines).toHaveLength(exitSeven.length);
    expect(lines[5]).toMatch(/sw\tt1,0\(t0\)/);
  });
});

it("says which port a debugger can't be heard on", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  try {
    await expect(
      runMachine({ elf: { name: "seven.elf", bytes: elfOf(exitSeven) }, gdbPort: port }),
    ).rejects.toMatchObject({
      code: "E_GDB",
      message: `can't listen for a debugger on port ${port}: choose another with --gdb`,
    });
  } finally {
    taken.close();
  }
});
