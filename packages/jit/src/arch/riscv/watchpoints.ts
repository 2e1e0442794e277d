/**
 * Watchpoints of a debugger: data accesses at guest-virtual addresses that stop the hart before they are done, as the
 * RISC-V debug specification recommends (timing 0 of `mcontrol6`).
 *
 * They cost nothing where none is set: a page that one of them touches never enters the TLBs of loads and stores, so
 * that its accesses take the slow path, which asks the hart; all other pages are as fast as ever, in every tier.
 */
import { PAGE_SIZE } from "../../memory/layout.js";
import { AccessKind } from "../../mmu/ports.js";

/** What a watchpoint waits for. */
export type RiscvWatchKind = "write" | "read" | "access";

/** A watchpoint. */
export interface Watchpoint {
  readonly kind: RiscvWatchKind;
  /** First guest-virtual address, and how many bytes: at least 1. */
  readonly address: bigint;
  readonly length: number;
}

/** The watchpoints of one hart. */
export class Watchpoints {
  /** The one that an access would have touched at the last stop. */
  hit: Watchpoint | undefined;
  /** Program counter at that stop. */
  hitAt = 0n;
  /** Whether accesses go on as if there were none. */
  isOff = false;
  private readonly all = new Map<string, Watchpoint>();

  /** How many there are. */
  get size(): number {
    return this.all.size;
  }

  /** Sets one. */
  add(point: Watchpoint): void {
    this.all.set(keyOf(point), point);
  }

  /** Removes one that was set with the same values. */
  remove(point: Watchpoint): void {
    this.all.delete(keyOf(point));
  }

  /** Whether one touches the 4 KiB page around an address. */
  touchesPage(address: bigint): boolean {
    const page = address - (address % BigInt(PAGE_SIZE));
    for (const point of this.all.values()) if (overlaps(point, page, PAGE_SIZE)) return true;
    return false;
  }

  /**
   * The first one that an access of `length` bytes touches.
   * @param readsToo whether a write is that of an atomic operation, which reads as well
   */
  find(kind: AccessKind, address: bigint, length: number, readsToo: boolean): Watchpoint | undefined {
    for (const point of this.all.values()) {
      const waits =
        point.kind === "access" ||
        (kind === AccessKind.write ? point.kind === "write" || readsToo : point.kind === "read");
      if (waits && overlaps(point, address, length)) return point;
    }
    return undefined;
  }
}

const keyOf = ({ kind, address, length }: Watchpoint): string => `${kind} ${address} ${length}`;

const overlaps = (point: Watchpoint, address: bigint, length: number): boolean =>
  address < point.address + BigInt(point.length) && point.address < address + BigInt(length);
