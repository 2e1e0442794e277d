/** A host that can't compile costs the guest its speed and nothing else; one that forbids it is told so plainly. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { agree, programCpu } from "../../test/agree.js";
import type { RiscvCpu } from "../arch/riscv/cpu.js";
import { EngineError } from "./engine-error.js";

/** Two loops in two pages, one after the other, for ever. */
const program = `
    outer:
      li t0, 50
    first:
      addi s0, s0, 1
      addi t0, t0, -1
      bnez t0, first
      call second
      j outer
      .balign 4096
    second:
      li t1, 50
    again:
      addi s1, s1, 3
      xor s2, s2, s1
      addi t1, t1, -1
      bnez t1, again
      ret`;

/** The host's WebAssembly with some members replaced. */
const stub = (members: Readonly<Record<string, unknown>>) =>
  vi.stubGlobal(
    "WebAssembly",
    Object.create(
      WebAssembly,
      Object.fromEntries(Object.entries(members).map(([name, value]) => [name, { value }])),
    ),
  );
/** A constructor that fails from its call number `from` on, up to `to`. */
function failing<T extends new (...args: never[]) => object>(base: T, error: Error, from = 0, to = Infinity) {
  let calls = 0;
  return class {
    constructor(...args: never[]) {
      const call = calls++;
      if (call >= from && call < to) throw error;
      // biome-ignore lint/correctness/noConstructorReturn: it stands for a constructor of the host
      return new base(...args);
    }
  };
}
/** What is done to a CPU in tier wasm once it is made; the one that it is held against stays as it is. */
const once = (breaks: () => void) => (cpu: RiscvCpu) => {
  if (cpu.engine.tier === "wasm") breaks();
};
const share = (cpu: RiscvCpu): number => cpu.engine.counters.translated / cpu.retired();
const outOfMemory = new RangeError("WebAssembly.Module(): Out of memory: Cannot allocate Wasm memory");

afterEach(() => void vi.unstubAllGlobals());

describe("in tier wasm", () => {
  it.each([
    ["a module", "Module", new WebAssembly.CompileError("forbidden now")],
    ["a module, for want of memory,", "Module", outOfMemory],
    ["an instance", "Instance", new RangeError("WebAssembly.Instance(): Out of memory")],
  ] as const)("code runs in the interpreter where %s can't be made", (_, member, error) => {
    const failures: unknown[] = [];
    const trace = { onTranslationFailure: (each: unknown) => failures.push(each) };
    const prepare = once(() => stub({ [member]: failing(WebAssembly[member] as never, error) }));
    const cpu = agree(program, 20_000, { prepare, trace });
    expect(cpu.engine.counters.translationsFailed).toBeGreaterThan(1);
    expect(failures).toHaveLength(cpu.engine.counters.translationsFailed);
    expect(failures[0]).toBe(error);
    expect(cpu.engine.counters.translated).toBe(0);
    expect(cpu.engine.regionStatistics()).toMatchObject({ regions: 0, liveModules: 0 });
    // It does not try at every arrival.
    expect(cpu.engine.counters.translationsFailed).toBeLessThan(20);
  });

  it("code is translated again when the host has recovered", () => {
    const prepare = once(() => stub({ Module: failing(WebAssembly.Module, outOfMemory, 0, 2) }));
    const cpu = agree(program, 60_000, { prepare });
    expect(cpu.engine.counters.translationsFailed).toBe(2);
    expect(share(cpu)).toBeGreaterThan(0.5);
  });

  it("a table that can't grow keeps the regions that it has, and loses no element", () => {
    const cpu = programCpu(program, { tier: "wasm" });
    const { regions } = cpu.engine as unknown as {
      regions: { options: { runtime: { reserve(): number; size: number; table: WebAssembly.Table } } };
    };
    const { runtime } = regions.options;
    while (runtime.size < 256) runtime.reserve();
    const grow = vi.spyOn(runtime.table, "grow").mockImplementation(() => {
      throw new RangeError("WebAssembly.Table.grow(): failed to grow table by 256");
    });
    cpu.run(20_000);
    expect(cpu.engine.counters.translationsFailed).toBeGreaterThan(0);
    expect(cpu.engine.counters.translated).toBe(0);
    expect(runtime.size).toBe(256);
    grow.mockRestore();
    cpu.run(100_000);
    expect(cpu.engine.counters.translated).toBeGreaterThan(50_000);
    expect(runtime.size).toBe(256 + cpu.engine.regionStatistics().regions);
  });

  it("one failed background compilation does not keep others from succeeding", async () => {
    let calls = 0;
    const { compile: compiles } = WebAssembly;
    const compile = (bytes: BufferSource) => (calls++ === 0 ? Promise.reject(outOfMemory) : compiles(bytes));
    const cpu = programCpu(program, { tier: "wasm", background: true });
    stub({ compile });
    for (let turn = 0; turn < 400; turn++) {
      cpu.run(500);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(cpu.engine.counters.translationsFailed).toBeGreaterThan(0);
    expect(calls).toBeGreaterThan(1);
    expect(share(cpu)).toBeGreaterThan(0.3);
    expect(cpu.retired()).toBe(400 * 500);
  });
});

describe("in tier js", () => {
  it("code runs in the interpreter where new Function is forbidden by and by", () => {
    const forbidden = new EvalError("Code generation from strings disallowed for this context");
    const cpu = programCpu(program, { tier: "js" });
    vi.stubGlobal("Function", failing(Function as never, forbidden));
    expect(cpu.run(20_000)).toBe("budget");
    expect(cpu.engine.counters.translationsFailed).toBeGreaterThan(0);
    expect(cpu.engine.counters.translationsFailed).toBeLessThan(20);
    expect(cpu.engine.counters.translated).toBe(0);
    vi.unstubAllGlobals();
    cpu.run(200_000);
    expect(share(cpu)).toBeGreaterThan(0.5);
  });
});

describe("a platform that forbids", () => {
  const noWebAssembly = () =>
    stub({ Module: failing(WebAssembly.Module, new WebAssembly.CompileError("csp")) });
  const noFunction = () => vi.stubGlobal("Function", failing(Function as never, new EvalError("csp")));
  const tierOf = (tier: RiscvCpu["options"]["tier"] & string) => programCpu(program, { tier }).engine.tier;

  it("nothing has tier auto take WebAssembly", () => {
    expect(tierOf("auto")).toBe("wasm");
  });

  it("compiling WebAssembly has tier auto take js, and run", () => {
    noWebAssembly();
    const cpu = agree(program, 20_000, { tier: "auto" });
    expect(cpu.engine.tier).toBe("js");
    expect(share(cpu)).toBeGreaterThan(0.5);
  });

  it("only large modules, or lacks an instruction, has tier auto take js", () => {
    // The empty module that is tried first passes.
    const onlySmall = () =>
      stub({ Module: failing(WebAssembly.Module, new WebAssembly.CompileError("invalid opcode"), 1) });
    onlySmall();
    expect(tierOf("auto")).toBe("js");
    vi.unstubAllGlobals();
    onlySmall();
    expect(() => tierOf("wasm")).toThrow(
      "tier wasm: this platform can't compile the interpreter to WebAssembly",
    );
  });

  it("new Function has tier auto take WebAssembly, and run", () => {
    noFunction();
    const right = programCpu(program, { tier: "auto" });
    expect(right.engine.tier).toBe("wasm");
    right.run(20_000);
    expect(share(right)).toBeGreaterThan(0.5);
  });

  it("what a chosen tier needs is named, with the remedy", () => {
    noWebAssembly();
    for (const tier of ["wasm", "wasm-interpreter"] as const) {
      expect(() => tierOf(tier)).toThrow(EngineError);
      expect(() => tierOf(tier)).toThrow(
        `tier ${tier}: this platform forbids compiling WebAssembly: use js, or allow it (in a page: 'wasm-unsafe-eval' in the content security policy)`,
      );
    }
    vi.unstubAllGlobals();
    noFunction();
    for (const tier of ["js", "interpreter"] as const)
      expect(() => tierOf(tier)).toThrow(
        `tier ${tier}: this platform forbids new Function: use wasm, or allow it (in a page: 'unsafe-eval' in the content security policy)`,
      );
  });

  it("both is told what it must allow", () => {
    noWebAssembly();
    noFunction();
    let error: unknown;
    try {
      tierOf("auto");
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ name: "EngineError", code: "E_TIER" });
    expect((error as Error).message).toBe(
      "tier auto: this platform forbids compiling WebAssembly and forbids new Function: allow one of them (in a page: 'wasm-unsafe-eval' or 'unsafe-eval' in the content security policy)",
    );
  });
});
