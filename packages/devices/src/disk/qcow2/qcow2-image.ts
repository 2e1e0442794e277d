/**
 * A disk in a qcow2 image, version 2 or 3 (QEMU, docs/interop/qcow2.rst).
 *
 * Data is read and written beside each other; who maps clusters anew has them for himself (`RangeLocks`, in clusters of the
 * disk). A cluster is mapped only after its data has been written, and the mapping is on disk only after the data is
 * (`Metadata.commit`): whatever is killed, flushed data is there.
 */
import {
  type BlockBackend,
  checkRange,
  clear,
  closed,
  type Extent,
  lengthOf,
  readOnly,
  scatter,
  sliceOf,
} from "../block-backend.js";
import type { ClusterCodec, ClusterCodecs } from "../cluster-codec.js";
import { DiskError, damagedImage } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import { inParallel, RangeLocks } from "../turns.js";
import { checkQcow2 } from "./check.js";
import { INCOMPATIBLE, type Qcow2Header, roundUp } from "./format.js";
import type { Entry } from "./mapping.js";
import { L2_CACHE_BYTES, loadHeader, Metadata } from "./metadata.js";

/** Bytes of a request that are handled in one step, and reads or writes of a file at once. */
const [STEP_BYTES, AT_ONCE] = [4 << 20, 16];
/** Bytes of decompressed clusters that are kept. */
const DECOMPRESSED_BYTES = 4 << 20;

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
export interface LocalExtent {
  readonly length: number;
  readonly kind: "data" | "zero" | "absent";
  readonly fileOffset?: number;
  readonly isCompressed?: boolean;
}

/** A read or write of the file. */
interface Piece {
  readonly entry: Entry;
  /** Where it begins in its cluster, and its length. */
  readonly skip: number;
  length: number;
  /** Byte of the request. */
  readonly at: number;
}

/** An open image. */
export class Qcow2Image implements BlockBackend {
  private isClosed = false;
  private closing: Promise<void> | undefined;
  private readonly inFlight = new Set<Promise<unknown>>();
  private readonly locks = new RangeLocks();
  private readonly decompressed = new Map<number, Promise<Uint8Array>>();
  private readonly clusterBytes: number;
  /** Where the next compressed cluster goes, and the end of the clusters that are taken for it. */
  private packed = { next: 0, end: 0 };

  private constructor(
    private readonly file: ImageFile,
    /** What the header says; not to be changed. */
    readonly header: Qcow2Header,
    private readonly metadata: Metadata,
    private readonly options: Qcow2Options,
  ) {
    this.clusterBytes = 2 ** header.clusterBits;
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
    let header = await loadHeader(file);
    if (!file.isReadOnly && (header.incompatible & INCOMPATIBLE.dirty) !== 0) {
      const result = await checkQcow2(file, { repair: "all" });
      if (result.corruptions.count > 0) {
        const { structure, offset, how } = result.corruptions.first[0]!;
        throw damagedImage(file.name, structure, offset, how);
      }
      header = await loadHeader(file);
    }
    const metadata = await Metadata.open(
      file,
      header,
      !file.isReadOnly,
      options.cacheBytes ?? L2_CACHE_BYTES,
    );
    return new Qcow2Image(file, header, metadata, options);
  }

  get size(): number {
    return this.header.size;
  }

  get isReadOnly(): boolean {
    return this.file.isReadOnly;
  }

  /** The disk below. */
  get backing(): BlockBackend | undefined {
    return this.options.backing;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    return this.steps(offset, lengthOf(buffers), (start, length, done) => {
      const part = sliceOf(buffers, done, length);
      const [first, end] = this.clustersOf(start, length);
      return this.locks.run(first, end, false, async () => {
        const entries = await this.metadata.entries(first, end);
        await inParallel(this.pieces(entries, start, length), AT_ONCE, (piece) =>
          this.readPiece(piece, start + piece.at, sliceOf(part, piece.at, piece.length)),
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
        await this.writeInPlace(entries, start, part);
        return true;
      });
      if (!isDone)
        await this.locks.run(first, end, true, () => this.allocateAndWrite(first, end, start, part));
    });
  }

  async flush(): Promise<void> {
    await this.request(0, 0, async () => {
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
      if (first < end && !(needsFlag && this.header.version === 2))
        await this.unmap(first, end, needsFlag, true);
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
      await this.unmap(first, end, canFlag && (this.backing !== undefined || !mayUnmap), mayUnmap);
      const [from, to] = [first * this.clusterBytes, Math.min(end * this.clusterBytes, this.size)];
      await this.writeZeroBytes(start, from - start);
      await this.writeZeroBytes(to, start + part - to);
    });
  }

  async extent(offset: number, length: number): Promise<Extent> {
    const { kind, ...local } = await this.localExtent(offset, length);
    if (kind !== "absent") return { ...local, kind, depth: 0 };
    const { backing } = this;
    if (backing === undefined || offset >= backing.size) return { ...local, kind: "zero", depth: 0 };
    const below = await backing.extent(offset, Math.min(local.length, backing.size - offset));
    return { ...below, depth: below.depth + 1 };
  }

  /** What is at `offset` in this image, whatever is below, and for how far (at most `length` bytes). */
  async localExtent(offset: number, length: number): Promise<LocalExtent> {
    return this.request(offset, length, async () => {
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
    const codec = await this.codec();
    const whole = new Uint8Array(this.clusterBytes);
    whole.set(bytes);
    const packed = await codec.compress(whole);
    if (packed === undefined) return this.write(offset, [bytes]);
    return this.change(offset, bytes.length, async () => {
      const cluster = offset / this.clusterBytes;
      await this.locks.run(cluster, cluster + 1, true, async () => {
        const [old] = await this.metadata.entries(cluster, cluster + 1);
        const at = await this.metadata.turn(() => this.allocatePacked(packed.length));
        try {
          await this.file.write(at, [packed]);
        } catch (error) {
          await this.giveBack({ kind: "compressed", offset: at, length: packed.length, isCopied: false });
          throw error;
        }
        await this.metadata.turn(async () => {
          const table = await this.metadata.mapping.tableForWrite(this.metadata.mapping.l1IndexOf(cluster));
          this.metadata.mapping.setCompressed(table, cluster, at, packed.length);
          this.unlinked(old!);
        });
      });
    });
  }

  /** The image's metadata, for what works on it as a whole; the image must be quiet meanwhile. */
  exclusively<T>(job: (metadata: Metadata) => Promise<T>): Promise<T> {
    return this.request(0, 0, () => {
      if (this.isReadOnly) throw readOnly(this.file.name);
      return this.locks.run(0, Infinity, true, () =>
        this.metadata.turn(async () => {
          await this.metadata.prepare();
          this.decompressed.clear();
          return job(this.metadata);
        }),
      );
    });
  }

  close(): Promise<void> {
    this.isClosed = true;
    this.closing ??= this.finish();
    return this.closing;
  }

  private async finish(): Promise<void> {
    await Promise.allSettled(this.inFlight);
    try {
      if (!this.isReadOnly) {
        await this.metadata.turn(async () => {
          // A commit releases clusters, which the next one writes.
          while (this.metadata.isChanged) await this.metadata.commit();
        });
        const end = roundUp(this.file.size, this.clusterBytes);
        if (this.packed.end > 0 && this.file.size < end) await this.file.truncate(end);
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

  /** A request as reads of the file: neighbours there are one. */
  private pieces(entries: readonly Entry[], offset: number, length: number): Piece[] {
    const pieces: Piece[] = [];
    const firstSkip = offset % this.clusterBytes;
    for (let index = 0, at = 0; at < length; index++) {
      const entry = entries[index]!;
      const skip = index === 0 ? firstSkip : 0;
      const part = Math.min(this.clusterBytes - skip, length - at);
      const last = pieces.at(-1);
      if (last !== undefined && follows(last.entry, entry, last.skip + last.length)) last.length += part;
      else pieces.push({ entry, skip, length: part, at });
      at += part;
    }
    return pieces;
  }

  private async readPiece(
    { entry, skip }: Piece,
    offset: number,
    buffers: readonly Uint8Array[],
  ): Promise<void> {
    if (entry.kind === "data") return this.file.read(entry.offset + skip, buffers);
    if (entry.kind === "zero") return clear(buffers);
    if (entry.kind === "absent") return this.readBelow(offset, buffers);
    const cluster = await this.decompress(entry);
    scatter(cluster.subarray(skip, skip + lengthOf(buffers)), buffers);
  }

  private async readBelow(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    const inside = Math.max(0, Math.min(length, (this.backing?.size ?? 0) - offset));
    if (inside > 0) await this.backing!.read(offset, sliceOf(buffers, 0, inside));
    clear(sliceOf(buffers, inside, length - inside));
  }

  private async codec(): Promise<ClusterCodec> {
    const { compression } = this.header;
    if (this.options.codecs !== undefined) return this.options.codecs(compression);
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${this.file.name}: no codec was given for clusters compressed with ${compression}`,
    );
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

  /** Writes clusters that have a place of their own. */
  private async writeInPlace(
    entries: readonly Entry[],
    start: number,
    part: readonly Uint8Array[],
  ): Promise<void> {
    const pieces = this.pieces(entries, start, lengthOf(part));
    for (const { entry, skip, length } of pieces) this.metadata.checkData(entry.offset, skip + length);
    await inParallel(pieces, AT_ONCE, ({ entry, skip, length, at }) =>
      this.file.write(entry.offset + skip, sliceOf(part, at, length)),
    );
  }

  /** Writes clusters some of which have no place of their own yet. All are locked. */
  private async allocateAndWrite(
    first: number,
    end: number,
    start: number,
    part: readonly Uint8Array[],
  ): Promise<void> {
    const entries = await this.metadata.entries(first, end);
    const from = first * this.clusterBytes;
    for (let index = 0; index < entries.length; ) {
      const isInPlaceRun = isInPlace(entries[index]!);
      let next = index + 1;
      while (next < entries.length && isInPlace(entries[next]!) === isInPlaceRun) next++;
      // The part of the request that these clusters get.
      const begin = Math.max(start, from + index * this.clusterBytes);
      const stop = Math.min(start + lengthOf(part), from + next * this.clusterBytes);
      const bytes = sliceOf(part, begin - start, stop - begin);
      const run = entries.slice(index, next);
      if (isInPlaceRun) await this.writeInPlace(run, begin, bytes);
      else await this.writeNew(first + index, run, begin, bytes);
      index = next;
    }
  }

  /** Writes clusters in a row to a new place, with what the request leaves of the first and the last as it was. */
  private async writeNew(
    first: number,
    old: readonly Entry[],
    start: number,
    bytes: readonly Uint8Array[],
  ): Promise<void> {
    const length = lengthOf(bytes);
    const head = start - first * this.clusterBytes;
    const end = (first + old.length) * this.clusterBytes;
    const tail = end - start - length;
    const [before, after] = [new Uint8Array(head), new Uint8Array(tail)];
    if (head > 0) await this.readPiece(pieceOf(old[0]!, 0, head), start - head, [before]);
    // What lies behind the disk's end is zero.
    const inside = Math.min(tail, Math.max(0, this.size - start - length));
    if (inside > 0) {
      const skip = this.clusterBytes - tail;
      await this.readPiece(pieceOf(old.at(-1)!, skip, inside), start + length, [after.subarray(0, inside)]);
    }
    const place = await this.metadata.turn(() => this.metadata.refcounts.allocate(old.length));
    const offset = place * this.clusterBytes;
    try {
      await this.file.write(
        offset,
        [before, ...bytes, after].filter((each) => each.length > 0),
      );
    } catch (error) {
      for (let index = 0; index < old.length; index++) {
        await this.giveBack({
          kind: "data",
          offset: offset + index * this.clusterBytes,
          length: 0,
          isCopied: true,
        });
      }
      throw error;
    }
    await this.link(first, old, (table, cluster, index) => {
      this.metadata.mapping.setStandard(table, cluster, offset + index * this.clusterBytes, false);
      return true;
    });
  }

  /** Lets `set` change entries of clusters in a row; where it says so, what they referred to is given up. */
  private async link(
    first: number,
    old: readonly Entry[],
    set: (
      table: Awaited<ReturnType<Metadata["mapping"]["tableForWrite"]>>,
      cluster: number,
      index: number,
    ) => boolean,
  ): Promise<void> {
    const { mapping } = this.metadata;
    for (let index = 0; index < old.length; ) {
      const l1Index = mapping.l1IndexOf(first + index);
      const next = Math.min(old.length, (l1Index + 1) * mapping.perTable - first);
      await this.metadata.turn(async () => {
        const table = await mapping.tableForWrite(l1Index);
        for (; index < next; index++) if (set(table, first + index, index)) this.unlinked(old[index]!);
      });
    }
  }

  /** Lets whole clusters read as zeros, or, without the flag, as nothing. */
  private unmap(first: number, end: number, withFlag: boolean, mayUnmap: boolean): Promise<void> {
    return this.locks.run(first, end, true, async () => {
      const entries = await this.metadata.entries(first, end);
      const isSame = ({ kind, offset }: Entry) =>
        kind === (withFlag ? "zero" : "absent") && (offset === 0 || !mayUnmap);
      if (entries.every(isSame)) return;
      await this.link(first, entries, (table, cluster, index) => {
        const { kind, offset, isCopied } = entries[index]!;
        // Where the room must stay, a cluster with a place of its own keeps it.
        const keeps = withFlag && !mayUnmap && isCopied && kind !== "compressed";
        this.metadata.mapping.setStandard(table, cluster, keeps ? offset : 0, withFlag);
        return !keeps;
      });
    });
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
    await this.locks.run(first, end, true, () => this.allocateAndWrite(first, end, start, zeros));
  }

  /** Room for compressed bytes, next to the last ones if there is some. In a turn. */
  private async allocatePacked(length: number): Promise<number> {
    const { refcounts } = this.metadata;
    const { next, end } = this.packed;
    const current = Math.floor(next / this.clusterBytes);
    const hasRoom = next < end && (await refcounts.get(current)) < refcounts.most;
    if (hasRoom && next + length <= end) {
      await refcounts.add(current, 1);
      this.packed.next += length;
      return next;
    }
    const cluster = await refcounts.allocate(1);
    const start = cluster * this.clusterBytes;
    const isNext = hasRoom && start === end;
    if (isNext) await refcounts.add(current, 1);
    const at = isNext ? next : start;
    this.packed = { next: at + length, end: start + this.clusterBytes };
    return at;
  }

  /** An entry refers to this no more. */
  private unlinked(entry: Entry): void {
    if (entry.kind === "compressed") {
      this.decompressed.delete(entry.offset);
      // What is packed next must not share a cluster that is about to be free.
      this.packed = { next: this.packed.end, end: this.packed.end };
    }
    this.metadata.releaseEntry(entry);
  }

  /** Gives back what nothing has referred to. */
  private giveBack(entry: Entry): Promise<void> {
    return this.metadata.turn(async () => this.unlinked(entry));
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
    return this.request(offset, length, async () => {
      for (let done = 0; done < length; ) {
        const start = offset + done;
        const step = Math.min(length - done, STEP_BYTES - (start % STEP_BYTES));
        await job(start, step, done);
        done += step;
      }
    });
  }

  private async request<T>(offset: number, length: number, job: () => Promise<T>): Promise<T> {
    if (this.isClosed) throw closed(this.file.name);
    checkRange(this.file.name, this.size, offset, length);
    const running = job();
    this.inFlight.add(running);
    try {
      return await running;
    } finally {
      this.inFlight.delete(running);
    }
  }
}

/** Whether a cluster may be written where it is. */
const isInPlace = ({ kind, isCopied }: Entry): boolean => kind === "data" && isCopied;

/** Whether what `entry` says goes on `length` bytes after the start of `head`. */
function follows(head: Entry, entry: Entry, length: number): boolean {
  if (head.kind !== entry.kind || head.kind === "compressed") return false;
  return head.kind !== "data" || entry.offset === head.offset + length;
}

const pieceOf = (entry: Entry, skip: number, length: number): Piece => ({ entry, skip, length, at: 0 });
