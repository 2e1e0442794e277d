/**
 * The slow paths of memory access, which translated code calls by name when the TLB does not know a page, the
 * address is not aligned, or the page is a device or holds code.
 *
 * Each takes the guest-virtual address in two halves and, last, the call site, from which it makes the state
 * precise: the program counter names the current instruction, and where a trap or an early exit leaves the block,
 * the instructions that have not retired are given back to the budget. Loads leave the block only by a trap;
 * stores also after themselves, when they changed code that the block may still be about to run, or when a device
 * made an interrupt ready. Where the instruction goes on after the store, the store is late: it leaves a note, and the
 * block calls `settle` where the instruction ends (`passes/late-exits.ts`). Atomics never leave after themselves, because their result is still to be written by the
 * block: code that they change in the rest of that block takes effect when the block is next entered, as
 * architectures allow before an instruction that synchronises fetches with stores.
 *
 * A read-modify-write is atomic among harts where several reach the same frames, by compare-and-swap; elsewhere it is
 * plain.
 */
import type { GuestMemory } from "../memory/guest-memory.js";
import { Exit, header, PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import { type CallSite, CallSites } from "./call-sites.js";
import { AccessKind, type AddressTranslator, lateName, type MmioBus } from "./ports.js";
import type { Tlb } from "./tlb.js";

/** What the slow paths work with. */
export interface MemoryAccessOptions {
  readonly memory: LinearMemory;
  /** Byte offset of the hart's block in linear memory. */
  readonly hartOffset: number;
  readonly guest: GuestMemory;
  readonly tlb: Tlb;
  readonly translator: AddressTranslator;
  readonly bus: MmioBus;
  /** Byte offset in linear memory of the program counter slot. */
  readonly pcOffset: number;
  /** Bytes of the program counter: 4 or 8. */
  readonly pcBytes: 4 | 8;
  /** As in the front end: bytes of the pages in which addresses are translated; 4096 unless given. */
  readonly pageBytes?: number;
  /** Whether other threads may use the same frames at the same time; as the memory is shared unless given. */
  readonly concurrent?: boolean;
}

/** What a resolved address is. */
const Place = { fault: 0, ram: 1, device: 2 } as const;
type Place = (typeof Place)[keyof typeof Place];

/** The slow paths of one hart. */
export class MemoryAccess {
  readonly counters = { misses: 0, misaligned: 0, mmioReads: 0, mmioWrites: 0, codeWrites: 0 };
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly halves: Uint16Array;
  /** The memory as 64-bit integers if others use it at the same time: the only way to swap them atomically. */
  private readonly longs: BigInt64Array | undefined;
  private readonly sites: CallSites;
  private readonly wide: boolean;
  private readonly pageBytes: number;
  private readonly highWord: number;
  private readonly reservation: Int32Array;
  /** Byte offset in linear memory of the last address that was found in RAM. */
  private place = 0;
  /** Its guest-physical address; {@link NO_CODE} if the TLB knew it, and so that stores need not be reported. */
  private gpa = 0;
  /** The same of the first part of a misaligned access. */
  private firstPlace = 0;
  private firstGpa = 0;
  /** Whether the store that is being done is late. */
  private isLate = false;
  /** Two 32-bit words and what they are together: for misaligned accesses and 64-bit swaps. */
  private readonly pair = new Int32Array(2);
  private readonly pairBytes = new Uint8Array(this.pair.buffer);
  private readonly pairLong = new BigInt64Array(this.pair.buffer);
  /** What a device answers to an access of 8 bytes. */
  private readonly wideWords = new Uint32Array(2);

  constructor(private readonly options: MemoryAccessOptions) {
    const { memory, hartOffset, concurrent = memory.shared } = options;
    this.words = memory.i32;
    this.bytes = memory.u8;
    this.halves = memory.u16;
    this.longs = concurrent ? new BigInt64Array(memory.buffer) : undefined;
    this.sites = new CallSites(memory, hartOffset, options.pcOffset, options.pcBytes);
    this.wide = options.pcBytes === 8;
    this.pageBytes = options.pageBytes ?? PAGE_SIZE;
    this.highWord = (hartOffset + header.resultHigh) >> 2;
    this.reservation = memory.i32.subarray(
      (hartOffset + header.reserved) >> 2,
      ((hartOffset + header.reservedHigh) >> 2) + 1,
    );
  }

  /** The slow paths under the names that emitted code uses. */
  bindings(): Record<string, (...args: number[]) => number | undefined> {
    return {
      ld8s: (lo, hi, site) => (this.load(lo!, hi!, 1, site!) << 24) >> 24,
      ld8u: (lo, hi, site) => this.load(lo!, hi!, 1, site!),
      ld16s: (lo, hi, site) => (this.load(lo!, hi!, 2, site!) << 16) >> 16,
      ld16u: (lo, hi, site) => this.load(lo!, hi!, 2, site!),
      ld32: (lo, hi, site) => this.load(lo!, hi!, 4, site!),
      ld64: (lo, hi, site) => this.load(lo!, hi!, 8, site!),
      st8: (lo, hi, value, site) => this.store(lo!, hi!, 1, value!, 0, site!),
      st16: (lo, hi, value, site) => this.store(lo!, hi!, 2, value!, 0, site!),
      st32: (lo, hi, value, site) => this.store(lo!, hi!, 4, value!, 0, site!),
      st64: (lo, hi, low, high, site) => this.store(lo!, hi!, 8, low!, high!, site!),
      [lateName("st8")]: (lo, hi, value, site) => this.storeLate(lo!, hi!, 1, value!, 0, site!),
      [lateName("st16")]: (lo, hi, value, site) => this.storeLate(lo!, hi!, 2, value!, 0, site!),
      [lateName("st32")]: (lo, hi, value, site) => this.storeLate(lo!, hi!, 4, value!, 0, site!),
      [lateName("st64")]: (lo, hi, low, high, site) => this.storeLate(lo!, hi!, 8, low!, high!, site!),
      settle: (site) => this.settle(site!),
      amo32: (kind, lo, hi, value, site) => this.amo32(kind!, lo!, hi!, value!, site!),
      amo64: (kind, lo, hi, low, high, site) => this.amo64(kind!, lo!, hi!, low!, high!, site!),
      lr32: (lo, hi, site) => this.loadReserved(lo!, hi!, 4, site!),
      lr64: (lo, hi, site) => this.loadReserved(lo!, hi!, 8, site!),
      sc32: (lo, hi, value, site) => this.storeConditional(lo!, hi!, 4, value!, 0, site!),
      sc64: (lo, hi, low, high, site) => this.storeConditional(lo!, hi!, 8, low!, high!, site!),
    };
  }

  /**
   * Finds the frame to fetch instructions from: its byte offset in linear memory, or -1 after raising the trap.
   * Leaves the guest-physical address in the translator.
   */
  translatePage(lo: number, hi: number): number {
    const { translator, guest } = this.options;
    if (!translator.translate(AccessKind.fetch, lo, hi)) return -1;
    const frame = guest.frameOffset(translator.gpa);
    if (frame < 0) {
      translator.accessFault(AccessKind.fetch, lo, hi);
      return -1;
    }
    if (translator.pageBytes > PAGE_SIZE) this.options.tlb.noteLarge(lo, hi, translator.pageBytes);
    return frame;
  }

  // -- loads and stores

  private load(lo: number, hi: number, size: 1 | 2 | 4 | 8, site: CallSite): number {
    this.sites.enter(site);
    if ((lo & (size - 1)) !== 0) return this.loadMisaligned(lo, hi, size, site);
    const place = this.resolve(AccessKind.read, lo, hi, size, site);
    if (place === Place.ram) return this.readRam(size);
    return place === Place.device ? this.readDevice(lo, hi, size, site) : 0;
  }

  private readRam(size: 1 | 2 | 4 | 8): number {
    const { place } = this;
    switch (size) {
      case 1:
        return this.bytes[place]!;
      case 2:
        return this.halves[place >>> 1]!;
      case 4:
        return this.words[place >>> 2]!;
      default:
        this.words[this.highWord] = this.words[(place >>> 2) + 1]!;
        return this.words[place >>> 2]!;
    }
  }

  private store(lo: number, hi: number, size: 1 | 2 | 4 | 8, low: number, high: number, site: CallSite): 0 {
    this.sites.enter(site);
    if ((lo & (size - 1)) !== 0) return this.storeMisaligned(lo, hi, size, low, high, site);
    const place = this.resolve(AccessKind.write, lo, hi, size, site);
    if (place === Place.ram) {
      this.writeRam(size, low, high);
      this.afterWrite(size, site);
    } else if (place === Place.device) this.writeDevice(lo, hi, size, low, high, site);
    return 0;
  }

  private storeLate(
    lo: number,
    hi: number,
    size: 1 | 2 | 4 | 8,
    low: number,
    high: number,
    site: CallSite,
  ): 0 {
    this.isLate = true;
    try {
      return this.store(lo, hi, size, low, high, site);
    } finally {
      this.isLate = false;
    }
  }

  private writeRam(size: 1 | 2 | 4 | 8, low: number, high: number): void {
    const { place } = this;
    switch (size) {
      case 1:
        this.bytes[place] = low;
        return;
      case 2:
        this.halves[place >>> 1] = low;
        return;
      case 4:
        this.words[place >>> 2] = low;
        return;
      default:
        this.words[place >>> 2] = low;
        this.words[(place >>> 2) + 1] = high;
    }
  }

  /**
   * Misaligned accesses are done byte by byte, after both pages have been translated; where a device is among them, in
   * aligned pieces as large as they go, as QEMU does.
   */
  private loadMisaligned(lo: number, hi: number, size: number, site: CallSite): number {
    this.counters.misaligned++;
    const inFirst = Math.min(size, this.pageBytes - (lo & (this.pageBytes - 1)));
    const places = this.resolveBoth(AccessKind.read, lo, hi, inFirst, size, site);
    if (places === Place.fault) return 0;
    if (places === Place.device) return this.loadPieces(lo, hi, size, site);
    const first = this.firstPlace;
    const second = this.place - inFirst;
    const { pair, pairBytes, bytes } = this;
    pair[0] = 0;
    for (let at = 0; at < size; at++) pairBytes[at] = bytes[(at < inFirst ? first : second) + at]!;
    if (size === 8) this.words[this.highWord] = pair[1]!;
    return pair[0]!;
  }

  private storeMisaligned(
    lo: number,
    hi: number,
    size: number,
    low: number,
    high: number,
    site: CallSite,
  ): 0 {
    this.counters.misaligned++;
    const inFirst = Math.min(size, this.pageBytes - (lo & (this.pageBytes - 1)));
    const places = this.resolveBoth(AccessKind.write, lo, hi, inFirst, size, site);
    if (places === Place.fault) return 0;
    if (places === Place.device) return this.storePieces(lo, hi, size, low, high, site);
    const first = this.firstPlace;
    const firstGpa = this.firstGpa;
    const second = this.place - inFirst;
    const { pair, pairBytes, bytes } = this;
    pair[0] = low;
    pair[1] = high;
    for (let at = 0; at < size; at++) bytes[(at < inFirst ? first : second) + at] = pairBytes[at]!;
    let dropped = this.takeCodeMoved();
    dropped = this.reportCode(firstGpa, inFirst, true) || dropped;
    if (inFirst < size) dropped = this.reportCode(this.gpa, size - inFirst, true) || dropped;
    if (dropped) this.leaveAfter(site);
    return 0;
  }

  /**
   * Resolves a misaligned access, `inFirst` bytes of which lie in the first page: RAM, or a fault that was raised, or a
   * device if either part is one. Leaves the first part's place in `firstPlace` and `firstGpa`.
   */
  private resolveBoth(
    kind: AccessKind,
    lo: number,
    hi: number,
    inFirst: number,
    size: number,
    site: CallSite,
  ): Place {
    const first = this.resolveKnown(kind, lo, hi, inFirst, site);
    this.firstPlace = this.place;
    this.firstGpa = this.gpa;
    if (first === Place.fault || inFirst === size) return first;
    // Bringing the second page in must not push the first one out.
    if (first === Place.ram) this.options.guest.pool.pin(this.place);
    const second = this.resolveKnown(
      kind,
      (lo + inFirst) | 0,
      this.highAt(lo, hi, inFirst),
      size - inFirst,
      site,
    );
    return second === Place.ram ? first : second;
  }

  /** High half of the address `distance` bytes after an address. */
  private highAt(lo: number, hi: number, distance: number): number {
    return this.wide && (lo + distance) >>> 0 < lo >>> 0 ? (hi + 1) | 0 : hi;
  }

  /** Resolves a misaligned or atomic access to bytes of one page, which the TLB may know. */
  private resolveKnown(kind: AccessKind, lo: number, hi: number, bytes: number, site: CallSite): Place {
    const known = this.options.tlb.lookup(kind, lo, hi);
    if (known < 0) return this.resolve(kind, lo, hi, bytes, site);
    this.place = known;
    this.gpa = NO_CODE;
    return Place.ram;
  }

  /** A misaligned load of which a device has part: its pieces in the order of their addresses. */
  private loadPieces(lo: number, hi: number, size: number, site: CallSite): number {
    const { pair, pairBytes } = this;
    const read = new Uint8Array(8);
    for (let at = 0; at < size; ) {
      const piece = pieceAt(lo + at, size - at);
      const low = (lo + at) | 0;
      const high = this.highAt(lo, hi, at);
      const place = this.resolveKnown(AccessKind.read, low, high, piece, site);
      if (place === Place.fault) return 0;
      const value = place === Place.ram ? this.readRam(piece) : this.askDevice(low, high, piece, site);
      if (value === undefined) return 0;
      for (let byte = 0; byte < piece; byte++) read[at + byte] = value >> (8 * byte);
      at += piece;
    }
    pairBytes.set(read);
    if (size === 8) this.words[this.highWord] = pair[1]!;
    return pair[0]!;
  }

  private storePieces(lo: number, hi: number, size: number, low: number, high: number, site: CallSite): 0 {
    const { translator } = this.options;
    const value = new Uint8Array(new Int32Array([low, high]).buffer);
    let leaves = false;
    for (let at = 0; at < size; ) {
      const piece = pieceAt(lo + at, size - at);
      const pieceLow = (lo + at) | 0;
      const pieceHigh = this.highAt(lo, hi, at);
      const place = this.resolveKnown(AccessKind.write, pieceLow, pieceHigh, piece, site);
      if (place === Place.fault) return 0;
      let bits = 0;
      for (let byte = 0; byte < piece; byte++) bits |= value[at + byte]! << (8 * byte);
      if (place === Place.ram) {
        this.writeRam(piece, bits, 0);
        leaves = this.takeCodeMoved() || leaves;
        leaves = this.reportCode(this.gpa, piece, true) || leaves;
      } else if (!this.tellDevice(pieceLow, pieceHigh, piece, bits, 0, site)) return 0;
      at += piece;
    }
    if (leaves || translator.interruptReady() || this.sites.exit !== Exit.none) this.leaveAfter(site);
    return 0;
  }

  /** Resolves an atomic access to bytes of one page. Devices do not take them. */
  private resolveRam(kind: AccessKind, lo: number, hi: number, bytes: number, site: CallSite): boolean {
    const place = this.resolveKnown(kind, lo, hi, bytes, site);
    if (place === Place.device) {
      this.sites.suspend(site);
      this.options.translator.accessFault(kind, lo, hi);
    }
    return place === Place.ram;
  }

  // -- devices

  private readDevice(lo: number, hi: number, size: 1 | 2 | 4 | 8, site: CallSite): number {
    return this.askDevice(lo, hi, size, site) ?? 0;
  }

  /** What the device at `gpa` answers, its high half in the header; undefined after raising a fault. */
  private askDevice(lo: number, hi: number, size: 1 | 2 | 4 | 8, site: CallSite): number | undefined {
    const { bus, translator } = this.options;
    this.counters.mmioReads++;
    const { gpa } = this;
    this.sites.suspend(site);
    let low: number | undefined;
    let high: number | undefined = 0;
    if (size === 8) {
      const { wideWords } = this;
      if (bus.readWide?.(gpa, wideWords) === true) {
        low = wideWords[0]!;
        high = wideWords[1]!;
      } else {
        low = bus.read(gpa, 4);
        high = bus.read(gpa + 4, 4);
      }
    } else low = bus.read(gpa, size);
    if (low === undefined || high === undefined) {
      translator.accessFault(AccessKind.read, lo, hi);
      return undefined;
    }
    this.sites.resume(site);
    this.words[this.highWord] = high | 0;
    return low | 0;
  }

  private writeDevice(
    lo: number,
    hi: number,
    size: 1 | 2 | 4 | 8,
    low: number,
    high: number,
    site: CallSite,
  ): void {
    if (!this.tellDevice(lo, hi, size, low, high, site)) return;
    if (this.options.translator.interruptReady() || this.sites.exit !== Exit.none) this.leaveAfter(site);
  }

  /** Writes to the device at `gpa`; false after raising a fault. */
  private tellDevice(
    lo: number,
    hi: number,
    size: 1 | 2 | 4 | 8,
    low: number,
    high: number,
    site: CallSite,
  ): boolean {
    const { bus, translator } = this.options;
    this.counters.mmioWrites++;
    const { gpa } = this;
    const mask = size === 1 ? 0xff : size === 2 ? 0xffff : -1;
    this.sites.suspend(site);
    const done =
      size === 8
        ? bus.writeWide?.(gpa, low >>> 0, high >>> 0) === true ||
          (bus.write(gpa, 4, low >>> 0) && bus.write(gpa + 4, 4, high >>> 0))
        : bus.write(gpa, size, (low & mask) >>> 0);
    if (!done) {
      translator.accessFault(AccessKind.write, lo, hi);
      return false;
    }
    this.sites.resume(site);
    return true;
  }

  // -- atomics

  private amo32(kind: number, lo: number, hi: number, value: number, site: CallSite): number {
    if (!this.resolveAtomic(AccessKind.write, lo, hi, 4, site)) return 0;
    const { words } = this;
    const at = this.place >>> 2;
    let old = words[at]!;
    if (this.longs === undefined) words[at] = combine32(kind, old, value);
    else {
      for (let seen = Atomics.load(words, at); ; seen = old) {
        old = Atomics.compareExchange(words, at, seen, combine32(kind, seen, value));
        if (old === seen) break;
      }
    }
    this.reportCode(this.gpa, 4, false);
    return old;
  }

  private amo64(kind: number, lo: number, hi: number, low: number, high: number, site: CallSite): number {
    if (!this.resolveAtomic(AccessKind.write, lo, hi, 8, site)) return 0;
    const { words, pair } = this;
    const at = this.place >>> 2;
    let oldLow: number;
    let oldHigh: number;
    do {
      oldLow = words[at]!;
      oldHigh = words[at + 1]!;
      pair[0] = low;
      pair[1] = high;
      if (kind === Amo.add) {
        const sum = (oldLow + low) | 0;
        pair[0] = sum;
        pair[1] = (oldHigh + high + (sum >>> 0 < low >>> 0 ? 1 : 0)) | 0;
      } else if (kind <= Amo.or) {
        pair[0] = combine32(kind, oldLow, low);
        pair[1] = combine32(kind, oldHigh, high);
      } else if (!takesNew(kind, oldLow, oldHigh, low, high)) {
        pair[0] = oldLow;
        pair[1] = oldHigh;
      }
    } while (!this.swapPair(at, oldLow, oldHigh));
    this.reportCode(this.gpa, 8, false);
    words[this.highWord] = oldHigh;
    return oldLow;
  }

  private loadReserved(lo: number, hi: number, size: 4 | 8, site: CallSite): number {
    const { reservation, words } = this;
    reservation[0] = 0;
    if (!this.resolveAtomic(AccessKind.read, lo, hi, size, site) || !this.ownPage(lo, hi, size, site))
      return 0;
    const at = this.place >>> 2;
    const low = words[at]!;
    const high = size === 8 ? words[at + 1]! : 0;
    reservation[0] = 1;
    reservation[1] = this.place;
    reservation[2] = low;
    reservation[3] = high;
    words[this.highWord] = high;
    return low;
  }

  /**
   * Gives the page of a load that reserves a frame of its own: a reservation in a frame that others share would be lost
   * to the copy that the SC makes, and where that happens must not depend on who shares.
   */
  private ownPage(lo: number, hi: number, size: number, site: CallSite): boolean {
    const { guest } = this.options;
    if (guest.pool.isPrivate(this.place)) return true;
    if (this.resolve(AccessKind.read, lo, hi, size, site) !== Place.ram) return false;
    const frame = guest.writableFrame(this.gpa);
    // Without a frame for the copy, the reservation is one that a store elsewhere may end.
    if (frame >= 0) this.place = frame + (this.gpa & (PAGE_SIZE - 1));
    return true;
  }

  /** The reservation is the value that LR saw: another hart's store in between shows as a different value. */
  private storeConditional(
    lo: number,
    hi: number,
    size: 4 | 8,
    low: number,
    high: number,
    site: CallSite,
  ): number {
    const { words, reservation, pair } = this;
    const held = reservation[0] === 1;
    reservation[0] = 0;
    if (!this.resolveAtomic(AccessKind.write, lo, hi, size, site)) return 0;
    if (!held || reservation[1] !== (this.place | 0)) return 1;
    const at = this.place >>> 2;
    const seen = reservation[2]!;
    pair[0] = low;
    pair[1] = high;
    if (size === 8) {
      if (!this.swapPair(at, seen, reservation[3]!)) return 1;
    } else if (this.longs !== undefined) {
      if (Atomics.compareExchange(words, at, seen, low) !== seen) return 1;
    } else {
      if (words[at] !== seen) return 1;
      words[at] = low;
    }
    this.reportCode(this.gpa, size, false);
    return 0;
  }

  /** Stores `pair` at a word index if `low` and `high` are there. */
  private swapPair(at: number, low: number, high: number): boolean {
    const { words, pair, pairLong, longs } = this;
    if (longs === undefined) {
      if (words[at] !== low || words[at + 1] !== high) return false;
      words[at] = pair[0]!;
      words[at + 1] = pair[1]!;
      return true;
    }
    const next = pairLong[0]!;
    pair[0] = low;
    pair[1] = high;
    const expected = pairLong[0]!;
    return Atomics.compareExchange(longs, at >>> 1, expected, next) === expected;
  }

  private resolveAtomic(kind: AccessKind, lo: number, hi: number, size: 4 | 8, site: CallSite): boolean {
    this.sites.enter(site);
    if ((lo & (size - 1)) !== 0) {
      this.sites.suspend(site);
      this.options.translator.misaligned(kind, lo, hi);
      return false;
    }
    return this.resolveRam(kind, lo, hi, size, site);
  }

  // -- common

  /** An instruction ends that left a note to leave after it. */
  private settle(site: CallSite): 0 {
    this.sites.settle(site);
    return 0;
  }

  /** Leaves the block after the current instruction, which has retired, or notes that it has to. */
  private leaveAfter(site: CallSite): void {
    if (this.isLate) this.sites.leaveLate();
    else this.sites.leaveAfter(site);
  }

  /** Translates `bytes` bytes of one page; in RAM, leaves their place in linear memory and fills the TLB. */
  private resolve(kind: AccessKind, lo: number, hi: number, bytes: number, site: CallSite): Place {
    const { translator, guest, tlb } = this.options;
    this.counters.misses++;
    this.sites.suspend(site);
    if (!translator.translate(kind, lo, hi, bytes)) return Place.fault;
    this.sites.resume(site);
    this.gpa = translator.gpa;
    const frame = kind === AccessKind.write ? guest.writableFrame(this.gpa) : guest.frameOffset(this.gpa);
    if (frame < 0) return Place.device;
    this.place = frame + (this.gpa & (PAGE_SIZE - 1));
    if (translator.cacheable && !(kind === AccessKind.write && guest.holdsCode(this.gpa, this.pageBytes))) {
      tlb.insert(kind, lo, hi, (this.place - lo) | 0, 0);
      if (translator.pageBytes > PAGE_SIZE) tlb.noteLarge(lo, hi, translator.pageBytes);
    }
    return Place.ram;
  }

  /**
   * Reports a write to the owner of translations.
   * @param leaves whether the caller leaves the block if the answer is true: code has gone
   */
  private reportCode(gpa: number, length: number, leaves: boolean): boolean {
    const { guest } = this.options;
    if (gpa === NO_CODE || !guest.holdsCode(gpa, this.pageBytes)) return false;
    this.counters.codeWrites++;
    return guest.onCodeWrite(gpa, length, leaves);
  }

  /** Whether a page that holds code was copied for this write: the code that runs may be the old frame's. */
  private takeCodeMoved(): boolean {
    const { guest } = this.options;
    const moved = guest.codeMoved;
    guest.codeMoved = false;
    return moved;
  }

  private afterWrite(size: number, site: CallSite): void {
    const moved = this.takeCodeMoved();
    if (this.reportCode(this.gpa, size, true) || moved) this.leaveAfter(site);
  }
}

/** Bytes of the largest aligned piece at an address, of `bytes` at most; devices take 4 at once. */
function pieceAt(address: number, bytes: number): 1 | 2 | 4 {
  if ((address & 1) !== 0 || bytes < 2) return 1;
  return (address & 2) !== 0 || bytes < 4 ? 2 : 4;
}

/** Stands for the address of a page that the write TLB holds: it is RAM without code. */
const NO_CODE = -1;

/** Numbers of the read-modify-write operations: their places in `amoKinds`. */
const Amo = { swap: 0, add: 1, xor: 2, and: 3, or: 4, min: 5, max: 6, minu: 7 } as const;

/** The new value of a 32-bit read-modify-write; kinds as in `amoKinds`. */
function combine32(kind: number, old: number, value: number): number {
  switch (kind) {
    case Amo.swap:
      return value;
    case Amo.add:
      return (old + value) | 0;
    case Amo.xor:
      return old ^ value;
    case Amo.and:
      return old & value;
    case Amo.or:
      return old | value;
    case Amo.min:
      return Math.min(old, value);
    case Amo.max:
      return Math.max(old, value);
    case Amo.minu:
      return old >>> 0 < value >>> 0 ? old : value;
    default:
      return old >>> 0 > value >>> 0 ? old : value;
  }
}

/** Whether a 64-bit min or max stores its operand. */
function takesNew(kind: number, oldLow: number, oldHigh: number, low: number, high: number): boolean {
  const unsigned = kind >= Amo.minu;
  const a = unsigned ? oldHigh >>> 0 : oldHigh;
  const b = unsigned ? high >>> 0 : high;
  const less = b === a ? low >>> 0 < oldLow >>> 0 : b < a;
  return kind === Amo.min || kind === Amo.minu ? less : !less;
}
