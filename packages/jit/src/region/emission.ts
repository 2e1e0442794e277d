/**
 * What the backends' printers of regions have in common besides the walk (`walker.ts`): what the code depends on, which
 * slots live in locals, and the call sites of a block.
 */
import {
  chargedBefore,
  costOf,
  costOfInsn,
  type InsnMark,
  type Operation,
  type StateShape,
} from "@hyperfile/decoder";
import { PAGE_SIZE, STATE_OFFSET } from "../memory/layout.js";
import { type CallSite, callSite } from "../mmu/call-sites.js";
import type { Place, RegionNode } from "./graph.js";
import type { StructuredNode } from "./structure.js";

/** What a region's code depends on besides its blocks. */
export interface RegionContext {
  readonly shape: StateShape;
  /** Byte offset of the hart's block in linear memory. */
  readonly hartOffset: number;
  readonly wideAddresses: boolean;
  /** Bytes of which every instruction's address is a multiple. */
  readonly alignment: number;
  /** Bytes of the pages in which loads and stores are translated; 4096 unless given. */
  readonly pageBytes?: number;
  /** Address of the head's page, if the region runs there only; addresses have 32 bits then. */
  readonly pageAddress?: number;
  /** Byte offset of the slot with the accrued floating-point flags: slow paths change it, so it stays in memory. */
  readonly flagsOffset: number | undefined;
  /** Code page's index of each page that the region covers, by its distance in pages from the head's page. */
  readonly pages: ReadonlyMap<number, number>;
}

/** A slot's element that lives in locals while the region runs. */
export interface RegionSlot<T> {
  /** Byte offset in linear memory. */
  readonly address: number;
  /** Whether it has 64 bits. */
  readonly wide: boolean;
  /** Whether some block writes it: then it is written back. */
  readonly written: boolean;
  /** The backend's locals. */
  readonly local: T;
}

/** What looks into the TLB for stores. */
const storing: ReadonlySet<string> = new Set(["store", "amo", "lr", "sc"]);

/** The elements of slots that the blocks of a region name, and whether these load and store. */
export class RegionSlots<T> implements Iterable<RegionSlot<T>> {
  private readonly byAddress = new Map<number, RegionSlot<T> & { written: boolean }>();
  private loads = false;
  private stores = false;

  /** @param makeLocal makes the locals of an element, which an operation names for the first time */
  constructor(
    head: StructuredNode,
    private readonly context: RegionContext,
    private readonly makeLocal: (operation: Operation, address: number, wide: boolean) => T,
  ) {
    this.survey(head);
  }

  /** Whether some block looks into the TLB for loads. */
  get usesLoads(): boolean {
    return this.loads;
  }

  /** Whether some block looks into the TLB for stores. */
  get usesStores(): boolean {
    return this.stores;
  }

  /** The element that a `get` or `set` names; undefined if it stays in memory. */
  of(operation: Operation): RegionSlot<T> | undefined {
    return this.byAddress.get(this.addressOf(operation));
  }

  /** Byte offset in linear memory of the element that a `get` or `set` names. */
  addressOf(operation: Operation): number {
    const { shape, hartOffset } = this.context;
    const { offset, stride } = shape.slots.get(operation.slot!)!;
    return hartOffset + STATE_OFFSET + offset + ((operation.index as number) ?? 0) * stride;
  }

  [Symbol.iterator](): Iterator<RegionSlot<T>> {
    return this.byAddress.values();
  }

  private survey(at: StructuredNode): void {
    for (const operation of at.node.block.operations) {
      if (operation.op === "get" || operation.op === "set") this.note(operation);
      else if (operation.op === "load") this.loads = true;
      else if (storing.has(operation.op)) this.stores = true;
    }
    for (const child of at.children) this.survey(child);
  }

  private note(operation: Operation): void {
    const { shape, flagsOffset } = this.context;
    const address = this.addressOf(operation);
    if (address === flagsOffset) return;
    let slot = this.byAddress.get(address);
    if (slot === undefined) {
      const wide = shape.slots.get(operation.slot!)!.stride === 8;
      slot = { address, wide, written: false, local: this.makeLocal(operation, address, wide) };
      this.byAddress.set(address, slot);
    }
    if (operation.op === "set") slot.written = true;
  }
}

/** The call sites of a region's block, instruction by instruction. */
export class NodeSites {
  /** Place of the first byte of the page in which the block lies. */
  readonly page: Place;
  private current: InsnMark = { offset: 0, length: 0, ordinal: 0 };

  constructor(private readonly node: RegionNode) {
    this.page = Math.floor(node.place / PAGE_SIZE) * PAGE_SIZE;
  }

  /** What follows belongs to this instruction; its place. */
  mark(mark: InsnMark): Place {
    this.current = mark;
    return this.node.place + mark.offset;
  }

  /** The call site of the current instruction. */
  get site(): CallSite {
    const { node, current } = this;
    const unretired = costOf(node.block) - chargedBefore(current);
    const offset = node.place - this.page + current.offset;
    return callSite(offset, current.length, unretired, costOfInsn(current));
  }
}
