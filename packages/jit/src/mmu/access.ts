/**
 * The slow paths of memory access, which translated code calls by name when the TLB does not know a page, the
 * address is not aligned, or the page is a device or holds code.
 *
 * Each takes the guest-virtual address in two halves and, last, the call site, from which it makes the state
 * precise: the program counter names the current instruction, and where a trap or an early exit leaves the block,
 * the instructions that have not retired are given back to the budget. Loads leave the block only by a trap;
 * stores also after themselves, when they changed code that the block may still be about to run, or when a device
 * made an interrupt ready.
 */
import type { GuestMemory } from "../memory/guest-memory.js";
import { Exit, header, PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import { AccessKind, type AddressTranslator, amoKinds, type CallSite, type MmioBus } from "./ports.js";
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
}

/** What a resolved address is. */
const Place = { fault: 0, ram: 1, device: 2 } as const;
type Place = (typeof Place)[keyof typeof Place];

/** The slow paths of one hart. */
export class MemoryAccess {
  readonly counters = { misses: 0, misaligned: 0, mmioReads: 0, mmioWrites: 0, codeWrites: 0 };
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly pcWord: number;
  private readonly wide: boolean;
  private readonly budgetWord: number;
  private readonly exitWord: number;
  private readonly highWord: number;
  private readonly reservation: Int32Array;
  /** Byte offset in linear memory of the last address that `resolve` found in RAM. */
  private place = 0;
  private readonly buffer = new DataView(new ArrayBuffer(8));

  constructor(private readonly options: MemoryAccessOptions) {
    const { memory, hartOffset } = options;
    this.words = memory.i32;
    this.bytes = memory.u8;
    this.view = new DataView(memory.buffer);
    this.pcWord = options.pcOffset >> 2;
    this.wide = options.pcBytes === 8;
    this.budgetWord = (hartOffset + header.budget) >> 2;
    this.exitWord = (hartOffset + header.exit) >> 2;
    this.highWord = (hartOffset + header.resultHigh) >> 2;
    this.reservation = memory.i32.subarray((hartOffset + header.reserved) >> 2, ((hartOffset + header.reservedHigh) >> 2) + 1);
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
    const place = this.resolve(AccessKind.read, lo, hi, site);
    if (place === Place.ram) return this.readRam(size);
    return place === Place.device ? this.readDevice(lo, hi, size, site) : 0;
  }

  private readRam(size: 1 | 2 | 4 | 8): number {
    const { place } = this;
    switch (size) {
      case 1:
        return this.bytes[place]!;
      case 2:
        return this.view.getUint16(place, true);
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
    const place = this.resolve(AccessKind.write, lo, hi, site);
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
        this.view.setInt16(place, low, true);
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
    for (let at = 0; at < size; at++) {
      const low = (lo + at) | 0;
      if (at === 0 || (low & (PAGE_SIZE - 1)) === 0) {
        if (!this.resolveByte(AccessKind.read, low, this.highOf(lo, hi, low), site)) return 0;
      }
      this.buffer.setUint8(at, this.bytes[this.place]!);
      this.place++;
    }
    if (size === 8) this.words[this.highWord] = this.buffer.getInt32(4, true);
    return size === 2 ? this.buffer.getUint16(0, true) : this.buffer.getInt32(0, true);
  }

  private storeMisaligned(lo: number, hi: number, size: number, low: number, high: number, site: CallSite): 0 {
    this.counters.misaligned++;
    const { translator } = this.options;
    const inFirst = Math.min(size, PAGE_SIZE - (lo & (PAGE_SIZE - 1)));
    if (!this.resolveByte(AccessKind.write, lo, hi, site)) return 0;
    const first = this.place;
    const firstGpa = translator.gpa;
    let second = 0;
    if (inFirst < size) {
      const next = (lo + inFirst) | 0;
      if (!this.resolveByte(AccessKind.write, next, this.highOf(lo, hi, next), site)) return 0;
      second = this.place;
    }
    const secondGpa = translator.gpa;
    this.buffer.setInt32(0, low, true);
    this.buffer.setInt32(4, high, true);
    for (let at = 0; at < size; at++) {
      this.bytes[at < inFirst ? first + at : second + at - inFirst] = this.buffer.getUint8(at);
    }
    let dropped = this.reportCode(firstGpa, inFirst);
    if (inFirst < size) dropped = this.reportCode(secondGpa, size - inFirst) || dropped;
    if (dropped) this.leaveAfter(site);
    return 0;
  }

  /** High half of an address a few bytes after `lo:hi`. */
  private highOf(lo: number, hi: number, low: number): number {
    return this.wide && low >>> 0 < lo >>> 0 ? (hi + 1) | 0 : hi;
  }

  /** Resolves one byte of a misaligned access, which devices do not take. */
  private resolveByte(kind: AccessKind, lo: number, hi: number, site: CallSite): boolean {
    const place = this.resolve(kind, lo, hi, site);
    if (place === Place.ram) return true;
    if (place === Place.device) {
      this.options.translator.accessFault(kind, lo, hi);
      this.giveBack(site >>> 15);
    }
    return false;
  }

  // -- devices

  private readDevice(lo: number, hi: number, size: 1 | 2 | 4 | 8, site: CallSite): number {
    const { bus, translator } = this.options;
    this.counters.mmioReads++;
    const { gpa } = translator;
    // While the device runs, nothing is charged that has not retired: clocks read exactly.
    this.giveBack(site >>> 15);
    const low = bus.read(gpa, size === 8 ? 4 : size);
    const high = size === 8 ? bus.read(gpa + 4, 4) : 0;
    this.giveBack(-(site >>> 15));
    if (low === undefined || high === undefined) {
      translator.accessFault(AccessKind.read, lo, hi);
      this.giveBack(site >>> 15);
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
    const { gpa } = translator;
    const mask = size === 1 ? 0xff : size === 2 ? 0xffff : -1;
    this.giveBack(site >>> 15);
    const first = bus.write(gpa, size === 8 ? 4 : size, (low & mask) >>> 0);
    const done = first && (size !== 8 || bus.write(gpa + 4, 4, high >>> 0));
    this.giveBack(-(site >>> 15));
    if (!done) {
      translator.accessFault(AccessKind.write, lo, hi);
      this.giveBack(site >>> 15);
      return;
    }
    if (translator.interruptReady() || this.words[this.exitWord] !== Exit.none) this.leaveAfter(site);
  }

  // -- atomics

  private amo32(kind: number, lo: number, hi: number, value: number, site: CallSite): number {
    if (!this.resolveAtomic(AccessKind.write, lo, hi, 3, site)) return 0;
    const at = this.place >>> 2;
    const old = this.words[at]!;
    this.words[at] = combine32(kind, old, value);
    this.reportCode(this.options.translator.gpa, 4);
    return old;
  }

  private amo64(kind: number, lo: number, hi: number, low: number, high: number, site: CallSite): number {
    if (!this.resolveAtomic(AccessKind.write, lo, hi, 7, site)) return 0;
    const { words } = this;
    const at = this.place >>> 2;
    const oldLow = words[at]!;
    const oldHigh = words[at + 1]!;
    if (kind === AMO_ADD) {
      const sum = (oldLow + low) | 0;
      words[at] = sum;
      words[at + 1] = (oldHigh + high + (sum >>> 0 < low >>> 0 ? 1 : 0)) | 0;
    } else if (kind <= AMO_OR) {
      words[at] = combine32(kind, oldLow, low);
      words[at + 1] = combine32(kind, oldHigh, high);
    } else if (takesNew(kind, oldLow, oldHigh, low, high)) {
      words[at] = low;
      words[at + 1] = high;
    }
    this.reportCode(this.options.translator.gpa, 8);
    words[this.highWord] = oldHigh;
    return oldLow;
  }

  private loadReserved(lo: number, hi: number, size: 4 | 8, site: CallSite): number {
    this.reservation[0] = 0;
    if (!this.resolveAtomic(AccessKind.read, lo, hi, size - 1, site)) return 0;
    const at = this.place >>> 2;
    const low = this.words[at]!;
    const high = size === 8 ? this.words[at + 1]! : 0;
    this.reservation.set([1, this.place, low, high]);
    this.words[this.highWord] = high;
    return low;
  }

  /** The reservation is the value that LR saw: another hart's store in between shows as a different value. */
  private storeConditional(lo: number, hi: number, size: 4 | 8, low: number, high: number, site: CallSite): number {
    const held = this.reservation[0] === 1;
    this.reservation[0] = 0;
    if (!this.resolveAtomic(AccessKind.write, lo, hi, size - 1, site)) return 0;
    const at = this.place >>> 2;
    const { words, reservation } = this;
    const same = words[at] === reservation[2] && (size === 4 || words[at + 1] === reservation[3]);
    if (!held || reservation[1] !== (this.place | 0) || !same) return 1;
    words[at] = low;
    if (size === 8) words[at + 1] = high;
    this.reportCode(this.options.translator.gpa, size);
    return 0;
  }

  private resolveAtomic(kind: AccessKind, lo: number, hi: number, mask: number, site: CallSite): boolean {
    this.enter(site);
    if ((lo & mask) !== 0) {
      this.options.translator.misaligned(kind, lo, hi);
      this.giveBack(site >>> 15);
      return false;
    }
    return this.resolveByte(kind, lo, hi, site);
  }

  // -- common

  /** Makes the program counter slot name the current instruction. */
  private enter(site: CallSite): void {
    this.words[this.pcWord] = (this.words[this.pcWord]! & -PAGE_SIZE) | (site & 0xfff);
  }

  private giveBack(instructions: number): void {
    this.words[this.budgetWord] = this.words[this.budgetWord]! + instructions;
  }

  /** Leaves the block after the current instruction, which has retired. */
  private leaveAfter(site: CallSite): void {
    const { words, pcWord } = this;
    const next = (words[pcWord]! + ((site >>> 12) & 7)) | 0;
    if (this.wide && next >>> 0 < words[pcWord]! >>> 0) words[pcWord + 1] = (words[pcWord + 1]! + 1) | 0;
    words[pcWord] = next;
    this.giveBack((site >>> 15) - 1);
    if (words[this.exitWord] === Exit.none) words[this.exitWord] = Exit.redirect;
  }

  /** Translates an address; in RAM, leaves its place in linear memory and fills the TLB. */
  private resolve(kind: AccessKind, lo: number, hi: number, site: CallSite): Place {
    const { translator, guest, tlb } = this.options;
    this.counters.misses++;
    if (!translator.translate(kind, lo, hi)) {
      this.giveBack(site >>> 15);
      return Place.fault;
    }
    const frame = guest.frameOffset(translator.gpa);
    if (frame < 0) return Place.device;
    this.place = frame + (lo & (PAGE_SIZE - 1));
    if (translator.cacheable && !(kind === AccessKind.write && guest.holdsCode(translator.gpa))) {
      tlb.insert(kind, lo, hi, (frame - (lo & -PAGE_SIZE)) | 0, 0);
      if (translator.pageBytes > PAGE_SIZE) tlb.noteLarge(lo, hi, translator.pageBytes);
    }
    return Place.ram;
  }

  private reportCode(gpa: number, length: number): boolean {
    const { guest } = this.options;
    if (!guest.holdsCode(gpa)) return false;
    this.counters.codeWrites++;
    return guest.onCodeWrite(gpa, length);
  }

  private afterWrite(size: number, site: CallSite): void {
    if (this.reportCode(this.options.translator.gpa, size)) this.leaveAfter(site);
  }
}

const AMO_ADD = 1;
const AMO_OR = 4;

/** The new value of a 32-bit read-modify-write; kinds as in `amoKinds`. */
function combine32(kind: number, old: number, value: number): number {
  switch (amoKinds[kind]) {
    case "swap":
      return value;
    case "add":
      return (old + value) | 0;
    case "xor":
      return old ^ value;
    case "and":
      return old & value;
    case "or":
      return old | value;
    case "min":
      return Math.min(old, value);
    case "max":
      return Math.max(old, value);
    case "minu":
      return old >>> 0 < value >>> 0 ? old : value;
    default:
      return old >>> 0 > value >>> 0 ? old : value;
  }
}

/** Whether a 64-bit min or max stores its operand. */
function takesNew(kind: number, oldLow: number, oldHigh: number, low: number, high: number): boolean {
  const name = amoKinds[kind];
  const unsigned = name === "minu" || name === "maxu";
  const a = unsigned ? oldHigh >>> 0 : oldHigh;
  const b = unsigned ? high >>> 0 : high;
  const less = b === a ? low >>> 0 < oldLow >>> 0 : b < a;
  return name === "min" || name === "minu" ? less : !less;
}
