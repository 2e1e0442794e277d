import { describe, expect, it } from "vitest";
import { type FunctionWriter, ModuleWriter, Op, type Signature, ValueType } from "../backend/wasm/encoder.js";
import { readWasmModule, WasmTextError } from "./wasm-reader.js";
import { printWasm, type WasmNames } from "./wasm-text.js";

const { i32, i64 } = ValueType;
const nothing: Signature = { parameters: [], results: [] };

/** The text of a function that `write` writes, without offsets. */
function textOf(
  write: (writer: FunctionWriter) => void,
  signature: Signature = nothing,
  names: WasmNames = {},
): string[] {
  const module = new ModuleWriter();
  write(module.function("f", signature));
  const read = readWasmModule(module.finish({ memoryPages: 1, shared: false }));
  expect(WebAssembly.validate(module.finish({ memoryPages: 1, shared: false }) as BufferSource)).toBe(true);
  const lines = printWasm(read.functions[0]!, read, names);
  const offsets = lines.map(({ offset }) => offset);
  expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
  return lines.map(({ depth, text }) => "  ".repeat(depth) + text);
}

describe("the text of WebAssembly", () => {
  it("folds the stack into expressions with the names of locals", () => {
    const names: WasmNames = {
      local: (index) => ["a0", "page"][index],
      memory: (offset) => (offset === 264 ? "pc" : undefined),
      base: { local: 1, address: 0x80000000n },
    };
    const text = textOf(
      (w) => {
        w.local(i64);
        w.local(i64);
        w.get(0);
        w.i64(8, 0);
        w.op(Op.i64_add);
        w.set(0);
        w.i32(0);
        w.get(1);
        w.i64(16, 0);
        w.op(Op.i64_add);
        w.memory(Op.i64_store, 264);
        w.i32(0);
        w.get(0);
        w.memory(Op.i64_store, 512);
      },
      nothing,
      names,
    );
    expect(text).toEqual([
      "a0 = a0 + 8",
      "i64.store[pc] = page + 0x10  ; 0x80000010",
      "i64.store[0x200] = a0",
    ]);
  });

  it("tells loops from blocks, and usual branches from others", () => {
    const text = textOf((w) => {
      const n = w.local(i32);
      w.block();
      const out = w.depth;
      w.loop();
      const again = w.depth;
      w.get(n);
      w.i32(3);
      w.op(Op.i32_lt_s);
      w.ifUnlikely();
      w.br(out);
      w.else();
      w.get(n);
      w.i32(1);
      w.op(Op.i32_sub);
      w.set(n);
      w.end();
      w.get(n);
      w.op(Op.i32_eqz);
      w.brIf(again);
      w.end();
      w.end();
    });
    expect(text).toEqual([
      "block L1 {",
      "  loop L2 {",
      "    if (v0 <s 3) L3 {  ; unlikely",
      "      break L1",
      "    } else {",
      "      v0 = v0 - 1",
      "    }",
      "    if (!v0) continue L2",
      "  }",
      "}",
    ]);
  });

  it("names a value that something between its code and its use may change", () => {
    const text = textOf(
      (w) => {
        w.get(0);
        w.get(1);
        w.set(0);
        w.set(1);
        w.get(0);
        w.memory(Op.i32_load8_u, 4);
        w.get(0);
        w.i32(7);
        w.memory(Op.i32_store8);
      },
      { parameters: [i32, i32], results: [i32] },
    );
    expect(text).toEqual([
      "$1 = v0",
      "v0 = v1",
      "v1 = $1",
      "$2 = i32.load8_u[v0 + 4]",
      "i32.store8[v0] = 7",
      "return $2",
    ]);
  });

  it("writes calls, tables of branches, values of arms, conversions and constants of every type", () => {
    const text = textOf(
      (w) => {
        w.get(0);
        w.if(i64);
        w.i64(-1, 0x7fffffff);
        w.else();
        w.f64(-0);
        w.op(Op.i64_reinterpret_f64);
        w.end();
        w.op(Op.i32_wrap_i64);
        w.i32(-5000);
        w.call("ld32", [i32, i32], [i32]);
        w.op(Op.drop);
        w.f32(1.5);
        w.op(Op.saturating);
        w.code.byte(0);
        w.get(0);
        w.get(0);
        w.op(Op.select);
        w.callIndirect(nothing);
        w.block();
        w.get(0);
        w.brTable([w.depth, 0], w.depth);
        w.end();
      },
      { parameters: [i32], results: [] },
    );
    expect(text).toEqual([
      "if (v0) L1 -> $1 {",
      "  $1 = 0x7fffffffffffffff",
      "} else {",
      "  $1 = i64.reinterpret_f64(-0)",
      "}",
      "drop ld32(i32.wrap_i64($1), -0x1388)",
      "table[v0 ? i32.trunc_sat_f32_s(1.5) : v0]()",
      "block L2 {",
      "  switch (v0) { 0: break L2, 1: return, else: break L2 }",
      "}",
    ]);
  });

  it("knows every opcode that can be emitted, and no others", () => {
    const scope = { signature: () => nothing, function: () => ({ name: "f", signature: nothing }) };
    const print = (...code: number[]) =>
      printWasm(
        { place: "f", signature: nothing, locals: [], code: new Uint8Array(code), hints: new Map() },
        scope,
      );
    const controls = new Set<number>([Op.else, Op.end]);
    for (const [name, opcode] of Object.entries(Op)) {
      if (controls.has(opcode)) continue;
      // In code that is never reached every operand is there.
      const immediates = new Array<number>(10).fill(0);
      expect(() => print(Op.block, 0x40, Op.unreachable, opcode, ...immediates), name).not.toThrow(
        /not one that is emitted|has no text/,
      );
    }
    expect(() => print(0xfe)).toThrow(WasmTextError);
    expect(() => print(0xfe)).toThrow(/opcode 0xfe is not one that is emitted at offset 0x0/);
    expect(() => print(Op.saturating, 99)).toThrow(/0xfc 99/);
    expect(() => print(Op.i32_const)).toThrow(/ends too early/);
    expect(() => print(Op.i32_const, ...new Array<number>(11).fill(0x80))).toThrow(/more than ten bytes/);
    expect(() => print(Op.drop)).toThrow(/stack is empty/);
    expect(() => print(Op.end)).toThrow(/end without a beginning/);
  });
});
