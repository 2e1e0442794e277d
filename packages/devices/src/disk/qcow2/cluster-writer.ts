/**
 * Writes clusters of a qcow2 image: in place where they have a place of their own, else to a new one, which the mapping
 * gets after the data has been written. Who calls has the clusters for himself (`RangeLocks`), but for writes in place,
 * which others may do beside.
 */
import { lengthOf, sliceOf } from "../block-backend.js";
import type { ImageFile } from "../image-file.js";
import { inParallel } from "../turns.js";
import type { ClusterReader } from "./cluster-reader.js";
import { roundUp } from "./format.js";
import type { Entry } from "./mapping.js";
import type { Metadata } from "./metadata.js";
import { isInPlace, piecesOf } from "./pieces.js";
import type { Table } from "./table-cache.js";

/** Writes of a file at once. */
const AT_ONCE = 16;

/** The clusters of an open image, for writing. */
export class ClusterWriter {
  private readonly clusterBytes: number;
  /** Where the next compressed cluster goes, and the end of the clusters that are taken for it. */
  private packed = { next: 0, end: 0 };

  constructor(
    private readonly file: ImageFile,
    private readonly metadata: Metadata,
    private readonly reader: ClusterReader,
  ) {
    this.clusterBytes = metadata.clusterBytes;
  }

  /** Writes clusters, all of which have a place of their own, from byte `start` of the disk. */
  async writeInPlace(entries: readonly Entry[], start: number, part: readonly Uint8Array[]): Promise<void> {
    const pieces = piecesOf(entries, start, lengthOf(part), this.clusterBytes);
    for (const { entry, skip, length } of pieces) this.metadata.checkData(entry.offset, skip + length);
    await inParallel(pieces, AT_ONCE, ({ entry, skip, length, at }) =>
      this.file.write(entry.offset + skip, sliceOf(part, at, length)),
    );
  }

  /** Writes clusters, some of which have no place of their own yet, from byte `start` of the disk. */
  async write(first: number, end: number, start: number, part: readonly Uint8Array[]): Promise<void> {
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
    if (head > 0) await this.reader.read(old[0]!, 0, start - head, [before]);
    // What lies behind the disk's end is zero.
    const inside = Math.min(tail, Math.max(0, this.metadata.header.size - start - length));
    if (inside > 0) {
      const skip = this.clusterBytes - tail;
      await this.reader.read(old.at(-1)!, skip, start + length, [after.subarray(0, inside)]);
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
    set: (table: Table, cluster: number, index: number) => boolean,
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
  async unmap(first: number, end: number, withFlag: boolean, mayUnmap: boolean): Promise<void> {
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
  }

  /** Writes the compressed bytes of a cluster. */
  async writeCompressed(cluster: number, packed: Uint8Array): Promise<void> {
    const { metadata } = this;
    const [old] = await metadata.entries(cluster, cluster + 1);
    const at = await metadata.turn(() => this.allocatePacked(packed.length));
    try {
      await this.file.write(at, [packed]);
    } catch (error) {
      await this.giveBack({ kind: "compressed", offset: at, length: packed.length, isCopied: false });
      throw error;
    }
    await metadata.turn(async () => {
      const table = await metadata.mapping.tableForWrite(metadata.mapping.l1IndexOf(cluster));
      metadata.mapping.setCompressed(table, cluster, at, packed.length);
      this.unlinked(old!);
    });
  }

  /** Before the file is closed: compressed clusters may end in the middle of a cluster, the file does not. */
  async finish(): Promise<void> {
    const end = roundUp(this.file.size, this.clusterBytes);
    if (this.packed.end > 0 && this.file.size < end) await this.file.truncate(end);
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
      this.reader.forget(entry.offset);
      // What is packed next must not share a cluster that is about to be free.
      this.packed = { next: this.packed.end, end: this.packed.end };
    }
    this.metadata.releaseEntry(entry);
  }

  /** Gives back what nothing has referred to. */
  private giveBack(entry: Entry): Promise<void> {
    return this.metadata.turn(async () => this.unlinked(entry));
  }
}
