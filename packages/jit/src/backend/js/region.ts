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
import { costOf, type Operation, type Value } from "@hyperfile/decoder";
import { type header, PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import { NodeSites, type RegionContext, RegionSlots } from "../../region/emission.js";
import type { Place } from "../../region/graph.js";
import type { StructuredEdge, StructuredNode } from "../../region/structure.js";
import { type RegionEmitter, walkRegion } from "../../region/walker.js";
import { type EmitterHost, JsEmitter, takeLate } from "./emitter.js";
import { headerWord } from "./header-word.js";
import { tlbEntry, tlbStart, tlbWord } from "./tlb.js";
import type { Values } from "./values.js";

/** Greatest charge that an instruction may take beside what it costs, as a mask. */
const CHARGE_MASK = 0xffff;

/**
 * The text of the region with this head: an expression whose value is the region's function.
 * @param noteAt what a comment says where the code of the instruction at a place begins
 */
export const emitJsRegion = (
  head: StructuredNode,
  context: RegionContext,
  noteAt?: (place: number) => string | undefined,
): string => new RegionPrinter(head, context, noteAt).print();

/** The locals of a slot's element; `high` is empty where it has 32 bits, `number` where it is not kept as a double. */
interface SlotLocals {
  readonly low: string;
  readonly high: string;
  readonly number: string;
}

/** The local of a slot's element. Values are called `v5_0` and the like: a slot with such a name gets another. */
const elementName = ({ slot, index }: Operation): string =>
  `${/^[vlhts]\d+$/.test(slot!) ? `slot_${slot}` : slot}_${(index as number) ?? 0}`;

class RegionPrinter implements RegionEmitter<Values> {
  readonly exitsAreJumps = true;
  private readonly slots: RegionSlots<SlotLocals>;
  /** Slots' elements that are computed with as doubles. */
  private readonly doubles = new Set<string>();
  private readonly lines: string[] = [];
  private readonly pcWord: number;
  private readonly manyPages: boolean;
  private depth = 1;

  constructor(
    private readonly head: StructuredNode,
    private readonly context: RegionContext,
    private readonly noteAt: ((place: number) => string | undefined) | undefined,
  ) {
    this.pcWord = (context.hartOffset + STATE_OFFSET + context.shape.slots.get("pc")!.offset) >> 2;
    this.manyPages = context.pages.size > 1;
    if (context.flagsOffset !== undefined) this.findDoubles(head);
    this.slots = new RegionSlots(head, context, (operation, address, wide) => {
      const low = elementName(operation);
      const number = this.doubles.has(low) && wide && address % 8 === 0 ? `$${low}` : "";
      return { low, high: wide ? `${low}h` : "", number };
    });
  }

  print(): string {
    this.printEntry();
    this.open("leave: {");
    this.open("bail: {");
    walkRegion(this.head, this.context, this);
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

  /** What gives each local of the slots its content. */
  private readSlots(): string[] {
    return [...this.slots].flatMap(({ address, local: { low, high, number } }) => [
      `${low} = I[${address >> 2}]`,
      ...(high === "" ? [] : [`${high} = I[${(address >> 2) + 1}]`]),
      ...(number === "" ? [] : [`${number} = D[${address >> 3}]`]),
    ]);
  }

  private writeBack(): string {
    const statements: string[] = [];
    for (const { address, written, local } of this.slots) {
      if (!written) continue;
      const { low, high, number } = local;
      const word = address >> 2;
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
    const reads = this.slots.usesLoads
      ? `${declare}tr = ${tlbStart(this.context.hartOffset, "tlbRead")}; `
      : "";
    const writes = this.slots.usesStores
      ? `${declare}tw = ${tlbStart(this.context.hartOffset, "tlbWrite")};`
      : "";
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
    const { hartOffset, wideAddresses } = this.context;
    const entry = tlbEntry(low, `(${tlbStart(hartOffset, "tlbFetch")})`, PAGE_SIZE);
    const mismatch = wideAddresses ? ` || ${tlbWord("e", "pageHigh")} !== ${high}` : "";
    this.line(
      `{ const e = ${entry}; if (${tlbWord("e", "page")} !== ${low}${mismatch} || ${tlbWord("e", "codePage")} !== ${index}) return null; }`,
    );
  }

  openLoop(at: StructuredNode): void {
    this.open(`L${at.order}: for (;;) {`);
    this.line(`if (n < ${at.longest}) { ${this.leaveAt(at.node.place)} }`);
  }

  closeLoop(): void {
    this.close();
  }

  openMerge(merge: StructuredNode): void {
    this.open(`M${merge.order}: {`);
  }

  closeMerge(): void {
    this.close();
  }

  block(at: StructuredNode, end: (exit: Operation, values: Values, isLate: boolean) => void): void {
    const { context } = this;
    const { block } = at.node;
    this.line(`n = n - ${costOf(block)} | 0;`);
    const emitter = new JsEmitter(
      block,
      context.shape,
      context.hartOffset,
      context.wideAddresses,
      this.hostOf(at, end),
      context.pageBytes ?? PAGE_SIZE,
    );
    // Lines are taken as they come: the block's exit prints the blocks that follow.
    emitter.emitAll((line) => this.line(line));
  }

  // -- control flow

  /** Statements that store the program counter and leave. */
  private leaveAt(place: Place): string {
    return `${this.savePc(this.address(place))} break leave;`;
  }

  /** Statements that jump along an edge. */
  private jumpAlong(edge: StructuredEdge): string {
    if (edge.kind === "exit") return this.leaveAt(edge.place);
    return edge.kind === "back" ? `continue L${edge.to.order};` : `break M${edge.to.order};`;
  }

  go(edge: StructuredEdge): void {
    this.line(this.jumpAlong(edge));
  }

  goIf(values: Values, condition: Value, holds: boolean, edge: StructuredEdge): void {
    const test = values.condition(condition);
    this.line(`if (${holds ? test : `!(${test})`}) { ${this.jumpAlong(edge)} }`);
  }

  openIf(values: Values, condition: Value): void {
    this.open(`if (${values.condition(condition)}) {`);
  }

  openElse(): void {
    this.depth--;
    this.open("} else {");
  }

  closeIf(): void {
    this.close();
  }

  leaveLate(values: Values, places: readonly [Place, Place?], condition?: Value): void {
    const [place, other] = places;
    const save = (to: Place) => this.savePc(this.address(to));
    this.leaveIfLate(
      values,
      condition === undefined || other === undefined
        ? save(place)
        : `if (${values.condition(condition)}) { ${save(place)} } else { ${save(other)} }`,
    );
  }

  /** Leaves with the program counter that `save` stores, if the last instruction left a note. */
  private leaveIfLate(values: Values, save: string): void {
    const budget = `${this.word("budget")} = n;`;
    values.line(
      `if (${this.word("late")} !== 0) { ${takeLate(this.context.hartOffset)} ${budget} ${save} break bail; }`,
    );
  }

  indirect(values: Values, address: Value, isLate: boolean, expected: Place | undefined): void {
    const { wideAddresses } = this.context;
    const [low, high] = [values.atom(address), wideAddresses ? values.atomHigh(address) : "ph"];
    // The program counter may be anywhere: both halves are saved.
    const save = `I[${this.pcWord}] = ${low};${wideAddresses ? ` I[${this.pcWord + 1}] = ${high};` : ""}`;
    if (isLate) this.leaveIfLate(values, save);
    if (expected === undefined) return values.line(`${save} break leave;`);
    const [expectedLow, expectedHigh] = this.address(expected);
    const differs = wideAddresses ? ` || ${high} !== ${expectedHigh}` : "";
    values.line(`if (${low} !== ${expectedLow}${differs}) { ${save} break leave; }`);
  }

  bail(values: Values, isLate: boolean): void {
    if (isLate) values.line(`if (${this.word("late")} !== 0) { ${takeLate(this.context.hartOffset)} }`);
    values.line("break bail;");
  }

  private hostOf({ node, order }: StructuredNode, exit: EmitterHost["exit"]): EmitterHost {
    const sites = new NodeSites(node);
    const unknown = () => {
      throw new Error("a field in a region: fields are known here");
    };
    return {
      suffix: `_${order}`,
      mark: (mark) => {
        const place = sites.mark(mark);
        const note = this.noteAt?.(place);
        if (note !== undefined) this.line(`// ${note}`);
      },
      site: () => String(sites.site),
      charge: (units) => `n = n - (${units} & ${CHARGE_MASK}) | 0;`,
      beforeSlowPath: () =>
        `${this.word("budget")} = n;${this.manyPages ? ` ${this.savePc(this.address(sites.page))}` : ""}`,
      bail: () => "break bail;",
      spill: () => this.writeBack(),
      bailSpilled: () => "return null;",
      afterHelper: () => [this.loadTlbs(""), ...this.readSlots().map((read) => `${read};`)].join(" ").trim(),
      pc: (distance) => this.address(node.place + distance),
      field: unknown,
      fieldIndex: unknown,
      slotLocals: (operation) => {
        const local = this.slots.of(operation)?.local;
        return local === undefined ? undefined : [local.low, local.high, local.number];
      },
      flagsWord: this.context.flagsOffset === undefined ? undefined : this.context.flagsOffset >> 2,
      exit,
    };
  }
}
