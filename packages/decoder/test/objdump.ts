/** GNU binutils as an oracle in tests: what its disassembler prints for given instructions. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const prefixes = ["riscv64-unknown-elf-", "riscv64-linux-gnu-"];
const complete = (prefix: string) =>
  ["as", "ld", "objcopy", "objdump"].every((tool) => spawnSync(prefix + tool, ["--version"]).status === 0);

/** Prefix of the binutils that are installed, or undefined. */
export const binutils = prefixes.find(complete);
if (binutils === undefined && process.env.HYPERFILE_TEST_NO_SKIP === "1") {
  throw new Error(
    "GNU binutils for RISC-V are not installed, and HYPERFILE_TEST_NO_SKIP=1 lets no test be skipped",
  );
}

/** An instruction for {@link objdump}. */
export interface Bits {
  readonly bits: number;
  readonly length: number;
}

/** What objdump prints for consecutive instructions from address `origin`, one line each, without comments. */
export function objdump(
  instructions: readonly Bits[],
  xlen: 32 | 64,
  origin: number,
  options: readonly string[] = [],
): string[] {
  const folder = mkdtempSync(join(tmpdir(), "objdump-"));
  try {
    const [source, object, linked] = ["a.s", "a.o", "a.elf"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const isa = `rv${xlen}gc_zba_zbb_zbs_svinval`;
    const lines = instructions.map(({ bits, length }) => `.${length}byte 0x${(bits >>> 0).toString(16)}`);
    writeFileSync(source, `.globl _start\n_start:\n${lines.join("\n")}\n`);
    const abi = xlen === 64 ? "lp64d" : "ilp32d";
    execFileSync(`${binutils}as`, [`-march=${isa}`, `-mabi=${abi}`, source, "-o", object]);
    const emulation = `elf${xlen}lriscv`;
    execFileSync(`${binutils}ld`, [
      "-m",
      emulation,
      "--no-relax",
      "-Ttext",
      `0x${origin.toString(16)}`,
      object,
      "-o",
      linked,
    ]);
    // Without symbols objdump takes everything for code and prints plain addresses.
    execFileSync(`${binutils}objcopy`, ["--strip-all", linked]);
    const text = execFileSync(`${binutils}objdump`, ["-d", ...options, linked], {
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    return [...text.matchAll(/^ *[\da-f]+:\t[\da-f ]+\t(.*)$/gm)].map((match) =>
      match[1]!
        .replace(/\s+#.*$/, "")
        .replace(/ <.*>$/, "")
        .trimEnd(),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The bytes that GNU's assembler and linker make of `source`, its first byte at `origin`; nothing is relaxed. */
export function gnuAssemble(source: string, xlen: 32 | 64, origin: number): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "assemble-"));
  try {
    const file = (name: string) => join(folder, name);
    writeFileSync(file("a.s"), `.globl _start\n_start:\n${source}\n`);
    const isa = `rv${xlen}gc_zba_zbb_zbs_svinval`;
    const abi = xlen === 64 ? "lp64d" : "ilp32d";
    execFileSync(`${binutils}as`, [
      `-march=${isa}`,
      `-mabi=${abi}`,
      "-mno-relax",
      file("a.s"),
      "-o",
      file("a.o"),
    ]);
    const place = ["-m", `elf${xlen}lriscv`, "--no-relax", "-Ttext", `0x${origin.toString(16)}`];
    execFileSync(`${binutils}ld`, [...place, file("a.o"), "-o", file("a.elf")]);
    execFileSync(`${binutils}objcopy`, ["-O", "binary", "-j", ".text", file("a.elf"), file("a.bin")]);
    return new Uint8Array(readFileSync(file("a.bin")));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
