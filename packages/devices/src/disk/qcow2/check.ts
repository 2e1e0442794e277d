/**
 * Checks a qcow2 image: counts what refers to each cluster of the file, and compares that with the refcounts.
 *
 * Each L2 table is read once, however many snapshots share it, so that the work is bounded by the file; memory is bounded
 * by a limit. Repair raises counts and mends flags before it lowers counts, so that a kill in the middle leaves leaks.
 */
import { isZero } from "../block-backend.js";
import { DiskError, damagedImage } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import { bitmapDirectory, readBitmaps } from "./bitmaps.js";
import { ClusterCounts } from "./cluster-counts.js";
import {
  EXTENSION,
  encodeHeader,
  FIELD,
  INCOMPATIBLE,
  type Qcow2Header,
  readU64,
  roundUp,
  viewOf,
  writeU64,
} from "./format.js";
import { COPIED, type EntryContext, readL1Entry, readL2Entry } from "./mapping.js";
import { loadHeader } from "./metadata.js";
import { MetadataMap } from "./metadata-map.js";
import { Refcounts, readRefcount } from "./refcounts.js";
import { readSnapshots, type Snapshot } from "./snapshot-table.js";

/** Memory for counts, by default; problems that are named. */
const [MEMORY_LIMIT, MOST_NAMED] = [512 << 20, 100];
/** Tables that repair keeps in memory; what is mended in one pass, and passes. */
const [CACHE_TABLES, MOST_MENDED, MOST_PASSES] = [64, 1 << 20, 64];

/** Something that is wrong with an image. */
export interface CheckProblem {
  readonly structure: string;
  /** In the file. */
  readonly offset: number;
  readonly how: string;
}

/** Problems of a kind: all are counted, the first are named. */
export interface CheckProblems {
  count: number;
  readonly first: CheckProblem[];
}

/** What a check found. After a repair: what is left. */
export interface CheckResult {
  /** Data may be lost or overwritten. */
  readonly corruptions: CheckProblems;
  /** Clusters that take room for nothing. */
  readonly leaks: CheckProblems;
  /** Corruptions and leaks that were mended. */
  readonly repaired: { readonly corruptions: number; readonly leaks: number };
  /** Clusters of the disk, those of them that the active image maps, and those that are compressed. */
  readonly clusters: { readonly total: number; readonly allocated: number; readonly compressed: number };
  /** Whether the image was not closed by who wrote it last. */
  readonly wasDirty: boolean;
}

/** How an image is checked. */
export interface CheckOptions {
  /** `leaks` frees clusters that nothing refers to; `all` corrects wrong refcounts and flags as well. */
  readonly repair?: "leaks" | "all";
  /** Bytes of memory for counts, at most. */
  readonly memoryLimit?: number;
  /** Told the share that is done, from 0 to 1, now and then. */
  readonly onProgress?: (share: number) => void;
}

/**
 * Checks an image, and mends it if asked.
 * @param file must be writable for a repair, and nobody may write it meanwhile
 * @throws DiskError where the header itself can't be used
 */
export async function checkQcow2(file: ImageFile, options: CheckOptions = {}): Promise<CheckResult> {
  let found = await new Check(file, await loadHeader(file), options).run();
  const { result: first } = found;
  if (options.repair === undefined) return first;
  // A count that was corrected may show a flag that is wrong; and each pass has a limit.
  for (let pass = 0; pass < MOST_PASSES && needsMending(found, options.repair); pass++) {
    await mend(file, found, options.repair);
    found = await new Check(file, await loadHeader(file), options).run();
  }
  return {
    ...found.result,
    wasDirty: first.wasDirty,
    repaired: {
      corruptions: first.corruptions.count - found.result.corruptions.count,
      leaks: first.leaks.count - found.result.leaks.count,
    },
  };
}

/**
 * The header of an image that is to be written. One whose writer did not close it is mended first.
 * @throws DiskError `E_IMAGE_DAMAGED` where it can't be
 */
export async function loadMended(file: ImageFile): Promise<Qcow2Header> {
  const header = await loadHeader(file);
  if ((header.incompatible & INCOMPATIBLE.dirty) === 0) return header;
  const { corruptions } = await checkQcow2(file, { repair: "all" });
  if (corruptions.count === 0) return loadHeader(file);
  const { structure, offset, how } = corruptions.first[0]!;
  throw damagedImage(file.name, structure, offset, how);
}

function needsMending(
  { wrong, flags, isLost, hasLostBitmaps, result }: Found,
  repair: "leaks" | "all",
): boolean {
  // Where a table can't be followed, what it refers to looks like a leak.
  if (isLost) return false;
  if (result.leaks.count > 0 || hasLostBitmaps) return true;
  return repair === "all" && (wrong.length > 0 || flags.length > 0 || result.wasDirty);
}

/** A count that is wrong. */
interface WrongCount {
  readonly cluster: number;
  readonly stored: number;
  readonly counted: number;
}

/** An entry whose COPIED flag is wrong, and the cluster that it refers to. */
interface WrongFlag {
  readonly offset: number;
  readonly cluster: number;
}

interface Found {
  readonly header: Qcow2Header;
  readonly counts: ClusterCounts;
  readonly wrong: readonly WrongCount[];
  readonly flags: readonly WrongFlag[];
  readonly result: CheckResult;
  /** Whether some references could not be followed. */
  readonly isLost: boolean;
  readonly hasLostBitmaps: boolean;
}

class Check {
  private readonly corruptions: CheckProblems = { count: 0, first: [] };
  private readonly leaks: CheckProblems = { count: 0, first: [] };
  private readonly counts: ClusterCounts;
  /** References to each L2 table, and whether the active L1 table has one. */
  private readonly tables = new Map<number, { count: number; isActive: boolean }>();
  private readonly wrong: WrongCount[] = [];
  private readonly flags: WrongFlag[] = [];
  private readonly blocks = new Map<number, DataView>();
  private refcountTable = viewOf(new Uint8Array());
  private isLost = false;
  private allocated = 0;
  private compressed = 0;
  private readonly clusterBytes: number;
  private readonly perBlock: number;
  private readonly context: EntryContext;

  constructor(
    private readonly file: ImageFile,
    private readonly header: Qcow2Header,
    private readonly options: CheckOptions,
  ) {
    this.clusterBytes = 2 ** header.clusterBits;
    this.perBlock = (this.clusterBytes * 8) / 2 ** header.refcountOrder;
    this.counts = new ClusterCounts(file.name, options.memoryLimit ?? MEMORY_LIMIT);
    this.context = {
      image: file.name,
      version: header.version,
      clusterBits: header.clusterBits,
      end: roundUp(file.size, this.clusterBytes),
    };
  }

  async run(): Promise<Found> {
    const { header } = this;
    this.count(0, this.clusterBytes);
    await this.loadRefcounts();
    this.count(header.l1Offset, header.l1Entries * 8);
    await this.countL1(header.l1Offset, header.l1Entries, true);
    await this.countSnapshots();
    await this.attempt(() => this.countBitmaps());
    await this.countTables();
    await this.compare();
    const hasLostBitmaps =
      header.extensions.some(({ type }) => type === EXTENSION.bitmaps) &&
      bitmapDirectoryOf(this.file, header) === undefined;
    return {
      header,
      counts: this.counts,
      wrong: this.wrong,
      flags: this.flags,
      isLost: this.isLost,
      hasLostBitmaps,
      result: {
        corruptions: this.corruptions,
        leaks: this.leaks,
        repaired: { corruptions: 0, leaks: 0 },
        clusters: {
          total: Math.ceil(header.size / this.clusterBytes),
          allocated: this.allocated,
          compressed: this.compressed,
        },
        wasDirty: (header.incompatible & INCOMPATIBLE.dirty) !== 0,
      },
    };
  }

  /** Notes a corruption. */
  private corrupt(structure: string, offset: number, how: string): void {
    note(this.corruptions, { structure, offset, how });
  }

  /** Does what may find a structure that can't be followed. */
  private async attempt(job: () => Promise<void> | void): Promise<void> {
    try {
      await job();
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== "E_IMAGE_DAMAGED") throw error;
      const { structure = "the image", offset = 0, how = error.message } = error.details;
      this.corrupt(structure, offset, how);
      this.isLost = true;
    }
  }

  private count(offset: number, length: number, times = 1): void {
    const last = Math.floor((offset + length - 1) / this.clusterBytes);
    for (let cluster = Math.floor(offset / this.clusterBytes); cluster <= last; cluster++)
      this.counts.add(cluster, times);
  }

  private async bytesAt(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    await this.file.read(offset, [bytes]);
    return bytes;
  }

  private async loadRefcounts(): Promise<void> {
    const { refcountTableOffset: offset, refcountTableClusters: clusters } = this.header;
    this.count(offset, clusters * this.clusterBytes);
    this.refcountTable = viewOf(await this.bytesAt(offset, clusters * this.clusterBytes));
    const seen = new Set<number>();
    for (let index = 0; index < this.refcountTable.byteLength / 8; index++) {
      const block = readU64(this.refcountTable, index * 8);
      if (block === 0) continue;
      if (seen.has(block)) {
        this.corrupt(
          `refcount table entry ${index}`,
          offset + index * 8,
          "points at the block of another entry",
        );
        this.isLost = true;
        writeU64(this.refcountTable, index * 8, 0);
        continue;
      }
      seen.add(block);
      if (block % this.clusterBytes !== 0 || block >= this.context.end) {
        this.corrupt(
          `refcount table entry ${index}`,
          offset + index * 8,
          "points outside the file, or not at the start of a cluster",
        );
        this.isLost = true;
      } else this.count(block, this.clusterBytes);
    }
  }

  private async countL1(offset: number, entries: number, isActive: boolean): Promise<void> {
    const view = viewOf(await this.bytesAt(offset, entries * 8));
    for (let index = 0; index < entries; index++) {
      await this.attempt(() => {
        const table = readL1Entry(view, index, offset, this.context);
        if (table === 0) return;
        const seen = this.tables.get(table) ?? { count: 0, isActive: false };
        this.tables.set(table, { count: seen.count + 1, isActive: seen.isActive || isActive });
        this.counts.add(table / this.clusterBytes, 1);
        const isSet = (view.getUint32(index * 8) & COPIED) !== 0;
        if (isActive) return this.checkFlag(offset + index * 8, table, isSet);
      });
    }
  }

  /** The flag of an active entry says whether its cluster's refcount is one. */
  private async checkFlag(entry: number, offset: number, isSet: boolean): Promise<void> {
    const cluster = offset / this.clusterBytes;
    if (isSet === ((await this.stored(cluster)) === 1)) return;
    this.corrupt(
      "the entry",
      entry,
      `says that its cluster ${isSet ? "is not" : "is"} shared, against the refcount`,
    );
    if (this.flags.length < MOST_MENDED) this.flags.push({ offset: entry, cluster });
  }

  private async countSnapshots(): Promise<void> {
    let snapshots: readonly Snapshot[] = [];
    await this.attempt(async () => {
      snapshots = await readSnapshots(this.file, this.header);
    });
    const bytes = snapshots.reduce((sum, { entryBytes }) => sum + entryBytes, 0);
    if (bytes > 0) this.count(this.header.snapshotsOffset, bytes);
    for (const { l1Offset, l1Entries } of snapshots) {
      if (l1Entries > 0) this.count(l1Offset, l1Entries * 8);
      await this.countL1(l1Offset, l1Entries, false);
    }
  }

  private async countBitmaps(): Promise<void> {
    const { file, header } = this;
    const directory = bitmapDirectory(file.name, header, file.size);
    if (directory === undefined) return;
    this.count(directory.offset, directory.bytes);
    for (const { tableOffset, tableEntries, name } of await readBitmaps(file, header)) {
      if (tableEntries === 0) continue;
      this.count(tableOffset, tableEntries * 8);
      const view = viewOf(await this.bytesAt(tableOffset, tableEntries * 8));
      for (let index = 0; index < tableEntries; index++) {
        const offset =
          (view.getUint32(index * 8) & 0x00ffffff) * 2 ** 32 +
          ((view.getUint32(index * 8 + 4) & 0xfffffe00) >>> 0);
        if (offset === 0) continue;
        if (offset % this.clusterBytes === 0 && offset < this.context.end)
          this.count(offset, this.clusterBytes);
        else
          this.corrupt(
            `bitmap "${name}", entry ${index}`,
            tableOffset + index * 8,
            "points outside the file",
          );
      }
    }
  }

  private async countTables(): Promise<void> {
    let done = 0;
    for (const [offset, { count, isActive }] of this.tables) {
      const view = viewOf(await this.bytesAt(offset, this.clusterBytes));
      for (let index = 0; index < this.clusterBytes / 8; index++) {
        if (view.getUint32(index * 8) === 0 && view.getUint32(index * 8 + 4) === 0) continue;
        await this.attempt(() => this.countEntry(view, index, offset, count, isActive));
      }
      if (++done % 64 === 0) this.options.onProgress?.(done / this.tables.size);
    }
    this.options.onProgress?.(1);
  }

  private countEntry(
    view: DataView,
    index: number,
    table: number,
    times: number,
    isActive: boolean,
  ): Promise<void> | void {
    const { kind, offset, length, isCopied } = readL2Entry(view, index, table, this.context);
    if (isActive) {
      if (kind === "data" || kind === "compressed") this.allocated++;
      if (kind === "compressed") this.compressed++;
    }
    if (offset === 0) return;
    this.count(offset, kind === "compressed" ? length : this.clusterBytes, times);
    if (isActive && kind !== "compressed") {
      return this.checkFlag(table + index * 8, offset, isCopied);
    }
  }

  private async stored(cluster: number): Promise<number> {
    const view = await this.block(Math.floor(cluster / this.perBlock));
    return view === undefined ? 0 : readRefcount(view, this.header.refcountOrder, cluster % this.perBlock);
  }

  private async block(index: number): Promise<DataView | undefined> {
    const offset = index * 8 < this.refcountTable.byteLength ? readU64(this.refcountTable, index * 8) : 0;
    if (offset === 0 || offset % this.clusterBytes !== 0 || offset >= this.context.end) return undefined;
    const kept = this.blocks.get(index);
    if (kept !== undefined) return kept;
    const view = viewOf(await this.bytesAt(offset, this.clusterBytes));
    if (this.blocks.size >= CACHE_TABLES) this.blocks.delete(this.blocks.keys().next().value!);
    this.blocks.set(index, view);
    return view;
  }

  private async compare(): Promise<void> {
    for (const [cluster, counted] of this.counts.entries()) {
      const stored = await this.stored(cluster);
      if (stored < counted) {
        this.corrupt(
          "the cluster",
          cluster * this.clusterBytes,
          `has the refcount ${stored} and ${counted} references`,
        );
        if (this.wrong.length < MOST_MENDED) this.wrong.push({ cluster, stored, counted });
      }
    }
    for (let index = 0; index < this.refcountTable.byteLength / 8; index++) {
      const view = await this.block(index);
      if (view === undefined || isZero(new Uint8Array(view.buffer))) continue;
      for (let each = 0; each < this.perBlock; each++) {
        const stored = readRefcount(view, this.header.refcountOrder, each);
        if (stored === 0) continue;
        const cluster = index * this.perBlock + each;
        const counted = this.counts.get(cluster);
        if (stored <= counted) continue;
        note(this.leaks, {
          structure: "the cluster",
          offset: cluster * this.clusterBytes,
          how: `has the refcount ${stored} and ${counted} references`,
        });
        if (this.wrong.length < MOST_MENDED) this.wrong.push({ cluster, stored, counted });
      }
    }
  }
}

function note(problems: CheckProblems, problem: CheckProblem): void {
  problems.count++;
  if (problems.first.length < MOST_NAMED) problems.first.push(problem);
}

function bitmapDirectoryOf(file: ImageFile, header: Qcow2Header): object | undefined {
  try {
    return bitmapDirectory(file.name, header, file.size);
  } catch {
    return {};
  }
}

/** Mends counts and flags. */
async function mend(
  file: ImageFile,
  { header, counts, wrong, flags, hasLostBitmaps }: Found,
  repair: "leaks" | "all",
): Promise<void> {
  if (hasLostBitmaps) {
    // Nobody may find the bitmaps any more when their clusters are free.
    const first = new Uint8Array(2 ** header.clusterBits);
    await file.read(0, [first]);
    header.extensions = header.extensions.filter(({ type }) => type !== EXTENSION.bitmaps);
    await file.write(0, [encodeHeader(file.name, header, first)]);
    await file.flush();
  }
  const map = new MetadataMap();
  const refcounts = new Refcounts(file, header, map, CACHE_TABLES);
  await refcounts.load();
  // A new refcount block must land on nothing that is in use, counted or not.
  for (const [cluster] of counts.entries()) map.add(cluster);
  if (repair === "all") {
    for (const { cluster, stored, counted } of wrong) {
      if (stored >= counted) continue;
      if (!refcounts.isCounted(cluster)) await refcounts.restoreBlock(cluster);
      await refcounts.set(cluster, Math.min(counted, refcounts.most));
    }
    await refcounts.write();
    await file.flush();
    for (const { offset, cluster } of flags) {
      const byte = new Uint8Array(1);
      await file.read(offset, [byte]);
      byte[0] = counts.get(cluster) === 1 ? byte[0]! | (COPIED >>> 24) : byte[0]! & ~(COPIED >>> 24);
      await file.write(offset, [byte]);
    }
    await file.flush();
  }
  for (const { cluster, stored, counted } of wrong)
    if (stored > counted) await refcounts.set(cluster, counted);
  await refcounts.write();
  await file.flush();
  if (repair === "all" && (header.incompatible & INCOMPATIBLE.dirty) !== 0) {
    const field = new Uint8Array(4);
    viewOf(field).setUint32(0, (header.incompatible & ~INCOMPATIBLE.dirty) >>> 0);
    await file.write(FIELD.incompatible + 4, [field]);
    await file.flush();
  }
}
