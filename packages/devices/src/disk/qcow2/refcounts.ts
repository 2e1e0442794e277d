/**
 * Refcounts of host clusters, and their allocation (QEMU, docs/interop/qcow2.rst, "Host cluster management").
 *
 * All methods are called by the one owner of an image's metadata, one after another.
 *
 * Order of writes: a count that rises is on disk before anything refers to the cluster; a count that falls does so only
 * after what referred to the cluster is gone from the disk (`releaseLater` until then). So a kill leaves leaks at most.
 * A new refcount block is on disk before the table refers to it, a new table before the header does.
 */
import { beyondLimit, DiskError, damagedImage, hex } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import {
  FIELD,
  type Qcow2Header,
  REFCOUNT_TABLE_LIMIT,
  readU64,
  roundUp,
  viewOf,
  writeU64,
} from "./format.js";
import type { MetadataMap } from "./metadata-map.js";
import { type Table, TableCache } from "./table-cache.js";

/** Entries of the refcount table that are written at once: those of a sector. */
const PER_SECTOR = 64;

/** Clusters in a row. */
interface Run {
  readonly cluster: number;
  readonly count: number;
}

/** Reads a refcount of `1 << order` bits. */
export function readRefcount(view: DataView, order: number, index: number): number {
  switch (order) {
    case 3:
      return view.getUint8(index);
    case 4:
      return view.getUint16(index * 2);
    case 5:
      return view.getUint32(index * 4);
    case 6:
      return readU64(view, index * 8);
    default: {
      const bits = 1 << order;
      const at = index * bits;
      return (view.getUint8(at >> 3) >> (at & 7)) & ((1 << bits) - 1);
    }
  }
}

function writeRefcount(view: DataView, order: number, index: number, value: number): void {
  switch (order) {
    case 3:
      return view.setUint8(index, value);
    case 4:
      return view.setUint16(index * 2, value);
    case 5:
      return view.setUint32(index * 4, value);
    case 6:
      return writeU64(view, index * 8, value);
    default: {
      const bits = 1 << order;
      const at = index * bits;
      const mask = ((1 << bits) - 1) << (at & 7);
      view.setUint8(at >> 3, (view.getUint8(at >> 3) & ~mask) | (value << (at & 7)));
    }
  }
}

/** The refcounts of an image. */
export class Refcounts {
  /** Offsets of the blocks; 0 where there is none. */
  private table = new Float64Array();
  private readonly blocks: TableCache;
  /** Entries of the table that have changed; all of them where the table has moved. */
  private changedEntries = new Set<number>();
  private movedFrom: { readonly offset: number; readonly clusters: number } | undefined;
  private hasNewBlocks = false;
  /** No cluster below has the count 0. */
  private firstFree = 0;
  private released: Run[] = [];
  private readonly clusterBytes: number;
  private readonly perBlock: number;
  /** The largest count. */
  readonly most: number;

  constructor(
    private readonly file: ImageFile,
    private readonly header: Qcow2Header,
    private readonly metadata: MetadataMap,
    cacheTables: number,
  ) {
    this.clusterBytes = 2 ** header.clusterBits;
    this.perBlock = (this.clusterBytes * 8) / 2 ** header.refcountOrder;
    this.most = Math.min(2 ** (2 ** header.refcountOrder) - 1, Number.MAX_SAFE_INTEGER);
    this.blocks = new TableCache(file, this.clusterBytes, cacheTables);
  }

  /** Reads the refcount table. @throws DiskError `E_IMAGE_DAMAGED` */
  async load(): Promise<void> {
    const bytes = new Uint8Array(this.header.refcountTableClusters * this.clusterBytes);
    await this.file.read(this.header.refcountTableOffset, [bytes]);
    const view = viewOf(bytes);
    this.table = new Float64Array(bytes.length / 8);
    for (let index = 0; index < this.table.length; index++) this.table[index] = readU64(view, index * 8);
    this.firstFree = 0;
  }

  /** Offsets of all refcount blocks, in the order of the clusters that they count. */
  blockOffsets(): Float64Array {
    return this.table.filter((offset) => offset !== 0);
  }

  /** The refcount of a cluster. */
  async get(cluster: number): Promise<number> {
    const index = Math.floor(cluster / this.perBlock);
    if ((this.table[index] ?? 0) === 0) return 0;
    return readRefcount((await this.block(index)).view, this.header.refcountOrder, cluster % this.perBlock);
  }

  /** Adds to a refcount. @throws DiskError where the sum is none */
  async add(cluster: number, change: number): Promise<void> {
    const count = (await this.get(cluster)) + change;
    if (count > this.most) {
      throw new DiskError(
        "E_IMAGE_LIMIT",
        `${this.file.name}: cluster ${hex(cluster * this.clusterBytes)} has as many references as ` +
          `${2 ** this.header.refcountOrder} refcount bits can count; use an image with more`,
      );
    }
    if (count < 0) {
      throw damagedImage(
        this.file.name,
        "the refcount of the cluster",
        cluster * this.clusterBytes,
        "is lower than its references",
      );
    }
    await this.set(cluster, count);
  }

  /** Sets a refcount. */
  async set(cluster: number, count: number): Promise<void> {
    const index = Math.floor(cluster / this.perBlock);
    if ((this.table[index] ?? 0) === 0) {
      throw damagedImage(
        this.file.name,
        "the cluster",
        cluster * this.clusterBytes,
        "is counted by no refcount block",
      );
    }
    const table = await this.block(index);
    const entry = cluster % this.perBlock;
    writeRefcount(table.view, this.header.refcountOrder, entry, count);
    const bits = 2 ** this.header.refcountOrder;
    this.blocks.mark(table, Math.floor((entry * bits) / 8), Math.max(1, bits / 8));
    if (count === 0) this.firstFree = Math.min(this.firstFree, cluster);
  }

  /** Takes clusters in a row, with the refcount 1 each; gives the first one's number. */
  async allocate(count: number): Promise<number> {
    for (;;) {
      const start = await this.findFree(count);
      if (await this.coverRun(start, count)) continue;
      for (let cluster = start; cluster < start + count; cluster++) await this.set(cluster, 1);
      if (start === this.firstFree) this.firstFree = start + count;
      return start;
    }
  }

  /**
   * Makes the block that counts `cluster`, which no block does. Clusters in use that are not counted yet are in the
   * map of metadata, so that it does not land on one.
   */
  async restoreBlock(cluster: number): Promise<void> {
    const index = Math.floor(cluster / this.perBlock);
    if (index >= this.table.length) await this.growTable(index, 1);
    if (this.table[index] !== 0) return;
    let place = index * this.perBlock;
    while (place < (index + 1) * this.perBlock && this.metadata.has(place)) place++;
    if (place === (index + 1) * this.perBlock) place = await this.allocate(1);
    if (this.table[index] === 0) this.addBlock(index, place);
  }

  /** Whether a block counts the cluster. */
  isCounted(cluster: number): boolean {
    return (this.table[Math.floor(cluster / this.perBlock)] ?? 0) !== 0;
  }

  /** Gives up one reference each of clusters in a row, once nothing on disk refers to them any more. */
  releaseLater(cluster: number, count = 1): void {
    this.released.push({ cluster, count });
  }

  /** Whether something waits to be released. */
  get hasReleased(): boolean {
    return this.released.length > 0;
  }

  /** Runs that wait to be released. */
  get releasedCount(): number {
    return this.released.length;
  }

  /** Releases what waits: nothing on disk refers to it now. */
  async release(): Promise<void> {
    while (this.released.length > 0) {
      const { cluster, count } = this.released.pop()!;
      if (count > 1) this.released.push({ cluster: cluster + 1, count: count - 1 });
      await this.add(cluster, -1);
    }
  }

  /** Whether counts wait to be written. */
  get isChanged(): boolean {
    return this.blocks.changedCount > 0 || this.changedEntries.size > 0 || this.movedFrom !== undefined;
  }

  /** Writes the counts; they are durable after the file's next flush. */
  async write(): Promise<void> {
    await this.blocks.write();
    if (this.hasNewBlocks || this.movedFrom !== undefined) await this.file.flush();
    this.hasNewBlocks = false;
    if (this.movedFrom !== undefined) await this.writeMovedTable();
    // A block may be counted by one that is as new and stands before it: a sector is written as a whole or not at all.
    const sectors = new Set([...this.changedEntries].map((index) => Math.floor(index / PER_SECTOR)));
    for (const sector of [...sectors].sort((one, other) => one - other)) {
      const bytes = new Uint8Array(PER_SECTOR * 8);
      for (let each = 0; each < PER_SECTOR; each++) {
        writeU64(viewOf(bytes), each * 8, this.table[sector * PER_SECTOR + each]!);
      }
      await this.file.write(this.header.refcountTableOffset + sector * bytes.length, [bytes]);
      if (sectors.size > 1) await this.file.flush();
    }
    this.changedEntries.clear();
  }

  private async writeMovedTable(): Promise<void> {
    const bytes = new Uint8Array(this.table.length * 8);
    const view = viewOf(bytes);
    for (const [index, offset] of this.table.entries()) writeU64(view, index * 8, offset);
    await this.file.write(this.header.refcountTableOffset, [bytes]);
    await this.file.flush();
    const field = new Uint8Array(12);
    writeU64(viewOf(field), 0, this.header.refcountTableOffset);
    viewOf(field).setUint32(8, this.header.refcountTableClusters);
    await this.file.write(FIELD.refcountTable, [field]);
    await this.file.flush();
    const { offset, clusters } = this.movedFrom!;
    this.movedFrom = undefined;
    this.changedEntries.clear();
    this.metadata.delete(offset / this.clusterBytes, clusters);
    this.releaseLater(offset / this.clusterBytes, clusters);
  }

  private async block(index: number): Promise<Table> {
    const offset = this.table[index]!;
    const end = roundUp(this.file.size, this.clusterBytes);
    const isOwn = this.blocks.peek(offset) !== undefined;
    if (!isOwn && (offset % this.clusterBytes !== 0 || offset >= end)) {
      const how = offset >= end ? "lies behind the file's end" : "is not at the start of a cluster";
      throw damagedImage(
        this.file.name,
        `refcount block ${index} (refcount table at ${hex(this.header.refcountTableOffset)})`,
        offset,
        how,
      );
    }
    if (this.blocks.isFull) await this.blocks.write();
    return this.blocks.get(offset);
  }

  /** The first of `count` free clusters in a row. */
  private async findFree(count: number): Promise<number> {
    let [start, found] = [this.firstFree, 0];
    let isFirst = true;
    for (let cluster = start; found < count; cluster++) {
      const index = Math.floor(cluster / this.perBlock);
      if (index >= this.table.length) break;
      const isFree = (await this.get(cluster)) === 0 && !this.metadata.has(cluster);
      if (isFree) {
        if (isFirst) this.firstFree = cluster;
        isFirst = false;
        found++;
      } else [start, found] = [cluster + 1, 0];
    }
    if (isFirst) this.firstFree = start;
    return start;
  }

  /**
   * Lets refcount blocks count free clusters in a row. Blocks that are missing lie at the start of them, one after
   * another, so that the rest stays in one piece.
   * @returns whether there is something new, so that the clusters have to be looked for again
   */
  private async coverRun(start: number, count: number): Promise<boolean> {
    const last = Math.floor((start + count - 1) / this.perBlock);
    if (last >= this.table.length) {
      await this.growTable(last, count);
      return true;
    }
    let place = start;
    for (let index = Math.floor(start / this.perBlock); index <= last; index++) {
      if (this.table[index] !== 0) continue;
      this.addBlock(index, place);
      // Where it does not count itself, an earlier one does.
      if (Math.floor(place / this.perBlock) !== index) await this.set(place, 1);
      place++;
    }
    return place > start;
  }

  private addBlock(index: number, cluster: number): void {
    const table = this.blocks.add(cluster * this.clusterBytes);
    this.table[index] = table.offset;
    this.changedEntries.add(index);
    this.hasNewBlocks = true;
    this.metadata.add(cluster);
    if (Math.floor(cluster / this.perBlock) !== index) return;
    writeRefcount(table.view, this.header.refcountOrder, cluster % this.perBlock, 1);
  }

  /** Makes the refcount table longer; it moves behind all that is counted so far, and is counted by blocks of its own. */
  private async growTable(index: number, count: number): Promise<void> {
    // The one that moved last has to be in place first, so that there is one old table only.
    if (this.movedFrom !== undefined) await this.write();
    const start = this.table.length * this.perBlock;
    const perCluster = this.clusterBytes / 8;
    let [clusters, blocks] = [0, 0];
    for (;;) {
      const last = start + clusters + blocks + count;
      const entries = Math.ceil(Math.max(index + 1, last / this.perBlock) * 1.25) + 1;
      const needed = Math.ceil(entries / perCluster);
      const counting = Math.ceil((needed + blocks) / this.perBlock);
      if (needed === clusters && counting === blocks) break;
      [clusters, blocks] = [needed, Math.max(blocks, counting)];
    }
    if (clusters * this.clusterBytes > REFCOUNT_TABLE_LIMIT) {
      throw beyondLimit(
        this.file.name,
        "the refcount table",
        this.header.refcountTableOffset,
        "is as large as it can be: the image can't grow; convert it to larger clusters",
      );
    }
    const grown = new Float64Array(clusters * perCluster);
    grown.set(this.table);
    const first = this.table.length;
    this.movedFrom = { offset: this.header.refcountTableOffset, clusters: this.header.refcountTableClusters };
    this.table = grown;
    this.header.refcountTableOffset = start * this.clusterBytes;
    this.header.refcountTableClusters = clusters;
    this.metadata.add(start, clusters);
    for (let block = 0; block < blocks; block++) this.addBlock(first + block, start + clusters + block);
    for (let cluster = start; cluster < start + clusters + blocks; cluster++) await this.set(cluster, 1);
  }
}
