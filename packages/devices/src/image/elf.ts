/**
 * ELF files (System V ABI, chapters 4 and 5): what a loader needs of them. Every offset and size is checked against
 * the file before it is used, and the work is bounded by the file's size whatever its headers say.
 */
import { ImageError } from "./errors.js";

/** A part of the program to be placed in memory. */
export interface ElfSegment {
  /** Guest-physical address. */
  readonly gpa: number;
  /** Guest-virtual address. */
  readonly va: bigint;
  /** What the file has of it. */
  readonly bytes: Uint8Array;
  /** Bytes in memory; those past `bytes` are zero. */
  readonly memoryBytes: number;
  readonly executable: boolean;
  /** Bytes at its front that are only the file's own headers, and zeros that fill a page. */
  readonly headerBytes: number;
}

/** A parsed file. */
export interface ElfFile {
  /** The file's class: 32 or 64. */
  readonly xlen: 32 | 64;
  /** Address of the first instruction; virtual if the program is linked at virtual addresses. */
  readonly entry: bigint;
  /** `entry` as a guest-physical address. */
  readonly entryGpa: number;
  /** What is to be loaded (PT_LOAD), in the file's order; at least one. */
  readonly segments: readonly ElfSegment[];
  /**
   * Addresses of the named symbols that the file defines, such as `tohost` and `fromhost`. Where a global and local
   * ones share a name it is the global; of local ones the last.
   */
  readonly symbols: ReadonlyMap<string, bigint>;
}

const MACHINE_RISCV = 243;
const LITTLE_ENDIAN = 1;
const LOAD = 1;
const SYMBOL_TABLE = 2;
const EXECUTABLE = 1;
const SYMBOL_SECTION = 3;
const SYMBOL_FILE = 4;
/** Longest symbol name that is kept; the ones that a machine looks up are short. */
const LONGEST_NAME = 1024;

/** Whether a file begins like an ELF file. */
export const isElf = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;

/**
 * Parses a RISC-V ELF file.
 * @param name what messages call the file
 * @throws ImageError if it is not one (`E_ELF_MALFORMED`, `E_ELF_MACHINE`), is cut short (`E_ELF_TRUNCATED`), or
 *   contradicts itself (`E_ELF_MALFORMED`)
 */
export function parseElf(bytes: Uint8Array, name: string): ElfFile {
  if (!isElf(bytes)) {
    throw new ImageError("E_ELF_MALFORMED", `${name}: not an ELF file: it does not begin with \\x7fELF`);
  }
  const reader = new ElfReader(bytes, name);
  const segments = reader.segments();
  return {
    xlen: reader.wide ? 64 : 32,
    entry: reader.entry,
    entryGpa: reader.entryGpa(segments),
    segments,
    symbols: reader.symbols(),
  };
}

class ElfReader {
  readonly wide: boolean;
  readonly entry: bigint;
  private readonly view: DataView;

  constructor(
    private readonly file: Uint8Array,
    private readonly name: string,
  ) {
    this.view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    this.need(0, 52, "file header");
    const kind = file[4];
    if (kind !== 1 && kind !== 2)
      throw this.malformed(`class ${kind} in byte 4 is neither 32-bit nor 64-bit`);
    if (file[5] !== LITTLE_ENDIAN) throw this.malformed("it is not little-endian");
    this.wide = kind === 2;
    if (this.wide) this.need(0, 64, "file header");
    const machine = this.view.getUint16(18, true);
    if (machine !== MACHINE_RISCV) {
      throw new ImageError(
        "E_ELF_MACHINE",
        `${name}: machine ${machine} in byte 18 is not RISC-V (243): use a RISC-V program`,
      );
    }
    this.entry = this.word(24, "entry point");
  }

  segments(): ElfSegment[] {
    const { wide } = this;
    const table = this.size(wide ? 32 : 28, "program header offset");
    const entrySize = this.half(wide ? 54 : 42, "program header size");
    const count = this.half(wide ? 56 : 44, "program header count");
    const least = wide ? 56 : 32;
    if (count > 0 && entrySize < least) throw this.malformed(`program headers of ${entrySize} bytes`);
    const found: ElfSegment[] = [];
    for (let index = 0; index < count; index++) {
      const at = table + index * entrySize;
      const what = `program header ${index}`;
      this.need(at, least, what);
      if (this.view.getUint32(at, true) !== LOAD) continue;
      const offset = this.size(at + (wide ? 8 : 4), `${what}, offset`);
      const fileBytes = this.size(at + (wide ? 32 : 16), `${what}, size in the file`);
      const memoryBytes = this.size(at + (wide ? 40 : 20), `${what}, size in memory`);
      const gpa = this.size(at + (wide ? 24 : 12), `${what}, physical address`);
      if (memoryBytes === 0) continue;
      this.need(offset, fileBytes, `content of segment ${index}`);
      if (memoryBytes < fileBytes) throw this.malformed(`${what}: it is larger in the file than in memory`);
      if (!Number.isSafeInteger(gpa + memoryBytes))
        throw this.malformed(`${what}: it ends beyond all memory`);
      found.push({
        va: this.word(at + (wide ? 16 : 8), what),
        gpa,
        bytes: this.file.subarray(offset, offset + fileBytes),
        memoryBytes,
        executable: (this.view.getUint32(at + (wide ? 4 : 24), true) & EXECUTABLE) !== 0,
        headerBytes: offset === 0 ? this.headersIn(fileBytes, table + count * entrySize) : 0,
      });
    }
    if (found.length === 0) throw this.malformed("it has nothing to load: link it into a program first");
    return found;
  }

  /** Of the first `length` bytes of the file those that are headers, whose tables end at `tables`, and zeros after them. */
  private headersIn(length: number, tables: number): number {
    let end = Math.max(this.wide ? 64 : 52, tables);
    while (end < length && this.file[end] === 0) end++;
    return Math.min(end, length);
  }

  /** A program linked at virtual addresses starts at the physical address of its entry. */
  entryGpa(segments: readonly ElfSegment[]): number {
    const home = segments.find(
      ({ va, memoryBytes }) => this.entry >= va && this.entry < va + BigInt(memoryBytes),
    );
    if (home !== undefined) return home.gpa + Number(this.entry - home.va);
    const physical = Number(this.entry);
    if (segments.some(({ gpa, memoryBytes }) => physical >= gpa && physical < gpa + memoryBytes))
      return physical;
    throw this.malformed(`the entry point 0x${this.entry.toString(16)} is in none of its segments`);
  }

  symbols(): Map<string, bigint> {
    const { wide } = this;
    const table = this.size(wide ? 40 : 32, "section header offset");
    const entrySize = this.half(wide ? 58 : 46, "section header size");
    const count = table === 0 ? 0 : this.half(wide ? 60 : 48, "section header count");
    const least = wide ? 64 : 40;
    if (count > 0 && entrySize < least) throw this.malformed(`section headers of ${entrySize} bytes`);
    for (let index = 0; index < count; index++) {
      const at = table + index * entrySize;
      const what = `section header ${index}`;
      this.need(at, least, what);
      if (this.view.getUint32(at + 4, true) !== SYMBOL_TABLE) continue;
      const link = this.view.getUint32(at + (wide ? 40 : 24), true);
      if (link >= count) throw this.malformed(`${what}: its names are in section ${link} of ${count}`);
      const strings = table + link * entrySize;
      this.need(strings, least, `section header ${link}`);
      // A file has one symbol table at most (chapter 4, "Sections").
      return this.readSymbols(
        this.sectionBytes(at, what),
        this.sectionBytes(strings, `section header ${link}`),
      );
    }
    return new Map();
  }

  private readSymbols(table: Uint8Array, strings: Uint8Array): Map<string, bigint> {
    const { wide } = this;
    const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
    const entry = wide ? 24 : 16;
    const symbols = new Map<string, bigint>();
    const globals = new Set<string>();
    const decoder = new TextDecoder();
    // Names may share their ends, but no file gains more by that than this.
    let allowance = 16 * this.file.length;
    for (let at = 0; at + entry <= table.length; at += entry) {
      const nameAt = view.getUint32(at, true);
      const info = table[at + (wide ? 4 : 12)]!;
      const section = view.getUint16(at + (wide ? 6 : 14), true);
      const type = info & 15;
      if (nameAt === 0 || section === 0 || type === SYMBOL_FILE || type === SYMBOL_SECTION) continue;
      if (nameAt >= strings.length) {
        throw this.malformed(`symbol ${at / entry}: its name is at byte ${nameAt} of ${strings.length}`);
      }
      const window = strings.subarray(nameAt, nameAt + LONGEST_NAME);
      const length = window.indexOf(0);
      allowance -= length < 0 ? window.length : length;
      if (allowance < 0) throw this.malformed("its symbols' names overlap each other");
      if (length < 0) continue;
      const name = decoder.decode(window.subarray(0, length));
      const global = info >> 4 !== 0;
      if (!global && globals.has(name)) continue;
      if (global) globals.add(name);
      symbols.set(name, wide ? view.getBigUint64(at + 8, true) : BigInt(view.getUint32(at + 4, true)));
    }
    return symbols;
  }

  private sectionBytes(header: number, what: string): Uint8Array {
    const offset = this.size(header + (this.wide ? 24 : 16), `${what}, offset`);
    const length = this.size(header + (this.wide ? 32 : 20), `${what}, size`);
    this.need(offset, length, `content of ${what}`);
    return this.file.subarray(offset, offset + length);
  }

  /** A word of the file's class. */
  private word(offset: number, what: string): bigint {
    this.need(offset, this.wide ? 8 : 4, what);
    return this.wide ? this.view.getBigUint64(offset, true) : BigInt(this.view.getUint32(offset, true));
  }

  /** A word that must be an exact JavaScript integer: a size, an offset or a guest-physical address. */
  private size(offset: number, what: string): number {
    const value = this.word(offset, what);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.malformed(`${what} is 0x${value.toString(16)}`);
    return Number(value);
  }

  private half(offset: number, what: string): number {
    this.need(offset, 2, what);
    return this.view.getUint16(offset, true);
  }

  private need(offset: number, length: number, what: string): void {
    if (offset + length <= this.file.length) return;
    throw new ImageError(
      "E_ELF_TRUNCATED",
      `${this.name}: the ${what} at byte ${offset} needs ${length} bytes, the file has ${this.file.length}: it is truncated or damaged, copy or build it again`,
    );
  }

  private malformed(why: string): ImageError {
    return new ImageError("E_ELF_MALFORMED", `${this.name}: not a usable ELF file: ${why}`);
  }
}
