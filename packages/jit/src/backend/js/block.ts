/**
 * A translation: one JavaScript function per basic block.
 *
 * The function takes nothing and returns the next block's function, or null to return to the dispatcher. It
 * first charges what its instructions cost to the budget. State lives in the linear memory between blocks; inside one,
 * values are locals and every slot write is stored at once, so that a trap or an interrupt finds the state
 * complete. The code does not depend on the virtual address it runs at: the program counter slot holds the
 * block's entry address, and targets in the same page only change its low half. Targets in the same page are
 * reached through the page's array of functions `P`, others through `jump`. A block that branches to its own
 * start is a loop inside the function.
 */
import {
  type Block,
  chargedBefore,
  costOf,
  costOfInsn,
  type InsnMark,
  mostOf,
  type Operation,
  type StateShape,
  type Target,
} from "@hyperfile/decoder";
import { type header, PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import { callSite } from "../../mmu/ports.js";
import { knownTarget } from "../../region/graph.js";
import { type EmitterHost, headerWord, JsEmitter, takeLate } from "./emitter.js";
import type { Values } from "./values.js";

/** Greatest charge that an instruction may take beside what it costs, as a mask. */
export const CHARGE_MASK = 0xffff;

/** What a translation depends on besides its block. */
export interface BlockContext {
  readonly shape: StateShape;
  /** Byte offset of the hart's block in linear memory. */
  readonly hartOffset: number;
  readonly wideAddresses: boolean;
  /** Offset of the block's first byte in its page. */
  readonly pageOffset: number;
  /** log2 of the unit in which the page's function array is indexed (1: half-words). */
  readonly granularity: number;
  /** Bytes of which every instruction's address is a multiple. */
  readonly alignment: number;
  /** Bytes of the pages in which loads and stores are translated; 4096 unless given. */
  readonly pageBytes?: number;
  /** False to go back to the dispatcher after every block. */
  readonly chain: boolean;
}

/** The text of a translation: an expression whose value is the block's function. */
export function emitBlock(block: Block, context: BlockContext): string {
  const word = (field: keyof typeof header) => headerWord(context.hartOffset, field);
  const pcWord = (context.hartOffset + STATE_OFFSET + context.shape.slots.get("pc")!.offset) >> 2;
  const budget = `I[${word("budget")}]`;
  const name = `b_${context.pageOffset.toString(16)}`;
  const usesMemory = (op: string) => block.operations.some((operation) => operation.op === op);
  let current: InsnMark = { offset: 0, length: 0, ordinal: 0 };
  const isSelf = (target: Target) => target === 0;
  const loops =
    context.chain && (block.operations[block.operations.length - 1]!.targets?.some(isSelf) ?? false);

  const pc = (distance: number): readonly [string, string] => {
    if (distance === 0) return ["pc", "ph"];
    const place = context.pageOffset + distance;
    if (place >= 0 && place < PAGE_SIZE) return [`(pc + ${distance} | 0)`, "ph"];
    const low = `(pc + ${distance} | 0)`;
    const carry = distance > 0 ? `((${low} >>> 0) < (pc >>> 0) | 0)` : `-((${low} >>> 0) > (pc >>> 0) | 0)`;
    return [low, `(ph + ${carry} | 0)`];
  };
  const savePc = (distance: number): string => {
    const [lo, hi] = pc(distance);
    return `I[${pcWord}] = ${lo};${context.wideAddresses ? ` I[${pcWord + 1}] = ${hi};` : ""}`;
  };
  /** Statements that leave where the last instruction left a note. */
  const leaveLate = (save: string): string =>
    `if (I[${word("late")}] !== 0) { ${takeLate(context.hartOffset)} ${save} return null; }`;
  /** Statements that continue at `target`. */
  const goTo = (target: Target): string => {
    const distance = target as number;
    if (loops && distance === 0) return "continue;";
    const place = context.pageOffset + distance;
    if (place >= 0 && place < PAGE_SIZE) {
      const next = context.chain ? `P[${place >> context.granularity}]` : "null";
      return `I[${pcWord}] = pc + ${distance}; return ${next};`;
    }
    return `${savePc(distance)} return ${context.chain ? "jump()" : "null"};`;
  };

  const host: EmitterHost = {
    mark: (at) => {
      current = at;
    },
    charge: (units) => `${budget} = ${budget} - (${units} & ${CHARGE_MASK});`,
    site: () => {
      const unretired = costOf(block) - chargedBefore(current);
      const offset = context.pageOffset + current.offset;
      return String(callSite(offset, current.length, unretired, costOfInsn(current)));
    },
    beforeSlowPath: () => "",
    bail: () => "return null;",
    afterHelper: () =>
      `${usesMemory("load") ? `tr = I[${word("tlbRead")}] >> 2;` : ""}${usesMemory("store") ? ` tw = I[${word("tlbWrite")}] >> 2;` : ""}`.trim(),
    pc,
    field: () => {
      throw new Error("a field in a block: fields are known here");
    },
    fieldIndex: () => {
      throw new Error("a field index in a block: fields are known here");
    },
    exit: (operation: Operation, values: Values, isLate: boolean) => {
      const [taken, notTaken] = operation.targets ?? [];
      if (operation.op === "jump") {
        if (isLate) values.line(leaveLate(savePc(taken as number)));
        values.line(goTo(taken!));
      } else if (operation.op === "branch") {
        const test = values.condition(operation.args[0]!);
        if (isLate) {
          const [yes, no] = [savePc(taken as number), savePc(notTaken as number)];
          values.line(leaveLate(`if (${test}) { ${yes} } else { ${no} }`));
        }
        values.line(`if (${test}) { ${goTo(taken!)} }`);
        values.line(goTo(notTaken!));
      } else if (operation.op === "jumpr") {
        const target = operation.args[0]!;
        if (isLate) {
          const high = context.wideAddresses ? ` I[${pcWord + 1}] = ${values.atomHigh(target)};` : "";
          values.line(leaveLate(`I[${pcWord}] = ${values.atom(target)};${high}`));
        }
        const known = context.wideAddresses ? undefined : knownTarget(block, operation, context.alignment);
        if (known !== undefined && context.chain) {
          // In the page that the block is in there is no look-up to do; which page that is, shows when it runs.
          const place = `P[${(known & (PAGE_SIZE - 1)) >> context.granularity}]`;
          values.line(`I[${pcWord}] = ${known};`);
          values.line(`if ((pc ^ ${known}) >>> 12 === 0) return ${place};`);
          values.line("return jump();");
          return;
        }
        const high = context.wideAddresses ? ` I[${pcWord + 1}] = ${values.hi(target)};` : "";
        values.line(
          `I[${pcWord}] = ${values.lo(target)};${high} return ${context.chain ? "jump()" : "null"};`,
        );
      } else values.line(isLate ? `${leaveLate("")} return null;` : "return null;");
    },
  };
  const emitter = new JsEmitter(
    block,
    context.shape,
    context.hartOffset,
    context.wideAddresses,
    host,
    context.pageBytes,
  );
  emitter.emitAll();
  const body = emitter.lines.map((line) => `    ${line}`).join("\n");
  const reads = usesMemory("load") ? `  let tr = I[${word("tlbRead")}] >> 2;\n` : "";
  const writes = usesMemory("store") ? `  let tw = I[${word("tlbWrite")}] >> 2;\n` : "";
  const entry = `  const pc = I[${pcWord}]${context.wideAddresses ? `, ph = I[${pcWord + 1}]` : ""};\n`;
  // A slow path may have moved the pc slot within the page: a loop that stops must point at its start again.
  const stop = loops ? `{ I[${pcWord}] = pc; return null; }` : "return null;";
  const charge = `    if (${budget} < ${mostOf(block)}) ${stop}\n    ${budget} = ${budget} - ${costOf(block)};\n`;
  const open = loops ? "  for (;;) {\n" : "  {\n";
  return `function ${name}() {\n${entry}${reads}${writes}${open}${charge}${body}\n  }\n}`;
}
