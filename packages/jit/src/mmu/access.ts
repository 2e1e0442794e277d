/**
 * The slow paths of memory access, which translated code calls by name when the TLB does not know a page, the
 * address is not aligned, or the page is a device or holds code.
 *
 * Each takes the guest-virtual address in two halves and, last, the call site, from which it makes the state
 * precise: the program counter names the current instruction, and where a trap or an early exit leaves the block,
 * the instructions that have not retired are given back to the budget. Loads leave the block only by a trap;
 * stores also after themselves, when they changed code that the block may still be about to run, or when a device
 * made an interrupt ready or took code away. Where the instruction goes on after the store, the store is late: it leaves a note, and the
 * block calls `settle` where the instruction ends (`passes/late-exits.ts`). Where an address leads is found in `resolver.ts`;
 * devices are asked in `device-access.ts`, atomics are in `atomics.ts`.
 */
import { Exit, header, PAGE_SIZE } from "../memory/layout.js";
import { AtomicAccess } from "./atomics.js";
import { type CallSite, CallSites } from "./call-sites.js";
import { DeviceAccess } from "./device-access.js";
import { AccessKind, lateName } from "./ports.js";
import { type MemoryAccessOptions, Place, Resolver } from "./resolver.js";

export type { MemoryAccessOptions };

/** The slow paths of one hart. */
export class MemoryAccess extends Resolver {
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly halves: Uint16Array;
  private readonly devices: DeviceAccess;
  private readonly atomics: AtomicAccess;
  private readonly wide: boolean;
  private readonly highWord: number;
  /** Place and guest-physical address of the first part of a misaligned access. */
  private firstPlace = 0;
  private firstGpa = 0;
  /** Whether the store that is being done is late. */
  private isLate = false;
  /** The bytes of a misaligned access, as two words. */
  private readonly pair = new Int32Array(2);
  private readonly pairBytes = new Uint8Array(this.pair.buffer);

  constructor(options: MemoryAccessOptions) {
    const { memory, hartOffset } = options;
    super(options, new CallSites(memory, hartOffset, options.pcOffset, options.pcBytes));
    this.words = memory.i32;
    this.bytes = memory.u8;
    this.halves = memory.u16;
    this.wide = options.pcBytes === 8;
    this.highWord = (hartOffset + header.resultHigh) >> 2;
    this.devices = new DeviceAccess(options, this.sites, this, this.highWord);
    this.atomics = new AtomicAccess(options, this.sites, this, this.highWord);
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
      amo32: (kind, lo, hi, value, site) => this.atomics.amo32(kind!, lo!, hi!, value!, site!),
      amo64: (kind, lo, hi, low, high, site) => this.atomics.amo64(kind!, lo!, hi!, low!, high!, site!),
      lr32: (lo, hi, site) => this.atomics.loadReserved(lo!, hi!, 4, site!),
      lr64: (lo, hi, site) => this.atomics.loadReserved(lo!, hi!, 8, site!),
      sc32: (lo, hi, value, site) => this.atomics.storeConditional(lo!, hi!, 4, value!, 0, site!),
      sc64: (lo, hi, low, high, site) => this.atomics.storeConditional(lo!, hi!, 8, low!, high!, site!),
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
      const value = place === Place.ram ? this.readRam(piece) : this.devices.ask(low, high, piece, site);
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
      } else if (!this.devices.tell(pieceLow, pieceHigh, piece, bits, 0, site)) return 0;
      else leaves = this.takeCodeMoved() || leaves;
      at += piece;
    }
    if (leaves || translator.interruptReady() || this.sites.exit !== Exit.none) this.leaveAfter(site);
    return 0;
  }

  // -- devices

  private readDevice(lo: number, hi: number, size: 1 | 2 | 4 | 8, site: CallSite): number {
    return this.devices.ask(lo, hi, size, site) ?? 0;
  }

  private writeDevice(
    lo: number,
    hi: number,
    size: 1 | 2 | 4 | 8,
    low: number,
    high: number,
    site: CallSite,
  ): void {
    if (!this.devices.tell(lo, hi, size, low, high, site)) return;
    const moved = this.takeCodeMoved();
    if (moved || this.options.translator.interruptReady() || this.sites.exit !== Exit.none)
      this.leaveAfter(site);
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
