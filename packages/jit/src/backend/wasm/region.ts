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
import { costOf, type Operation, type Value } from "@hyperfile/decoder";
import { header, PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import { NodeSites, type RegionContext, RegionSlots } from "../../region/emission.js";
import type { Place } from "../../region/graph.js";
import type { StructuredEdge, StructuredNode } from "../../region/structure.js";
import { type RegionEmitter, walkRegion } from "../../region/walker.js";
import type { RegionNotes } from "../../trace/region-notes.js";
import { WasmEmitter, type WasmHost } from "./emitter.js";
import { type FunctionWriter, type ModuleWriter, Op, ValueType } from "./encoder.js";
import { regionSignature } from "./interpreter.js";
import { loadTlbTag, loadTlbWord, writeTlbEntry } from "./tlb.js";
import { Temporaries } from "./value-writer.js";

const { i32, i64 } = ValueType;

/**
 * Adds the region with this head to `module` as a function that is exported under a name.
 * @param notes takes what a reader of the code needs, if there is one
 */
export function emitWasmRegion(
  module: ModuleWriter,
  name: string,
  head: StructuredNode,
  context: RegionContext,
  notes?: RegionNotes,
): FunctionWriter {
  const writer = module.function(name, regionSignature);
  new RegionWriter(writer, head, context, notes).write();
  return writer;
}

class RegionWriter implements RegionEmitter<WasmEmitter> {
  readonly exitsAreJumps = false;
  private readonly slots: RegionSlots<number>;
  /** Where the branches to a node that is open go, as the depth when its loop or block was opened. */
  private readonly labels = new Map<StructuredNode, number>();
  private readonly temporaries: Temporaries;
  private readonly n: number;
  private readonly page: number;
  private readonly tlbRead: number;
  private readonly tlbWrite: number;
  private readonly pcAddress: number;
  private readonly manyPages: boolean;
  /** Whether the program counter in memory names the entry's page for as long as the region goes on. */
  private readonly keepsPc: boolean;
  /** Depth at which the write-back that keeps the budget in memory begins, and the one that stores it. */
  private bailLabel = 0;
  private leave = 0;

  constructor(
    private readonly writer: FunctionWriter,
    private readonly head: StructuredNode,
    private readonly context: RegionContext,
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
    this.keepsPc = keepsPc(head);
    this.slots = new RegionSlots(head, context, ({ slot, index }, _, wide) => {
      const local = writer.local(wide ? i64 : i32);
      notes?.name(local, { slot: slot!, index: (index as number) ?? 0 });
      return local;
    });
  }

  write(): void {
    const { writer } = this;
    this.writeEntry();
    writer.block();
    this.bailLabel = writer.depth;
    writer.block();
    this.leave = writer.depth;
    walkRegion(this.head, this.context, this);
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

  private loadSlots(): void {
    for (const { local, address, wide } of this.slots) {
      this.writer.loadAt(wide ? Op.i64_load : Op.i32_load, address);
      this.writer.set(local);
    }
  }

  private writeBack(): void {
    for (const { local, address, wide, written } of this.slots) {
      if (!written) continue;
      this.writer.i32(0);
      this.writer.get(local);
      this.writer.memory(wide ? Op.i64_store : Op.i32_store, address);
    }
  }

  private loadTlbs(): void {
    const { writer } = this;
    if (this.slots.usesLoads) {
      writer.loadAt(Op.i32_load, this.header("tlbRead"));
      writer.set(this.tlbRead);
    }
    if (this.slots.usesStores) {
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
    writeTlbEntry(writer, PAGE_SIZE, () => writer.loadAt(Op.i32_load, this.header("tlbFetch")));
    writer.tee(entry);
    loadTlbTag(writer, wide);
    this.pushPlace(distance * PAGE_SIZE);
    writer.op(wide ? Op.i64_ne : Op.i32_ne);
    writer.get(entry);
    loadTlbWord(writer, "codePage");
    writer.i32(index);
    writer.op(Op.i32_ne);
    writer.op(Op.i32_or);
    writer.ifUnlikely();
    writer.op(Op.return);
    writer.end();
    this.temporaries.release();
  }

  openLoop(at: StructuredNode): void {
    const { writer } = this;
    writer.loop();
    this.labels.set(at, writer.depth);
    writer.get(this.n);
    writer.i32(at.longest);
    writer.op(Op.i32_lt_s);
    writer.ifUnlikely();
    this.leaveAt(at.node.place);
    writer.end();
  }

  closeLoop(): void {
    this.writer.end();
  }

  openMerge(merge: StructuredNode): void {
    this.writer.block();
    this.labels.set(merge, this.writer.depth);
  }

  closeMerge(): void {
    this.writer.end();
  }

  block(at: StructuredNode, end: (exit: Operation, emitter: WasmEmitter, isLate: boolean) => void): void {
    const { writer, temporaries } = this;
    const { block } = at.node;
    // What the block before has left in them is not needed any more.
    temporaries.release();
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
    new WasmEmitter(block, writer, temporaries, context, this.hostOf(at, end)).emitAll();
  }

  // -- control flow

  /** Stores the program counter and leaves. */
  private leaveAt(place: Place): void {
    this.savePc(() => this.pushPlace(place));
    this.writer.br(this.leave);
  }

  go(edge: StructuredEdge): void {
    if (edge.kind === "exit") this.leaveAt(edge.place);
    else this.writer.br(this.labels.get(edge.to)!);
  }

  goIf(emitter: WasmEmitter, condition: Value, holds: boolean, edge: StructuredEdge): void {
    const { writer } = this;
    emitter.push(condition);
    if (!holds) writer.op(Op.i32_eqz);
    writer.brIf(this.labels.get((edge as { readonly to: StructuredNode }).to)!);
  }

  openIf(emitter: WasmEmitter, condition: Value): void {
    emitter.push(condition);
    this.writer.if();
  }

  openElse(): void {
    this.writer.else();
  }

  closeIf(): void {
    this.writer.end();
  }

  leaveLate(emitter: WasmEmitter, places: readonly [Place, Place?], condition?: Value): void {
    const { writer } = this;
    const [place, other] = places;
    const save = (to: Place) => this.savePc(() => this.pushPlace(to));
    if (condition === undefined || other === undefined) {
      this.leaveIfLate(emitter, () => save(place));
      return;
    }
    const test = emitter.inLocal(condition);
    this.leaveIfLate(emitter, () => {
      writer.get(test);
      writer.if();
      save(place);
      writer.else();
      save(other);
      writer.end();
    });
  }

  /** Leaves with the program counter that `save` stores, if the last instruction left a note. */
  private leaveIfLate(emitter: WasmEmitter, save: () => void): void {
    emitter.beginLate();
    save();
    this.writer.br(this.leave);
    this.writer.end();
  }

  indirect(emitter: WasmEmitter, address: Value, isLate: boolean, expected: Place | undefined): void {
    const { writer, context } = this;
    const local = emitter.inLocal(address);
    const save = () => this.savePc(() => writer.get(local));
    if (isLate) this.leaveIfLate(emitter, save);
    if (expected !== undefined) {
      writer.get(local);
      this.pushPlace(expected);
      writer.op(context.wideAddresses ? Op.i64_ne : Op.i32_ne);
      writer.ifUnlikely();
    }
    save();
    writer.br(this.leave);
    if (expected !== undefined) writer.end();
  }

  bail(emitter: WasmEmitter, isLate: boolean): void {
    if (isLate) {
      emitter.beginLate();
      this.writer.end();
    }
    this.writer.br(this.bailLabel);
  }

  private hostOf({ node }: StructuredNode, exit: WasmHost["exit"]): WasmHost {
    const { writer } = this;
    const sites = new NodeSites(node);
    const unknown = () => {
      throw new Error("a field in a region: fields are known here");
    };
    return {
      mark: (mark) => {
        const place = sites.mark(mark);
        this.notes?.mark(writer.code.length, place, false);
      },
      site: () => writer.i32(sites.site),
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
        if (this.manyPages) this.savePc(() => this.pushPlace(sites.page));
      },
      beforeChecked: () => {
        const isFar = this.keepsPc && this.manyPages;
        if (this.manyPages && !isFar) this.savePc(() => this.pushPlace(sites.page));
        writer.get(this.n);
        return isFar ? sites.page : 0;
      },
      bail: () => writer.br(this.bailLabel),
      spill: () => this.writeBack(),
      bailSpilled: () => writer.op(Op.return),
      reload: () => {
        this.loadTlbs();
        this.loadSlots();
      },
      pc: (distance) => this.pushPlace(node.place + distance),
      field: unknown,
      slotLocal: (operation) => this.slots.of(operation)?.local,
      getSlot: (operation) => {
        const slot = this.slots.of(operation);
        if (slot !== undefined) writer.get(slot.local);
        else writer.loadAt(Op.i32_load, this.slots.addressOf(operation));
      },
      setSlot: (operation, push) => {
        const slot = this.slots.of(operation);
        if (slot === undefined) {
          writer.i32(0);
          push();
          writer.memory(Op.i32_store, this.slots.addressOf(operation));
          return;
        }
        push();
        writer.set(slot.local);
      },
      tlbRead: this.tlbRead,
      tlbWrite: this.tlbWrite,
      exit,
    };
  }
}

/** Operations before whose slow path, or helper, the program counter in memory is made that of their page. */
const movesPc = ({ op, helper }: Operation): boolean =>
  op === "amo" ||
  op === "lr" ||
  op === "sc" ||
  (helper !== undefined && (helper.effects.reads || helper.effects.writes || helper.effects.exits));

const keepsPc = ({ node, children }: StructuredNode): boolean =>
  !node.block.operations.some(movesPc) && children.every(keepsPc);
