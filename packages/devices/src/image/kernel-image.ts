/**
 * Kernels: raw RISC-V Linux `Image` files (Linux documentation, arch/riscv/boot-image-header), ELF files, and raw
 * binaries without a header.
 */
import { type ElfFile, isElf, parseElf } from "./elf.js";
import { ImageError } from "./errors.js";

/** A kernel ready to be placed. */
export type Kernel =
  | { readonly kind: "elf"; readonly elf: ElfFile }
  | {
      readonly kind: "image";
      readonly bytes: Uint8Array;
      /** Distance from the start of RAM. */
      readonly textOffset: number;
      /** Bytes that the kernel occupies in memory, file and zeroed data. */
      readonly imageBytes: number;
    };

const HEADER_BYTES = 64;
/** `RSC\x05` at byte 56. */
const MAGIC2 = 0x05435352;
const compressions: readonly (readonly [name: string, magic: readonly number[], tool: string])[] = [
  ["gzip", [0x1f, 0x8b], "gunzip"],
  ["xz", [0xfd, 0x37, 0x7a, 0x58], "unxz"],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd], "unzstd"],
  ["lz4", [0x04, 0x22, 0x4d, 0x18], "unlz4"],
  ["bzip2", [0x42, 0x5a, 0x68], "bunzip2"],
];

/** Name and unpacking tool of the compression that a file begins with. */
export function compressionOf(bytes: Uint8Array): { name: string; tool: string } | undefined {
  const found = compressions.find(([, magic]) => magic.every((byte, position) => bytes[position] === byte));
  return found === undefined ? undefined : { name: found[0], tool: found[2] };
}

/**
 * Recognises and checks a kernel.
 * @param name what messages call the file
 * @throws ImageError if it is no kernel, is compressed or damaged
 */
export function parseKernel(bytes: Uint8Array, name: string): Kernel {
  if (isElf(bytes)) return { kind: "elf", elf: parseElf(bytes, name) };
  const compression = compressionOf(bytes);
  if (compression !== undefined) {
    throw new ImageError(
      "E_KERNEL_COMPRESSED",
      `${name}: the kernel is compressed with ${compression.name}: unpack it with ${compression.tool} first`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES) {
    throw new ImageError("E_KERNEL_TRUNCATED", `${name}: ${bytes.length} bytes are too few for a kernel: it is truncated`);
  }
  if (view.getUint32(56, true) !== MAGIC2) {
    throw new ImageError("E_KERNEL_UNKNOWN", `${name}: neither an ELF file nor a RISC-V Linux Image (no RSC\\5 at byte 56)`);
  }
  const textOffset = view.getBigUint64(8, true);
  const imageBytes = view.getBigUint64(16, true);
  // Both are at most gigabytes; anything else is damage.
  if (textOffset >= 2n ** 32n || imageBytes >= 2n ** 32n || imageBytes === 0n) {
    throw new ImageError("E_KERNEL_UNKNOWN", `${name}: the Image header is damaged (text_offset ${textOffset}, image_size ${imageBytes})`);
  }
  const end = imageEnd(view, bytes.length);
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
 * nothing about the file. Without an EFI stub the header alone is known.
 */
function imageEnd(view: DataView, length: number): number {
  const portable = view.getUint32(60, true);
  if (view.getUint16(0, true) !== 0x5a4d || portable + 24 > length || view.getUint32(portable, true) !== 0x4550) {
    return HEADER_BYTES;
  }
  const sections = view.getUint16(portable + 6, true);
  const table = portable + 24 + view.getUint16(portable + 20, true);
  let end = HEADER_BYTES;
  for (let section = 0; section < sections; section++) {
    const at = table + 40 * section;
    if (at + 40 > length) return at + 40;
    end = Math.max(end, view.getUint32(at + 20, true) + view.getUint32(at + 16, true));
  }
  return end;
}
