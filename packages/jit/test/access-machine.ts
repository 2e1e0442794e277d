/**
 * Slow paths of memory access on a small memory, under a fake CPU model: addresses translate to themselves unless a
 * page is remapped or forbidden, and traps are written down instead of taken.
 */
import { FramePool } from "../src/memory/frames.js";
import { GuestMemory } from "../src/memory/guest-memory.js";
import { Exit, HART_STRIDE, header, PAGE_SIZE, STATE_OFFSET } from "../src/memory/layout.js";
import { LinearMemory } from "../src/memory/linear-memory.js";
import { movesBytes } from "../src/memory/observers.js";
import { MemoryAccess } from "../src/mmu/access.js";
import type { AccessKind, AddressTranslator, MmioBus } from "../src/mmu/ports.js";
import { Tlb } from "../src/mmu/tlb.js";

/** Guest-physical address of the machine's RAM. */
export const RAM = 0x80000000;
/** Pages of RAM. */
export const RAM_PAGES = 16;
/** One for each page, one for a copy, and the frame of zeros. */
const POOL_FRAMES = RAM_PAGES + 2;
/** Guest-physical address of the device: 64 bytes, of which the upper 32 do not answer. */
export const DEVICE = 0x10000000;
/** Budget at the start of every test. */
export const BUDGET = 1000;

/** A trap that the CPU model was asked for. */
export interface RaisedTrap {
  readonly cause: "page" | "access" | "misaligned";
  readonly kind: AccessKind;
  readonly lo: number;
  readonly hi: number;
  /** Low half of the program counter when it was raised. */
  readonly pc: number;
}

const pageKey = (lo: number, hi: number): string => `${hi >>> 0}:${lo >>> 12}`;

/** A CPU model that writes traps down. */
export class FakeTranslator implements AddressTranslator {
  gpa = 0;
  cacheable = true;
  pageBytes = PAGE_SIZE;
  interrupt = false;
  readonly raised: RaisedTrap[] = [];
  /** Translations asked for. */
  walks = 0;
  private readonly maps = new Map<string, number>();
  private readonly forbidden = new Map<string, readonly AccessKind[]>();
  private readonly partial = new Map<number, number>();

  constructor(
    private readonly words: Int32Array,
    private readonly exitWord: number,
    private readonly pcWord: number,
  ) {}

  /** Maps the page of a guest-virtual address to the page of `gpa`. */
  map(lo: number, hi: number, gpa: number): void {
    this.maps.set(pageKey(lo, hi), gpa - (gpa % PAGE_SIZE));
  }

  /** Makes accesses of these kinds to the page of an address fault. */
  forbid(lo: number, hi: number, ...kinds: AccessKind[]): void {
    this.forbidden.set(pageKey(lo, hi), kinds);
  }

  /** Makes the page of `gpa` accessible only below `gpa`, as a PMP region that ends inside a page does. */
  endAt(gpa: number): void {
    this.partial.set(Math.floor(gpa / PAGE_SIZE), gpa);
  }

  translate(kind: AccessKind, lo: number, hi: number, bytes = 1): boolean {
    this.walks++;
    const key = pageKey(lo, hi);
    if (this.forbidden.get(key)?.includes(kind)) {
      this.raise("page", kind, lo, hi);
      return false;
    }
    const base = this.maps.get(key) ?? (hi >>> 0) * 0x100000000 + ((lo & -PAGE_SIZE) >>> 0);
    const gpa = base + (lo & (PAGE_SIZE - 1));
    const end = this.partial.get(Math.floor(gpa / PAGE_SIZE));
    this.cacheable = end === undefined;
    if (end !== undefined && gpa + bytes > end) {
      this.raise("access", kind, lo, hi);
      return false;
    }
    this.gpa = gpa;
    return true;
  }

  accessFault(kind: AccessKind, lo: number, hi: number): void {
    this.raise("access", kind, lo, hi);
  }

  misaligned(kind: AccessKind, lo: number, hi: number): void {
    this.raise("misaligned", kind, lo, hi);
  }

  interruptReady(): boolean {
    return this.interrupt;
  }

  private raise(cause: RaisedTrap["cause"], kind: AccessKind, lo: number, hi: number): void {
    this.raised.push({ cause, kind, lo, hi, pc: this.words[this.pcWord]! });
    this.words[this.exitWord] = Exit.redirect;
  }
}

/** A device whose registers remember what was written; accesses are logged as text. */
export class FakeBus implements MmioBus {
  readonly log: string[] = [];
  /** Runs inside every write that answers. */
  onWrite: () => void = () => {};
  private readonly bytes = new DataView(new ArrayBuffer(32));

  read(gpa: number, size: 1 | 2 | 4): number | undefined {
    const at = gpa - DEVICE;
    if (at < 0 || at + size > this.bytes.byteLength) return undefined;
    this.log.push(`read${size} ${at}`);
    if (size === 1) return this.bytes.getUint8(at);
    return size === 2 ? this.bytes.getUint16(at, true) : this.bytes.getUint32(at, true);
  }

  write(gpa: number, size: 1 | 2 | 4, value: number): boolean {
    const at = gpa - DEVICE;
    if (at < 0 || at + size > this.bytes.byteLength) return false;
    this.log.push(`write${size} ${at} ${value.toString(16)}`);
    if (size === 1) this.bytes.setUint8(at, value);
    else if (size === 2) this.bytes.setUint16(at, value, true);
    else this.bytes.setUint32(at, value, true);
    this.onWrite();
    return true;
  }
}

/** What is around the slow paths. */
export class AccessMachine {
  readonly memory: LinearMemory;
  readonly guest: GuestMemory;
  readonly pool: FramePool;
  readonly tlb: Tlb;
  readonly translator: FakeTranslator;
  readonly bus = new FakeBus();
  readonly access: MemoryAccess;
  /** The slow paths; see `MemoryAccess.bindings`. */
  readonly call: Record<string, (...args: number[]) => number>;
  private readonly pcWord: number;

  constructor(options: { readonly pcBytes?: 4 | 8; readonly shared?: boolean } = {}) {
    const { pcBytes = 8, shared = false } = options;
    const frames = 2 * HART_STRIDE;
    this.memory = LinearMemory.create({ bytes: frames + POOL_FRAMES * PAGE_SIZE, shared });
    this.pool = new FramePool(this.memory, frames, POOL_FRAMES);
    this.guest = new GuestMemory({ pool: this.pool, ramBase: RAM, ramBytes: RAM_PAGES * PAGE_SIZE });
    // The second hart block, so that offsets are not zero.
    const hartOffset = HART_STRIDE;
    const pcOffset = hartOffset + STATE_OFFSET + 8;
    this.pcWord = pcOffset >> 2;
    this.tlb = new Tlb(this.memory, hartOffset);
    this.translator = new FakeTranslator(this.memory.i32, (hartOffset + header.exit) >> 2, this.pcWord);
    const { memory, guest, tlb, translator, bus } = this;
    this.access = new MemoryAccess({ memory, hartOffset, guest, tlb, translator, bus, pcOffset, pcBytes });
    guest.observe({
      onRemap: (frame, _, cause) => {
        tlb.dropAll(frame);
        if (movesBytes(cause) && guest.pool.holdsCode(frame)) this.access.noteCodeMoved();
      },
    });
    this.call = this.access.bindings() as Record<string, (...args: number[]) => number>;
    this.setHeader("budget", BUDGET);
  }

  /** A word of the hart's header. */
  header(field: keyof typeof header): number {
    return this.memory.i32[(HART_STRIDE + header[field]) >> 2]!;
  }

  /** Writes a word of the hart's header. */
  setHeader(field: keyof typeof header, value: number): void {
    this.memory.i32[(HART_STRIDE + header[field]) >> 2] = value;
  }

  /** The program counter's halves. */
  get pc(): [number, number] {
    return [this.memory.i32[this.pcWord]!, this.memory.i32[this.pcWord + 1]!];
  }

  set pc([lo, hi]: [number, number]) {
    this.memory.i32[this.pcWord] = lo;
    this.memory.i32[this.pcWord + 1] = hi;
  }

  /** Bytes of guest memory. */
  peek(gpa: number, length: number): number[] {
    const bytes = new Uint8Array(length);
    if (!this.guest.read(gpa, bytes)) throw new RangeError(`${gpa} is not in RAM`);
    return [...bytes];
  }

  /** Calls a slow path that gives 64 bits. */
  wide(name: string, ...args: number[]): bigint {
    const low = this.call[name]!(...args);
    return (BigInt(this.header("resultHigh") >>> 0) << 32n) | BigInt(low >>> 0);
  }
}
