/**
 * Kernels: RISC-V Linux `Image` files (Linux documentation, arch/riscv/boot-image-header), ELF files, and either of
 * them compressed with gzip where the host can unpack it.
 */
import { type Compression, compressionOf } from "./compression.js";
import { type ElfFile, isElf, parseElf } from "./elf.js";
import { ImageError } from "./errors.js";

/** A kernel ready to be placed. */
export type Kernel =
  | { readonly kind: "elf"; readonly elf: ElfFile }
  | {
      readonly kind: "image";
      /** The file, to be placed as it is; its first byte is the entry. */
      readonly bytes: Uint8Array;
      /** Distance from the start of RAM in bytes; 0 leaves it to the loader. */
      readonly textOffset: number;
      /** Bytes that the kernel occupies in memory, file and zeroed data. */
      readonly imageBytes: number;
    };

/** What the host can do for a kernel. */
export interface KernelOptions {
  /** Unpacks a gzip file; may throw. Without it compressed kernels are refused. */
  readonly gunzip?: (bytes: Uint8Array) => Uint8Array;
}

const HEADER_BYTES = 64;
const TEXT_OFFSET = 8;
const IMAGE_SIZE = 16;
const FLAGS = 24;
const MAGIC2 = 56;
/** Offset of the PE header, in kernels with an EFI stub. */
const PE_OFFSET = 60;
/** `RSC\x05`. */
const MAGIC2_VALUE = 0x05435352;
/** `MZ`. */
const DOS_MAGIC = 0x5a4d;
/** `PE\0\0`. */
const PE_MAGIC = 0x4550;
const PE_HEADER_BYTES = 24;
const SECTION_BYTES = 40;
/** `zimg` at byte 4: an EFI program that unpacks the kernel in it. */
const ZBOOT_MAGIC = 0x676d697a;
const FLAG_BIG_ENDIAN = 1n;
const PAGE = 0x1000n;
/** Offsets and sizes are at most some gigabytes; anything else is damage. */
const LIMIT = 2n ** 32n;

/**
 * Recognises and checks a kernel.
 * @param name what messages call the file
 * @throws ImageError if it is no kernel (`E_KERNEL_UNKNOWN`), is compressed and can't be unpacked
 *   (`E_KERNEL_COMPRESSED`), or is cut short (`E_KERNEL_TRUNCATED`); for ELF files as {@link parseElf}
 */
export function parseKernel(bytes: Uint8Array, name: string, options: KernelOptions = {}): Kernel {
  const compression = compressionOf(bytes);
  return compression === undefined
    ? parsePlainKernel(bytes, name)
    : parsePlainKernel(unpack(bytes, name, compression, options), name);
}

function unpack(
  bytes: Uint8Array,
  name: string,
  { name: kind, tool }: Compression,
  { gunzip }: KernelOptions,
): Uint8Array {
  if (kind !== "gzip" || gunzip === undefined) {
    throw new ImageError(
      "E_KERNEL_COMPRESSED",
      `${name}: the kernel is compressed with ${kind}: unpack it with ${tool} first`,
    );
  }
  try {
    return gunzip(bytes);
  } catch (cause) {
    throw new ImageError(
      "E_KERNEL_COMPRESSED",
      `${name}: the kernel can't be unpacked: the gzip file is truncated or damaged, fetch it again`,
      { cause },
    );
  }
}

function parsePlainKernel(bytes: Uint8Array, name: string): Kernel {
  if (isElf(bytes)) return { kind: "elf", elf: parseElf(bytes, name) };
  if (bytes.length < HEADER_BYTES) {
    throw new ImageError(
      "E_KERNEL_TRUNCATED",
      `${name}: ${bytes.length} bytes are too few for a kernel: it is truncated, fetch it again`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint16(0, true) === DOS_MAGIC && view.getUint32(4, true) === ZBOOT_MAGIC) {
    throw new ImageError(
      "E_KERNEL_COMPRESSED",
      `${name}: the kernel is compressed inside an EFI program: use the Image that it was made from`,
    );
  }
  if (view.getUint32(MAGIC2, true) !== MAGIC2_VALUE) {
    throw new ImageError(
      "E_KERNEL_UNKNOWN",
      `${name}: neither an ELF file nor a RISC-V Linux Image (no RSC\\5 at byte ${MAGIC2}): give a kernel for riscv`,
    );
  }
  const damaged = (what: string): ImageError =>
    new ImageError("E_KERNEL_UNKNOWN", `${name}: the Image header is damaged (${what}): fetch it again`);
  const textOffset = view.getBigUint64(TEXT_OFFSET, true);
  const imageBytes = view.getBigUint64(IMAGE_SIZE, true);
  if (textOffset >= LIMIT || textOffset % PAGE !== 0n) {
    throw damaged(`text_offset 0x${textOffset.toString(16)} at byte ${TEXT_OFFSET}`);
  }
  if (imageBytes >= LIMIT || imageBytes === 0n) {
    throw damaged(`image_size 0x${imageBytes.toString(16)} at byte ${IMAGE_SIZE}`);
  }
  if ((view.getBigUint64(FLAGS, true) & FLAG_BIG_ENDIAN) !== 0n) {
    throw damaged(`flags at byte ${FLAGS} say big-endian`);
  }
  const end = fileEnd(view, bytes.length);
  if (end === undefined) throw damaged(`no PE header where byte ${PE_OFFSET} says`);
  if (bytes.length < end) {
    throw new ImageError(
      "E_KERNEL_TRUNCATED",
      `${name}: the kernel needs ${end} bytes, the file has ${bytes.length}: it is truncated, fetch it again`,
    );
  }
  return { kind: "image", bytes, textOffset: Number(textOffset), imageBytes: Number(imageBytes) };
}

/**
 * Bytes that the file must have, from the EFI stub's section table: `image_size` counts zeroed data too and says
 * nothing about the file. Without an EFI stub the header alone is known. Undefined if the stub has no PE header.
 */
function fileEnd(view: DataView, length: number): number | undefined {
  if (view.getUint16(0, true) !== DOS_MAGIC) return HEADER_BYTES;
  const portable = view.getUint32(PE_OFFSET, true);
  if (portable + PE_HEADER_BYTES > length) return portable + PE_HEADER_BYTES;
  if (view.getUint32(portable, true) !== PE_MAGIC) return undefined;
  const sections = view.getUint16(portable + 6, true);
  const table = portable + PE_HEADER_BYTES + view.getUint16(portable + 20, true);
  let end = HEADER_BYTES;
  for (let section = 0; section < sections; section++) {
    const at = table + SECTION_BYTES * section;
    if (at + SECTION_BYTES > length) return at + SECTION_BYTES;
    // PointerToRawData and SizeOfRawData.
    end = Math.max(end, view.getUint32(at + 20, true) + view.getUint32(at + 16, true));
  }
  return end;
}
