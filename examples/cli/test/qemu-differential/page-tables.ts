/** Page tables for generated programs: entries are put where a walk would look for them, tables made on the way. */

/** A translation scheme. */
export interface Scheme {
  readonly name: "sv32" | "sv39" | "sv48" | "sv57";
  readonly levels: number;
  readonly indexBits: number;
  readonly satpMode: number;
}

/** The schemes for each register width. */
export const schemes: Readonly<Record<32 | 64, readonly Scheme[]>> = {
  32: [{ name: "sv32", levels: 2, indexBits: 10, satpMode: 1 }],
  64: [
    { name: "sv39", levels: 3, indexBits: 9, satpMode: 8 },
    { name: "sv48", levels: 4, indexBits: 9, satpMode: 9 },
    { name: "sv57", levels: 5, indexBits: 9, satpMode: 10 },
  ],
};

/** Bits of a page-table entry. */
export const Pte = {
  valid: 1,
  read: 2,
  write: 4,
  execute: 8,
  user: 16,
  global: 32,
  accessed: 64,
  dirty: 128,
} as const;

const PAGE = 4096;

/** Where tables are kept: a run of pages. */
export class TableMemory {
  readonly bytes: Uint8Array;
  private used = 0;

  constructor(
    readonly base: number,
    bytes: number,
  ) {
    this.bytes = new Uint8Array(bytes);
  }

  /** Address of a new empty table. */
  allocate(): number {
    const address = this.base + this.used;
    this.used += PAGE;
    if (this.used > this.bytes.length) throw new Error("no room for page tables");
    return address;
  }
}

/** One address space. */
export class AddressSpace {
  readonly root: number;
  private readonly view: DataView;
  private readonly entryBytes: number;

  constructor(
    readonly scheme: Scheme,
    private readonly memory: TableMemory,
  ) {
    this.root = memory.allocate();
    this.view = new DataView(memory.bytes.buffer);
    this.entryBytes = scheme.indexBits === 10 ? 4 : 8;
  }

  /** Value of `satp`. */
  get satp(): bigint {
    const { satpMode, indexBits } = this.scheme;
    return (BigInt(satpMode) << (indexBits === 10 ? 31n : 60n)) | BigInt(this.root / PAGE);
  }

  /** Maps a page of `level` (0 for 4 KiB). Gives the address of its entry. */
  map(va: bigint, gpa: number, flags: number, level = 0): number {
    return this.put(va, (BigInt(gpa / PAGE) << 10n) | BigInt(flags), level);
  }

  /** Writes an entry of `level` for an address; gives the entry's address. */
  put(va: bigint, entry: bigint, level = 0): number {
    let table = this.root;
    for (let at = this.scheme.levels - 1; at > level; at--) {
      const place = this.place(table, va, at);
      const pointer = this.read(place);
      if (pointer !== 0n) {
        table = Number(pointer >> 10n) * PAGE;
        continue;
      }
      table = this.memory.allocate();
      this.write(place, (BigInt(table / PAGE) << 10n) | BigInt(Pte.valid));
    }
    const place = this.place(table, va, level);
    this.write(place, entry);
    return place;
  }

  private place(table: number, va: bigint, level: number): number {
    const { indexBits } = this.scheme;
    const index = (va >> BigInt(12 + level * indexBits)) & BigInt(2 ** indexBits - 1);
    return table + Number(index) * this.entryBytes;
  }

  private read(place: number): bigint {
    const at = place - this.memory.base;
    return this.entryBytes === 4 ? BigInt(this.view.getUint32(at, true)) : this.view.getBigUint64(at, true);
  }

  private write(place: number, entry: bigint): void {
    const at = place - this.memory.base;
    if (this.entryBytes === 4) this.view.setUint32(at, Number(BigInt.asUintN(32, entry)), true);
    else this.view.setBigUint64(at, entry, true);
  }
}
