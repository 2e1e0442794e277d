/**
 * The interpreter in JavaScript, generated from the front end's templates: one `switch` case an instruction over
 * pre-decoded operations (`backend/entry-format.ts`).
 *
 * Locals: `ip` word index of the entry; `d` what to add to it for the low half of the program counter; `base`
 * first entry of the page; `n` remaining budget; `ph` high half of the program counter.
 */
import { costOf, type FrontEnd, type Operation, opcodes, type Template } from "@hyperfile/decoder";
import { PAGE_SIZE, STATE_OFFSET } from "../../memory/layout.js";
import { callSite } from "../../mmu/call-sites.js";
import { eliminateDead } from "../../passes/eliminate-dead.js";
import { lateExits } from "../../passes/late-exits.js";
import {
  type EntryFormat,
  type EntryFormats,
  fetchMaskOf,
  InternalOpcode,
  InterpreterExit,
  OPCODE_BITS,
} from "../entry-format.js";
import { type EmitterHost, JsEmitter, takeLate } from "./emitter.js";
import { headerWord } from "./header-word.js";
import { tlbEntry, tlbStart, tlbWord } from "./tlb.js";
import type { Values } from "./values.js";

/** Constants that the generated code needs. */
export interface InterpreterContext {
  readonly frontEnd: FrontEnd;
  readonly hartOffset: number;
  /** Word index of code page 0. */
  readonly arenaWord: number;
  /** Words from one code page to the next. */
  readonly pageWords: number;
  /** log2 of entries' words per byte of code. */
  readonly wordsPerByteShift: number;
}

/** Expression of a field's value. */
function fieldText(format: EntryFormat, name: string): string {
  if (name === "length") return String(format.length);
  const { word, at, width, signed } = format.place(name);
  const source = word === 0 ? "w" : "m";
  if (width === 32) return source;
  if (signed) return `(${source} << ${32 - width - at} >> ${32 - width})`;
  return `(${source} >>> ${at} & ${2 ** width - 1})`;
}

/** Expression of a field times `words`. */
function fieldIndexText(format: EntryFormat, name: string, words: 1 | 2): string {
  const { word, at, width } = format.place(name);
  const source = word === 0 ? "w" : "m";
  if (words === 1) return `(${source} >>> ${at} & ${2 ** width - 1})`;
  return at === 0
    ? `((${source} & ${2 ** width - 1}) << 1)`
    : `(${source} >>> ${at - 1} & ${(2 ** width - 1) * 2})`;
}

/** What a call site says besides the page offset: the length, and what the one instruction costs that has not retired. */
const siteBits = ({ length, template }: EntryFormat): number => {
  const cost = costOf(template.block);
  return callSite(0, length, cost, cost);
};
/** Templates in one function of cold handlers: V8 gives up optimising functions of more than 60 KB of bytecode. */
const COLD_GROUP = 32;

/**
 * Whether a template's handler is kept out of the interpreter's loop. Handlers that call out anyway lose nothing,
 * and the loop stays small enough for V8 to optimise it.
 */
export function isCold(template: Template): boolean {
  const { operations } = template.block;
  const last = operations[operations.length - 1]!;
  const target = last.targets?.[0];
  const fallsThrough = last.op === "jump" && typeof target === "object" && target.field === "length";
  if (!fallsThrough && last.op !== "leave" && last.op !== "trap") return false;
  // The loop has the budget in a local, and knows where the instruction that ends leads.
  if (operations.some(({ op }) => op === "charge") || lateExits(template.block).ends.size > 0) return false;
  return operations.some(({ op }) => {
    const { kind } = opcodes.get(op)!;
    return kind === "call" || kind === "float" || coldOperations.has(op);
  });
}

const coldOperations = new Set([
  "trap", "trapif", "amo", "lr", "sc", "mulh", "mulhu", "mulhsu", "div", "divu", "rem", "remu",
  "rotl", "rotr", "popcnt", "ctz", "bswap",
]); // biome-ignore format: one list

function coldGroups(formats: readonly EntryFormat[]): EntryFormat[][] {
  const cold = formats.filter((format) => isCold(format.template));
  const groups: EntryFormat[][] = [];
  for (let at = 0; at < cold.length; at += COLD_GROUP) groups.push(cold.slice(at, at + COLD_GROUP));
  return groups;
}

const coldName = (group: number): string => `cold${group}`;

/** @param opening lines before those of the instruction */
function handlerOf(
  context: InterpreterContext,
  format: EntryFormat,
  host: EmitterHost,
  opening: readonly string[] = [],
): string {
  const { frontEnd, hartOffset } = context;
  const block = eliminateDead(format.template.block);
  const emitter = new JsEmitter(
    block,
    frontEnd.shape,
    hartOffset,
    frontEnd.addressType === "i64",
    host,
    frontEnd.pageBytes,
  );
  emitter.emitAll();
  const body = [...opening, ...emitter.lines].map((line) => `          ${line}`).join("\n");
  return `        case ${format.opcode}: { // ${format.template.name}, ${format.length} bytes\n${body}\n        }`;
}

/**
 * The texts of the functions with cold handlers, by name. Each takes the entry's words and the program counter and
 * gives 0 to go on with the next instruction, 1 to leave; program counter and budget are in memory already.
 */
export function emitColdHandlers(
  context: InterpreterContext,
  { all: formats }: EntryFormats,
): Readonly<Record<string, string>> {
  const { hartOffset } = context;
  const host = (format: EntryFormat): EmitterHost => ({
    mark: () => {},
    charge: () => {
      throw new Error("a cold handler that charges");
    },
    site: () => `pc & 4095 | ${siteBits(format)}`,
    beforeSlowPath: () => "",
    bail: () => "return 1;",
    afterHelper: () => "",
    pc: () => ["pc", "ph"],
    field: (name) => fieldText(format, name),
    fieldIndex: (name, words) => fieldIndexText(format, name, words),
    exit: (operation, values) => values.line(operation.op === "jump" ? "return 0;" : "return 1;"),
  });
  return Object.fromEntries(
    coldGroups(formats).map((group, index) => {
      const cases = group.map((format) => handlerOf(context, format, host(format))).join("\n");
      const text = `function ${coldName(index)}(w, m, pc, ph) {
  const tr = ${tlbStart(hartOffset, "tlbRead")}, tw = ${tlbStart(hartOffset, "tlbWrite")};
  switch (w & ${2 ** OPCODE_BITS - 1}) {
${cases}
  }
  return 1;
}`;
      return [coldName(index), text];
    }),
  );
}

/** In the place of a scratch entry: the translation where the program counter is has just refused to begin. */
export const REFUSED = -1;

/**
 * The text of the interpreter: an expression whose value is `interpret(hot, scratch)`. `hot` is the number of arrivals
 * at which it hands over, `scratch` the word index of an entry to begin with instead of the program counter's,
 * {@link REFUSED}, or 0.
 */
export function emitInterpreter(context: InterpreterContext, { all: formats }: EntryFormats): string {
  const { frontEnd, hartOffset, wordsPerByteShift: scale } = context;
  const wide = frontEnd.addressType === "i64";
  const pcWord = (hartOffset + STATE_OFFSET + frontEnd.shape.slots.get("pc")!.offset) >> 2;
  const budget = `I[${headerWord(hartOffset, "budget")}]`;
  const bytes = (expression: string) => (scale === 0 ? expression : `(${expression} << ${scale})`);
  const low = scale === 0 ? "ip + d | 0" : `(ip >> ${scale}) + d | 0`;
  const save = `I[${pcWord}] = ${low}; ${budget} = n;`;
  const reload = `tr = ${tlbStart(hartOffset, "tlbRead")}; tw = ${tlbStart(hartOffset, "tlbWrite")};`;
  const late = `I[${headerWord(hartOffset, "late")}]`;
  /** From the place of an entry outside the page to the program counter. */
  const cross = [
    `pl = ${low};`,
    ...(wide
      ? [
          "if ((pl - pv | 0) >= 0) ph = ph + ((pl >>> 0) < (pv >>> 0) | 0) | 0;",
          "else ph = ph - ((pl >>> 0) > (pv >>> 0) | 0) | 0;",
        ]
      : []),
  ];
  const savePc = `I[${pcWord}] = pl;${wide ? ` I[${pcWord + 1}] = ph;` : ""}`;
  /** Leaves at `pl` where the instruction left a note. */
  const leaveLate = (toPc: string): string =>
    `if (${late} !== 0) { ${takeLate(hartOffset)} ${toPc} ${savePc} ${budget} = n; return ${InterpreterExit.done}; }`;
  const advance = (length: number, isLate = false) =>
    `ip = ip + ${length << scale} | 0; ${isLate ? `${leaveLate(cross.join(" "))} ` : ""}continue;`;

  /** What an instruction costs beyond the one unit that the loop takes. */
  const charge = (format: EntryFormat): string[] => {
    const cost = costOf(format.template.block);
    return cost === 1 ? [] : [`n = n - ${cost - 1} | 0;`];
  };
  const hosts = (format: EntryFormat): EmitterHost => ({
    mark: () => {},
    charge: (units) => `n = n - ${units} | 0;`,
    site: () => `(${low}) & 4095 | ${siteBits(format)}`,
    beforeSlowPath: () => save,
    bail: () => `return ${InterpreterExit.done};`,
    afterHelper: () => reload,
    pc: () => [`(${low})`, "ph"],
    field: (name) => fieldText(format, name),
    fieldIndex: (name, words) => fieldIndexText(format, name, words),
    exit: (operation: Operation, values: Values, isLate: boolean) => {
      const check = isLate ? ` ${leaveLate(cross.join(" "))}` : "";
      const go = (target: unknown) => {
        const { field } = target as { field: string };
        if (field === "length") return advance(format.length, isLate);
        return `ip = ip + ${bytes(fieldText(format, field))} | 0;${check} break;`;
      };
      const [taken, notTaken] = operation.targets ?? [];
      if (operation.op === "jump") values.line(go(taken));
      else if (operation.op === "branch") {
        values.line(`if (${values.condition(operation.args[0]!)}) { ${go(taken)} }`);
        // What follows a branch that is not taken may be the start of a block: regions want to know how often it ran.
        if ((notTaken as { field?: string }).field === "length") {
          const next = `ip = ip + ${format.length << scale} | 0;`;
          values.line(`${next}${check} C[ip >> 1] = C[ip >> 1] + 1 | 0; continue;`);
        } else values.line(go(notTaken));
      } else if (operation.op === "jumpr") {
        const target = operation.args[0]!;
        const there = `pl = ${values.lo(target)};${wide ? ` ph = ${values.hi(target)};` : ""}`;
        values.line(`${there}${isLate ? ` ${leaveLate("")}` : ""} continue enter;`);
      } else if (isLate) {
        values.line(`if (${late} !== 0) { ${takeLate(hartOffset)} } return ${InterpreterExit.done};`);
      } else values.line(`return ${InterpreterExit.done};`);
    },
  });
  const handlers = formats
    .filter((format) => !isCold(format.template))
    .map((format) => handlerOf(context, format, hosts(format), charge(format)));
  const kindOf = (format: EntryFormat) => `${format.length} ${costOf(format.template.block)}`;
  const coldCalls = coldGroups(formats).flatMap((group, index) =>
    [...new Set(group.map(kindOf))].map((kind) => {
      const alike = group.filter((format) => kindOf(format) === kind);
      const { length } = alike[0]!;
      return `        ${alike.map((format) => `case ${format.opcode}:`).join(" ")} {
          ${[...charge(alike[0]!), save].join(" ")}
          if (${coldName(index)}(w, m, ${low}, ph) !== 0) return ${InterpreterExit.done};
          ${reload}
          ${advance(length)}
        }`;
    }),
  );

  const high = wide ? `I[${pcWord + 1}] = ph;` : "";
  // The last instruction of a page may have stepped over a multiple of 4 GiB.
  const carry = wide ? `if ((${low}) >>> 0 < pv >>> 0) I[${pcWord + 1}] = ph + 1 | 0; ` : "";
  const mask = fetchMaskOf(frontEnd);
  const page = mask === -PAGE_SIZE ? "pv" : `(pl & ${mask})`;
  const mismatch = wide ? ` || ph !== ${tlbWord("e", "pageHigh")}` : "";
  return `function interpret(hot, scratch) {
  let n = ${budget};
  let pl = I[${pcWord}], ph = ${wide ? `I[${pcWord + 1}]` : "0"};
  let tr = ${tlbStart(hartOffset, "tlbRead")}, tw = ${tlbStart(hartOffset, "tlbWrite")};
  let ip = 0, base = 0, d = 0, pv = 0;
  let start = scratch;
  enter: for (;;) {
    I[${pcWord}] = pl; ${high}
    pv = pl & -4096;
    if (start > 0) {
      ip = start; d = pl - ${scale === 0 ? "ip" : `(ip >> ${scale})`} | 0; base = ip + 1073741824 | 0; start = 0;
    } else {
      const e = ${tlbEntry("pl", `(${tlbStart(hartOffset, "tlbFetch")})`, PAGE_SIZE)};
      if (${page} !== ${tlbWord("e", "page")}${mismatch}) { ${budget} = n; return ${InterpreterExit.fetch}; }
      base = imul(${tlbWord("e", "codePage")}, ${context.pageWords}) + ${context.arenaWord} | 0;
      ip = base + ${bytes("(pl & 4095)")} | 0;
      d = pl - ${scale === 0 ? "ip" : `(ip >> ${scale})`} | 0;
      const c = C[ip >> 1] + 1 | 0;
      C[ip >> 1] = c;
      if (c >= hot && start !== ${REFUSED}) { ${budget} = n; return ${InterpreterExit.hot}; }
      start = 0;
    }
    for (;;) {
      if (n <= 0) { ${save} ${carry}return ${InterpreterExit.done}; }
      const w = I[ip], m = I[ip + 1];
      n = n - 1 | 0;
      switch (w & ${2 ** OPCODE_BITS - 1}) {
        case ${InternalOpcode.undecoded}: {
          n = n + 1 | 0;
          decode(ip);
          continue;
        }
        case ${InternalOpcode.pageEnd}: {
          n = n + 1 | 0;
          pl = ${low};
          ${wide ? "if (pl === 0) ph = ph + 1 | 0;" : ""}
          continue enter;
        }
        case ${InternalOpcode.crossing}: {
          n = n + 1 | 0;
          ${save}
          return ${InterpreterExit.crossing};
        }
        case ${InternalOpcode.breakpoint}: {
          n = n + 1 | 0;
          ${save}
          return ${InterpreterExit.breakpoint};
        }
${[...handlers, ...coldCalls].join("\n")}
      }
      if (ip - base >>> 0 < ${4096 << scale}) {
        const c = C[ip >> 1] + 1 | 0;
        C[ip >> 1] = c;
        if (c >= hot) { ${save} return ${InterpreterExit.hot}; }
        continue;
      }
      ${cross.join("\n      ")}
      continue enter;
    }
  }
}`;
}
