/**
 * The names that emitted JavaScript may use, and what they mean: views of the linear memory, pure integer and
 * float functions, memory slow paths, the CPU model's helpers, and the dispatcher's `jump`. Emitted code is closed
 * over exactly these, and `verify.ts` rejects every other name.
 */
import type { LinearMemory } from "../../memory/linear-memory.js";
import { doubleRuntime } from "./doubles.js";
import { floatRuntime } from "./float-runtime.js";
import {
  bswap32,
  clz64,
  ctz64,
  mulh32,
  mulhsu32,
  mulhu32,
  popcnt32,
  popcnt64,
  wideRuntime,
} from "./integer-runtime.js";

/** A function bound into emitted code. */
export type Bound = (...args: number[]) => unknown;

/** Everything emitted code can see, by name. */
export type Bindings = Readonly<Record<string, unknown>>;

/** Names of the views: the only things that emitted code may index. */
export const viewNames = ["I", "B", "U", "S", "H", "D", "F", "C"] as const;

/** The bindings that do not depend on the engine. */
export function runtimeBindings(
  memory: LinearMemory,
  resultHighWord: number,
  flagsWord: number | undefined,
): Bindings {
  return {
    I: memory.i32,
    B: memory.i8,
    U: memory.u8,
    S: memory.i16,
    H: memory.u16,
    D: memory.f64,
    imul: Math.imul,
    clz32: Math.clz32,
    mulhu32,
    mulh32,
    mulhsu32,
    popcnt32,
    bswap32,
    clz64,
    ctz64,
    popcnt64,
    ...wideRuntime(memory.i32, resultHighWord),
    ...(flagsWord === undefined
      ? {}
      : { ...floatRuntime(memory.i32, resultHighWord, flagsWord), ...doubleRuntime() }),
  };
}

/**
 * Evaluates emitted text, an expression, with `bindings` in scope. This is the one place where text becomes code.
 *
 * Names reach the code as constants, not as parameters: V8 folds a constant of an enclosing function into the
 * machine code (array, length and all), but reads a parameter anew at every use.
 * @throws SyntaxError if the text does not parse: a defect of the emitter
 */
export function evaluate(text: string, bindings: Bindings): unknown {
  const used = [...new Set(text.match(/[A-Za-z_]\w*/g))].filter((name) => Object.hasOwn(bindings, name));
  const constants = used.length === 0 ? "" : `const ${used.map((name) => `${name} = $.${name}`).join(", ")};`;
  return new Function("$", `"use strict"; ${constants} return (${text});`)(bindings);
}
