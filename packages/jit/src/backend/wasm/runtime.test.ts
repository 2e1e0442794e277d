import { describe, expect, it } from "vitest";
import { LinearMemory } from "../../memory/linear-memory.js";
import { ModuleWriter, Op, ValueType } from "./encoder.js";
import { hasWebAssembly, WasmRuntime } from "./runtime.js";

const { i32 } = ValueType;
const nothing = { parameters: [], results: [] };
const memory = LinearMemory.create({ bytes: 0x10000 });

/** Adds a function to `module` that stores `value` at address 0. */
function storing(module: ModuleWriter, name: string, value: number): void {
  const writer = module.function(name, nothing);
  writer.i32(0);
  writer.i32(value);
  writer.memory(Op.i32_store);
}

/** A function that calls what is in the table at an index; gives what was stored. */
function caller(runtime: WasmRuntime): (index: number) => number {
  const module = new ModuleWriter();
  const writer = module.function("call", { parameters: [i32], results: [] });
  writer.get(0);
  writer.callIndirect(nothing);
  const call = runtime.instantiate(module).call as (index: number) => void;
  return (index) => {
    memory.i32[0] = 0;
    call(index);
    return memory.i32[0]!;
  };
}

describe("the table", () => {
  it("gives elements out again, and grows", () => {
    const runtime = new WasmRuntime(memory, {});
    const indices = Array.from({ length: 600 }, () => runtime.reserve());
    expect(new Set(indices).size).toBe(600);
    expect(runtime.size).toBe(600);
    const module = new ModuleWriter();
    for (const index of indices) storing(module, String(index), index + 1);
    const exports = runtime.instantiate(module);
    for (const index of indices) runtime.place(index, exports[index]!);
    const call = caller(runtime);
    expect([0, 255, 256, 599].map(call)).toEqual([1, 256, 257, 600]);
    runtime.remove(256);
    expect(runtime.size).toBe(599);
    expect(() => call(256)).toThrow(WebAssembly.RuntimeError);
    expect(runtime.reserve()).toBe(256);
    const again = new ModuleWriter();
    storing(again, "f", 77);
    runtime.place(256, runtime.instantiate(again).f!);
    expect(call(256)).toBe(77);
    expect(call(255)).toBe(256);
  });

  it("takes the functions of a module that was compiled in the background", async () => {
    const runtime = new WasmRuntime(memory, {});
    const index = runtime.reserve();
    const module = new ModuleWriter();
    storing(module, "f", 5);
    const compiled = runtime.instantiateLater(module);
    const call = caller(runtime);
    expect(() => call(index)).toThrow(WebAssembly.RuntimeError);
    runtime.place(index, (await compiled).f!);
    expect(call(index)).toBe(5);
  });
});

describe("imports", () => {
  const importing = (name: string) => {
    const module = new ModuleWriter();
    const writer = module.function("f", { parameters: [i32], results: [i32] });
    writer.get(0);
    writer.call(name, [i32], [i32]);
    return module;
  };

  it("are the bindings of that name", () => {
    const runtime = new WasmRuntime(memory, { double: (value: number) => value * 2, other: () => 0 });
    for (let again = 0; again < 2; again++) {
      const f = runtime.instantiate(importing("double")).f as (value: number) => number;
      expect(f(21)).toBe(42);
    }
  });

  it("must be there", () => {
    const runtime = new WasmRuntime(memory, {});
    for (const name of ["missing", "toString", "constructor", "__proto__"])
      expect(() => runtime.instantiate(importing(name)), name).toThrow(WebAssembly.LinkError);
  });
});

it("needs a memory that WebAssembly can have", () => {
  expect(hasWebAssembly(memory)).toBe(true);
  expect(hasWebAssembly(Object.assign(Object.create(memory), { wasm: undefined }))).toBe(false);
});

it("refuses a module that is not valid", () => {
  const module = new ModuleWriter();
  module.function("f", nothing).op(Op.i32_add);
  expect(() => new WasmRuntime(memory, {}).instantiate(module)).toThrow(WebAssembly.CompileError);
});
