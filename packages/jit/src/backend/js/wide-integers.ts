/**
 * Operations on integers of 64 bits as JavaScript, on pairs of int32. High halves that nobody needs, or that are known
 * as signs or zeros, are left out.
 */
import type { Operation, Value } from "@hyperfile/decoder";
import { emitSign } from "./float-emitter.js";
import type { Values } from "./values.js";

/** What a high half is where it is not computed. */
type Rest = "zero" | "sign";

/** Names the value of an operation whose result has 64 bits. */
export function emitWide(v: Values, operation: Operation): void {
  const { op, args } = operation;
  const a = args[0]!;
  const b = args[1]!;
  const extension = v.extension();
  const rest: Rest = extension ?? "zero";
  const high = v.highs[v.current] === 1 && extension === undefined;
  switch (op) {
    case "sext32":
      return v.pair(v.lo(a), "sign");
    case "zext32":
      return v.pair(v.lo(a), "zero");
    case "sext8":
      return v.pair(`(${v.lo(a)} << 24 >> 24)`, "sign");
    case "sext16":
      return v.pair(`(${v.lo(a)} << 16 >> 16)`, "sign");
    case "zext8":
      return v.pair(`(${v.lo(a)} & 255)`, "zero");
    case "zext16":
      return v.pair(`(${v.lo(a)} & 65535)`, "zero");
    case "add":
      if (!high) return v.pair(`(${v.lo(a)} + ${v.lo(b)} | 0)`, rest);
      return emitWideAdd(v, a, b);
    case "sub":
      if (!high) return v.pair(`(${v.lo(a)} - ${v.lo(b)} | 0)`, rest);
      return emitWideSub(v, a, b);
    case "and":
      if (emitSign(v, a, b, -1, 0x7fffffff)) return;
      return v.pair(`(${v.lo(a)} & ${v.lo(b)})`, high ? bitwiseHigh(v, "&", a, b) : rest);
    case "or":
      return v.pair(`(${v.lo(a)} | ${v.lo(b)})`, high ? bitwiseHigh(v, "|", a, b) : rest);
    case "xor":
      if (emitSign(v, a, b, 0, -0x80000000)) return;
      return v.pair(`(${v.lo(a)} ^ ${v.lo(b)})`, high ? bitwiseHigh(v, "^", a, b) : rest);
    case "mul":
      if (!high) return v.pair(`imul(${v.lo(a)}, ${v.lo(b)})`, rest);
      return emitWideMultiply(v, a, b);
    case "shl":
    case "shru":
    case "shrs":
      return emitWideShift(v, op, a, b, high, rest);
    case "select":
      if (!high) return v.pair(`(${v.condition(a)} ? ${v.lo(b)} : ${v.lo(args[2]!)})`, rest);
      return emitWideSelect(v, a, b, args[2]!);
    case "rotl":
    case "rotr":
      return v.wideCall(`${op}64`, [v.lo(a), v.hi(a), v.lo(b)]);
    case "clz":
    case "ctz":
    case "popcnt":
      v.pair(`${op}64(${v.lo(a)}, ${v.hi(a)})`, "zero");
      return;
    case "bswap":
      if (high) {
        v.line(`const l${v.id} = bswap32(${v.hi(a)}), h${v.id} = bswap32(${v.lo(a)});`);
        return v.pair(`l${v.id}`, `h${v.id}`);
      }
      return v.pair(`bswap32(${v.hi(a)})`, "zero");
    case "mulh":
    case "mulhu":
    case "mulhsu":
    case "div":
    case "divu":
    case "rem":
    case "remu":
      return v.wideCall(`${op}64`, [v.lo(a), v.hi(a), v.lo(b), v.hi(b)]);
    default:
      throw new Error(`the JavaScript backend does not know ${op}.i64`);
  }
}

function emitWideAdd(v: Values, a: Value, b: Value): void {
  const [al, bl] = [v.atom(a), v.atom(b)];
  const low = `l${v.id}`;
  v.line(`const ${low} = ${al} + ${bl} | 0;`);
  // The carry out of the low halves: the sum is below either addend.
  const carry = `((${low} >>> 0) < (${bl} >>> 0) | 0)`;
  const highs = [v.hi(a), v.hi(b)].filter((text) => text !== "0");
  v.line(`const h${v.id} = ${[...highs, carry].join(" + ")} | 0;`);
  v.low[v.current] = low;
  v.high[v.current] = `h${v.id}`;
}

function emitWideSub(v: Values, a: Value, b: Value): void {
  const [al, bl] = [v.atom(a), v.atom(b)];
  const low = `l${v.id}`;
  v.line(`const ${low} = ${al} - ${bl} | 0;`);
  const borrow = `((${al} >>> 0) < (${bl} >>> 0) | 0)`;
  v.line(`const h${v.id} = ${v.hi(a)} - ${v.hi(b)} - ${borrow} | 0;`);
  v.low[v.current] = low;
  v.high[v.current] = `h${v.id}`;
}

function emitWideMultiply(v: Values, a: Value, b: Value): void {
  const [al, bl] = [v.atom(a), v.atom(b)];
  const low = `l${v.id}`;
  v.line(`const ${low} = imul(${al}, ${bl});`);
  const cross = [
    `mulhu32(${al}, ${bl})`,
    v.isZeroExtended(b) ? "" : `imul(${al}, ${v.hi(b)})`,
    v.isZeroExtended(a) ? "" : `imul(${v.hi(a)}, ${bl})`,
  ].filter((text) => text !== "");
  v.line(`const h${v.id} = ${cross.join(" + ")} | 0;`);
  v.low[v.current] = low;
  v.high[v.current] = `h${v.id}`;
}

function bitwiseHigh(v: Values, sign: "&" | "|" | "^", a: Value, b: Value): string {
  const [x, y] = [v.hi(a), v.hi(b)];
  if (sign === "&" && y === "-1") return x;
  if (sign !== "&" && y === "0") return x;
  return `(${x} ${sign} ${y})`;
}

function emitWideShift(v: Values, op: string, a: Value, amount: Value, high: boolean, rest: Rest): void {
  const constant = v.constantOf(amount);
  if (constant !== undefined) return emitConstantShift(v, op, a, constant & 63, high, rest);
  if (op === "shl" && !high) {
    const n = v.atom(amount);
    return v.pair(`((${n} & 32) !== 0 ? 0 : ${v.lo(a)} << ${n})`, rest);
  }
  const n = v.atom(amount);
  const [lo, hi] = [v.atom(a), v.atomHigh(a)];
  const [l, h] = [`l${v.id}`, `h${v.id}`];
  // `x >>> 1 >>> 31 - n` is `x >>> 32 - n` that also holds for n = 0; JavaScript takes n modulo 32.
  if (op === "shl") {
    v.line(`let ${l}, ${h};`);
    v.line(`if ((${n} & 32) !== 0) { ${l} = 0; ${h} = ${lo} << ${n}; }`);
    v.line(`else { ${l} = ${lo} << ${n}; ${h} = ${hi} << ${n} | ${lo} >>> 1 >>> (31 - (${n} & 31)); }`);
  } else {
    const shift = op === "shrs" ? ">>" : ">>>";
    v.line(`let ${l}, ${h};`);
    v.line(
      `if ((${n} & 32) !== 0) { ${l} = ${hi} ${shift} ${n} | 0; ${h} = ${op === "shrs" ? `${hi} >> 31` : "0"}; }`,
    );
    v.line(
      `else { ${l} = ${lo} >>> ${n} | ${hi} << 1 << (31 - (${n} & 31)); ${h} = ${hi} ${shift} ${n} | 0; }`,
    );
  }
  v.low[v.current] = l;
  v.high[v.current] = h;
}

function emitConstantShift(v: Values, op: string, a: Value, n: number, high: boolean, rest: Rest): void {
  if (n === 0) return v.pair(v.lo(a), high ? v.hi(a) : rest);
  if (op === "shl") {
    if (n >= 32) return v.pair("0", n === 32 ? v.lo(a) : `(${v.lo(a)} << ${n - 32})`);
    if (!high) return v.pair(`(${v.lo(a)} << ${n})`, rest);
    const low = v.atom(a);
    const carried = `(${low} >>> ${32 - n})`;
    return v.named(`${low} << ${n}`, v.isZeroExtended(a) ? carried : `${v.hi(a)} << ${n} | ${carried}`);
  }
  if (op === "shru" && v.isZeroExtended(a)) {
    return n >= 32 ? v.pair("0", "zero") : v.pair(`(${v.lo(a)} >>> ${n})`, "zero");
  }
  if (op === "shrs" && v.isSignExtended(a)) return v.pair(`(${v.lo(a)} >> ${Math.min(n, 31)})`, rest);
  const shift = op === "shrs" ? ">>" : ">>>";
  if (n >= 32) {
    const low = n === 32 ? v.hi(a) : `(${v.hi(a)} ${shift} ${n - 32})`;
    return v.pair(low, op === "shrs" ? "sign" : "zero");
  }
  const h = v.atomHigh(a);
  const low = `${v.lo(a)} >>> ${n} | ${h} << ${32 - n}`;
  if (!high) return v.pair(`(${low})`, rest);
  return v.named(low, `${h} ${shift} ${n}${op === "shru" ? " | 0" : ""}`);
}

function emitWideSelect(v: Values, condition: Value, yes: Value, no: Value): void {
  const test = v.condition(condition);
  const [yesLow, yesHigh, noLow, noHigh] = [v.atom(yes), v.hi(yes), v.atom(no), v.hi(no)];
  const { current } = v;
  v.line(`let l${v.id} = ${noLow}, h${v.id} = ${noHigh};`);
  v.line(`if (${test}) { l${v.id} = ${yesLow}; h${v.id} = ${yesHigh}; }`);
  v.low[current] = `l${v.id}`;
  v.high[current] = `h${v.id}`;
}
