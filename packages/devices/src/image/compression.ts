/** Compressed files, by the magic numbers that they begin with. */

/** A compression and the program that undoes it. */
export interface Compression {
  readonly name: string;
  /** Command that unpacks a file of this kind. */
  readonly tool: string;
}

const known: readonly (readonly [magic: readonly number[], compression: Compression])[] = [
  [[0x1f, 0x8b], { name: "gzip", tool: "gunzip" }],
  [[0xfd, 0x37, 0x7a, 0x58], { name: "xz", tool: "unxz" }],
  [[0x28, 0xb5, 0x2f, 0xfd], { name: "zstd", tool: "unzstd" }],
  [[0x04, 0x22, 0x4d, 0x18], { name: "lz4", tool: "unlz4" }],
  // The older frame, the only one that Linux unpacks.
  [[0x02, 0x21, 0x4c, 0x18], { name: "lz4", tool: "unlz4" }],
  [[0x42, 0x5a, 0x68], { name: "bzip2", tool: "bunzip2" }],
  [[0x5d, 0x00, 0x00], { name: "lzma", tool: "unlzma" }],
  [[0x89, 0x4c, 0x5a, 0x4f], { name: "lzo", tool: "lzop -d" }],
];

/** The compression of what begins at byte `at`; undefined if it is none that is known. */
export function compressionOf(bytes: Uint8Array, at = 0): Compression | undefined {
  return known.find(([magic]) => magic.every((byte, position) => bytes[at + position] === byte))?.[1];
}
