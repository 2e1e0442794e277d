/**
 * From clusters of the disk to clusters of the file: the L1 table, all of which is in memory, and L2 tables (QEMU,
 * docs/interop/qcow2.rst, "Cluster mapping"). Entries are checked when they are used.
 *
 * Changes are made by the one owner of an image's metadata; tables that are in memory may be read at any time.
 */
import { damagedImage, hex } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import { type Qcow2Header, roundUp, viewOf } from "./format.js";
import type { MetadataMap } from "./metadata-map.js";
import type { Refcounts } from "./refcounts.js";
import { type Table, TableCache } from "./table-cache.js";

/** Bits of the high half of entries: refcount is one; compressed; reserved bits of an L1 and of a standard L2 entry. */
export const [COPIED, COMPRESSED] = [0x80000000, 0x40000000];
const [L1_RESERVED, L2_RESERVED] = [0x7f000000, 0x3f000000];
/** Bits of the low half: offset; reserved in an L1 and an L2 entry; reads as zeros. */
const [OFFSET_LOW, L1_RESERVED_LOW, L2_RESERVED_LOW, ZERO] = [0xfffffe00, 0x1ff, 0x1fe, 1];
const OFFSET_HIGH = 0x00ffffff;
const SECTOR = 512;

/** Where a cluster of the disk is. */
export interface Entry {
  readonly kind: "absent" | "zero" | "data" | "compressed";
  /** Byte of the file where it begins; a cluster that reads as zeros may have one set aside. Else 0. */
  readonly offset: number;
  /** Bytes of compressed data, at most. */
  readonly length: number;
  /** Whether its refcount is one, so that it may be written in place. */
  readonly isCopied: boolean;
}

/** A cluster that is nowhere in the file. */
export const ABSENT: Entry = { kind: "absent", offset: 0, length: 0, isCopied: false };

/** What entries are checked against. */
export interface EntryContext {
  readonly image: string;
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** The file's end, rounded up to a cluster. */
  readonly end: number;
}

/** Reads an L1 entry: where its L2 table is, 0 if there is none. @throws DiskError `E_IMAGE_DAMAGED` */
export function readL1Entry(view: DataView, index: number, at: number, context: EntryContext): number {
  const [high, low] = [view.getUint32(index * 8), view.getUint32(index * 8 + 4)];
  const offset = (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
  let how = "";
  if ((high & L1_RESERVED) !== 0 || (low & L1_RESERVED_LOW) !== 0) how = "has reserved bits set";
  else if (offset % 2 ** context.clusterBits !== 0)
    how = `points at ${hex(offset)}, which is no start of a cluster`;
  else if (offset >= context.end) how = `points at ${hex(offset)}, behind the file's end`;
  if (how === "") return offset;
  throw damagedImage(context.image, `L1 entry ${index}`, at + index * 8, how);
}

/** Reads an L2 entry. @param at offset of its table @throws DiskError `E_IMAGE_DAMAGED` */
export function readL2Entry(view: DataView, index: number, at: number, context: EntryContext): Entry {
  const [high, low] = [view.getUint32(index * 8), view.getUint32(index * 8 + 4)];
  if ((high | low) === 0) return ABSENT;
  const refuse = (how: string) =>
    damagedImage(context.image, `L2 entry ${index} of the table at ${hex(at)}`, at + index * 8, how);
  if ((high & COMPRESSED) !== 0) {
    const sectorsAt = 62 - (context.clusterBits - 8) - 32;
    const bits = high & 0x3fffffff;
    const offset = (bits & (2 ** sectorsAt - 1)) * 2 ** 32 + low;
    if ((high & COPIED) !== 0) throw refuse("is compressed, and says that it may be written in place");
    if (offset >= context.end || offset === 0)
      throw refuse(`points at ${hex(offset)}, outside the file's data`);
    return {
      kind: "compressed",
      offset,
      length: ((bits >>> sectorsAt) + 1) * SECTOR - (offset % SECTOR),
      isCopied: false,
    };
  }
  const offset = (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
  const isCopied = (high & COPIED) !== 0;
  const isZero = (low & ZERO) !== 0;
  if ((high & L2_RESERVED) !== 0 || (low & L2_RESERVED_LOW) !== 0 || (isZero && context.version === 2)) {
    throw refuse("has reserved bits set");
  }
  if (offset % 2 ** context.clusterBits !== 0)
    throw refuse(`points at ${hex(offset)}, which is no start of a cluster`);
  if (offset >= context.end) throw refuse(`points at ${hex(offset)}, behind the file's end`);
  if (offset === 0 && isCopied) throw refuse("may be written in place, but has no place");
  if (isZero) return { kind: "zero", offset, length: 0, isCopied };
  return { kind: "data", offset, length: 0, isCopied };
}

/** The mapping of an image. */
export class Mapping {
  readonly tables: TableCache;
  /** Entries of an L2 table. */
  readonly perTable: number;
  private l1: Uint8Array = new Uint8Array();
  private view = viewOf(this.l1);
  private readonly changedL1 = new Set<number>();
  private readonly clusterBytes: number;

  constructor(
    private readonly file: ImageFile,
    private readonly header: Qcow2Header,
    private readonly refcounts: Refcounts,
    private readonly metadata: MetadataMap,
    cacheTables: number,
  ) {
    this.clusterBytes = 2 ** header.clusterBits;
    this.perTable = this.clusterBytes / 8;
    this.tables = new TableCache(file, this.clusterBytes, cacheTables);
  }

  /** What entries are checked against, now. */
  get context(): EntryContext {
    return {
      image: this.file.name,
      version: this.header.version,
      clusterBits: this.header.clusterBits,
      end: Math.max(roundUp(this.file.size, this.clusterBytes), this.allocatedEnd),
    };
  }

  /** The end of what has been allocated for tables, whether it has been written or not. */
  private allocatedEnd = 0;

  /** Reads the L1 table. */
  async load(): Promise<void> {
    this.l1 = new Uint8Array(this.header.l1Entries * 8);
    this.view = viewOf(this.l1);
    await this.file.read(this.header.l1Offset, [this.l1]);
  }

  /** The number of the L1 entry for a cluster of the disk. */
  l1IndexOf(cluster: number): number {
    return Math.floor(cluster / this.perTable);
  }

  /** Offset of an L2 table; 0 if there is none. */
  tableOffset(l1Index: number): number {
    return readL1Entry(this.view, l1Index, this.header.l1Offset, this.context);
  }

  /** Offsets of all L2 tables. @throws DiskError `E_IMAGE_DAMAGED` */
  tableOffsets(): Float64Array {
    const offsets = new Float64Array(this.header.l1Entries);
    let count = 0;
    for (let index = 0; index < offsets.length; index++) {
      const offset = this.tableOffset(index);
      if (offset !== 0) offsets[count++] = offset;
    }
    return offsets.slice(0, count);
  }

  /** Clusters from `first` to before `end` as the table says that is in memory; all are of one table. */
  entriesOf(table: Table, first: number, end: number): Entry[] {
    const { context } = this;
    return Array.from({ length: end - first }, (_, index) =>
      readL2Entry(table.view, (first + index) % this.perTable, table.offset, context),
    );
  }

  /** The L2 table of an L1 entry, made or copied if need be so that it may be written. */
  async tableForWrite(l1Index: number): Promise<Table> {
    const offset = this.tableOffset(l1Index);
    if (offset !== 0 && (this.view.getUint32(l1Index * 8) & COPIED) !== 0) return this.tables.get(offset);
    const cluster = await this.refcounts.allocate(1);
    const old = offset === 0 ? undefined : await this.tables.get(offset);
    this.metadata.add(cluster);
    this.allocatedEnd = Math.max(this.allocatedEnd, (cluster + 1) * this.clusterBytes);
    const table = this.tables.add(cluster * this.clusterBytes, old?.bytes.slice());
    this.setL1(l1Index, table.offset);
    if (old !== undefined) this.refcounts.releaseLater(offset / this.clusterBytes);
    return table;
  }

  /** Lets a cluster of the disk be at `offset` in the file, with a refcount of one, or nowhere (0). */
  setStandard(table: Table, cluster: number, offset: number, isZero: boolean): void {
    const high = Math.floor(offset / 2 ** 32) | (offset === 0 ? 0 : COPIED);
    this.setEntry(table, cluster, high >>> 0, ((offset >>> 0) | (isZero ? ZERO : 0)) >>> 0);
  }

  /** Lets a cluster of the disk be compressed: `length` bytes at `offset`. */
  setCompressed(table: Table, cluster: number, offset: number, length: number): void {
    const sectorsAt = 62 - (this.header.clusterBits - 8) - 32;
    const sectors = Math.floor((offset + length - 1) / SECTOR) - Math.floor(offset / SECTOR);
    const high = (COMPRESSED | (sectors << sectorsAt) | Math.floor(offset / 2 ** 32)) >>> 0;
    this.setEntry(table, cluster, high, offset >>> 0);
  }

  /** Whether L1 entries wait to be written. */
  get isL1Changed(): boolean {
    return this.changedL1.size > 0;
  }

  /** Writes the L1 entries that have changed. */
  async writeL1(): Promise<void> {
    for (const index of this.changedL1) {
      await this.file.write(this.header.l1Offset + index * 8, [this.l1.subarray(index * 8, index * 8 + 8)]);
    }
    this.changedL1.clear();
  }

  private setL1(index: number, offset: number): void {
    this.view.setUint32(index * 8, (Math.floor(offset / 2 ** 32) | COPIED) >>> 0);
    this.view.setUint32(index * 8 + 4, offset >>> 0);
    this.changedL1.add(index);
  }

  private setEntry(table: Table, cluster: number, high: number, low: number): void {
    const at = (cluster % this.perTable) * 8;
    table.view.setUint32(at, high);
    table.view.setUint32(at + 4, low);
    this.tables.mark(table, at, 8);
  }
}
