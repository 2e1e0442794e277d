/** Operations on integers of 32 bits as JavaScript. */
import type { Operation } from "@hyperfile/decoder";
import { comparison } from "./comparisons.js";
import { comparisons, type Values } from "./values.js";

/** Names the value of an operation whose result has 32 bits. */
export function emitNarrow(v: Values, operation: Operation): void {
  const { op, args } = operation;
  const a = args[0]!;
  const b = args[1]!;
  if (comparisons.has(op)) return v.single(`(${comparison(v, op, a, b)} | 0)`);
  switch (op) {
    case "add":
      return v.single(`(${v.lo(a)} + ${v.lo(b)} | 0)`);
    case "sub":
      return v.single(`(${v.lo(a)} - ${v.lo(b)} | 0)`);
    case "mul":
      return v.single(`imul(${v.lo(a)}, ${v.lo(b)})`);
    case "and":
      return v.single(`(${v.lo(a)} & ${v.lo(b)})`);
    case "or":
      return v.single(`(${v.lo(a)} | ${v.lo(b)})`);
    case "xor":
      return v.single(`(${v.lo(a)} ^ ${v.lo(b)})`);
    case "shl":
      return v.single(`(${v.lo(a)} << ${v.lo(b)})`);
    case "shru":
      return v.single(`(${v.lo(a)} >>> ${v.lo(b)} | 0)`);
    case "shrs":
      return v.single(`(${v.lo(a)} >> ${v.lo(b)})`);
    case "rotl":
      return v.single(`(${v.atom(a)} << ${v.atom(b)} | ${v.atom(a)} >>> (32 - ${v.atom(b)}))`);
    case "rotr":
      return v.single(`(${v.atom(a)} >>> ${v.atom(b)} | ${v.atom(a)} << (32 - ${v.atom(b)}))`);
    case "div":
      return v.single(`(${v.atom(b)} === 0 ? -1 : ${v.lo(a)} / ${v.atom(b)} | 0)`);
    case "rem":
      return v.single(`(${v.atom(b)} === 0 ? ${v.atom(a)} : ${v.atom(a)} % ${v.atom(b)} | 0)`);
    case "divu":
      return v.single(`(${v.atom(b)} === 0 ? -1 : (${v.lo(a)} >>> 0) / (${v.atom(b)} >>> 0) | 0)`);
    case "remu":
      return v.single(
        `(${v.atom(b)} === 0 ? ${v.atom(a)} : (${v.atom(a)} >>> 0) % (${v.atom(b)} >>> 0) | 0)`,
      );
    case "mulh":
    case "mulhu":
    case "mulhsu":
      return v.single(`${op}32(${v.lo(a)}, ${v.lo(b)})`);
    case "clz":
      return v.single(`clz32(${v.lo(a)})`);
    case "ctz":
      return v.single(`(32 - clz32(~${v.atom(a)} & ${v.atom(a)} - 1))`);
    case "popcnt":
      return v.single(`popcnt32(${v.lo(a)})`);
    case "bswap":
      return v.single(`bswap32(${v.lo(a)})`);
    case "sext8":
      return v.single(`(${v.lo(a)} << 24 >> 24)`);
    case "sext16":
      return v.single(`(${v.lo(a)} << 16 >> 16)`);
    case "zext8":
      return v.single(`(${v.lo(a)} & 255)`);
    case "zext16":
      return v.single(`(${v.lo(a)} & 65535)`);
    case "wrap":
      return v.single(v.lo(a));
    case "select":
      return v.single(`(${v.condition(a)} ? ${v.lo(b)} : ${v.lo(args[2]!)})`);
    default:
      throw new Error(`the JavaScript backend does not know ${op}.i32`);
  }
}
