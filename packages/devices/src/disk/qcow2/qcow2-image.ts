/**
 * A disk in a qcow2 image, version 2 or 3 (QEMU, docs/interop/qcow2.rst).
 *
 * Here are requests, in steps and under locks of clusters (`RangeLocks`): data is read and written beside each other; who
 * maps clusters anew has them for himself. `ClusterReader` and `ClusterWriter` do what a step needs. A cluster is mapped
 * only after its data has been written, and the mapping is on disk only after the data is (`Metadata.commit`): whatever
 * is killed, flushed data is there.
 */
import { type BlockBackend, type Extent, lengthOf, readOnly, sliceOf } from "../block-backend.js";
import type { ClusterCodecs } from "../cluster-codec.js";
import { DiskError } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import { Requests } from "../requests.js";
import { inParallel, RangeLocks } from "../turns.js";
import { loadMended } from "./check.js";
import { ClusterReader } from "./cluster-reader.js";
import { ClusterWriter } from "./cluster-writer.js";
import { type Qcow2Header, roundUp } from "./format.js";
import { loadHeader, Metadata } from "./metadata.js";
import { follows, isInPlace, piecesOf } from "./pieces.js";

/** Bytes of a request that are handled in one step, and reads of the file at once. */
const [STEP_BYTES, AT_ONCE] = [4 << 20, 16];

/** How an image is opened. */
export interface Qcow2Options {
  /** What reads compressed clusters; without it they fail with `E_IMAGE_UNSUPPORTED`. */
  readonly codecs?: ClusterCodecs;
  /** What is below the image; the image closes it. */
  readonly backing?: BlockBackend;
  /** Bytes of L2 tables in memory, at most. */
  readonly cacheBytes?: number;
}

/** What an image says of a range itself; `absent` is left to the disk below. */
interface OwnExtent extends Omit<Extent, "kind" | "depth"> {
  readonly kind: "data" | "zero" | "absent";
}

/** An open image. */
export class Qcow2Image implements BlockBackend {
  private closing: Promise<void> | undefined;
  private readonly requests: Requests;
  private readonly locks = new RangeLocks();
  private readonly clusterBytes: number;
  private readonly reader: ClusterReader;
  private readonly writer: ClusterWriter;

  private constructor(
    private readonly file: ImageFile,
    /** What the header says; not to be changed. */
    readonly header: Qcow2Header,
    private readonly metadata: Metadata,
    /** The disk below. */
    readonly backing: BlockBackend | undefined,
    codecs: ClusterCodecs | undefined,
  ) {
    this.clusterBytes = metadata.clusterBytes;
    this.requests = new Requests(file.name, header.size);
    this.reader = new ClusterReader(file, header, backing, codecs);
    this.writer = new ClusterWriter(file, metadata, this.reader);
  }

  /**
   * Opens an image. One that was not closed is mended first where it is opened for writing.
   * @param file it is closed with the image, and where the image can't be opened
   * @throws DiskError `E_IMAGE_…`
   */
  static async open(file: ImageFile, options: Qcow2Options = {}): Promise<Qcow2Image> {
    try {
      return await Qcow2Image.load(file, options);
    } catch (error) {
      await Promise.allSettled([file.close(), options.backing?.close()]);
      throw error;
    }
  }

  private static async load(file: ImageFile, options: Qcow2Options): Promise<Qcow2Image> {
    const header = file.isReadOnly ? await loadHeader(file) : await loadMended(file);
    const metadata = await Metadata.open(file, header, !file.isReadOnly, options.cacheBytes);
    return new Qcow2Image(file, header, metadata, options.backing, options.codecs);
  }

  get size(): number {
    return this.header.size;
  }

  get isReadOnly(): boolean {
    return this.file.isReadOnly;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.steps(offset, lengthOf(buffers), (start, length, done) => {
      const part = sliceOf(buffers, done, length);
      const [first, end] = this.clustersOf(start, length);
      return this.locks.run(first, end, false, async () => {
        const entries = await this.metadata.entries(first, end);
        const pieces = piecesOf(entries, start, length, this.clusterBytes);
        await inParallel(pieces, AT_ONCE, (piece) =>
          this.reader.read(piece.entry, piece.skip, start + piece.at, sliceOf(part, piece.at, piece.length)),
        );
      });
    });
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.change(offset, lengthOf(buffers), async (start, length, done) => {
      const part = sliceOf(buffers, done, length);
      const [first, end] = this.clustersOf(start, length);
      const isDone = await this.locks.run(first, end, false, async () => {
        const entries = await this.metadata.entries(first, end);
        if (!entries.every(isInPlace)) return false;
        await this.writer.writeInPlace(entries, start, part);
        return true;
      });
      if (!isDone) await this.locks.run(first, end, true, () => this.writer.write(first, end, start, part));
    });
  }

  async flush(): Promise<void> {
    await this.requests.run(0, 0, async () => {
      if (this.isReadOnly) return;
      if (this.metadata.isChanged) await this.metadata.turn(() => this.metadata.commit());
      else await this.file.flush();
    });
  }

  discard(offset: number, length: number): Promise<void> {
    const needsFlag = this.backing !== undefined;
    return this.change(offset, length, async (start, part) => {
      const [first, end] = this.wholeClusters(start, part);
      // Version 2 can't hide what is below, and need not.
      if (first >= end || (needsFlag && this.header.version === 2)) return;
      await this.locks.run(first, end, true, () => this.writer.unmap(first, end, needsFlag, true));
    });
  }

  writeZeroes(
    offset: number,
    length: number,
    { mayUnmap = true }: { readonly mayUnmap?: boolean } = {},
  ): Promise<void> {
    return this.change(offset, length, async (start, part) => {
      const [first, end] = this.wholeClusters(start, part);
      const canFlag = this.header.version === 3;
      if (first >= end || (!canFlag && (this.backing !== undefined || !mayUnmap))) {
        return this.writeZeroBytes(start, part);
      }
      const withFlag = canFlag && (this.backing !== undefined || !mayUnmap);
      await this.locks.run(first, end, true, () => this.writer.unmap(first, end, withFlag, mayUnmap));
      const [from, to] = [first * this.clusterBytes, Math.min(end * this.clusterBytes, this.size)];
      await this.writeZeroBytes(start, from - start);
      await this.writeZeroBytes(to, start + part - to);
    });
  }

  async extent(offset: number, length: number): Promise<Extent> {
    const { kind, ...local } = await this.ownExtent(offset, length);
    if (kind !== "absent") return { ...local, kind, depth: 0 };
    const { backing } = this;
    if (backing === undefined || offset >= backing.size) return { ...local, kind: "zero", depth: 0 };
    const below = await backing.extent(offset, Math.min(local.length, backing.size - offset));
    return { ...below, depth: below.depth + 1 };
  }

  /** What is at `offset` in this image, whatever is below, and for how far (at most `length` bytes). */
  private ownExtent(offset: number, length: number): Promise<OwnExtent> {
    return this.requests.run(offset, length, async () => {
      const first = Math.floor(offset / this.clusterBytes);
      const { perTable } = this.metadata.mapping;
      const tableEnd = (this.metadata.mapping.l1IndexOf(first) + 1) * perTable;
      const end = Math.min(Math.ceil((offset + length) / this.clusterBytes), tableEnd);
      const entries = await this.locks.run(first, end, false, () => this.metadata.entries(first, end));
      const head = entries[0]!;
      let count = 1;
      while (count < entries.length && follows(head, entries[count]!, count * this.clusterBytes)) count++;
      const skip = offset - first * this.clusterBytes;
      const extent = { length: Math.min(count * this.clusterBytes - skip, length) };
      if (head.kind === "data") return { ...extent, kind: "data", fileOffset: head.offset + skip };
      if (head.kind === "compressed") return { ...extent, kind: "data", isCompressed: true };
      return { ...extent, kind: head.kind };
    });
  }

  /**
   * Writes one cluster of the disk compressed, if it gets smaller by that.
   * @param offset start of the cluster
   * @param bytes all of it; at the disk's end as much as there is
   */
  async writeCompressed(offset: number, bytes: Uint8Array): Promise<void> {
    if (
      offset % this.clusterBytes !== 0 ||
      bytes.length !== Math.min(this.clusterBytes, this.size - offset)
    ) {
      throw new DiskError(
        "E_DISK_RANGE",
        `${this.file.name}: compressed data at ${offset} is not one cluster`,
      );
    }
    const codec = await this.reader.codec();
    const whole = new Uint8Array(this.clusterBytes);
    whole.set(bytes);
    const packed = await codec.compress(whole);
    if (packed === undefined) return this.write(offset, [bytes]);
    return this.change(offset, bytes.length, async () => {
      const cluster = offset / this.clusterBytes;
      await this.locks.run(cluster, cluster + 1, true, () => this.writer.writeCompressed(cluster, packed));
    });
  }

  close(): Promise<void> {
    this.closing ??= this.finish();
    return this.closing;
  }

  private async finish(): Promise<void> {
    await this.requests.close();
    try {
      if (!this.isReadOnly) {
        await this.metadata.turn(async () => {
          // A commit releases clusters, which the next one writes.
          while (this.metadata.isChanged) await this.metadata.commit();
        });
        await this.writer.finish();
        await this.file.flush();
      }
    } finally {
      try {
        await this.file.close();
      } finally {
        await this.backing?.close();
      }
    }
  }

  private clustersOf(offset: number, length: number): [first: number, end: number] {
    return [Math.floor(offset / this.clusterBytes), Math.ceil((offset + length) / this.clusterBytes)];
  }

  /** Clusters that lie in a range as a whole; the last of the disk may be a part. */
  private wholeClusters(offset: number, length: number): [first: number, end: number] {
    const to = offset + length === this.size ? roundUp(this.size, this.clusterBytes) : offset + length;
    return [Math.ceil(offset / this.clusterBytes), Math.floor(to / this.clusterBytes)];
  }

  private async writeZeroBytes(start: number, length: number): Promise<void> {
    if (length <= 0) return;
    const [first, end] = this.clustersOf(start, length);
    const isZero = await this.locks.run(first, end, false, async () => {
      const entries = await this.metadata.entries(first, end);
      return entries.every(
        ({ kind }) => kind === "zero" || (kind === "absent" && this.backing === undefined),
      );
    });
    if (isZero) return;
    const zeros = [new Uint8Array(length)];
    await this.locks.run(first, end, true, () => this.writer.write(first, end, start, zeros));
  }

  private async change(
    offset: number,
    length: number,
    job: (start: number, length: number, done: number) => Promise<void>,
  ): Promise<void> {
    if (this.isReadOnly) throw readOnly(this.file.name);
    return this.steps(offset, length, async (start, part, done) => {
      if (!this.metadata.isPrepared) await this.metadata.turn(() => this.metadata.prepare());
      await job(start, part, done);
    });
  }

  /** A request in steps, whose inner borders are those of clusters. */
  private steps(
    offset: number,
    length: number,
    job: (start: number, length: number, done: number) => Promise<void>,
  ): Promise<void> {
    return this.requests.run(offset, length, async () => {
      for (let done = 0; done < length; ) {
        const start = offset + done;
        const step = Math.min(length - done, STEP_BYTES - (start % STEP_BYTES));
        await job(start, step, done);
        done += step;
      }
    });
  }
}
