/**
 * A region as one WebAssembly function. It takes nothing and gives nothing: at its entry it loads the guest's slots
 * into locals, at its exits it writes back those that it changes, with the program counter and the budget. The code
 * does not depend on the virtual address it runs at; other pages than the head's are confirmed at the entry.
 *
 * Budget: a block charges what its instructions cost when it is entered. The entry and every loop header check that the
 * longest way to the next check is covered; if it isn't, the region leaves there, and the interpreter goes on.
 *
 * Slow paths leave the locals alone: a trap changes no slot but the program counter's. So a fault in the middle of a
 * block leaves through the same write-back as any exit. Helpers that touch slots find them written back.
 */
import {
  chargedBefore,
  costOf,
  costOfInsn,
  type InsnMark,
  type Operation,
  type StateShape,
} from "@hyperfile/decoder";
import { header, PAGE_SIZE, STATE_OFFSET, TLB_ENTRIES } from "../../memory/layout.js";
import { callSite } from "../../mmu/ports.js";
import { fixedTarget, knownTarget } from "../../region/graph.js";
import type { StructuredEdge, StructuredNode } from "../../region/structure.js";
import type { RegionNotes } from "../../trace/region-notes.js";
import { WasmEmitter, type WasmHost } from "./emitter.js";
import { type FunctionWriter, type ModuleWriter, Op, ValueType } from "./encoder.js";
import { regionSignature } from "./interpreter.js";
import { Temporaries } from "./value-writer.js";

const { i32, i64 } = ValueType;
/** Word 3 of a fetch TLB entry: the code page's index. */
const CODE_PAGE = 12;

/** What a region's code depends on besides its blocks. */
export interface WasmRegionContext {
  readonly shape: StateShape;
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

/**
 * Adds the region with this head to `module` as a function that is exported under a name.
 * @param notes takes what a reader of the code needs, if there is one
 */
export function emitWasmRegion(
  module: ModuleWriter,
  name: string,
  head: StructuredNode,
  context: WasmRegionContext,
  notes?: RegionNotes,
): FunctionWriter {
  const writer = module.function(name, regionSignature);
  new RegionWriter(writer, head, context, notes).write();
  return writer;
}

/** A slot's element in a local. */
interface CachedSlot {
  readonly local: number;
  readonly address: number;
  readonly wide: boolean;
  written: boolean;
}

/** A label that a branch may name: where it is, as the depth when it was opened. */
type Labels = ReadonlyMap<StructuredNode, number>;

class RegionWriter {
  private readonly slots = new Map<string, CachedSlot>();
  private readonly temporaries: Temporaries;
  private readonly n: number;
  private readonly page: number;
  private readonly tlbRead: number;
  private readonly tlbWrite: number;
  private readonly pcAddress: number;
  private readonly manyPages: boolean;
  private usesLoads = false;
  private usesStores = false;
  /** Depth at which the write-back that keeps the budget in memory begins, and the one that stores it. */
  private bail = 0;
  private leave = 0;

  constructor(
    private readonly writer: FunctionWriter,
    private readonly head: StructuredNode,
    private readonly context: WasmRegionContext,
    private readonly notes?: RegionNotes,
  ) {
    this.temporaries = new Temporaries(writer);
    this.n = writer.local(i32);
    this.page = writer.local(context.wideAddresses ? i64 : i32);
    this.tlbRead = writer.local(i32);
    this.tlbWrite = writer.local(i32);
    notes?.name(this.n, { work: "budget" });
    notes?.name(this.page, { work: "page" });
    notes?.name(this.tlbRead, { work: "tlbRead" });
    notes?.name(this.tlbWrite, { work: "tlbWrite" });
    this.pcAddress = context.hartOffset + STATE_OFFSET + context.shape.slots.get("pc")!.offset;
    this.manyPages = context.pages.size > 1;
    this.survey(head);
  }

  write(): void {
    const { writer } = this;
    this.writeEntry();
    writer.block();
    this.bail = writer.depth;
    writer.block();
    this.leave = writer.depth;
    this.writeTree(this.head, new Map());
    writer.end();
    writer.i32(0);
    writer.get(this.n);
    writer.memory(Op.i32_store, this.header("budget"));
    writer.end();
    this.writeBack();
  }

  // -- state

  private header(field: keyof typeof header): number {
    return this.context.hartOffset + header[field];
  }

  /** Finds the slots that the blocks name. */
  private survey(at: StructuredNode): void {
    for (const operation of at.node.block.operations) {
      if (operation.op === "get" || operation.op === "set") {
        const slot = this.cached(operation);
        if (slot !== undefined && operation.op === "set") slot.written = true;
      } else if (operation.op === "load") this.usesLoads = true;
      else if (operation.op === "store") this.usesStores = true;
    }
    for (const child of at.children) this.survey(child);
  }

  private addressOf(operation: Operation): number {
    const { offset, stride } = this.context.shape.slots.get(operation.slot!)!;
    return this.context.hartOffset + STATE_OFFSET + offset + ((operation.index as number) ?? 0) * stride;
  }

  private cached(operation: Operation): CachedSlot | undefined {
    const address = this.addressOf(operation);
    if (address === this.context.flagsOffset) return undefined;
    const key = `${operation.slot}:${operation.index ?? 0}`;
    let slot = this.slots.get(key);
    if (slot === undefined) {
      const wide = this.context.shape.slots.get(operation.slot!)!.stride === 8;
      slot = { local: this.writer.local(wide ? i64 : i32), address, wide, written: false };
      this.slots.set(key, slot);
      this.notes?.name(slot.local, { slot: operation.slot!, index: (operation.index as number) ?? 0 });
    }
    return slot;
  }

  private loadSlots(): void {
    for (const { local, address, wide } of this.slots.values()) {
      this.writer.loadAt(wide ? Op.i64_load : Op.i32_load, address);
      this.writer.set(local);
    }
  }

  private writeBack(): void {
    for (const { local, address, wide, written } of this.slots.values()) {
      if (!written) continue;
      this.writer.i32(0);
      this.writer.get(local);
      this.writer.memory(wide ? Op.i64_store : Op.i32_store, address);
    }
  }

  private loadTlbs(): void {
    const { writer } = this;
    if (this.usesLoads) {
      writer.loadAt(Op.i32_load, this.header("tlbRead"));
      writer.set(this.tlbRead);
    }
    if (this.usesStores) {
      writer.loadAt(Op.i32_load, this.header("tlbWrite"));
      writer.set(this.tlbWrite);
    }
  }

  /** Pushes the address of a place. */
  private pushPlace(place: number): void {
    const { writer } = this;
    writer.get(this.page);
    if (place === 0) return;
    if (this.context.wideAddresses) {
      writer.i64(place, place >> 31);
      writer.op(Op.i64_add);
    } else {
      writer.i32(place);
      writer.op(Op.i32_add);
    }
  }

  private savePc(push: () => void): void {
    this.writer.i32(0);
    push();
    this.writer.memory(this.context.wideAddresses ? Op.i64_store : Op.i32_store, this.pcAddress);
  }

  // -- the function

  private writeEntry(): void {
    const { writer, context } = this;
    const wide = context.wideAddresses;
    writer.loadAt(Op.i32_load, this.header("budget"));
    writer.tee(this.n);
    writer.i32(this.head.longest);
    writer.op(Op.i32_lt_s);
    writer.ifUnlikely();
    writer.op(Op.return);
    writer.end();
    writer.loadAt(wide ? Op.i64_load : Op.i32_load, this.pcAddress);
    if (wide) writer.i64(-PAGE_SIZE, -1);
    else writer.i32(-PAGE_SIZE);
    writer.op(wide ? Op.i64_and : Op.i32_and);
    writer.set(this.page);
    if (context.pageAddress !== undefined) {
      writer.get(this.page);
      writer.i32(context.pageAddress);
      writer.op(Op.i32_ne);
      writer.ifUnlikely();
      writer.op(Op.return);
      writer.end();
    }
    for (const [distance, index] of context.pages) if (distance !== 0) this.confirmPage(distance, index);
    this.loadTlbs();
    this.loadSlots();
  }

  /** Leaves, with nothing done, unless the fetch TLB has the code page `index` at this distance. */
  private confirmPage(distance: number, index: number): void {
    const { writer, context } = this;
    const wide = context.wideAddresses;
    const entry = this.temporaries.take(i32);
    this.pushPlace(distance * PAGE_SIZE);
    if (wide) writer.op(Op.i32_wrap_i64);
    writer.i32(8);
    writer.op(Op.i32_shr_u);
    writer.i32((TLB_ENTRIES - 1) << 4);
    writer.op(Op.i32_and);
    writer.loadAt(Op.i32_load, this.header("tlbFetch"));
    writer.op(Op.i32_add);
    writer.tee(entry);
    writer.memory(wide ? Op.i64_load : Op.i32_load);
    this.pushPlace(distance * PAGE_SIZE);
    writer.op(wide ? Op.i64_ne : Op.i32_ne);
    writer.get(entry);
    writer.memory(Op.i32_load, CODE_PAGE);
    writer.i32(index);
    writer.op(Op.i32_ne);
    writer.op(Op.i32_or);
    writer.ifUnlikely();
    writer.op(Op.return);
    writer.end();
    this.temporaries.release();
  }

  /** A node and everything that it dominates. */
  private writeTree(at: StructuredNode, labels: Labels): void {
    const { writer } = this;
    const merges = at.children.filter((child) => child.isMerge).reverse();
    if (!at.isLoop) return this.writeWithin(at, merges, labels);
    writer.loop();
    const inner = new Map(labels).set(at, writer.depth);
    this.checkBudget(at);
    this.writeWithin(at, merges, inner);
    writer.end();
  }

  private checkBudget(at: StructuredNode): void {
    const { writer } = this;
    writer.get(this.n);
    writer.i32(at.longest);
    writer.op(Op.i32_lt_s);
    writer.ifUnlikely();
    this.writeExit(at.node.place);
    writer.end();
  }

  /** A node's block inside one WebAssembly block for each merge point that it dominates; the points follow. */
  private writeWithin(at: StructuredNode, merges: readonly StructuredNode[], labels: Labels): void {
    const [merge, ...rest] = merges;
    if (merge === undefined) return this.writeNode(at, labels);
    this.writer.block();
    this.writeWithin(at, rest, new Map(labels).set(merge, this.writer.depth));
    this.writer.end();
    this.writeTree(merge, labels);
  }

  private writeNode(at: StructuredNode, labels: Labels): void {
    const { writer, temporaries } = this;
    const { block } = at.node;
    this.notes?.mark(writer.code.length, at.node.place, true);
    writer.get(this.n);
    writer.i32(costOf(block));
    writer.op(Op.i32_sub);
    writer.set(this.n);
    const context = {
      hartOffset: this.context.hartOffset,
      wideAddresses: this.context.wideAddresses,
      pageBytes: this.context.pageBytes ?? PAGE_SIZE,
      flagsOffset: this.context.flagsOffset,
    };
    new WasmEmitter(block, writer, temporaries, context, this.hostOf(at, labels)).emitAll();
  }

  // -- control flow

  /** Stores the program counter and leaves. */
  private writeExit(place: number): void {
    this.savePc(() => this.pushPlace(place));
    this.writer.br(this.leave);
  }

  /** The label to branch to along an edge; undefined if its target is written in place, or outside. */
  private labelOf(edge: StructuredEdge, labels: Labels): number | undefined {
    if (edge.kind === "exit") return undefined;
    return edge.kind === "back" || edge.to.isMerge ? labels.get(edge.to)! : undefined;
  }

  private writeEdge(edge: StructuredEdge, labels: Labels): void {
    const label = this.labelOf(edge, labels);
    if (label !== undefined) this.writer.br(label);
    else if (edge.kind === "exit") this.writeExit(edge.place);
    else this.writeTree(edge.to, labels);
  }

  private writeBranch(taken: StructuredEdge, notTaken: StructuredEdge, labels: Labels): void {
    const { writer } = this;
    const label = this.labelOf(taken, labels);
    if (label !== undefined) {
      writer.brIf(label);
      this.writeEdge(notTaken, labels);
      return;
    }
    const other = this.labelOf(notTaken, labels);
    if (other !== undefined) {
      writer.op(Op.i32_eqz);
      writer.brIf(other);
      this.writeEdge(taken, labels);
      return;
    }
    writer.if();
    this.writeEdge(taken, labels);
    writer.else();
    this.writeEdge(notTaken, labels);
    writer.end();
  }

  /** Leaves with the program counter that `save` stores, if the last instruction left a note. */
  private leaveLate(emitter: WasmEmitter, save: () => void): void {
    emitter.beginLate();
    save();
    this.writer.br(this.leave);
    this.writer.end();
  }

  private writeEnding(
    at: StructuredNode,
    labels: Labels,
    operation: Operation,
    emitter: WasmEmitter,
    isLate: boolean,
  ): void {
    const { writer, context, temporaries } = this;
    const saveEdge = (edge: StructuredEdge) => this.savePc(() => this.pushPlace(placeOf(edge)));
    const { edges, node } = at;
    const jump =
      fixedTarget(node.block, operation, context.alignment) !== undefined ||
      (context.pageAddress !== undefined &&
        knownTarget(node.block, operation, context.alignment) !== undefined);
    if (operation.op === "jump" || jump) {
      if (isLate) this.leaveLate(emitter, () => saveEdge(edges[0]!));
      temporaries.release();
      this.writeEdge(edges[0]!, labels);
    } else if (operation.op === "branch") {
      if (isLate) {
        const condition = emitter.inLocal(operation.args[0]!);
        this.leaveLate(emitter, () => {
          writer.get(condition);
          writer.if();
          saveEdge(edges[0]!);
          writer.else();
          saveEdge(edges[1]!);
          writer.end();
        });
      }
      emitter.push(operation.args[0]!);
      temporaries.release();
      this.writeBranch(edges[0]!, edges[1]!, labels);
    } else if (operation.op === "jumpr") {
      const target = operation.args[0]!;
      const local = emitter.inLocal(target);
      const [expected] = edges;
      if (isLate) this.leaveLate(emitter, () => this.savePc(() => writer.get(local)));
      if (expected !== undefined) {
        writer.get(local);
        this.pushPlace(placeOf(expected));
        writer.op(context.wideAddresses ? Op.i64_ne : Op.i32_ne);
        writer.ifUnlikely();
      }
      this.savePc(() => writer.get(local));
      writer.br(this.leave);
      temporaries.release();
      if (expected !== undefined) {
        writer.end();
        this.writeEdge(expected, labels);
      }
    } else {
      if (isLate) {
        emitter.beginLate();
        writer.end();
      }
      temporaries.release();
      writer.br(this.bail);
    }
  }

  private hostOf(at: StructuredNode, labels: Labels): WasmHost {
    const { writer } = this;
    const { node } = at;
    let current: InsnMark = { offset: 0, length: 0, ordinal: 0 };
    const pageOfNode = Math.floor(node.place / PAGE_SIZE) * PAGE_SIZE;
    const offset = node.place - pageOfNode;
    const unknown = () => {
      throw new Error("a field in a region: fields are known here");
    };
    return {
      mark: (mark) => {
        current = mark;
        this.notes?.mark(writer.code.length, node.place + mark.offset, false);
      },
      site: () => {
        const unretired = costOf(node.block) - chargedBefore(current);
        writer.i32(callSite(offset + current.offset, current.length, unretired, costOfInsn(current)));
      },
      charge: (push) => {
        writer.get(this.n);
        push();
        writer.op(Op.i32_sub);
        writer.set(this.n);
      },
      beforeSlowPath: () => {
        writer.i32(0);
        writer.get(this.n);
        writer.memory(Op.i32_store, this.header("budget"));
        if (this.manyPages) this.savePc(() => this.pushPlace(pageOfNode));
      },
      bail: () => writer.br(this.bail),
      spill: () => this.writeBack(),
      bailSpilled: () => writer.op(Op.return),
      reload: () => {
        this.loadTlbs();
        this.loadSlots();
      },
      pc: (distance) => this.pushPlace(node.place + distance),
      field: unknown,
      slotLocal: (operation) => this.cached(operation)?.local,
      getSlot: (operation) => {
        const slot = this.cached(operation);
        if (slot !== undefined) writer.get(slot.local);
        else writer.loadAt(Op.i32_load, this.addressOf(operation));
      },
      setSlot: (operation, push) => {
        const slot = this.cached(operation);
        if (slot === undefined) {
          writer.i32(0);
          push();
          writer.memory(Op.i32_store, this.addressOf(operation));
          return;
        }
        push();
        writer.set(slot.local);
      },
      tlbRead: this.tlbRead,
      tlbWrite: this.tlbWrite,
      exit: (operation, emitter, isLate) => this.writeEnding(at, labels, operation, emitter, isLate),
    };
  }
}

/** Where an edge leads. */
const placeOf = (edge: StructuredEdge): number => (edge.kind === "exit" ? edge.place : edge.to.node.place);
