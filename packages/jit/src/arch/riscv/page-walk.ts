/**
 * Page tables: Sv32, Sv39, Sv48 and Sv57 (privileged manual, 12.3 to 12.6), with hardware updating of A and D
 * (Svadu) or page faults instead (Svade).
 *
 * A walk takes the root table from the object and leaves its result there, so that nothing is allocated on a TLB miss:
 * V8 puts a number beyond 31 bits that a function takes or gives on the heap.
 */
import type { GuestMemory } from "../../memory/guest-memory.js";
import { PAGE_SIZE } from "../../memory/layout.js";
import type { LinearMemory } from "../../memory/linear-memory.js";
import { AccessKind } from "../../mmu/ports.js";
import type { Pmp } from "./pmp.js";
import { RiscvMode } from "./privilege.js";

/** Outcome of a walk. */
export const WalkResult = { ok: 0, pageFault: 1, accessFault: 2 } as const;
export type WalkResult = (typeof WalkResult)[keyof typeof WalkResult];

/** A translation scheme: `satp.MODE`, levels of tables, and bits of index a level. */
export interface PagingMode {
  readonly name: "sv32" | "sv39" | "sv48" | "sv57";
  readonly satpMode: number;
  readonly levels: number;
  readonly indexBits: 9 | 10;
}

/** The schemes by `satp.MODE`; Sv32 belongs to RV32 only. */
export const pagingModes: readonly PagingMode[] = [
  { name: "sv32", satpMode: 1, levels: 2, indexBits: 10 },
  { name: "sv39", satpMode: 8, levels: 3, indexBits: 9 },
  { name: "sv48", satpMode: 9, levels: 4, indexBits: 9 },
  { name: "sv57", satpMode: 10, levels: 5, indexBits: 9 },
];

/** Missing A and D bits: set them (Svadu), fault (Svade), or leave them, for a look without a trace. */
export type AccessedDirty = "set" | "fault" | "ignore";

const VALID = 1;
const READ = 2;
const WRITE = 4;
const EXECUTE = 8;
const USER = 16;
const ACCESSED = 64;
const DIRTY = 128;
/** Bits 63-54 of an entry: N, PBMT and reserved ones, none of which this hart implements. */
const RESERVED_HIGH = 0xffc00000;

/** The page-table walker of one hart. */
export class PageWalker {
  /** Guest-physical address of the root table. */
  root = 0;
  /** Guest-physical address of the last walk that succeeded. */
  gpa = 0;
  /** Bytes of the page it came from. */
  pageBytes = PAGE_SIZE;
  private readonly words: Int32Array;
  /** Guest-physical address of the leaf entry, and its number of the page. */
  private entry = 0;
  private ppn = 0;

  constructor(
    memory: LinearMemory,
    private readonly guest: GuestMemory,
    private readonly pmp: Pmp,
  ) {
    this.words = memory.i32;
  }

  /**
   * Translates a guest-virtual address.
   * @param mode effective privilege mode, user or supervisor
   * @param sum supervisor may access user pages
   * @param mxr loads may read executable pages
   * @param update what becomes of an entry that lacks A, or D for a write
   */
  walk(
    scheme: PagingMode,
    lo: number,
    hi: number,
    kind: AccessKind,
    mode: RiscvMode,
    sum: boolean,
    mxr: boolean,
    update: AccessedDirty,
  ): WalkResult {
    if (!isCanonical(scheme, lo, hi)) return WalkResult.pageFault;
    const narrow = scheme.indexBits === 10;
    const entryBytes = narrow ? 4 : 8;
    let table = this.root;
    for (let level = scheme.levels - 1; level >= 0; level--) {
      const gpa = table + indexAt(scheme, level, lo, hi) * entryBytes;
      if (!this.pmp.allows(gpa, AccessKind.read, RiscvMode.supervisor, entryBytes))
        return WalkResult.accessFault;
      const frame = this.guest.frameOffset(gpa);
      if (frame < 0) return WalkResult.accessFault;
      const at = (frame + (gpa & (PAGE_SIZE - 1))) >>> 2;
      const low = this.words[at]!;
      const high = narrow ? 0 : this.words[at + 1]!;
      if ((low & VALID) === 0 || (low & (READ | WRITE)) === WRITE || (high & RESERVED_HIGH) !== 0) {
        return WalkResult.pageFault;
      }
      const ppn = (high & 0x3fffff) * 0x400000 + (low >>> 10);
      if ((low & (READ | EXECUTE)) === 0) {
        // A pointer to the next table: A, D and U are reserved there.
        if ((low & (ACCESSED | DIRTY | USER)) !== 0) return WalkResult.pageFault;
        table = ppn * PAGE_SIZE;
        continue;
      }
      this.entry = gpa;
      this.ppn = ppn;
      return this.leaf(scheme, level, low, lo, hi, kind, mode, sum, mxr, update);
    }
    return WalkResult.pageFault;
  }

  private leaf(
    scheme: PagingMode,
    level: number,
    low: number,
    lo: number,
    hi: number,
    kind: AccessKind,
    mode: RiscvMode,
    sum: boolean,
    mxr: boolean,
    update: AccessedDirty,
  ): WalkResult {
    const { ppn } = this;
    if (mode === RiscvMode.user) {
      if ((low & USER) === 0) return WalkResult.pageFault;
    } else if ((low & USER) !== 0 && (!sum || kind === AccessKind.fetch)) return WalkResult.pageFault;
    if (
      kind === AccessKind.fetch ? (low & EXECUTE) === 0 : kind === AccessKind.write && (low & WRITE) === 0
    ) {
      return WalkResult.pageFault;
    }
    if (kind === AccessKind.read && (low & (mxr ? READ | EXECUTE : READ)) === 0) return WalkResult.pageFault;
    const leafBits = level * scheme.indexBits;
    // The entry's low half has 22 bits of the page number. Remainders and powers of doubles are slow.
    const isSmall = leafBits < 22;
    const pagesInLeaf = isSmall ? 1 << leafBits : 2 ** leafBits;
    const isAligned = isSmall ? ((low >>> 10) & (pagesInLeaf - 1)) === 0 : ppn % pagesInLeaf === 0;
    if (!isAligned) return WalkResult.pageFault;
    const wanted = ACCESSED | (kind === AccessKind.write ? DIRTY : 0);
    if ((low & wanted) !== wanted) {
      if (update === "fault") return WalkResult.pageFault;
      if (update === "set") {
        // The update is a store of the walker's, as S mode would do it (3.7.2).
        const { entry } = this;
        if (!this.pmp.allows(entry, AccessKind.write, RiscvMode.supervisor)) return WalkResult.accessFault;
        const frame = this.guest.writableFrame(entry);
        if (frame < 0) return WalkResult.accessFault;
        this.words[(frame + (entry & (PAGE_SIZE - 1))) >>> 2] = low | wanted;
      }
    }
    this.pageBytes = pagesInLeaf * PAGE_SIZE;
    this.gpa = ppn * PAGE_SIZE + offsetIn(this.pageBytes, lo, hi);
    return WalkResult.ok;
  }
}

/** Offset of an address in a page of `pageBytes`, exact although a double can't hold the whole address. */
function offsetIn(pageBytes: number, lo: number, hi: number): number {
  if (pageBytes <= 0x80000000) return lo & (pageBytes - 1);
  return ((hi >>> 0) % (pageBytes / 0x100000000)) * 0x100000000 + (lo >>> 0);
}

/** Bits above the scheme's width must equal its top bit. */
function isCanonical(scheme: PagingMode, lo: number, hi: number): boolean {
  if (scheme.indexBits === 10) return true;
  const unused = 64 - (12 + 9 * scheme.levels);
  return (hi << unused) >> unused === hi && (scheme.levels > 2 || hi === lo >> 31);
}

/** Index into the table of `level`. */
function indexAt(scheme: PagingMode, level: number, lo: number, hi: number): number {
  const shift = 12 + level * scheme.indexBits;
  const mask = (1 << scheme.indexBits) - 1;
  if (shift >= 32) return (hi >>> (shift - 32)) & mask;
  const fromLow = lo >>> shift;
  return (shift + scheme.indexBits > 32 ? fromLow | (hi << (32 - shift)) : fromLow) & mask;
}
