/**
 * Tables of one cluster each, such as L2 tables and refcount blocks, kept in memory by their offset and written where
 * they have changed. Tables that have changed stay until they are written; of the others the least recently used go.
 */
import type { ImageFile } from "../image-file.js";
import { viewOf } from "./format.js";

/** A table in memory. */
export interface Table {
  /** In the file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The bytes that have changed since it was written; none if `from` is not below `to`. */
  from: number;
  to: number;
}

/** What is written in one piece: a sector. */
const SECTOR = 512;

/** A bounded cache of tables. */
export class TableCache {
  /** In order of use, the latest last. */
  private readonly tables = new Map<number, Table>();
  private readonly changed = new Set<Table>();

  /** @param limit tables that are kept, at least one */
  constructor(
    private readonly file: ImageFile,
    private readonly tableBytes: number,
    private readonly limit: number,
  ) {}

  /** Tables that have changed. */
  get changedCount(): number {
    return this.changed.size;
  }

  /** Whether so many tables have changed that they should be written. */
  get isFull(): boolean {
    return this.changed.size >= this.limit;
  }

  /** A table if it is here. */
  peek(offset: number): Table | undefined {
    return this.tables.get(offset);
  }

  async get(offset: number): Promise<Table> {
    const present = this.tables.get(offset);
    if (present !== undefined) {
      this.tables.delete(offset);
      this.tables.set(offset, present);
      return present;
    }
    const bytes = new Uint8Array(this.tableBytes);
    await this.file.read(offset, [bytes]);
    return this.keep({ offset, bytes, view: viewOf(bytes), from: this.tableBytes, to: 0 });
  }

  /** A new table, all of which has to be written. */
  add(offset: number, bytes: Uint8Array = new Uint8Array(this.tableBytes)): Table {
    const table = { offset, bytes, view: viewOf(bytes), from: 0, to: this.tableBytes };
    this.changed.add(table);
    return this.keep(table);
  }

  /** Notes that some bytes of a table have changed. */
  mark(table: Table, at: number, length: number): void {
    table.from = Math.min(table.from, at);
    table.to = Math.max(table.to, at + length);
    this.changed.add(table);
    this.tables.set(table.offset, table);
  }

  /** Writes what has changed; a table whose write fails stays changed. */
  async write(): Promise<void> {
    for (const table of [...this.changed].sort((a, b) => a.offset - b.offset)) {
      const from = Math.floor(table.from / SECTOR) * SECTOR;
      const to = Math.ceil(table.to / SECTOR) * SECTOR;
      await this.file.write(table.offset + from, [table.bytes.subarray(from, to)]);
      [table.from, table.to] = [this.tableBytes, 0];
      this.changed.delete(table);
    }
    this.evict();
  }

  private keep(table: Table): Table {
    this.tables.set(table.offset, table);
    this.evict(table);
    return table;
  }

  private evict(kept?: Table): void {
    if (this.tables.size <= this.limit) return;
    for (const [offset, table] of this.tables) {
      if (this.tables.size <= this.limit) return;
      if (!this.changed.has(table) && table !== kept) this.tables.delete(offset);
    }
  }
}
