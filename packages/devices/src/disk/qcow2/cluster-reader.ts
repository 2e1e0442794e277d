/** Reads clusters of a qcow2 image wherever they are: in its file as they are or compressed, below it, or nowhere. */
import { type BlockBackend, clear, lengthOf, scatter, sliceOf } from "../block-backend.js";
import type { ClusterCodec, ClusterCodecs } from "../cluster-codec.js";
import { DiskError, damagedImage } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import type { Qcow2Header } from "./format.js";
import type { Entry } from "./mapping.js";

/** Bytes of decompressed clusters that are kept. */
const DECOMPRESSED_BYTES = 4 << 20;

/** The clusters of an open image, for reading. */
export class ClusterReader {
  private readonly decompressed = new Map<number, Promise<Uint8Array>>();
  private readonly clusterBytes: number;

  constructor(
    private readonly file: ImageFile,
    private readonly header: Qcow2Header,
    private readonly backing: BlockBackend | undefined,
    private readonly codecs: ClusterCodecs | undefined,
  ) {
    this.clusterBytes = 2 ** header.clusterBits;
  }

  /**
   * Fills `buffers`.
   * @param entry the first cluster; the others follow it, or read as the same (see {@link piecesOf})
   * @param skip byte of that cluster where the reading begins
   * @param offset the same place as a byte of the disk
   */
  async read(entry: Entry, skip: number, offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    if (entry.kind === "data") return this.file.read(entry.offset + skip, buffers);
    if (entry.kind === "zero") return clear(buffers);
    if (entry.kind === "absent") return this.readBelow(offset, buffers);
    const cluster = await this.decompress(entry);
    scatter(cluster.subarray(skip, skip + lengthOf(buffers)), buffers);
  }

  /** The codec of the image. @throws DiskError `E_IMAGE_UNSUPPORTED` without one */
  async codec(): Promise<ClusterCodec> {
    const { compression } = this.header;
    if (this.codecs !== undefined) return this.codecs(compression);
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${this.file.name}: no codec was given for clusters compressed with ${compression}`,
    );
  }

  /** Forgets the bytes of a compressed cluster: other bytes may come to its place. */
  forget(offset: number): void {
    this.decompressed.delete(offset);
  }

  private async readBelow(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    const inside = Math.max(0, Math.min(length, (this.backing?.size ?? 0) - offset));
    if (inside > 0) await this.backing!.read(offset, sliceOf(buffers, 0, inside));
    clear(sliceOf(buffers, inside, length - inside));
  }

  /** A compressed cluster's bytes; the last ones are kept. */
  private decompress({ offset, length }: Entry): Promise<Uint8Array> {
    const kept = this.decompressed.get(offset);
    if (kept !== undefined) return kept;
    const made = this.decompressNow(offset, length);
    this.decompressed.set(offset, made);
    made.catch(() => this.decompressed.delete(offset));
    const limit = Math.max(1, Math.floor(DECOMPRESSED_BYTES / this.clusterBytes));
    for (const oldest of this.decompressed.keys()) {
      if (this.decompressed.size <= limit) break;
      this.decompressed.delete(oldest);
    }
    return made;
  }

  private async decompressNow(offset: number, length: number): Promise<Uint8Array> {
    const codec = await this.codec();
    const bytes = new Uint8Array(length);
    await this.file.read(offset, [bytes]);
    try {
      return await codec.decompress(bytes, this.clusterBytes);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw damagedImage(this.file.name, "the compressed cluster", offset, `can't be decompressed (${why})`);
    }
  }
}
