/**
 * The built program with piped input, and programs of a few instructions that read it: by every way in which drivers
 * poll a UART, and through the built-in SBI. Each echoes what it reads up to a full stop, and powers off.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assemble } from "@hyperfile/decoder";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const program = fileURLToPath(new URL("../bin/hyperfile.mjs", import.meta.url));
/** A run that lasts longer is taken for a hang. */
const HANG_MILLISECONDS = 60_000;
const RAM = 0x80000000;
/** Where a kernel lies whose firmware is built in. */
const KERNEL = 0x80200000;
/** Pieces of four bytes; the end of the pipe is a control character after them. */
const TYPED = "uname -a; echo done.";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-input-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** An ELF file for RV64 of one segment. */
function elfOf(source: string, origin: number): Uint8Array {
  const { bytes } = assemble(source, { xlen: 64, origin });
  const file = new Uint8Array(120 + bytes.length);
  const view = new DataView(file.buffer);
  const words = [origin, 64, 0].map(BigInt);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  words.forEach((word, index) => {
    view.setBigUint64(24 + 8 * index, word, true);
  });
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 5, true);
  [120, origin, origin, bytes.length, bytes.length].forEach((word, index) => {
    view.setBigUint64(72 + 8 * index, BigInt(word), true);
  });
  file.set(bytes, 120);
  return file;
}

let files = 0;
/** Runs a program as a user would, with input from a pipe; gives what it printed and its status. */
async function run(option: "--elf" | "--kernel", source: string, input: string) {
  const path = join(folder, `program${files++}`);
  await writeFile(path, elfOf(source, option === "--elf" ? RAM : KERNEL));
  const child = spawn(process.execPath, [program, "run", "--no-tty", option, path, "--memory", "16M"], {
    stdio: "pipe",
    timeout: HANG_MILLISECONDS,
    killSignal: "SIGKILL",
  });
  let [output, errors] = ["", ""];
  child.stdout.on("data", (part) => (output += part));
  child.stderr.on("data", (part) => (errors += part));
  child.stdin.end(input);
  const status = await new Promise((resolve) => child.on("close", resolve));
  return { output, errors, status };
}

const powerOff = `
off:    li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
        j       .`;

/** Polls the line status, with more instructions between two looks. */
const polling = (between: string, start = ""): string => `
        li      s0, 0x10000000
        ${start}
poll:   ${between}
        lbu     t0, 5(s0)
        andi    t0, t0, 1
        beqz    t0, poll
        lbu     a0, 0(s0)
        sb      a0, 0(s0)
        li      t0, '.'
        bne     a0, t0, poll
        ${powerOff}`;

describe("a program that polls the UART gets all that is piped to it", () => {
  it.each([
    ["nothing else", ""],
    ["IER", "lbu t0, 1(s0)"],
    ["IIR", "lbu t0, 2(s0)"],
    ["LCR", "lbu t0, 3(s0)"],
    ["MCR", "lbu t0, 4(s0)"],
    ["MSR", "lbu t0, 6(s0)"],
    ["SCR", "lbu t0, 7(s0)"],
    ["writes of IER and MCR", "sb x0, 1(s0)\n li t0, 11\n sb t0, 4(s0)\n li t0, 9\n sb t0, 4(s0)"],
  ])("with %s between two looks", async (_, between) => {
    expect(await run("--elf", polling(between), TYPED)).toEqual({ output: TYPED, errors: "", status: 0 });
  });

  it("after a start that clears its FIFO and throws data away", async () => {
    const start = `
        li      t0, 0x80
        sb      t0, 3(s0)
        li      t0, 1
        sb      t0, 0(s0)
        li      t0, 3
        sb      t0, 3(s0)
        li      t0, 7
        sb      t0, 2(s0)
        lbu     t0, 5(s0)
        lbu     t0, 0(s0)
        li      t0, 1000000
wait:   addi    t0, t0, -1
        bnez    t0, wait
        lbu     t0, 5(s0)
        lbu     t0, 0(s0)`;
    expect((await run("--elf", polling("", start), TYPED)).output).toBe(TYPED);
  });
});

describe("a kernel reads what is piped to it through the built-in SBI", () => {
  it("by the legacy call", async () => {
    const source = `
poll:   li      a7, 2
        ecall
        bltz    a0, poll
        mv      s1, a0
        li      a7, 1
        ecall
        li      t0, '.'
        bne     s1, t0, poll
        li      a7, 8
        ecall
        j       .`;
    expect(await run("--kernel", source, TYPED)).toEqual({ output: TYPED, errors: "", status: 0 });
  });

  it("by the debug console", async () => {
    const source = `
        li      s0, ${KERNEL + 0x1000}
poll:   li      a7, 0x4442434e
        li      a6, 1
        li      a0, 4
        mv      a1, s0
        li      a2, 0
        ecall
        bnez    a0, off
        beqz    a1, poll
        mv      s1, a1
        li      a7, 0x4442434e
        li      a6, 0
        mv      a0, s1
        mv      a1, s0
        li      a2, 0
        ecall
        add     t0, s0, s1
        lbu     t0, -1(t0)
        li      t1, '.'
        bne     t0, t1, poll
        ${powerOff}`;
    expect(await run("--kernel", source, TYPED)).toEqual({ output: TYPED, errors: "", status: 0 });
  });

  it("and what it does not read there it finds at the UART", async () => {
    const source = `
first:  li      a7, 2
        ecall
        bltz    a0, first
        li      s0, 0x10000000
        sb      a0, 0(s0)
        ${polling("")}`;
    expect((await run("--kernel", source, TYPED)).output).toBe(TYPED);
  });
});
