/**
 * The slow paths of memory access, which translated code calls by name when the TLB does not know a page, the
 * address is not aligned, or the page is a device or holds code.
 *
 * Each takes the guest-virtual address in two halves and, last, the call site, from which it makes the state
 * precise: the program counter names the current instruction, and where a trap or an early exit leaves the block,
 * the instructions that have not retired are given back to the budget. Loads leave the block only by a trap;
 * stores also after themselves, when they changed code that the block may still be about to run, or when a device
 * made an interrupt ready. Atomics never leave after themselves, because their result is still to be written by the
 * block: code that they change in the rest of that block takes effect when the block is next entered, as
 * architectures allow before an instruction that synchronises fetches with stores.
 *
 * A read-modify-write is atomic among harts where several reach the same frames, by compare-and-swap; elsewhere it is
 * plain.
 */
import type { GuestMemory } from "../memory/guest-memory.js";
import { Exit, header, PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import {
  AccessKind,
  type AddressTranslator,
  type CallSite,
  lengthAt,
  type MmioBus,
  unretiredAfter,
  unretiredAt,
} from "./ports.js";
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
  private readonly pcWord: number;
  private readonly wide: boolean;
  private readonly pageBytes: number;
  private readonly budgetWord: number;
  private readonly exitWord: number;
  private readonly highWord: number;
  private readonly reservation: Int32Array;
  /** Byte offset in linear memory of the last address that was found in RAM. */
  private place = 0;
  /** Its guest-physical address; {@link NO_CODE} if the TLB knew it, and so that stores need not be reported. */
  private gpa = 0;
  /** Two 32-bit words and what they are together: for misaligned accesses and 64-bit swaps. */
  private readonly pair = new Int32Array(2);
  private readonly pairBytes = new Uint8Array(this.pair.buffer);
  private readonly pairLong = new BigInt64Array(this.pair.buffer);

  constructor(private readonly options: MemoryAccessOptions) {
    const { memory, hartOffset, concurrent = memory.shared } = options;
    this.words = memory.i32;
    this.bytes = memory.u8;
    this.halves = memory.u16;
    this.longs = concurrent ? new BigInt64Array(memory.buffer) : undefined;
    this.pcWord = options.pcOffset >> 2;
    this.wide = options.pcBytes === 8;
    this.pageBytes = options.pageBytes ?? PAGE_SIZE;
    this.budgetWord = (hartOffset + header.budget) >> 2;
    this.exitWord = (hartOffset + header.exit) >> 2;
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
    this.enter(site);
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
    this.enter(site);
    if ((lo & (size - 1)) !== 0) return this.storeMisaligned(lo, hi, size, low, high, site);
    const place = this.resolve(AccessKind.write, lo, hi, size, site);
    if (place === Place.ram) {
      this.writeRam(size, low, high);
      this.afterWrite(size, site);
    } else if (place === Place.device) this.writeDevice(lo, hi, size, low, high, site);
    return 0;
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

  /** Misaligned accesses are done byte by byte, after both pages have been translated. */
  private loadMisaligned(lo: number, hi: number, size: number, site: CallSite): number {
    this.counters.misaligned++;
    const inFirst = Math.min(size, this.pageBytes - (lo & (this.pageBytes - 1)));
    if (!this.resolveRam(AccessKind.read, lo, hi, inFirst, site)) return 0;
    const first = this.place;
    if (inFirst < size && !this.resolveSecond(AccessKind.read, lo, hi, inFirst, size, site)) return 0;
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
    if (!this.resolveRam(AccessKind.write, lo, hi, inFirst, site)) return 0;
    const first = this.place;
    const firstGpa = this.gpa;
    if (inFirst < size && !this.resolveSecond(AccessKind.write, lo, hi, inFirst, size, site)) return 0;
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

  /** Resolves the part of a misaligned access that lies in the next page. */
  private resolveSecond(
    kind: AccessKind,
    lo: number,
    hi: number,
    inFirst: number,
    size: number,
    site: CallSite,
  ): boolean {
    // Bringing the second page in must not push the first one out.
    this.options.guest.pool.pin(this.place);
    const next = (lo + inFirst) | 0;
    return this.resolveRam(kind, next, this.wide && next === 0 ? (hi + 1) | 0 : hi, size - inFirst, site);
  }

  /** Resolves a misaligned or atomic access to bytes of one page. Devices do not take them. */
  private resolveRam(kind: AccessKind, lo: number, hi: number, bytes: number, site: CallSite): boolean {
    const { tlb, translator } = this.options;
    const known = tlb.lookup(kind, lo, hi);
    if (known >= 0) {
      this.place = known;
      this.gpa = NO_CODE;
      return true;
    }
    const place = this.resolve(kind, lo, hi, bytes, site);
    if (place === Place.device) {
      translator.accessFault(kind, lo, hi);
      this.giveBack(unretiredAt(site));
    }
    return place === Place.ram;
  }

  // -- devices

  private readDevice(lo: number, hi: number, size: 1 | 2 | 4 | 8, site: CallSite): number {
    const { bus, translator } = this.options;
    this.counters.mmioReads++;
    const { gpa } = this;
    // While the device runs, nothing is charged that has not retired: clocks read exactly.
    this.giveBack(unretiredAt(site));
    const low = bus.read(gpa, size === 8 ? 4 : size);
    const high = size === 8 ? bus.read(gpa + 4, 4) : 0;
    this.giveBack(-unretiredAt(site));
    if (low === undefined || high === undefined) {
      translator.accessFault(AccessKind.read, lo, hi);
      this.giveBack(unretiredAt(site));
      return 0;
    }
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
    const { bus, translator } = this.options;
    this.counters.mmioWrites++;
    const { gpa } = this;
    const mask = size === 1 ? 0xff : size === 2 ? 0xffff : -1;
    this.giveBack(unretiredAt(site));
    const first = bus.write(gpa, size === 8 ? 4 : size, (low & mask) >>> 0);
    const done = first && (size !== 8 || bus.write(gpa + 4, 4, high >>> 0));
    this.giveBack(-unretiredAt(site));
    if (!done) {
      translator.accessFault(AccessKind.write, lo, hi);
      this.giveBack(unretiredAt(site));
      return;
    }
    if (translator.interruptReady() || this.words[this.exitWord] !== Exit.none) this.leaveAfter(site);
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
    this.enter(site);
    if ((lo & (size - 1)) !== 0) {
      this.options.translator.misaligned(kind, lo, hi);
      this.giveBack(unretiredAt(site));
      return false;
    }
    return this.resolveRam(kind, lo, hi, size, site);
  }

  // -- common

  /** Makes the program counter slot name the current instruction. */
  private enter(site: CallSite): void {
    this.words[this.pcWord] = (this.words[this.pcWord]! & -PAGE_SIZE) | (site & 0xfff);
  }

  private giveBack(units: number): void {
    this.words[this.budgetWord] = this.words[this.budgetWord]! + units;
  }

  /** Leaves the block after the current instruction, which has retired. */
  private leaveAfter(site: CallSite): void {
    const { words, pcWord } = this;
    const next = (words[pcWord]! + lengthAt(site)) | 0;
    if (this.wide && next >>> 0 < words[pcWord]! >>> 0) words[pcWord + 1] = (words[pcWord + 1]! + 1) | 0;
    words[pcWord] = next;
    this.giveBack(unretiredAfter(site));
    if (words[this.exitWord] === Exit.none) words[this.exitWord] = Exit.redirect;
  }

  /** Translates `bytes` bytes of one page; in RAM, leaves their place in linear memory and fills the TLB. */
  private resolve(kind: AccessKind, lo: number, hi: number, bytes: number, site: CallSite): Place {
    const { translator, guest, tlb } = this.options;
    this.counters.misses++;
    if (!translator.translate(kind, lo, hi, bytes)) {
      this.giveBack(unretiredAt(site));
      return Place.fault;
    }
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
