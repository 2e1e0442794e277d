import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteWriter, type FunctionWriter, ModuleWriter, Numbering, Op, ValueType } from "./encoder.js";

const { i32, i64, f32, f64 } = ValueType;
const written = (write: (out: ByteWriter) => void): number[] => {
  const out = new ByteWriter(1);
  write(out);
  return [...out.written];
};

/** Reads LEB128 by the definition (WebAssembly Core Specification 5.2.2). */
function readLeb(bytes: readonly number[], width: number, signed: boolean): bigint {
  let value = 0n;
  bytes.forEach((byte, index) => {
    value |= BigInt(byte & 0x7f) << BigInt(7 * index);
    expect(byte >= 0x80).toBe(index < bytes.length - 1);
  });
  expect(bytes.length).toBeLessThanOrEqual(Math.ceil(width / 7));
  const negative = signed && (bytes[bytes.length - 1]! & 0x40) !== 0;
  return negative ? value - (1n << BigInt(7 * bytes.length)) : value;
}

describe("numbers", () => {
  it.each([
    [0, [0]],
    [127, [0x7f]],
    [128, [0x80, 1]],
    [16383, [0xff, 0x7f]],
    [16384, [0x80, 0x80, 1]],
    [0x7fffffff, [0xff, 0xff, 0xff, 0xff, 7]],
    [0xffffffff, [0xff, 0xff, 0xff, 0xff, 0xf]],
    [-1, [0xff, 0xff, 0xff, 0xff, 0xf]],
  ])("writes %i unsigned", (value, bytes) => {
    expect(written((out) => out.unsigned(value))).toEqual(bytes);
  });

  it.each([
    [0, [0]],
    [63, [0x3f]],
    [64, [0xc0, 0]],
    [-64, [0x40]],
    [-65, [0xbf, 0x7f]],
    [-1, [0x7f]],
    [0x7fffffff, [0xff, 0xff, 0xff, 0xff, 7]],
    [-0x80000000, [0x80, 0x80, 0x80, 0x80, 0x78]],
  ])("writes %i signed", (value, bytes) => {
    expect(written((out) => out.signed(value))).toEqual(bytes);
    expect(written((out) => out.signedWide(value, value >> 31))).toEqual(bytes);
  });

  it.each([
    [0n, [0]],
    [0x7fffffffffffffffn, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]],
    [-0x8000000000000000n, [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f]],
    [0x80000000n, [0x80, 0x80, 0x80, 0x80, 8]],
    [0xffffffffn, [0xff, 0xff, 0xff, 0xff, 0xf]],
    [-0x80000001n, [0xff, 0xff, 0xff, 0xff, 0x77]],
  ])("writes the int64 %s", (value, bytes) => {
    const [lo, hi] = [Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))];
    expect(written((out) => out.signedWide(lo, hi))).toEqual(bytes);
  });

  it("writes every number so that it reads back", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }), fc.nat(63), (wide, shift) => {
        const value = wide >> BigInt(shift);
        const [lo, hi] = [Number(BigInt.asIntN(32, value)), Number(BigInt.asIntN(32, value >> 32n))];
        expect(
          readLeb(
            written((out) => out.signedWide(lo, hi)),
            64,
            true,
          ),
        ).toBe(value);
        expect(
          readLeb(
            written((out) => out.signed(lo)),
            32,
            true,
          ),
        ).toBe(BigInt(lo));
        expect(
          readLeb(
            written((out) => out.unsigned(lo)),
            32,
            false,
          ),
        ).toBe(BigInt(lo >>> 0));
      }),
      { numRuns: 500 },
    );
  });

  it("grows, forgets, and writes names in UTF-8 with their length in bytes", () => {
    const out = new ByteWriter(2);
    out.append(new Uint8Array(100).fill(7));
    expect(out.written).toEqual(new Uint8Array(100).fill(7));
    out.clear();
    out.name("µs");
    expect([...out.written]).toEqual([3, 0xc2, 0xb5, 0x73]);
  });
});

// -- modules

const memoryOf = (pages: number, shared = false) =>
  new WebAssembly.Memory({ initial: pages, maximum: pages, shared });

/** Sections of a module: number, name of a custom section, and where the content begins and ends. */
function sectionsOf(bytes: Uint8Array): { id: number; name: string; start: number; end: number }[] {
  const sections: { id: number; name: string; start: number; end: number }[] = [];
  for (let at = 8; at < bytes.length; ) {
    const id = bytes[at++]!;
    const reader = new Reader(bytes, at);
    const length = reader.unsigned();
    const end = reader.at + length;
    const name = id === 0 ? reader.name() : "";
    sections.push({ id, name, start: reader.at, end });
    at = end;
  }
  return sections;
}

class Reader {
  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
  ) {}

  byte(): number {
    return this.bytes[this.at++]!;
  }

  unsigned(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  name(): string {
    const length = this.unsigned();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
}

/** Compiles a module of one function `f`, and gives the function. */
function compile(
  parameters: readonly ValueType[],
  results: readonly ValueType[],
  write: (writer: FunctionWriter) => void,
  imported: Readonly<Record<string, unknown>> = {},
): (...args: never[]) => unknown {
  const module = new ModuleWriter();
  write(module.function("f", { parameters, results }));
  const bytes = module.finish({ memoryPages: 1, shared: false });
  const table = new WebAssembly.Table({ element: "anyfunc", initial: 4 });
  const e = { m: memoryOf(1), t: table, ...imported };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), {
    e: e as never,
  });
  return exports.f as never;
}

describe("modules", () => {
  it("may be empty", () => {
    const bytes = new ModuleWriter().finish({ memoryPages: 1, shared: false });
    const module = new WebAssembly.Module(bytes as BufferSource);
    expect(WebAssembly.Module.imports(module)).toEqual([{ module: "e", name: "m", kind: "memory" }]);
    expect(WebAssembly.Module.exports(module)).toEqual([]);
  });

  it("import memory, table and functions, one of each name, from module e", () => {
    const module = new ModuleWriter();
    const writer = module.function("f", { parameters: [i32], results: [] });
    for (const name of ["second", "first", "second"]) {
      writer.get(0);
      writer.call(name, [i32], []);
    }
    const through = module.function("through", { parameters: [i32], results: [] });
    through.get(0);
    through.callIndirect({ parameters: [], results: [] });
    expect([...module.importedFunctions]).toEqual([
      ["second", { parameters: [i32], results: [] }],
      ["first", { parameters: [i32], results: [] }],
    ]);
    const bytes = module.finish({ memoryPages: 3, shared: true });
    const compiled = new WebAssembly.Module(bytes as BufferSource);
    expect(WebAssembly.Module.imports(compiled)).toEqual([
      { module: "e", name: "second", kind: "function" },
      { module: "e", name: "first", kind: "function" },
      { module: "e", name: "t", kind: "table" },
      { module: "e", name: "m", kind: "memory" },
    ]);
    const calls: string[] = [];
    const e = {
      m: memoryOf(3, true),
      t: new WebAssembly.Table({ element: "anyfunc", initial: 1 }),
      first: (value: number) => calls.push(`first ${value}`),
      second: (value: number) => calls.push(`second ${value}`),
    };
    const instance = new WebAssembly.Instance(compiled, { e });
    (instance.exports.f as (value: number) => void)(5);
    expect(calls).toEqual(["second 5", "first 5", "second 5"]);
    // A memory that is not shared, or has another size, is refused.
    expect(() => new WebAssembly.Instance(compiled, { e: { ...e, m: memoryOf(3) } })).toThrow(
      WebAssembly.LinkError,
    );
    expect(() => new WebAssembly.Instance(compiled, { e: { ...e, m: memoryOf(2, true) } })).toThrow(
      WebAssembly.LinkError,
    );
  });

  it("import the table only where they call through it, and never put anything into it", () => {
    const module = new ModuleWriter();
    for (const index of [0, 63, 64, 200])
      module.function(String(index), { parameters: [], results: [i32] }).i32(index * 3);
    const compiled = new WebAssembly.Module(module.finish({ memoryPages: 1, shared: false }) as BufferSource);
    expect(WebAssembly.Module.imports(compiled)).toEqual([{ module: "e", name: "m", kind: "memory" }]);
    const { exports } = new WebAssembly.Instance(compiled, { e: { m: memoryOf(1) } });
    expect(Object.entries(exports).map(([name, f]) => [name, (f as () => number)()])).toEqual([
      ["0", 0],
      ["63", 189],
      ["64", 192],
      ["200", 600],
    ]);
  });

  it("of one numbering take each other's functions", () => {
    const numbering = new Numbering();
    const calling = (module: ModuleWriter, name: string): FunctionWriter => {
      const writer = module.function(name, { parameters: [i32], results: [i32] });
      writer.get(0);
      writer.call(name, [i32], [i32]);
      return writer;
    };
    const first = calling(new ModuleWriter(numbering), "double");
    const other = new ModuleWriter(numbering);
    calling(other, "triple");
    other.adopt("again", { parameters: [i32], results: [i32] }, first);
    const bytes = other.finish({ memoryPages: 1, shared: false });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), {
      e: { m: memoryOf(1), double: (value: number) => value * 2, triple: (value: number) => value * 3 },
    });
    const run = (name: string) => (exports[name] as (value: number) => number)(7);
    expect([run("triple"), run("again")]).toEqual([21, 14]);
  });

  it("share signatures", () => {
    const module = new ModuleWriter();
    expect(module.type({ parameters: [i32], results: [] })).toBe(0);
    expect(module.type({ parameters: [i32], results: [i32] })).toBe(1);
    expect(module.type({ parameters: [i32], results: [] })).toBe(0);
    expect(module.type({ parameters: [], results: [i32] })).toBe(2);
  });
});

describe("functions", () => {
  it("have locals of all types, numbered after the parameters", () => {
    const f = compile([i32, i64], [f64], (writer) => {
      const types = [i32, i32, f64, i64, f32, f32, f64];
      expect(types.map((type) => writer.local(type))).toEqual([2, 3, 4, 5, 6, 7, 8]);
      expect(writer.localTypes).toEqual(types);
      writer.f32(0.5);
      writer.set(6);
      writer.f64(-0.25);
      writer.tee(8);
      writer.get(6);
      writer.op(Op.f64_promote_f32);
      writer.op(Op.f64_add);
    });
    expect((f as (a: number, b: bigint) => number)(1, 2n)).toBe(0.25);
  });

  it("have more than 127 locals and bodies of many kilobytes", () => {
    const f = compile([], [i32], (writer) => {
      const locals = Array.from({ length: 300 }, () => writer.local(i32));
      for (const local of locals) {
        writer.i32(local);
        writer.set(local);
      }
      writer.i32(0);
      for (const local of locals) {
        writer.get(local);
        writer.op(Op.i32_add);
      }
    });
    expect(f()).toBe((299 * 300) / 2);
  });

  it("branch by depth: out of blocks, back in loops, through tables", () => {
    // Sums 1 to n, and then adds 100, 200 or 300 by n modulo 4.
    const f = compile([i32], [i32], (writer) => {
      const [sum, left] = [writer.local(i32), writer.local(i32)];
      writer.get(0);
      writer.set(left);
      writer.block();
      const out = writer.depth;
      writer.loop();
      const again = writer.depth;
      writer.get(left);
      writer.op(Op.i32_eqz);
      writer.brIf(out);
      writer.get(sum);
      writer.get(left);
      writer.op(Op.i32_add);
      writer.set(sum);
      writer.get(left);
      writer.i32(1);
      writer.op(Op.i32_sub);
      writer.set(left);
      writer.br(again);
      writer.end();
      writer.end();
      expect(writer.depth).toBe(0);
      writer.block();
      writer.block();
      writer.block();
      writer.get(0);
      writer.i32(3);
      writer.op(Op.i32_and);
      writer.brTable([3, 2], 1);
      for (const amount of [100, 200]) {
        writer.end();
        writer.get(sum);
        writer.i32(amount);
        writer.op(Op.i32_add);
        writer.op(Op.return);
      }
      writer.end();
      writer.get(sum);
      writer.i32(300);
      writer.op(Op.i32_add);
    }) as (n: number) => number;
    expect([0, 1, 2, 3, 4].map(f)).toEqual([100, 201, 303, 306, 110]);
  });

  it("read and write memory at large offsets without a promise of alignment", () => {
    const f = compile([], [i64], (writer) => {
      writer.i32(1);
      writer.i64(0x01234567, 0x89abcdef | 0);
      writer.memory(Op.i64_store, 65000);
      writer.loadAt(Op.i64_load, 65001);
    });
    expect(BigInt.asUintN(64, f() as bigint)).toBe(0x89abcdef01234567n);
  });

  it("give a value from both arms of a condition", () => {
    const f = compile([i32], [i64], (writer) => {
      writer.get(0);
      writer.if(i64);
      writer.i64(-1, -1);
      writer.else();
      writer.i64(0, 1);
      writer.end();
    }) as (n: number) => bigint;
    expect([f(1), f(0)]).toEqual([-1n, 1n << 32n]);
  });
});

describe("branch hints", () => {
  it("name each hinted branch by its offset in its function, in a section before the code", () => {
    const module = new ModuleWriter();
    const offsets: number[][] = [];
    for (const count of [0, 3, 1]) {
      const writer = module.function(`f${count}`, { parameters: [i32], results: [] });
      writer.local(i64);
      writer.call("imported", [], []);
      for (let index = 0; index < count; index++) {
        writer.get(0);
        if (index % 2 === 0) writer.ifUnlikely();
        else writer.ifLikely();
        writer.end();
      }
      offsets.push(writer.hints.map(({ offset }) => offset));
    }
    const bytes = module.finish({ memoryPages: 1, shared: false });
    expect(WebAssembly.validate(bytes as BufferSource)).toBe(true);
    const sections = sectionsOf(bytes);
    const ids = sections.map(({ id }) => id);
    expect(ids.indexOf(0)).toBe(ids.indexOf(10) - 1);
    const hints = sections.find(({ name }) => name === "metadata.code.branch_hint")!;
    const code = sections.find(({ id }) => id === 10)!;
    // Where each body begins: hints count from the byte of its locals.
    const bodies: number[] = [];
    const reader = new Reader(bytes, code.start);
    for (let left = reader.unsigned(); left > 0; left--) {
      const length = reader.unsigned();
      bodies.push(reader.at);
      reader.at += length;
    }
    const list = new Reader(bytes, hints.start);
    expect(list.unsigned()).toBe(3);
    for (const [index, expected] of offsets.entries()) {
      expect(list.unsigned()).toBe(1 + index);
      expect(list.unsigned()).toBe(expected.length);
      for (let hint = 0; hint < expected.length; hint++) {
        expect(bytes[bodies[index]! + list.unsigned()]).toBe(Op.if);
        expect(list.byte()).toBe(1);
        expect(list.byte()).toBe(hint % 2);
      }
    }
    expect(list.at).toBe(hints.end);
  });
});
