/**
 * A region as one JavaScript function: loops are `for (;;)`, merge points the ends of labelled blocks. At its entry it
 * loads the guest's slots into locals, at its exits it writes back those that it changes, with the program counter
 * and the budget. It gives the function to go on with, or null to return to the dispatcher. The code does not depend
 * on the virtual address it runs at; other pages than the head's are confirmed at the entry.
 *
 *   function r_260() {
 *     let n = I[7];                              // the budget
 *     if (n < 12) return null;                   // the longest way to the next check is not covered
 *     const pg = I[24] & -4096;                  // the page it runs in
 *     let x10 = I[40], ...;
 *     leave: {
 *       bail: {
 *         L0: for (;;) {
 *           if (n < 12) { I[24] = (pg + 608 | 0); break leave; }
 *           n = n - 5 | 0;
 *           ...
 *         }
 *       }
 *       I[40] = x10; return null;                // a trap, or a slow path said so: it has seen to the budget
 *     }
 *     I[7] = n; I[40] = x10; return jump();
 *   }
 *
 * Budget: a block charges what its instructions cost when it is entered; the entry and every loop's header check.
 * Slow paths leave the locals alone: a trap changes no slot but the program counter's. Helpers that touch slots find
 * them written back.
 */
import {
  chargedBefore,
  costOf,
  costOfInsn,
  type InsnMark,
  type Operation,
  type StateShape,
} from "@hyperfile/decoder";
import { type header, PAGE_SIZE, STATE_OFFSET, TLB_ENTRIES } from "../../memory/layout.js";
import { callSite } from "../../mmu/ports.js";
import { fixedTarget, knownTarget } from "../../region/graph.js";
import type { StructuredEdge, StructuredNode } from "../../region/structure.js";
import { CHARGE_MASK } from "./block.js";
import { type EmitterHost, headerWord, JsEmitter, takeLate } from "./emitter.js";
import type { Values } from "./values.js";

/** What a region's code depends on besides its blocks. */
export interface JsRegionContext {
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

/**
 * The text of the region with this head: an expression whose value is the region's function.
 * @param noteAt what a comment says where the code of the instruction at a place begins
 */
export const emitJsRegion = (
  head: StructuredNode,
  context: JsRegionContext,
  noteAt?: (place: number) => string | undefined,
): string => new RegionPrinter(head, context, noteAt).print();

/** A slot's element in locals; `high` is empty where it has 32 bits, `number` where it is not kept as a double. */
interface CachedSlot {
  readonly word: number;
  readonly low: string;
  readonly high: string;
  readonly number: string;
  written: boolean;
}

/** The local of a slot's element. Values are called `v5_0` and the like: a slot with such a name gets another. */
const elementName = ({ slot, index }: Operation): string =>
  `${/^[vlhts]\d+$/.test(slot!) ? `slot_${slot}` : slot}_${(index as number) ?? 0}`;

/** Word 3 of a fetch TLB entry: the code page's index. */
const CODE_PAGE = 3;

class RegionPrinter {
  private readonly slots = new Map<string, CachedSlot>();
  /** Slots' elements that are computed with as doubles. */
  private readonly doubles = new Set<string>();
  private readonly lines: string[] = [];
  private readonly pcWord: number;
  private readonly manyPages: boolean;
  private usesLoads = false;
  private usesStores = false;
  private depth = 1;

  constructor(
    private readonly head: StructuredNode,
    private readonly context: JsRegionContext,
    private readonly noteAt: ((place: number) => string | undefined) | undefined,
  ) {
    this.pcWord = (context.hartOffset + STATE_OFFSET + context.shape.slots.get("pc")!.offset) >> 2;
    this.manyPages = context.pages.size > 1;
    if (context.flagsOffset !== undefined) this.findDoubles(head);
    this.survey(head);
  }

  print(): string {
    this.printEntry();
    this.open("leave: {");
    this.open("bail: {");
    this.printTree(this.head);
    this.close();
    this.line(`${this.writeBack()} return null;`);
    this.close();
    this.line(`${this.word("budget")} = n; ${this.writeBack()}`);
    this.line("return jump();");
    const place = this.head.node.place & (PAGE_SIZE - 1);
    return `function r_${place.toString(16)}() {\n${this.lines.join("\n")}\n}`;
  }

  // -- text

  private line(text: string): void {
    if (text !== "") this.lines.push(`${"  ".repeat(this.depth)}${text}`);
  }

  private open(text: string): void {
    this.line(text);
    this.depth++;
  }

  private close(text = "}"): void {
    this.depth--;
    this.line(text);
  }

  // -- state

  private word(field: keyof typeof header): string {
    return `I[${headerWord(this.context.hartOffset, field)}]`;
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

  private findDoubles(at: StructuredNode): void {
    const { operations } = at.node.block;
    const read = new Set<number>();
    for (const { op, args } of operations) if (op === "float64") read.add(args[0]!);
    operations.forEach((operation, position) => {
      const isDouble =
        operation.op === "get"
          ? read.has(position)
          : operation.op === "set" &&
            (read.has(operation.args[0]!) || operations[operation.args[0]!]!.op === "bits64");
      if (isDouble) this.doubles.add(elementName(operation));
    });
    for (const child of at.children) this.findDoubles(child);
  }

  private cached(operation: Operation): CachedSlot | undefined {
    const { shape, hartOffset, flagsOffset } = this.context;
    const { offset, stride } = shape.slots.get(operation.slot!)!;
    const index = (operation.index as number) ?? 0;
    const address = hartOffset + STATE_OFFSET + offset + index * stride;
    if (address === flagsOffset) return undefined;
    const low = elementName(operation);
    let slot = this.slots.get(low);
    if (slot === undefined) {
      const number = this.doubles.has(low) && stride === 8 && address % 8 === 0 ? `$${low}` : "";
      slot = { word: address >> 2, low, high: stride === 8 ? `${low}h` : "", number, written: false };
      this.slots.set(low, slot);
    }
    return slot;
  }

  /** What gives each local of the slots its content. */
  private readSlots(): string[] {
    return [...this.slots.values()].flatMap(({ word, low, high, number }) => [
      `${low} = I[${word}]`,
      ...(high === "" ? [] : [`${high} = I[${word + 1}]`]),
      ...(number === "" ? [] : [`${number} = D[${word >> 1}]`]),
    ]);
  }

  private writeBack(): string {
    const statements: string[] = [];
    for (const { word, low, high, number, written } of this.slots.values()) {
      if (!written) continue;
      const halves = `I[${word}] = ${low};${high === "" ? "" : ` I[${word + 1}] = ${high};`}`;
      statements.push(
        number === ""
          ? halves
          : `if (${number} === ${number}) D[${word >> 1}] = ${number}; else { ${halves} }`,
      );
    }
    return statements.join(" ");
  }

  private loadTlbs(declare: "let " | ""): string {
    const reads = this.usesLoads ? `${declare}tr = ${this.word("tlbRead")} >> 2; ` : "";
    const writes = this.usesStores ? `${declare}tw = ${this.word("tlbWrite")} >> 2;` : "";
    return `${reads}${writes}`.trim();
  }

  /** The two halves of the address of a place. */
  private address(place: number): readonly [lo: string, hi: string] {
    if (place === 0) return ["pg", "ph"];
    const low = `(pg + ${place} | 0)`;
    if (!this.context.wideAddresses || (place >= 0 && place < PAGE_SIZE)) return [low, "ph"];
    const carry = place > 0 ? `+ ((${low} >>> 0) < (pg >>> 0) | 0)` : `- ((${low} >>> 0) > (pg >>> 0) | 0)`;
    return [low, `(ph ${carry} | 0)`];
  }

  private savePc([low, high]: readonly [lo: string, hi: string]): string {
    // The high half in memory is the head's page's unless code of another page has run.
    const isKnown = !this.context.wideAddresses || (high === "ph" && !this.manyPages);
    return `I[${this.pcWord}] = ${low};${isKnown ? "" : ` I[${this.pcWord + 1}] = ${high};`}`;
  }

  // -- the function

  private printEntry(): void {
    const { context, pcWord } = this;
    this.line(`let n = ${this.word("budget")};`);
    this.line(`if (n < ${this.head.longest}) return null;`);
    this.line(
      `const pg = I[${pcWord}] & ${-PAGE_SIZE}${context.wideAddresses ? `, ph = I[${pcWord + 1}]` : ""};`,
    );
    if (context.pageAddress !== undefined) this.line(`if (pg !== ${context.pageAddress}) return null;`);
    for (const [distance, index] of context.pages) if (distance !== 0) this.confirmPage(distance, index);
    this.line(this.loadTlbs("let "));
    const loads = this.readSlots();
    if (loads.length > 0) this.line(`let ${loads.join(", ")};`);
  }

  /** Leaves, with nothing done, unless the fetch TLB has the code page `index` at this distance. */
  private confirmPage(distance: number, index: number): void {
    const [low, high] = this.address(distance * PAGE_SIZE);
    const entry = `(${low} >>> 10 & ${(TLB_ENTRIES - 1) * 4}) + (${this.word("tlbFetch")} >> 2) | 0`;
    const mismatch = this.context.wideAddresses ? ` || I[e + 1] !== ${high}` : "";
    this.line(
      `{ const e = ${entry}; if (I[e] !== ${low}${mismatch} || I[e + ${CODE_PAGE}] !== ${index}) return null; }`,
    );
  }

  /** A node and everything that it dominates. */
  private printTree(at: StructuredNode): void {
    const merges = at.children.filter((child) => child.isMerge).reverse();
    if (!at.isLoop) return this.printWithin(at, merges);
    this.open(`L${at.order}: for (;;) {`);
    this.line(`if (n < ${at.longest}) { ${this.savePc(this.address(at.node.place))} break leave; }`);
    this.printWithin(at, merges);
    this.close();
  }

  /** A node's block inside one labelled block for each merge point that it dominates; the points follow. */
  private printWithin(at: StructuredNode, merges: readonly StructuredNode[]): void {
    const [merge, ...rest] = merges;
    if (merge === undefined) return this.printNode(at);
    this.open(`M${merge.order}: {`);
    this.printWithin(at, rest);
    this.close();
    this.printTree(merge);
  }

  private printNode(at: StructuredNode): void {
    const { context } = this;
    const { block } = at.node;
    this.line(`n = n - ${costOf(block)} | 0;`);
    const emitter = new JsEmitter(
      block,
      context.shape,
      context.hartOffset,
      context.wideAddresses,
      this.hostOf(at),
      context.pageBytes ?? PAGE_SIZE,
    );
    // Lines are taken as they come: the block's exit prints the blocks that follow.
    emitter.emitAll((line) => this.line(line));
  }

  // -- control flow

  /** The statement that goes along an edge; undefined if its target is printed in place. */
  private jumpAlong(edge: StructuredEdge): string | undefined {
    if (edge.kind === "exit") return `${this.savePc(this.address(edge.place))} break leave;`;
    if (edge.kind === "back") return `continue L${edge.to.order};`;
    return edge.to.isMerge ? `break M${edge.to.order};` : undefined;
  }

  private printEdge(edge: StructuredEdge): void {
    const jump = this.jumpAlong(edge);
    if (jump !== undefined) this.line(jump);
    else this.printTree((edge as { readonly to: StructuredNode }).to);
  }

  private printBranch(condition: string, taken: StructuredEdge, notTaken: StructuredEdge): void {
    const jump = this.jumpAlong(taken);
    if (jump !== undefined) {
      this.line(`if (${condition}) { ${jump} }`);
      this.printEdge(notTaken);
      return;
    }
    const other = this.jumpAlong(notTaken);
    if (other !== undefined) {
      this.line(`if (!(${condition})) { ${other} }`);
      this.printEdge(taken);
      return;
    }
    this.open(`if (${condition}) {`);
    this.printEdge(taken);
    this.depth--;
    this.open("} else {");
    this.printEdge(notTaken);
    this.close();
  }

  /** Leaves with the program counter that `save` stores, if the last instruction left a note. */
  private leaveLate(values: Values, save: string): void {
    const budget = `${this.word("budget")} = n;`;
    values.line(
      `if (${this.word("late")} !== 0) { ${takeLate(this.context.hartOffset)} ${budget} ${save} break bail; }`,
    );
  }

  private printEnding(at: StructuredNode, operation: Operation, values: Values, isLate: boolean): void {
    const { context } = this;
    const { edges, node } = at;
    const saved = (edge: StructuredEdge) => this.savePc(this.address(placeOf(edge)));
    const jumps =
      fixedTarget(node.block, operation, context.alignment) !== undefined ||
      (context.pageAddress !== undefined &&
        knownTarget(node.block, operation, context.alignment) !== undefined);
    if (operation.op === "jump" || jumps) {
      if (isLate) this.leaveLate(values, saved(edges[0]!));
      this.printEdge(edges[0]!);
    } else if (operation.op === "branch") {
      const [taken, notTaken] = edges as readonly [StructuredEdge, StructuredEdge];
      if (isLate) {
        const test = values.condition(operation.args[0]!);
        this.leaveLate(values, `if (${test}) { ${saved(taken)} } else { ${saved(notTaken)} }`);
      }
      this.printBranch(values.condition(operation.args[0]!), edges[0]!, edges[1]!);
    } else if (operation.op === "jumpr") {
      const target = operation.args[0]!;
      const [expected] = edges;
      const found = [values.atom(target), context.wideAddresses ? values.atomHigh(target) : "ph"];
      // The program counter may be anywhere: both halves are saved.
      const there = `I[${this.pcWord}] = ${found[0]};${context.wideAddresses ? ` I[${this.pcWord + 1}] = ${found[1]};` : ""}`;
      if (isLate) this.leaveLate(values, there);
      const save = `${there} break leave;`;
      if (expected === undefined) {
        values.line(save);
        return;
      }
      const [low, high] = this.address(placeOf(expected));
      const differs = context.wideAddresses ? ` || ${found[1]} !== ${high}` : "";
      values.line(`if (${found[0]} !== ${low}${differs}) { ${save} }`);
      this.printEdge(expected);
    } else {
      if (isLate) values.line(`if (${this.word("late")} !== 0) { ${takeLate(context.hartOffset)} }`);
      values.line("break bail;");
    }
  }

  private hostOf(at: StructuredNode): EmitterHost {
    const { node } = at;
    let current: InsnMark = { offset: 0, length: 0, ordinal: 0 };
    const pageOfNode = Math.floor(node.place / PAGE_SIZE) * PAGE_SIZE;
    const offset = node.place - pageOfNode;
    const unknown = () => {
      throw new Error("a field in a region: fields are known here");
    };
    return {
      suffix: `_${at.order}`,
      mark: (mark) => {
        current = mark;
        const note = this.noteAt?.(node.place + mark.offset);
        if (note !== undefined) this.line(`// ${note}`);
      },
      site: () => {
        const unretired = costOf(node.block) - chargedBefore(current);
        return String(callSite(offset + current.offset, current.length, unretired, costOfInsn(current)));
      },
      charge: (units) => `n = n - (${units} & ${CHARGE_MASK}) | 0;`,
      beforeSlowPath: () =>
        `${this.word("budget")} = n;${this.manyPages ? ` ${this.savePc(this.address(pageOfNode))}` : ""}`,
      bail: () => "break bail;",
      spill: () => this.writeBack(),
      bailSpilled: () => "return null;",
      afterHelper: () => [this.loadTlbs(""), ...this.readSlots().map((read) => `${read};`)].join(" ").trim(),
      pc: (distance) => this.address(node.place + distance),
      field: unknown,
      fieldIndex: unknown,
      slotLocals: (operation) => {
        const slot = this.cached(operation);
        return slot === undefined ? undefined : [slot.low, slot.high, slot.number];
      },
      flagsWord: this.context.flagsOffset === undefined ? undefined : this.context.flagsOffset >> 2,
      exit: (operation, values, isLate) => this.printEnding(at, operation, values, isLate),
    };
  }
}

/** Where an edge leads. */
const placeOf = (edge: StructuredEdge): number => (edge.kind === "exit" ? edge.place : edge.to.node.place);
