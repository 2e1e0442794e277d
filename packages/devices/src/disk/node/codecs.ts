/** Codecs of clusters in Node: deflate of its own library, off the thread that asks, and zstd in WebAssembly. */
import { promisify } from "node:util";
import { constants, deflateRaw, inflateRaw } from "node:zlib";
import type { ClusterCodec, CompressionType } from "../cluster-codec.js";
import { loadZstd } from "../zstd.js";

/** The window that readers of qcow2 have: 4 KiB. */
const WINDOW_BITS = 12;
const ZSTD_LEVEL = 3;
const FRAME_MAGIC = 0xfd2fb528;
const BLOCK_HEADER_BYTES = 3;
const CHECKSUM_BYTES = 4;

const deflate = promisify(deflateRaw);
const inflate = promisify(inflateRaw) as (
  bytes: Uint8Array,
  options: { maxOutputLength: number; finishFlush: number },
) => Promise<Uint8Array>;

const zlibCodec: ClusterCodec = {
  async compress(cluster) {
    const bytes = await deflate(cluster, { windowBits: WINDOW_BITS });
    return bytes.length < cluster.length ? bytes : undefined;
  },
  async decompress(bytes, length) {
    const cluster = await inflate(bytes, { maxOutputLength: length, finishFlush: constants.Z_SYNC_FLUSH });
    if (cluster.length !== length) throw new RangeError(`${cluster.length} bytes instead of ${length}`);
    return cluster;
  },
};

/** The codec for a compression type. */
export async function nodeCodecs(type: CompressionType): Promise<ClusterCodec> {
  if (type === "zlib") return zlibCodec;
  const zstd = await loadZstd();
  return {
    async compress(cluster) {
      const bytes = zstd.compress(cluster as Uint8Array<ArrayBuffer>, ZSTD_LEVEL);
      return bytes.length < cluster.length ? bytes : undefined;
    },
    async decompress(bytes, length) {
      const frame = bytes.subarray(0, frameLength(bytes, length));
      const cluster = zstd.decompress(frame as Uint8Array<ArrayBuffer>, { defaultHeapSize: length });
      if (cluster.length !== length) throw new RangeError(`${cluster.length} bytes instead of ${length}`);
      return cluster;
    },
  };
}

/**
 * Bytes of the zstd frame that `bytes` begin with (RFC 8878, 3.1.1).
 * @throws RangeError if it is cut off, or says that it has more than `most` bytes
 */
function frameLength(bytes: Uint8Array, most: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 6 || view.getUint32(0, true) !== FRAME_MAGIC) throw new RangeError("no zstd frame");
  const descriptor = view.getUint8(4);
  const isSingle = (descriptor >> 5) & 1;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? isSingle : 1 << sizeFlag;
  let at = 5 + (1 - isSingle) + [0, 1, 2, 4][descriptor & 3]!;
  let size = 0;
  for (let index = sizeBytes - 1; index >= 0; index--) size = size * 256 + view.getUint8(at + index);
  if (size + (sizeBytes === 2 ? 256 : 0) > most) throw new RangeError(`a zstd frame of ${size} bytes`);
  at += sizeBytes;
  for (let isLast = false; !isLast; ) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    isLast = (header & 1) === 1;
    const isRun = ((header >> 1) & 3) === 1;
    at += BLOCK_HEADER_BYTES + (isRun ? 1 : header >>> 3);
  }
  return at + ((descriptor >> 2) & 1) * CHECKSUM_BYTES;
}
