/** Builds small ELF files and kernel images for tests, field by field. */

/** What of an ELF file a test chooses. */
export interface ElfParts {
  xlen?: 32 | 64;
  entry?: number;
  segments?: readonly { gpa: number; va?: bigint; bytes: Uint8Array; memoryBytes?: number; type?: number }[];
  /** Name, address, binding (1 is global) and type of each symbol. */
  symbols?: readonly { name: string; value: number; binding?: number; type?: number; section?: number }[];
}

/** An ELF file: header, program headers, content, and, if it has symbols, symbol and string tables. */
export function buildElf({ xlen = 64, entry, segments, symbols }: ElfParts = {}): Uint8Array {
  const wide = xlen === 64;
  const parts = segments ?? [{ gpa: 0x80000000, bytes: Uint8Array.of(0x13, 0, 0, 0) }];
  const headerBytes = wide ? 64 : 52;
  const programBytes = wide ? 56 : 32;
  const sectionBytes = wide ? 64 : 40;
  const symbolBytes = wide ? 24 : 16;

  const names = new TextEncoder().encode(["", ...(symbols ?? []).map(({ name }) => name), ""].join("\0"));
  const contentAt = headerBytes + programBytes * parts.length;
  const symbolsAt = parts.reduce((at, { bytes }) => at + bytes.length, contentAt);
  const namesAt = symbolsAt + symbolBytes * ((symbols?.length ?? 0) + 1);
  const sectionsAt = namesAt + names.length;
  const sections = symbols === undefined ? 0 : 3;
  const file = new Uint8Array(symbols === undefined ? symbolsAt : sectionsAt + sections * sectionBytes);
  const view = new DataView(file.buffer);
  const half = (at: number, value: number) => view.setUint16(at, value, true);
  const u32 = (at: number, value: number) => view.setUint32(at, value, true);
  const word = (at: number, value: number | bigint) =>
    wide ? view.setBigUint64(at, BigInt(value), true) : u32(at, Number(value));

  file.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  half(16, 2);
  half(18, 243);
  u32(20, 1);
  word(24, entry ?? parts[0]?.gpa ?? 0);
  word(wide ? 32 : 28, headerBytes);
  word(wide ? 40 : 32, sections === 0 ? 0 : sectionsAt);
  half(wide ? 54 : 42, programBytes);
  half(wide ? 56 : 44, parts.length);
  half(wide ? 58 : 46, sectionBytes);
  half(wide ? 60 : 48, sections);

  let content = contentAt;
  parts.forEach(({ gpa, va, bytes, memoryBytes, type }, index) => {
    const at = headerBytes + programBytes * index;
    u32(at, type ?? 1);
    u32(at + (wide ? 4 : 24), 5);
    word(at + (wide ? 8 : 4), content);
    word(at + (wide ? 16 : 8), va ?? gpa);
    word(at + (wide ? 24 : 12), gpa);
    word(at + (wide ? 32 : 16), bytes.length);
    word(at + (wide ? 40 : 20), memoryBytes ?? bytes.length);
    file.set(bytes, content);
    content += bytes.length;
  });
  if (symbols === undefined) return file;

  let nameAt = 1;
  symbols.forEach(({ name, value, binding = 1, type = 0, section = 1 }, index) => {
    const at = symbolsAt + symbolBytes * (index + 1);
    u32(at, nameAt);
    file[at + (wide ? 4 : 12)] = (binding << 4) | type;
    half(at + (wide ? 6 : 14), section);
    word(at + (wide ? 8 : 4), value);
    nameAt += name.length + 1;
  });
  file.set(names, namesAt);
  const section = (index: number, type: number, offset: number, size: number, link: number) => {
    const at = sectionsAt + sectionBytes * index;
    u32(at + 4, type);
    word(at + (wide ? 24 : 16), offset);
    word(at + (wide ? 32 : 20), size);
    u32(at + (wide ? 40 : 24), link);
  };
  section(1, 2, symbolsAt, namesAt - symbolsAt, 2);
  section(2, 3, namesAt, names.length, 0);
  return file;
}

/** What of a kernel image a test chooses. */
export interface ImageParts {
  /** Bytes of the file. */
  length?: number;
  textOffset?: bigint;
  imageSize?: bigint;
  flags?: bigint;
  /** With an EFI stub, whose section table says where the file ends. */
  efi?: boolean;
}

/** A RISC-V Linux Image: its header, zeros, and an EFI stub's PE header if asked for. */
export function buildImage(parts: ImageParts = {}): Uint8Array {
  const { length = 0x2000, textOffset = 0x200000n, imageSize = 0x3000n, flags = 0n, efi = false } = parts;
  const file = new Uint8Array(length);
  const view = new DataView(file.buffer);
  view.setUint32(0, 0x0000006f, true);
  view.setBigUint64(8, textOffset, true);
  view.setBigUint64(16, imageSize, true);
  view.setBigUint64(24, flags, true);
  view.setUint32(32, 2, true);
  file.set(new TextEncoder().encode("RISCV"), 48);
  view.setUint32(56, 0x05435352, true);
  if (!efi) return file;
  view.setUint16(0, 0x5a4d, true);
  view.setUint32(60, 64, true);
  view.setUint32(64, 0x4550, true);
  view.setUint16(64 + 6, 2, true);
  view.setUint16(64 + 20, 16, true);
  [0x1000, 0x1000].forEach((size, section) => {
    const at = 64 + 24 + 16 + 40 * section;
    view.setUint32(at + 16, size, true);
    view.setUint32(at + 20, 0x1000 * section, true);
  });
  return file;
}
