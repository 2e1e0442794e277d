/**
 * Physical memory protection (privileged manual, 3.7): 16 entries, granularity 4 bytes. Regions are kept as pairs
 * of addresses and recomputed when a CSR changes, so that a check is a short scan.
 */
import { PAGE_SIZE } from "../../memory/layout.js";
import { AccessKind } from "../../mmu/ports.js";
import { RiscvMode } from "./privilege.js";

/** Number of entries. */
export const PMP_ENTRIES = 16;
const LOCK = 0x80;
const READ = 1;
const WRITE = 2;
const EXECUTE = 4;
const OFF = 0;
const TOR = 1;
const NA4 = 2;
/** Bits of the high half of an address register. */
export const PMP_ADDRESS_HIGH = 0x3fffff;

/** A configuration byte as its register holds it: W without R is reserved, the field keeps its other bits (3.7.1). */
export const legalConfig = (value: number): number =>
  ((value & (READ | WRITE)) === WRITE ? value & ~WRITE : value) & 0x9f;

/** The entries of one hart. */
export class Pmp {
  readonly config = new Uint8Array(PMP_ENTRIES);
  /** Address registers: bits 33-2 (and 55-34 on RV64) of an address, in two halves. */
  readonly addressLow = new Int32Array(PMP_ENTRIES);
  readonly addressHigh = new Int32Array(PMP_ENTRIES);
  private readonly from = new Float64Array(PMP_ENTRIES);
  private readonly to = new Float64Array(PMP_ENTRIES);
  /** Whether any entry is on. */
  active = false;
  /** Entries up to the last one that is on. */
  private entries = 0;

  /** @param openByDefault S and U mode may access everything while no entry is on: there is no firmware to say so */
  constructor(private readonly openByDefault: boolean) {}

  /** All entries off. */
  reset(): void {
    this.config.fill(0);
    this.addressLow.fill(0);
    this.addressHigh.fill(0);
    this.update();
  }

  /** Writes one configuration byte; locked entries keep theirs. */
  writeConfig(entry: number, value: number): void {
    if ((this.config[entry]! & LOCK) !== 0) return;
    this.config[entry] = legalConfig(value);
    this.update();
  }

  /** Writes an address register unless it is locked, or is the lower bound of a locked TOR entry. */
  writeAddress(entry: number, lo: number, hi: number): void {
    if ((this.config[entry]! & LOCK) !== 0) return;
    const next = this.config[entry + 1] ?? 0;
    if ((next & LOCK) !== 0 && ((next >> 3) & 3) === TOR) return;
    this.addressLow[entry] = lo;
    this.addressHigh[entry] = hi & PMP_ADDRESS_HIGH;
    this.update();
  }

  /**
   * Whether an access of `bytes` bytes at `gpa` is allowed in `mode`. The lowest-numbered entry that matches any of
   * them decides, and must match them all (3.7.1, "Priority and Matching Logic").
   */
  allows(gpa: number, kind: AccessKind, mode: RiscvMode, bytes = 1): boolean {
    if (!this.active) return mode === RiscvMode.machine || this.openByDefault;
    for (let entry = 0; entry < this.entries; entry++) {
      const from = this.from[entry]!;
      const to = this.to[entry]!;
      if (from === to || gpa + bytes <= from || gpa >= to) continue;
      if (gpa < from || gpa + bytes > to) return false;
      const config = this.config[entry]!;
      if (mode === RiscvMode.machine && (config & LOCK) === 0) return true;
      return (config & (kind === AccessKind.read ? READ : kind === AccessKind.write ? WRITE : EXECUTE)) !== 0;
    }
    return mode === RiscvMode.machine;
  }

  /** Whether the whole page around `gpa` is treated alike: no region begins or ends inside it. */
  uniform(gpa: number): boolean {
    if (!this.active) return true;
    const start = gpa - (gpa & (PAGE_SIZE - 1));
    const end = start + PAGE_SIZE;
    for (let entry = 0; entry < this.entries; entry++) {
      const from = this.from[entry]!;
      const to = this.to[entry]!;
      if (from !== to && ((from > start && from < end) || (to > start && to < end))) return false;
    }
    return true;
  }

  /** Recomputes the regions after registers were written directly. */
  update(): void {
    this.entries = 0;
    for (let entry = 0; entry < PMP_ENTRIES; entry++) {
      const kind = (this.config[entry]! >> 3) & 3;
      const [from, to] = kind === OFF ? [0, 0] : this.region(entry, kind);
      this.from[entry] = from;
      this.to[entry] = Math.max(from, to);
      if (kind !== OFF) this.entries = entry + 1;
    }
    this.active = this.entries > 0;
  }

  private address(entry: number): number {
    return (this.addressHigh[entry]! >>> 0) * 2 ** 34 + (this.addressLow[entry]! >>> 0) * 4;
  }

  private region(entry: number, kind: number): [number, number] {
    const address = this.address(entry);
    if (kind === TOR) return [entry === 0 ? 0 : this.address(entry - 1), address];
    if (kind === NA4) return [address, address + 4];
    // NAPOT: n trailing ones mean a region of 2^(n+3) bytes.
    const low = this.addressLow[entry]!;
    const high = this.addressHigh[entry]!;
    const ones = low === -1 ? 32 + trailingOnes(high) : trailingOnes(low);
    const size = 2 ** (ones + 3);
    return [Math.floor(address / size) * size, Math.floor(address / size) * size + size];
  }
}

const trailingOnes = (value: number): number => 31 - Math.clz32(~value & (value + 1));
