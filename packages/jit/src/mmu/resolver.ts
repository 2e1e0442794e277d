/**
 * Where the bytes of an access are: in a frame, with a device, or nowhere because translation faults. What is found in a
 * frame goes into the TLB, unless the page holds code and is to be written: those stores are reported.
 */
import type { GuestMemory } from "../memory/guest-memory.js";
import { PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import type { CallSite, CallSites } from "./call-sites.js";
import { AccessKind, type AddressTranslator, type MmioBus } from "./ports.js";
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

/** What a resolved address is. What no frame takes is a device's: there the bus answers, or refuses. */
export const Place = { fault: 0, ram: 1, device: 2 } as const;
export type Place = (typeof Place)[keyof typeof Place];

/** Stands for the address of a page that the write TLB holds: it is memory without code. */
const NO_CODE = -1;

/** The resolver of one hart. */
export class Resolver {
  readonly counters = { misses: 0, misaligned: 0, mmioReads: 0, mmioWrites: 0, codeWrites: 0 };
  readonly pageBytes: number;
  /** Byte offset in linear memory of the last address that was found in a frame. */
  place = 0;
  /** Its guest-physical address; {@link NO_CODE} if the TLB knew it, and so that stores need not be reported. */
  gpa = 0;
  /** Whether a page that holds code has other bytes since this was last asked. */
  private codeMoved = false;

  constructor(
    protected readonly options: MemoryAccessOptions,
    protected readonly sites: CallSites,
  ) {
    this.pageBytes = options.pageBytes ?? PAGE_SIZE;
  }

  /** Translates `bytes` bytes of one page; in a frame, leaves their place in linear memory and fills the TLB. */
  resolve(kind: AccessKind, lo: number, hi: number, bytes: number, site: CallSite): Place {
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

  /** Resolves a misaligned or atomic access to bytes of one page, which the TLB may know. */
  resolveKnown(kind: AccessKind, lo: number, hi: number, bytes: number, site: CallSite): Place {
    const known = this.options.tlb.lookup(kind, lo, hi);
    if (known < 0) return this.resolve(kind, lo, hi, bytes, site);
    this.place = known;
    this.gpa = NO_CODE;
    return Place.ram;
  }

  /**
   * Reports a write to the owners of translations.
   * @param leaves whether the caller leaves the block if the answer is true: code has gone
   */
  reportCode(gpa: number, length: number, leaves: boolean): boolean {
    const { guest } = this.options;
    if (gpa === NO_CODE || !guest.holdsCode(gpa, this.pageBytes)) return false;
    this.counters.codeWrites++;
    return guest.noteCodeWrite(gpa, length, leaves);
  }

  /** A page of the current guest that holds code was copied, dropped or unmapped: what runs may be the old frame's. */
  noteCodeMoved(): void {
    this.codeMoved = true;
  }

  /** Whether code has moved since this was last asked. */
  takeCodeMoved(): boolean {
    const moved = this.codeMoved;
    this.codeMoved = false;
    return moved;
  }
}
