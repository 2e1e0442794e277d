/**
 * Compression of snapshot sections: zstd frames (RFC 8878), by the reference library in WebAssembly, or none.
 *
 * A frame says how long its content is, and whoever decompresses believes it and reserves that much. So the length
 * is checked against the snapshot's directory first: a crafted file can't make the host allocate gigabytes.
 */

/** Compresses and decompresses whole sections. */
export interface SnapshotCodec {
  compress(bytes: Uint8Array): Uint8Array;
  /**
   * The original of `bytes`, `length` bytes long.
   * @throws Error if it is anything else
   */
  decompress(bytes: Uint8Array, length: number): Uint8Array;
}

/** Fast, and little is gained above: pages of memory compress well or not at all. */
const LEVEL = 1;
const FRAME_MAGIC = 0xfd2fb528;

/** Loads the codec; once for all that ask. What has it has all formats of disks: a machine without a snapshot starts faster. */
export async function zstdCodec(): Promise<SnapshotCodec> {
  const { loadZstd } = await import("@hyperfile/devices/disk");
  const zstd = await loadZstd();
  return {
    compress: (bytes) => zstd.compress(bytes as Uint8Array<ArrayBuffer>, LEVEL),
    decompress(bytes, length) {
      if (frameContentSize(bytes) !== length) throw new RangeError("the frame has another length");
      const original = zstd.decompress(bytes as Uint8Array<ArrayBuffer>);
      if (original.length !== length) throw new RangeError("the frame has another length");
      return original;
    },
  };
}

/** Length of a frame's content as its header says (RFC 8878, 3.1.1.1); -1 if it does not. */
export function frameContentSize(frame: Uint8Array): number {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length < 6 || view.getUint32(0, true) !== FRAME_MAGIC) return -1;
  const descriptor = view.getUint8(4);
  const flag = descriptor >> 6;
  const single = (descriptor >> 5) & 1;
  const dictionary = [0, 1, 2, 4][descriptor & 3]!;
  const bytes = flag === 0 ? single : 1 << flag;
  const at = 5 + (1 - single) + dictionary;
  if (bytes === 0 || frame.length < at + bytes) return -1;
  switch (bytes) {
    case 1:
      return view.getUint8(at);
    case 2:
      return view.getUint16(at, true) + 256;
    case 4:
      return view.getUint32(at, true);
    default:
      return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  }
}
