/**
 * ELF files (System V ABI, chapters 4 and 5): what a loader needs of them. Every offset and size is checked against
 * the file before it is used.
 */
import { ImageError } from "./errors.js";

/** A part of the program to be placed in memory. */
export interface ElfSegment {
  /** Guest-physical address. */
  readonly gpa: number;
  /** Guest-virtual address. */
  readonly va: bigint;
  readonly bytes: Uint8Array;
  /** Bytes in memory; those past `bytes` are zero. */
  readonly memoryBytes: number;
  readonly executable: boolean;
}

/** A parsed file. */
export interface ElfFile {
  readonly xlen: 32 | 64;
  readonly entry: bigint;
  readonly segments: readonly ElfSegment[];
  readonly symbols: ReadonlyMap<string, bigint>;
}

const MACHINE_RISCV = 243;
const LITTLE_ENDIAN = 1;
const LOAD = 1;
const SYMBOL_TABLE = 2;
const EXECUTABLE = 1;

/** Whether a file begins like an ELF file. */
export const isElf = (bytes: Uint8Array): boolean =>
  bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;

/**
 * Parses a RISC-V ELF file.
 * @param name what messages call the file
 * @throws ImageError if it is not one, or is damaged
 */
export function parseElf(bytes: Uint8Array, name: string): ElfFile {
  if (!isElf(bytes)) throw new ImageError("E_ELF_MALFORMED", `${name}: not an ELF file: it does not begin with \\x7fELF`);
  const reader = new ElfReader(bytes, name);
  return { xlen: reader.wide ? 64 : 32, entry: reader.entry, segments: reader.segments(), symbols: reader.symbols() };
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
    if (file.length < 52) throw this.truncated("file header", 0, 52);
    const kind = file[4];
    if (kind !== 1 && kind !== 2) throw this.malformed(`class ${kind} in byte 4 is neither 32-bit nor 64-bit`);
    if (file[5] !== LITTLE_ENDIAN) throw this.malformed("it is not little-endian");
    this.wide = kind === 2;
    if (this.wide && file.length < 64) throw this.truncated("file header", 0, 64);
    const machine = this.view.getUint16(18, true);
    if (machine !== MACHINE_RISCV) {
      throw new ImageError("E_ELF_MACHINE", `${name}: machine ${machine} is not RISC-V (243): use a RISC-V program`);
    }
    this.entry = this.word(24, "entry point");
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
      const offset = this.size(at + (wide ? 8 : 4), what);
      const fileBytes = this.size(at + (wide ? 32 : 16), what);
      const memoryBytes = this.size(at + (wide ? 40 : 20), what);
      this.need(offset, fileBytes, `segment ${index}`);
      if (memoryBytes < fileBytes) throw this.malformed(`segment ${index} is larger in the file than in memory`);
      found.push({
        va: this.word(at + (wide ? 16 : 8), what),
        gpa: this.size(at + (wide ? 24 : 12), what),
        bytes: this.file.subarray(offset, offset + fileBytes),
        memoryBytes,
        executable: (this.view.getUint32(at + (wide ? 4 : 24), true) & EXECUTABLE) !== 0,
      });
    }
    if (found.length === 0) throw this.malformed("it has nothing to load");
    return found;
  }

  symbols(): Map<string, bigint> {
    const { wide } = this;
    const symbols = new Map<string, bigint>();
    const table = this.size(wide ? 40 : 32, "section header offset");
    const entrySize = this.half(wide ? 58 : 46, "section header size");
    const count = table === 0 ? 0 : this.half(wide ? 60 : 48, "section header count");
    for (let index = 0; index < count; index++) {
      const at = table + index * entrySize;
      const what = `section header ${index}`;
      this.need(at, wide ? 64 : 40, what);
      if (this.view.getUint32(at + 4, true) !== SYMBOL_TABLE) continue;
      const strings = table + this.view.getUint32(at + (wide ? 40 : 24), true) * entrySize;
      const place = wide ? 24 : 16;
      this.need(strings, wide ? 64 : 40, "symbol string table");
      const stringsAt = this.size(strings + place, what);
      this.readSymbols(
        symbols,
        this.size(at + place, what),
        this.size(at + (wide ? 32 : 20), what),
        stringsAt,
        this.size(strings + (wide ? 32 : 20), what),
      );
    }
    return symbols;
  }

  private readSymbols(symbols: Map<string, bigint>, at: number, bytes: number, strings: number, length: number): void {
    const entry = this.wide ? 24 : 16;
    this.need(at, bytes, "symbol table");
    this.need(strings, length, "symbol string table");
    const decoder = new TextDecoder();
    for (let symbol = at; symbol + entry <= at + bytes; symbol += entry) {
      const nameAt = this.view.getUint32(symbol, true);
      if (nameAt === 0 || nameAt >= length) continue;
      const end = this.file.indexOf(0, strings + nameAt);
      const text = decoder.decode(this.file.subarray(strings + nameAt, end < 0 ? strings + length : end));
      symbols.set(text, this.word(symbol + (this.wide ? 8 : 4), "symbol"));
    }
  }

  private need(offset: number, length: number, what: string): void {
    if (offset + length > this.file.length) throw this.truncated(what, offset, length);
  }

  private truncated(what: string, offset: number, length: number): ImageError {
    return new ImageError(
      "E_ELF_TRUNCATED",
      `${this.name}: the ${what} at byte ${offset} needs ${length} bytes, the file has ${this.file.length}: it is truncated or damaged`,
    );
  }

  private malformed(why: string): ImageError {
    return new ImageError("E_ELF_MALFORMED", `${this.name}: not a usable ELF file: ${why}`);
  }
}
