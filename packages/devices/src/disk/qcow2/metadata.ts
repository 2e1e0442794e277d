/**
 * The one owner of a qcow2 image's metadata: header, refcounts, mapping. All changes go through `turn`, one after another;
 * requests read and write data beside it.
 *
 * What changes is kept in memory until `commit`, which writes in this order, each line durable before the next:
 *
 * 1. data and refcounts that rose,
 * 2. L2 tables,
 * 3. L1 entries;
 *
 * only then does it let counts fall of what nothing refers to any more. A kill between any two writes leaves the image as
 * it was at the last commit, or as it is now, and leaks at most.
 */
import { damagedImage } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import { Turns } from "../turns.js";
import { markBitmapsInUse } from "./bitmaps.js";
import { FIELD, INCOMPATIBLE, parseHeader, type Qcow2Header, roundUp, viewOf } from "./format.js";
import { ABSENT, type Entry, Mapping } from "./mapping.js";
import { MetadataMap } from "./metadata-map.js";
import { Refcounts } from "./refcounts.js";
import { readSnapshots, type Snapshot } from "./snapshot-table.js";
import type { Table } from "./table-cache.js";

/** Bytes of L2 tables that are kept in memory by default; of refcount blocks it is a quarter. */
const L2_CACHE_BYTES = 8 << 20;
/** Runs of clusters that wait for their release, at most, before a commit. */
const MOST_RELEASED = 16384;

/** Reads and checks the header of a file. */
export async function loadHeader(file: ImageFile): Promise<Qcow2Header> {
  const start = new Uint8Array(Math.min(512, file.size));
  await file.read(0, [start]);
  const bits = start.length >= 24 ? viewOf(start).getUint32(20) : 0;
  // What lies behind the first sector matters only where the sector says that it is an image.
  const bytes = new Uint8Array(bits > 9 && bits <= 21 ? Math.min(2 ** bits, file.size) : start.length);
  await file.read(0, [bytes]);
  return parseHeader(file.name, bytes, file.size);
}

/** The metadata of an open image. */
export class Metadata {
  readonly map = new MetadataMap();
  readonly refcounts: Refcounts;
  readonly mapping: Mapping;
  readonly clusterBytes: number;
  snapshots: Snapshot[] = [];
  private readonly turns = new Turns();
  /** Whether the image may be changed: see {@link prepare}. */
  isPrepared = false;

  private constructor(
    readonly file: ImageFile,
    readonly header: Qcow2Header,
    cacheBytes: number,
  ) {
    this.clusterBytes = 2 ** header.clusterBits;
    const tables = (bytes: number) => Math.max(2, Math.floor(bytes / this.clusterBytes));
    this.refcounts = new Refcounts(file, header, this.map, tables(Math.ceil(cacheBytes / 4)));
    this.mapping = new Mapping(file, header, this.refcounts, this.map, tables(cacheBytes));
  }

  /**
   * Reads the metadata of an image; with `isWritable`, checks as well that its tables don't lie on each other.
   * @throws DiskError
   */
  static async open(
    file: ImageFile,
    header: Qcow2Header,
    isWritable: boolean,
    cacheBytes: number = L2_CACHE_BYTES,
  ): Promise<Metadata> {
    const metadata = new Metadata(file, header, cacheBytes);
    await metadata.mapping.load();
    metadata.snapshots = await readSnapshots(file, header);
    if (isWritable) {
      if ((header.incompatible & INCOMPATIBLE.corrupt) !== 0) {
        throw damagedImage(
          file.name,
          "the header's corrupt bit",
          FIELD.incompatible,
          "is set: it may only be read",
        );
      }
      await metadata.refcounts.load();
      metadata.mapMetadata();
    }
    return metadata;
  }

  /** Does `job` when it is its turn: nobody else changes metadata meanwhile. */
  turn<T>(job: () => Promise<T>): Promise<T> {
    return this.turns.run(async () => {
      if (this.mapping.tables.isFull || this.refcounts.releasedCount >= MOST_RELEASED) await this.commit();
      return job();
    });
  }

  /** Where the clusters from `first` to before `end` are. */
  async entries(first: number, end: number): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (let at = first; at < end; ) {
      const index = this.mapping.l1IndexOf(at);
      const next = Math.min(end, (index + 1) * this.mapping.perTable);
      const offset = this.mapping.tableOffset(index);
      if (offset === 0) {
        for (; at < next; at++) entries.push(ABSENT);
        continue;
      }
      const table = this.mapping.tables.peek(offset) ?? (await this.loadTable(index));
      if (table !== undefined)
        for (const entry of this.mapping.entriesOf(table, at, next)) entries.push(entry);
      if (table !== undefined) at = next;
    }
    return entries;
  }

  /** Loads the table of an L1 entry; undefined if there is none by then. */
  private loadTable(index: number): Promise<Table | undefined> {
    return this.turn(async () => {
      const offset = this.mapping.tableOffset(index);
      return offset === 0 ? undefined : this.mapping.tables.get(offset);
    });
  }

  /** Before the first change: bitmaps that nobody keeps up are marked so, and unknown autoclear bits are cleared. In a turn. */
  async prepare(): Promise<void> {
    if (this.isPrepared) return;
    const { header, file } = this;
    if (header.version === 3) {
      const kept = await markBitmapsInUse(file, header);
      if (header.autoclear[0] !== kept || header.autoclear[1] !== 0) {
        header.autoclear = [kept, 0];
        const field = new Uint8Array(8);
        viewOf(field).setUint32(4, kept);
        await file.write(FIELD.autoclear, [field]);
      }
      await file.flush();
    }
    this.isPrepared = true;
  }

  /** Whether something waits for `commit`. */
  get isChanged(): boolean {
    const { mapping, refcounts } = this;
    return (
      mapping.tables.changedCount > 0 || mapping.isL1Changed || refcounts.isChanged || refcounts.hasReleased
    );
  }

  /** Makes everything durable, as said above. In a turn. */
  async commit(): Promise<void> {
    const { mapping, refcounts, file } = this;
    await refcounts.write();
    await file.flush();
    if (mapping.tables.changedCount > 0) {
      await mapping.tables.write();
      await file.flush();
    }
    if (mapping.isL1Changed) {
      await mapping.writeL1();
      await file.flush();
    }
    await refcounts.release();
  }

  /** A cluster of data is never one of metadata, whatever the tables say. */
  checkData(offset: number, length = this.clusterBytes): void {
    const last = Math.floor((offset + length - 1) / this.clusterBytes);
    for (let cluster = Math.floor(offset / this.clusterBytes); cluster <= last; cluster++) {
      if (!this.map.has(cluster)) continue;
      throw damagedImage(
        this.file.name,
        "the cluster",
        cluster * this.clusterBytes,
        "is metadata, but an L2 entry uses it for data",
      );
    }
  }

  /** Gives up what an entry refers to, once nothing on disk does. In a turn. */
  releaseEntry({ kind, offset, length }: Entry): void {
    if (offset === 0) return;
    const first = Math.floor(offset / this.clusterBytes);
    const last = kind === "compressed" ? Math.floor((offset + length - 1) / this.clusterBytes) : first;
    this.refcounts.releaseLater(first, last - first + 1);
  }

  /** Clusters that a table of `length` bytes takes. */
  clustersOf(length: number): number {
    return Math.ceil(length / this.clusterBytes);
  }

  /** Notes where all metadata is. @throws DiskError where two tables are in one place */
  private mapMetadata(): void {
    const { header, clusterBytes, mapping, refcounts } = this;
    const regions: { readonly name: string; readonly offset: number; readonly bytes: number }[] = [
      { name: "header", offset: 0, bytes: clusterBytes },
      { name: "L1 table", offset: header.l1Offset, bytes: header.l1Entries * 8 },
      {
        name: "refcount table",
        offset: header.refcountTableOffset,
        bytes: header.refcountTableClusters * clusterBytes,
      },
      {
        name: "snapshot table",
        offset: header.snapshotsOffset,
        bytes: header.snapshotCount === 0 ? 0 : this.snapshotTableBytes,
      },
    ];
    const tables = mapping.tableOffsets();
    const blocks = refcounts.blockOffsets();
    let total = tables.length + blocks.length;
    for (const { bytes } of regions) total += this.clustersOf(bytes);
    const clusters = new Float64Array(total);
    let count = 0;
    for (const { offset, bytes } of regions) {
      for (let each = 0; each < this.clustersOf(bytes); each++)
        clusters[count++] = offset / clusterBytes + each;
    }
    for (const offset of tables) clusters[count++] = offset / clusterBytes;
    for (const offset of blocks) {
      if (offset % clusterBytes !== 0 || offset >= roundUp(this.file.size, clusterBytes)) {
        throw damagedImage(
          this.file.name,
          "a refcount block",
          offset,
          "is outside the file, or not at the start of a cluster",
        );
      }
      clusters[count++] = offset / clusterBytes;
    }
    this.map.start(clusters);
    const twice = clusters.findIndex((cluster, index) => index > 0 && cluster === clusters[index - 1]);
    if (twice !== -1) {
      throw damagedImage(
        this.file.name,
        "the cluster",
        clusters[twice]! * clusterBytes,
        "is used by two tables at once",
      );
    }
    // Tables of snapshots may be shared between them.
    for (const { l1Offset, l1Entries } of this.snapshots) {
      if (l1Entries > 0) this.map.add(l1Offset / clusterBytes, this.clustersOf(l1Entries * 8));
    }
  }

  /** Bytes of the snapshot table. */
  get snapshotTableBytes(): number {
    return this.snapshots.reduce((sum, { entryBytes }) => sum + entryBytes, 0);
  }
}
