/** Programs in the sandbox: honest ones end with their status, hostile ones at a limit, and neither disturbs another. */
import { assemble } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { runSandboxed } from "./index.js";

const START = 0x80000000;
const HEADER = 64;
const SEGMENT = 56;

/** An ELF file for RV64 of a program in assembly (System V ABI: header, one loadable segment). */
function elf(source: string): Uint8Array {
  const { bytes } = assemble(source, { xlen: 64, origin: BigInt(START) });
  const file = new Uint8Array(HEADER + SEGMENT + bytes.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(START), true);
  view.setBigUint64(32, BigInt(HEADER), true);
  view.setUint16(52, HEADER, true);
  view.setUint16(54, SEGMENT, true);
  view.setUint16(56, 1, true);
  view.setUint32(HEADER, 1, true);
  view.setUint32(HEADER + 4, 7, true);
  view.setBigUint64(HEADER + 8, BigInt(HEADER + SEGMENT), true);
  view.setBigUint64(HEADER + 16, BigInt(START), true);
  view.setBigUint64(HEADER + 24, BigInt(START), true);
  view.setBigUint64(HEADER + 32, BigInt(bytes.length), true);
  view.setBigUint64(HEADER + 40, BigInt(bytes.length), true);
  file.set(bytes, HEADER + SEGMENT);
  return file;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** Prints "hi" on the UART and ends with status 7 through the test finisher. */
const polite = `
  li t0, 0x10000000
  li t1, 'h'
  sb t1, 0(t0)
  li t1, 'i'
  sb t1, 0(t0)
  li t0, 0x100000
  li t1, 0x73333
  sw t1, 0(t0)
1: j 1b
`;

describe("a program", () => {
  it("ends by itself, with its output and status", async () => {
    const result = await runSandboxed(elf(polite));
    expect(result).toMatchObject({ end: "exit", status: 7 });
    expect(text(result.output)).toBe("hi");
    expect(result.instructions).toBeLessThan(100);
    expect(result.memoryBytes).toBeLessThanOrEqual(3 * 4096);
  });

  it("may be given more time than the host's timers have", async () => {
    const spin = elf("1: addi a0, a0, 1\n j 1b\n");
    const result = await runSandboxed(spin, { milliseconds: 2 ** 40, instructions: 1e8 });
    expect(result.end).toBe("instructions");
  });

  it("that spins ends at the limit of instructions, exactly, each time", async () => {
    const spin = elf("1: addi a0, a0, 1\n j 1b\n");
    for (let repetition = 0; repetition < 2; repetition++) {
      const result = await runSandboxed(spin, { instructions: 3_000_000 });
      expect(result).toMatchObject({ end: "instructions", status: 0 });
      expect(result.instructions).toBe(3_000_000);
    }
  });

  it("that spins or sleeps for ever ends at the limit of time", async () => {
    for (const source of ["1: j 1b\n", "1: wfi\n j 1b\n"])
      expect((await runSandboxed(elf(source), { milliseconds: 50, instructions: 1e15 })).end).toBe(
        "milliseconds",
      );
  });

  it("that floods its console ends at the limit of output, which is kept to", async () => {
    const result = await runSandboxed(elf("li t0, 0x10000000\n li t1, 'x'\n1: sb t1, 0(t0)\n j 1b\n"), {
      outputBytes: 1000,
    });
    expect(result.end).toBe("output");
    expect(text(result.output)).toBe("x".repeat(1000));
  });

  it("that faults without a handler is stuck, and touching all its memory gets it no more", async () => {
    expect((await runSandboxed(elf(".word 0\n"))).end).toBe("stuck");
    const everywhere = `
      li t0, 0x80001000
      li t1, 0x80100000
      li t2, 4096
    1: sd t0, 0(t0)
      add t0, t0, t2
      bltu t0, t1, 1b
      sd t0, 0(t0)
      j 1b
    `;
    const result = await runSandboxed(elf(everywhere), { memoryBytes: 2 ** 20 });
    expect(result.end).toBe("stuck");
    expect(result.memoryBytes).toBeLessThanOrEqual(2 ** 20);
  });

  it("that resets its machine ends: nothing of it starts again", async () => {
    const source = "li t0, 0x100000\n li t1, 0x7777\n sw t1, 0(t0)\n1: j 1b\n";
    expect(await runSandboxed(elf(source))).toMatchObject({ end: "exit", status: 0 });
  });

  it("runs beside others that know nothing of it", async () => {
    const results = await Promise.all([
      runSandboxed(elf("1: j 1b\n"), { milliseconds: 100 }),
      runSandboxed(elf(polite)),
      runSandboxed(elf(".word 0\n")),
    ]);
    expect(results.map(({ end }) => end)).toEqual([
      expect.stringMatching(/milliseconds|instructions/),
      "exit",
      "stuck",
    ]);
    expect(text(results[1].output)).toBe("hi");
  });
});

it("bytes that are no program are refused", async () => {
  await expect(runSandboxed(new Uint8Array(100))).rejects.toThrow();
  await expect(runSandboxed(elf(polite), { memoryBytes: 5000 })).rejects.toThrow();
});
