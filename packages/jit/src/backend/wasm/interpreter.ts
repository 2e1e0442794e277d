/**
 * The interpreter in WebAssembly, generated from the front end's templates: a `br_table` over pre-decoded operations
 * (`backend/entry-format.ts`) in a loop.
 *
 * It is also the dispatcher of regions: a counter below zero at a jump target numbers the region that begins there,
 * which is called through the table; when it returns, the interpreter goes on wherever it left the program counter.
 *
 *   enter:   looks the program counter up in the fetch TLB
 *   arrive:  counts the arrival at a jump target, runs its region if there is one
 *   next:    runs one instruction
 *
 * Locals: `ip` byte offset of the entry in linear memory; `base` of the page's first entry; `span` bytes of entries
 * that a jump may reach without leaving the page; `page` the page's virtual address; `n` remaining budget.
 */
import { costOf, type Operation } from "@hyperfile/decoder";
import { header, PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import { callSite } from "../../mmu/call-sites.js";
import { eliminateDead } from "../../passes/eliminate-dead.js";
import {
  type EntryFormat,
  type EntryFormats,
  FIRST_TEMPLATE,
  fetchMaskOf,
  InternalOpcode,
  InterpreterExit,
  OPCODE_BITS,
} from "../entry-format.js";
import type { InterpreterContext } from "../js/interpreter.js";
import { WasmEmitter, type WasmHost } from "./emitter.js";
import { type FunctionWriter, type ModuleWriter, Op, type Signature, ValueType } from "./encoder.js";
import { loadTlbTag, loadTlbWord, writeTlbEntry } from "./tlb.js";
import { Temporaries } from "./value-writer.js";

const { i32, i64 } = ValueType;

/** What a region is: a function without parameters; it leaves all state in linear memory. */
export const regionSignature: Signature = { parameters: [], results: [] };

/** Constants that the generated code needs. */
export interface WasmInterpreterContext extends InterpreterContext {
  /** Byte offset in linear memory of the counter of word index 0; see `CodePages.countersOffset`. */
  readonly countersOffset: number;
  /** Byte offset of the slot with the accrued floating-point flags, if there is one. */
  readonly flagsOffset: number | undefined;
}

/** Adds the function `interpret(hot, scratch)` to `module`. */
export function emitWasmInterpreter(
  module: ModuleWriter,
  context: WasmInterpreterContext,
  { all: formats }: EntryFormats,
): void {
  const writer = module.function("interpret", { parameters: [i32, i32], results: [i32] });
  new InterpreterWriter(writer, context, formats).write();
}

class InterpreterWriter {
  private readonly wide: boolean;
  private readonly pageBytes: number;
  private readonly address: ValueType;
  /** log2 of the bytes of entries that one byte of code takes. */
  private readonly shift: number;
  private readonly pcOffset: number;
  private readonly locals;
  private readonly temporaries: Temporaries;
  private enter = 0;
  private arrive = 0;
  private next = 0;
  private taken = 0;

  constructor(
    private readonly writer: FunctionWriter,
    private readonly context: WasmInterpreterContext,
    private readonly formats: readonly EntryFormat[],
  ) {
    const { frontEnd } = context;
    this.wide = frontEnd.addressType === "i64";
    this.pageBytes = frontEnd.pageBytes ?? PAGE_SIZE;
    this.address = this.wide ? i64 : i32;
    this.shift = context.wordsPerByteShift + 2;
    this.pcOffset = context.hartOffset + STATE_OFFSET + frontEnd.shape.slots.get("pc")!.offset;
    const local = (type: ValueType) => writer.local(type);
    this.locals = {
      hot: 0,
      scratch: 1,
      n: local(i32),
      ip: local(i32),
      base: local(i32),
      span: local(i32),
      w: local(i32),
      m: local(i32),
      tlbRead: local(i32),
      tlbWrite: local(i32),
      count: local(i32),
      before: local(i32),
      page: local(this.address),
      pc: local(this.address),
    };
    this.temporaries = new Temporaries(writer);
  }

  write(): void {
    const { writer, locals } = this;
    this.loadBudget();
    this.loadTlbs();
    this.loadPc();
    writer.loop();
    this.enter = writer.depth;
    this.writeEnter();
    writer.loop();
    this.arrive = writer.depth;
    this.writeArrive();
    writer.loop();
    this.next = writer.depth;
    writer.block();
    this.taken = writer.depth;
    this.writeDispatch();
    writer.end();
    writer.get(locals.ip);
    writer.get(locals.base);
    writer.op(Op.i32_sub);
    writer.get(locals.span);
    writer.op(Op.i32_lt_u);
    writer.brIf(this.arrive);
    this.pushPc();
    writer.set(locals.pc);
    writer.br(this.enter);
    writer.end();
    writer.end();
    writer.end();
    writer.op(Op.unreachable);
  }

  // -- state

  private header(field: keyof typeof header): number {
    return this.context.hartOffset + header[field];
  }

  private loadBudget(): void {
    this.writer.loadAt(Op.i32_load, this.header("budget"));
    this.writer.set(this.locals.n);
  }

  private loadTlbs(): void {
    this.writer.loadAt(Op.i32_load, this.header("tlbRead"));
    this.writer.set(this.locals.tlbRead);
    this.writer.loadAt(Op.i32_load, this.header("tlbWrite"));
    this.writer.set(this.locals.tlbWrite);
  }

  private loadPc(): void {
    this.writer.loadAt(this.wide ? Op.i64_load : Op.i32_load, this.pcOffset);
    this.writer.set(this.locals.pc);
  }

  /** Pushes the program counter of the entry at `ip`. */
  private pushPc(): void {
    const { writer, locals } = this;
    writer.get(locals.page);
    writer.get(locals.ip);
    writer.get(locals.base);
    writer.op(Op.i32_sub);
    writer.i32(this.shift);
    writer.op(Op.i32_shr_s);
    if (this.wide) writer.op(Op.i64_extend_i32_s);
    writer.op(this.wide ? Op.i64_add : Op.i32_add);
  }

  private savePc(push: () => void): void {
    this.writer.i32(0);
    push();
    this.writer.memory(this.wide ? Op.i64_store : Op.i32_store, this.pcOffset);
  }

  private saveBudget(): void {
    this.writer.i32(0);
    this.writer.get(this.locals.n);
    this.writer.memory(Op.i32_store, this.header("budget"));
  }

  private save(): void {
    this.savePc(() => this.pushPc());
    this.saveBudget();
  }

  private leave(reason: number): void {
    this.writer.i32(reason);
    this.writer.op(Op.return);
  }

  private addTo(local: number, amount: number): void {
    const { writer } = this;
    writer.get(local);
    writer.i32(amount);
    writer.op(Op.i32_add);
    writer.set(local);
  }

  private pushLowPc(): void {
    this.writer.get(this.locals.pc);
    if (this.wide) this.writer.op(Op.i32_wrap_i64);
  }

  // -- entering code

  /** From `pc` to `page`, `base`, `ip` and `span`; returns if the fetch TLB does not know the page. */
  private writeEnter(): void {
    const { writer, locals, context } = this;
    const entry = locals.count;
    this.savePc(() => writer.get(locals.pc));
    writer.get(locals.pc);
    if (this.wide) {
      writer.i64(-PAGE_SIZE, -1);
      writer.op(Op.i64_and);
    } else {
      writer.i32(-PAGE_SIZE);
      writer.op(Op.i32_and);
    }
    writer.set(locals.page);
    const offset = () => {
      this.pushLowPc();
      writer.i32(PAGE_SIZE - 1);
      writer.op(Op.i32_and);
      writer.i32(this.shift);
      writer.op(Op.i32_shl);
    };
    writer.get(locals.scratch);
    writer.ifUnlikely();
    // An instruction by itself: its entry stands in for that of its place in a page that is not there.
    writer.get(locals.scratch);
    writer.i32(2);
    writer.op(Op.i32_shl);
    writer.tee(locals.ip);
    offset();
    writer.op(Op.i32_sub);
    writer.set(locals.base);
    writer.i32(0);
    writer.set(locals.span);
    writer.i32(0);
    writer.set(locals.scratch);
    writer.else();
    this.pushLowPc();
    writeTlbEntry(writer, PAGE_SIZE, () => writer.loadAt(Op.i32_load, this.header("tlbFetch")));
    writer.tee(entry);
    loadTlbTag(writer, this.wide);
    const mask = fetchMaskOf(context.frontEnd);
    if (mask === -PAGE_SIZE) writer.get(locals.page);
    else {
      writer.get(locals.pc);
      if (this.wide) writer.i64(mask, -1);
      else writer.i32(mask);
      writer.op(this.wide ? Op.i64_and : Op.i32_and);
    }
    writer.op(this.wide ? Op.i64_ne : Op.i32_ne);
    writer.ifUnlikely();
    this.saveBudget();
    this.leave(InterpreterExit.fetch);
    writer.end();
    writer.get(entry);
    loadTlbWord(writer, "codePage");
    writer.i32(context.pageWords * 4);
    writer.op(Op.i32_mul);
    writer.i32(context.arenaWord * 4);
    writer.op(Op.i32_add);
    writer.tee(locals.base);
    offset();
    writer.op(Op.i32_add);
    writer.set(locals.ip);
    writer.i32(PAGE_SIZE << this.shift);
    writer.set(locals.span);
    writer.end();
  }

  private writeArrive(): void {
    const { writer, locals, context } = this;
    writer.get(locals.span);
    writer.if();
    // An entry of eight bytes has a counter of four.
    writer.get(locals.ip);
    writer.i32(1);
    writer.op(Op.i32_shr_u);
    writer.memory(Op.i32_load, context.countersOffset);
    writer.tee(locals.count);
    writer.i32(0);
    writer.op(Op.i32_lt_s);
    writer.if();
    this.writeRegionCall();
    writer.else();
    writer.get(locals.ip);
    writer.i32(1);
    writer.op(Op.i32_shr_u);
    writer.get(locals.count);
    writer.i32(1);
    writer.op(Op.i32_add);
    writer.tee(locals.count);
    writer.memory(Op.i32_store, context.countersOffset);
    writer.get(locals.count);
    writer.get(locals.hot);
    writer.op(Op.i32_ge_s);
    writer.ifUnlikely();
    this.save();
    this.leave(InterpreterExit.hot);
    writer.end();
    writer.end();
    writer.end();
  }

  /** A region that did not fit into the budget has done nothing: the interpreter goes on from where it is. */
  private writeRegionCall(): void {
    const { writer, locals } = this;
    this.save();
    writer.get(locals.n);
    writer.set(locals.before);
    writer.get(locals.count);
    writer.i32(0x7fffffff);
    writer.op(Op.i32_and);
    writer.callIndirect(regionSignature);
    this.loadBudget();
    writer.i32(0);
    writer.loadAt(Op.i32_load, this.header("inRegions"));
    writer.get(locals.before);
    writer.op(Op.i32_add);
    writer.get(locals.n);
    writer.op(Op.i32_sub);
    writer.memory(Op.i32_store, this.header("inRegions"));
    writer.loadAt(Op.i32_load, this.header("exit"));
    writer.if();
    this.leave(InterpreterExit.done);
    writer.end();
    writer.get(locals.n);
    writer.get(locals.before);
    writer.op(Op.i32_ne);
    writer.if();
    this.loadTlbs();
    this.loadPc();
    writer.br(this.enter);
    writer.end();
  }

  // -- instructions

  private writeDispatch(): void {
    const { writer, locals, formats } = this;
    writer.get(locals.n);
    writer.i32(0);
    writer.op(Op.i32_le_s);
    writer.ifUnlikely();
    this.save();
    this.leave(InterpreterExit.done);
    writer.end();
    this.addTo(locals.n, -1);
    writer.get(locals.ip);
    writer.memory(Op.i32_load);
    writer.set(locals.w);
    const count = FIRST_TEMPLATE + formats.length;
    const outermost = writer.depth;
    for (let opened = 0; opened < count; opened++) writer.block();
    writer.get(locals.w);
    writer.i32(2 ** OPCODE_BITS - 1);
    writer.op(Op.i32_and);
    const targets = Array.from({ length: count }, (_, opcode) => outermost + count - opcode);
    writer.brTable(targets.slice(0, -1), targets[count - 1]!);
    for (let opcode = 0; opcode < count; opcode++) {
      writer.end();
      if (opcode < FIRST_TEMPLATE) this.writeInternal(opcode);
      else this.writeHandler(formats[opcode - FIRST_TEMPLATE]!);
    }
  }

  private writeInternal(opcode: number): void {
    const { writer, locals } = this;
    this.addTo(locals.n, 1);
    switch (opcode) {
      case InternalOpcode.undecoded:
        writer.get(locals.ip);
        writer.i32(2);
        writer.op(Op.i32_shr_u);
        writer.call("decode", [i32], []);
        writer.br(this.next);
        return;
      case InternalOpcode.pageEnd:
        this.pushPc();
        writer.set(locals.pc);
        writer.br(this.enter);
        return;
      case InternalOpcode.crossing:
        this.save();
        return this.leave(InterpreterExit.crossing);
      default:
        this.save();
        this.leave(InterpreterExit.breakpoint);
    }
  }

  private writeHandler(format: EntryFormat): void {
    const { writer, locals, context, temporaries } = this;
    const { places } = format;
    if ([...places].some(({ word }) => word === 1)) {
      writer.get(locals.ip);
      writer.memory(Op.i32_load, 4);
      writer.set(locals.m);
    }
    const block = eliminateDead(format.template.block);
    const cost = costOf(block);
    if (cost > 1) this.addTo(locals.n, 1 - cost);
    const emitter = new WasmEmitter(
      block,
      writer,
      temporaries,
      {
        hartOffset: context.hartOffset,
        wideAddresses: this.wide,
        pageBytes: this.pageBytes,
        flagsOffset: context.flagsOffset,
      },
      this.hostOf(format),
    );
    emitter.emitAll();
    temporaries.release();
  }

  private hostOf(format: EntryFormat): WasmHost {
    const { writer, locals, context } = this;
    const state = context.hartOffset + STATE_OFFSET;
    const { slots } = context.frontEnd.shape;
    const nothing = () => {};
    const leave = () => this.leave(InterpreterExit.done);
    /** Pushes the address of a slot's element; gives what to add to it. */
    const place = (operation: Operation): number => {
      const { offset, stride } = slots.get(operation.slot!)!;
      const { index } = operation;
      if (typeof index === "object") {
        this.pushScaled(format, index.field, stride === 8 ? 3 : 2);
        return state + offset;
      }
      writer.i32(0);
      return state + offset + (index ?? 0) * stride;
    };
    const isWide = (operation: Operation) => slots.get(operation.slot!)!.stride === 8;
    /** Leaves at the program counter that `save` stores with the budget, if the instruction left a note. */
    const leaveLate = (emitter: WasmEmitter, save: () => void) => {
      emitter.beginLate();
      save();
      leave();
      writer.end();
    };
    const forward = (late: WasmEmitter | undefined) => {
      this.addTo(locals.ip, format.length << this.shift);
      if (late !== undefined) leaveLate(late, () => this.save());
      writer.br(this.next);
    };
    const go = (target: unknown, late: WasmEmitter | undefined) => {
      const { field } = target as { field: string };
      if (field === "length") return forward(late);
      writer.get(locals.ip);
      this.pushField(format, field);
      writer.i32(this.shift);
      writer.op(Op.i32_shl);
      writer.op(Op.i32_add);
      writer.set(locals.ip);
      if (late !== undefined) leaveLate(late, () => this.save());
      writer.br(this.taken);
    };
    return {
      mark: nothing,
      site: () => {
        this.pushPc();
        if (this.wide) writer.op(Op.i32_wrap_i64);
        writer.i32(PAGE_SIZE - 1);
        writer.op(Op.i32_and);
        const cost = costOf(format.template.block);
        writer.i32(callSite(0, format.length, cost, cost));
        writer.op(Op.i32_or);
      },
      charge: (push) => {
        writer.get(locals.n);
        push();
        writer.op(Op.i32_sub);
        writer.set(locals.n);
      },
      beforeSlowPath: () => this.save(),
      beforeChecked: () => {
        this.savePc(() => this.pushPc());
        writer.get(locals.n);
        return 0;
      },
      bail: leave,
      spill: nothing,
      bailSpilled: leave,
      reload: () => this.loadTlbs(),
      pc: () => this.pushPc(),
      field: (name) => this.pushField(format, name),
      slotLocal: () => undefined,
      getSlot: (operation) => {
        const offset = place(operation);
        writer.memory(isWide(operation) ? Op.i64_load : Op.i32_load, offset);
      },
      setSlot: (operation, push) => {
        const offset = place(operation);
        push();
        writer.memory(isWide(operation) ? Op.i64_store : Op.i32_store, offset);
      },
      tlbRead: locals.tlbRead,
      tlbWrite: locals.tlbWrite,
      exit: (operation, emitter, isLate) => {
        const [taken, notTaken] = operation.targets ?? [];
        const late = isLate ? emitter : undefined;
        if (operation.op === "jump") go(taken, late);
        else if (operation.op === "branch") {
          emitter.push(operation.args[0]!);
          writer.if();
          go(taken, late);
          writer.end();
          go(notTaken, late);
        } else if (operation.op === "jumpr") {
          emitter.push(operation.args[0]!);
          writer.set(locals.pc);
          if (isLate) {
            leaveLate(emitter, () => {
              this.savePc(() => writer.get(locals.pc));
              this.saveBudget();
            });
          }
          writer.br(this.enter);
        } else {
          if (isLate) leaveLate(emitter, () => {});
          leave();
        }
      },
    };
  }

  /** Pushes a field's value. */
  private pushField(format: EntryFormat, name: string): void {
    const { writer, locals } = this;
    if (name === "length") return writer.i32(format.length);
    const { word, at, width, signed } = format.place(name);
    writer.get(word === 0 ? locals.w : locals.m);
    if (width === 32) return;
    if (signed) {
      if (at + width < 32) {
        writer.i32(32 - width - at);
        writer.op(Op.i32_shl);
      }
      writer.i32(32 - width);
      writer.op(Op.i32_shr_s);
      return;
    }
    if (at > 0) {
      writer.i32(at);
      writer.op(Op.i32_shr_u);
    }
    if (at + width < 32) {
      writer.i32(2 ** width - 1);
      writer.op(Op.i32_and);
    }
  }

  /** Pushes a field's value times two to the power of `scale`. */
  private pushScaled(format: EntryFormat, name: string, scale: number): void {
    const { writer, locals } = this;
    const { word, at, width } = format.place(name);
    writer.get(word === 0 ? locals.w : locals.m);
    if (at > scale) {
      writer.i32(at - scale);
      writer.op(Op.i32_shr_u);
    } else if (at < scale) {
      writer.i32(scale - at);
      writer.op(Op.i32_shl);
    }
    writer.i32((2 ** width - 1) << scale);
    writer.op(Op.i32_and);
  }
}
