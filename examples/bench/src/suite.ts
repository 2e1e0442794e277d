/**
 * The guest programs: what each is for, where its images are, how much work one does, and what it must print.
 * A program's image carries a block of parameters that begins with a magic; the number of iterations in it may
 * be overwritten, so that one image serves tests, quick runs and measurements.
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BenchError } from "./errors.js";

/** Instruction sets of ours; the i386 images exist for v86 alone. */
export type Isa = "rv64" | "rv32";
/** All instruction sets that images exist for. */
export type ImageIsa = Isa | "i386";

/** One guest program. */
export interface Program {
  /** File name of its source and images, without extension. */
  readonly name: string;
  /** What it is for, in a few words. */
  readonly about: string;
  /** Iterations that take a moment even in an interpreter: tests run these. */
  readonly testIterations: number;
  /** Checksum after that many iterations, on every machine; QEMU's word. */
  readonly testChecksum: string;
}

const program = (name: string, about: string, testIterations: number, testChecksum: string): Program => ({
  name,
  about,
  testIterations,
  testChecksum,
});

/** The suite, in the order of the tables. */
export const programs: readonly Program[] = [
  program("integer-mix", "lists, small matrices, a scanner, a CRC", 2, "aa60995c"),
  program("multiply64", "64-bit multiplication, low and high halves", 2, "9df7d7f8"),
  program("sha256", "SHA-256", 1, "b2a1cb72"),
  program("hash64", "FNV-1a and 64-bit lane hashing", 2, "27f4941f"),
  program("sort", "quicksort, heap sort, radix sort", 1, "5b28a2a5"),
  program("sieve", "prime sieve", 1, "65e7bb8e"),
  program("matrix", "integer matrices", 1, "0186eec5"),
  program("queens", "backtracking over bit sets", 2, "0051a090"),
  program("compress", "dictionary compressor and decompressor", 1, "bc3ee4ce"),
  program("strings", "copies, searches and words", 2, "16e4bd8d"),
  program("chase", "pointer chasing through 2 MiB", 1, "b8103479"),
  program("recursion", "calls and returns", 1, "19c56356"),
  program("indirect", "calls through tables of functions", 4, "d1990860"),
  program("bytecode", "a bytecode interpreter", 1, "bbfee47e"),
  program("nbody", "double precision with divisions and roots", 200, "0bf60834"),
  program("mandelbrot", "double precision, short loops", 1, "f8709748"),
  program("dgemm", "double matrices without fused multiply-add", 1, "971291a7"),
  program("dgemm-fma", "double matrices with fused multiply-add", 1, "971291a7"),
  program("raytrace", "single precision with branches", 1, "3b649fdf"),
  program("jit", "code that the guest writes and rewrites", 100, "e23c1127"),
  program("paging", "TLB misses and changing page tables", 2, "94b4cf3b"),
  program("syscall", "system calls from U-mode", 300, "f395173f"),
  program("switch", "context switches between address spaces", 50, "09c5b2a1"),
];

/** A program without work, whose run time is what starting and ending a machine costs. */
export const emptyProgram = program("empty", "no work", 1, "00000001");

/** The example's folder, from its sources and from its build alike. */
export const benchFolder = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Path of a program's image. */
export const imagePath = (name: string, isa: ImageIsa): string =>
  join(benchFolder, "guest", "bin", isa, `${name}.elf`);

/**
 * Reads a program's image.
 * @throws BenchError `E_IMAGE` when there is none
 */
export async function readImage(name: string, isa: ImageIsa): Promise<Uint8Array> {
  const path = imagePath(name, isa);
  if (!existsSync(path))
    throw new BenchError("E_IMAGE", `there is no image ${path}: run make in examples/bench/guest`);
  return new Uint8Array(await readFile(path));
}

const MAGIC = "HFBENCH\0";

function iterationsOffset(image: Uint8Array, name: string): number {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.length);
  const at = bytes.indexOf(MAGIC, 0, "latin1");
  if (at < 0 || bytes.indexOf(MAGIC, at + 1, "latin1") >= 0 || at + MAGIC.length + 4 > image.length)
    throw new BenchError(
      "E_IMAGE",
      `the image of ${name} has no parameters: run make in examples/bench/guest`,
    );
  return at + MAGIC.length;
}

const view = (image: Uint8Array) => new DataView(image.buffer, image.byteOffset, image.byteLength);

/**
 * The number of iterations that an image does.
 * @throws BenchError `E_IMAGE` for an image that is not one of the suite
 */
export function iterationsOf(image: Uint8Array, name: string): number {
  return view(image).getUint32(iterationsOffset(image, name), true);
}

/**
 * The image with another number of iterations, as a copy.
 * @throws BenchError `E_IMAGE` for an image that is not one of the suite
 */
export function withIterations(image: Uint8Array, name: string, iterations: number): Uint8Array {
  const copy = image.slice();
  view(copy).setUint32(iterationsOffset(copy, name), iterations, true);
  return copy;
}

/** What a program printed. */
export interface ProgramResult {
  readonly iterations: number;
  /** Eight hexadecimal digits. */
  readonly checksum: string;
}

/** Finds a program's result line in what its machine printed; undefined if it isn't there. */
export function parseResult(name: string, output: string): ProgramResult | undefined {
  const match = /^(\S+) iterations=(\d+) checksum=([0-9a-f]{8})\r?$/m.exec(output);
  return match?.[1] === name ? { iterations: Number(match[2]), checksum: match[3]! } : undefined;
}

/**
 * The programs that a comma-separated list names; all for an undefined one.
 * @throws BenchError `E_USAGE` for a name that is none
 */
export function selectPrograms(list: string | undefined): readonly Program[] {
  if (list === undefined) return programs;
  return list.split(",").map((name) => {
    const found = programs.find((candidate) => candidate.name === name.trim());
    if (found !== undefined) return found;
    const known = programs.map((candidate) => candidate.name).join(", ");
    throw new BenchError("E_USAGE", `there is no program ${name.trim()}; there are ${known}`);
  });
}
