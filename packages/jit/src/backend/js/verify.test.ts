import { BlockBuilder, type StateShape, stateShape, type Type, type Value } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { type Edge, fixedTarget, type RegionNode } from "../../region/graph.js";
import { structure } from "../../region/structure.js";
import { entryFormats } from "../entry-format.js";
import { emitInterpreter } from "./interpreter.js";
import { emitJsRegion } from "./region.js";
import { EmissionError, EmissionVerifier } from "./verify.js";

const names = [
  ..."I B U S H D F C".split(" "),
  ..."imul clz32 mulhu32 bswap32 clz64 div64 rotl64 ld8u ld8s ld16s ld32 ld64 st8 st32 st64 late_st8 late_st64 settle".split(
    " ",
  ),
  ..."amo64 lr64 sc64 raise ecall fadd_f64 toDouble lowOf abs fused decode jump".split(" "),
];
const verifier = new EmissionVerifier(new Set(names));

const shapeOf = (type: "i32" | "i64"): StateShape =>
  stateShape([
    { name: "x", type, length: 33 },
    { name: "f", type: "f64", length: 32 },
    { name: "pc", type, length: 1 },
  ]);

/** The text of a region of one block; only a branch to its own start stays in it. */
function emit(type: "i32" | "i64", write: (b: BlockBuilder) => void, place = 0x40): string {
  const shape = shapeOf(type);
  const builder = new BlockBuilder(shape, type);
  builder.insn(0, 4);
  write(builder);
  const block = builder.finish();
  const exit = block.operations[block.operations.length - 1]!;
  const fixed = fixedTarget(block, exit, 2);
  const distances = fixed === undefined ? ((exit.targets ?? []) as readonly number[]) : [fixed];
  const context = { caller: undefined, returnTo: -1, callee: -1, depth: 0 };
  const node: RegionNode = { place, block, length: block.bytes, context, edges: [] };
  node.edges = distances.map(
    (distance): Edge => (distance === 0 ? { kind: "node", node } : { kind: "exit", place: place + distance }),
  );
  return emitJsRegion(structure({ nodes: [node], instructions: block.instructions }), {
    shape,
    hartOffset: 0,
    wideAddresses: type === "i64",
    alignment: 2,
    flagsOffset: undefined,
    pages: new Map([[0, 1]]),
  });
}

/** The text of a function with these statements. */
const body = (statements: string) => `function b_40() {\n  ${statements}\n  return null;\n}`;

describe("real emissions", () => {
  it.each(["i32", "i64"] as const)("accepts arithmetic, branches and chaining of %s", (type) => {
    const text = emit(type, (b) => {
      const x = b.get("x", 5);
      const y = b.binary("add", x, b.constant(type, -7));
      b.set("x", 6, b.binary("mul", y, x));
      b.set("x", 7, b.binary("div", b.binary("xor", y, x), x));
      b.set("x", 8, b.shift("shl", y, b.const32(13)));
      b.branch(b.compare("ltu", x, y), 0x200, 4);
    });
    expect(() => verifier.verify(text, "a block")).not.toThrow();
    expect(text).toContain("return jump();");
  });

  it("accepts a loop, which begins with its charge", () => {
    const text = emit("i64", (b) => {
      const x = b.binary("sub", b.get("x", 5), b.const64(1));
      b.set("x", 5, x);
      b.branch(b.compare("ne", x, b.const64(0)), 0, 4);
    });
    expect(text).toContain("for (;;)");
    verifier.verify(text, "a loop");
  });

  it("accepts loads, stores, atomics, helpers, traps and floats", () => {
    const effects = { reads: true, writes: true, exits: true };
    const text = emit("i64", (b) => {
      const address = b.get("x", 1);
      const load = (width: 8 | 16 | 32 | 64, signed: boolean): Value => b.load("i64", width, address, signed);
      const sum = b.binary("add", load(8, false), load(16, true));
      b.store(64, address, b.binary("or", sum, load(64, true)));
      b.store(8, address, load(32, true));
      b.set("x", 2, b.amo("add", 64, address, sum));
      b.set("x", 3, b.loadReserved("i64", 64, address));
      b.set("x", 4, b.sext32(b.storeConditional(64, address, sum)));
      b.set("f", 1, b.float("fadd", "f64", [b.get("f", 2), b.get("f", 3), b.const32(0)]));
      b.trapIf(b.compare("eq", sum, b.const64(0)), 2, b.const64(0));
      b.call({ name: "ecall", parameters: [], result: null, effects }, []);
      b.leave();
    });
    verifier.verify(text, "a block");
  });

  it("accepts doubles as numbers", () => {
    const text = body(
      "let $a = D[4] + F[0], l = 0; $a = -$a * abs($a); if ($a !== $a) $a = toDouble(l, 2); D[4] = $a; " +
        "I[1] = lowOf($a, l); const v = $a < 1.5 ? 1 : $a >= 1.5 ? 0 : 2; I[2] = $a | 0; F[0] = 3; fused(); l = v;",
    );
    expect(() => verifier.verify(text, "a region")).not.toThrow();
  });

  it("accepts a jump out of the page and an indirect one", () => {
    verifier.verify(
      emit("i64", (b) => b.jump(64), 0xff0),
      "a block",
    );
    verifier.verify(
      emit("i64", (b) => b.jump(-0x100)),
      "a block",
    );
    verifier.verify(
      emit("i64", (b) => b.jumpIndirect(b.get("x", 1))),
      "a block",
    );
  });

  it.each(["i32", "i64"] as const)("accepts an interpreter of %s", (type) => {
    const shape = shapeOf(type);
    const template = (
      name: string,
      write: (b: BlockBuilder, rd: { name: string; value: undefined }) => void,
    ) => {
      const builder = new BlockBuilder(shape, type);
      builder.insn(0, 4);
      write(builder, { name: "rd", value: undefined });
      if (!builder.finished) builder.jump({ field: "length" });
      const field = (name: string, width: number, signed: boolean) => ({
        name,
        width,
        signed,
        zeroBecomes: undefined,
      });
      return {
        name,
        fields: [field("rd", 5, false), field("imm", 12, true)],
        lengths: [4],
        block: builder.finish(),
      };
    };
    const imm = { name: "imm", value: undefined };
    const extend = (b: BlockBuilder, value: Value): Value => (type === "i64" ? b.sext32(value) : value);
    const templates = [
      template("addi", (b, rd) => b.set("x", rd, b.binary("add", b.get("x", rd), extend(b, b.field(imm))))),
      template("lb", (b, rd) => b.set("x", rd, b.load(type as Type, 8, b.get("x", rd), true))),
      template("sw", (b, rd) => b.store(32, b.get("x", rd), b.get("x", rd))),
      template("beqz", (b, rd) =>
        b.branch(b.compare("eq", b.get("x", rd), b.constant(type, 0)), { field: "imm" }, { field: "length" }),
      ),
      template("jalr", (b, rd) => b.jumpIndirect(b.get("x", rd))),
      template("auipc", (b, rd) => b.set("x", rd, b.pc(0))),
    ];
    const frontEnd = {
      name: "sample",
      shape,
      addressType: type,
      granularity: 1,
      maximumLength: 4,
      templates,
      decode: () => null,
      endsBlock: () => true,
      translate: () => templates[0]!.block,
      format: () => "",
    };
    const context = { frontEnd, hartOffset: 0, arenaWord: 0x4000, pageWords: 4112, wordsPerByteShift: 0 };
    verifier.verify(emitInterpreter(context, entryFormats(frontEnd)), "the interpreter");
  });
});

describe("refused emissions", () => {
  const rejected: readonly [what: string, text: string, reason: string][] = [
    ["text that does not parse", "function b() { return null; ", "syntax error: Unexpected token"],
    [
      "something after the function",
      "function b() { return null; }, 1",
      "SequenceExpression where a function is expected",
    ],
    [
      "a call of the function itself",
      "function b() { return null; }()",
      "CallExpression where a function is expected",
    ],
    ["a comment after the function", "function b() { return null; } // )", "text after the function"],
    ["an arrow function", "() => null", "ArrowFunctionExpression where a function is expected"],
    ["a function without a name", "function () { return null; }", "the function has no name"],
    ["an async function", "async function b() { return null; }", "the function is async or a generator"],
    ["a function named like a binding", "function ld32() { return null; }", "ld32 hides a binding"],
    ["a default parameter", "function b(a = 1) { return null; }", "AssignmentPattern as a parameter"],
    ["a global", body("const a = globalThis;"), "unknown name globalThis"],
    ["a call of a global", body("fetch(1);"), "unknown name fetch"],
    ["eval", body("eval(1);"), "unknown name eval"],
    ["arguments", body("const a = arguments;"), "unknown name arguments"],
    ["a local named arguments", body("const arguments = 1;"), "arguments can't be a name"],
    ["this", body("const a = this;"), "ThisExpression is not allowed"],
    ["new", body("const a = new imul(1);"), "NewExpression is not allowed"],
    ["import", body("import(1);"), "ImportExpression as a statement"],
    ["a property", body("const a = I.buffer;"), "property access is not allowed"],
    ["a method", body("I.fill(0);"), "MemberExpression is called"],
    ["a method of a view by index", body("I[0](1);"), "MemberExpression is called"],
    ["a property of a function", body("imul.constructor(1);"), "MemberExpression is called"],
    [
      "indexing by a string",
      body('const a = I["buffer"];'),
      'the index "buffer" is not an integer expression',
    ],
    ["indexing of a function", body("const a = imul[0];"), "imul is indexed: not a view"],
    ["indexing of a local", body("const a = 1; const b = a[0];"), "a is indexed: not a view"],
    ["indexing of an expression", body("const a = (0, I)[0];"), "SequenceExpression is indexed"],
    ["an optional access", body("const a = I?.[0];"), "ChainExpression is not allowed"],
    ["a negative index", body("const a = I[-1];"), "the index is not an integer expression"],
    ["a fraction as index", body("const a = I[0.5];"), "the index 0.5 is not an integer expression"],
    [
      "a division as index",
      body("const a = 1; const b = I[a / 2];"),
      "the index is not an integer expression",
    ],
    [
      "a sum with a fraction as index",
      body("const a = I[1 + 0.5];"),
      "the index is not an integer expression",
    ],
    ["a call as index", body("const a = I[clz32(1)];"), "the index is not an integer expression"],
    ["a fraction in a local", body("const a = 7 / 2;"), "the value of a is not an integer expression"],
    ["a boolean in a local", body("const a = 1 < 2;"), "the value of a is not an integer expression"],
    ["a boolean as argument", body("ld32(1 < 2);"), "an argument is not an integer expression"],
    ["a stored fraction", body("I[4] = 7 % 2;"), "the stored value is not an integer expression"],
    ["null outside a return", body("const a = null;"), "the literal null is not a number"],
    ["a string", body('const a = "a";'), 'the literal "a" is not a number'],
    ["a directive", 'function b() { "use strict"; return null; }', "Literal as a statement"],
    ["a regular expression", body("const a = /a/;"), "the literal /a/ is not a number"],
    ["a bigint", body("const a = 1n;"), "the literal 1n is not a number"],
    ["a template", body("const a = `1`;"), "TemplateLiteral is not allowed"],
    ["a tagged template", body("imul`1`;"), "TaggedTemplateExpression as a statement"],
    ["an object", body("const a = {};"), "ObjectExpression is not allowed"],
    ["an array", body("const a = [1];"), "ArrayExpression is not allowed"],
    ["destructuring", body("const { a } = I;"), "ObjectPattern is not allowed"],
    ["spread arguments", body("ld32(...I);"), "SpreadElement is not allowed"],
    ["a closure", body("const a = () => 1;"), "ArrowFunctionExpression is not allowed"],
    ["a nested function", body("function a() { return null; }"), "FunctionDeclaration is not allowed"],
    ["a class", body("class A {}"), "ClassDeclaration is not allowed"],
    ["try", body("try { ld32(1); } finally { ld32(2); }"), "TryStatement is not allowed"],
    ["throw", body("throw 1;"), "ThrowStatement is not allowed"],
    ["with", body("with (I) { ld32(1); }"), "WithStatement is not allowed"],
    ["debugger", body("debugger;"), "DebuggerStatement is not allowed"],
    ["var", body("var a = 1;"), "var is not allowed"],
    ["while", body("while (1) { ld32(1); }"), "WhileStatement is not allowed"],
    ["typeof", body("const a = typeof 1;"), "the operator typeof is not allowed"],
    ["a power", body("const a = 2 ** 3 | 0;"), "the operator ** is not allowed"],
    ["in", body("if (1 in I) return null;"), "the view I is not indexed"],
    ["loose equality", body("if (1 == 2) return null;"), "the operator == is not allowed"],
    ["??", body("const a = 1 ?? 2;"), "the operator ?? is not allowed"],
    ["an update", body("let a = 1; a++;"), "UpdateExpression as a statement"],
    ["a compound assignment", body("let a = 1; a += 1;"), "the operator += is not allowed"],
    ["an assignment as a value", body("let a = 1; const b = a = 2;"), "AssignmentExpression is not allowed"],
    ["an assignment to a view", body("I = 1;"), "I is assigned to"],
    ["an assignment to a function", body("imul = 1;"), "imul is assigned to"],
    ["an assignment to a global", body("top = 1;"), "unknown name top"],
    ["an assignment to a const", body("const a = 1; a = 2;"), "a is a const and is assigned to"],
    ["jump() as a value", body("const a = jump();"), "jump() outside a return"],
    ["jump() as a statement", body("jump();"), "jump() outside a return"],
    ["a view as an argument", body("ld32(I);"), "the view I is not indexed"],
    ["a view as a function", body("I(0);"), "the view I is called"],
    ["a view returned", body("return I;"), "the view I is not indexed"],
    ["a function returned", body("return imul;"), "the function imul is not called"],
    ["a local as a function", body("const a = 1; a();"), "the local a is called"],
    ["the function's own name", body("b_40();"), "unknown name b_40"],
    ["a local that hides a binding", body("const I = 1;"), "I hides a binding"],
    ["a local that hides a local", body("const a = 1; { const a = 2; }"), "a hides another local"],
    ["a local outside its block", body("{ const a = 1; } ld32(a);"), "unknown name a"],
    ["a local before its declaration", body("ld32(a); const a = 1;"), "unknown name a"],
    ["a local in its own value", body("const a = a;"), "unknown name a"],
    [
      "a declaration in a case",
      body("switch (1) { case 1: let a; }"),
      "a declaration outside a case's braces",
    ],
    ["a label of another name", body("out: for (;;) { return null; }"), "label out"],
    ["a label at a statement", body("leave: ld32(1);"), "a label that is neither at a loop nor at a block"],
    [
      "a number in an integer's place",
      body("const a = D[1];"),
      "the value of a is not an integer expression",
    ],
    ["a number as an index", body("const $a = D[1]; I[$a] = 1;"), "the index is not an integer expression"],
    [
      "a number in a word",
      body("const $a = D[1]; I[1] = $a;"),
      "the stored value is not an integer expression",
    ],
    [
      "a number as an integer argument",
      body("const $a = F[0]; ld32($a);"),
      "an argument is not an integer expression",
    ],
    ["a number as a result", body("const $a = D[1]; return $a;"), "the result is not an integer expression"],
    ["a comparison as a number", body("const $a = 1 < 2;"), "the value of $a is not a number"],
    ["a comparison in a number's view", body("D[1] = 1 < 2;"), "the stored value is not a number"],
    [
      "a number as the sign beside a NaN",
      body("const $a = D[1]; I[1] = lowOf($a, $a);"),
      "an argument is not",
    ],
    ["a number from a function as an integer", body("I[1] = toDouble(1, 2);"), "the stored value is not"],
    ["a number as a label's name", body("L: for (;;) { return null; }"), "label L"],
    [
      "a loop whose check goes to its own beginning",
      body("let n = I[0]; L0: for (;;) { if (n < 1) continue L0; n = n - 1; }"),
      "a loop that does not begin with a budget check",
    ],
    [
      "a local budget that is raised",
      body("let n = I[0]; L0: for (;;) { if (n < 1) return null; n = n - 1; n = n + 1; }"),
      "a loop's budget is written",
    ],
    [
      "a local budget that is charged what the guest says",
      body("let n = I[0]; L0: for (;;) { if (n < 1) return null; n = n - 1; n = n - I[9]; }"),
      "a loop's budget is written",
    ],
    [
      "a charge of another local",
      body("let n = I[0], m = I[1]; L0: for (;;) { if (n < 1) return null; m = m - 1; }"),
      "a loop that does not charge its budget",
    ],
    ["return without a value", body("if (1 < 2) return;"), "return without a value"],
    ["a loop with a test", body("for (; 1 < 2; ) { ld32(1); }"), "a loop other than for (;;)"],
    [
      "a loop without a check",
      body("for (;;) { ld32(1); }"),
      "a loop that does not begin with a budget check",
    ],
    [
      "a loop whose check goes on",
      body("for (;;) { if (I[0] < 1) ld32(1); I[0] = I[0] - 1; }"),
      "a loop that does not begin with a budget check",
    ],
    [
      "a loop whose check never holds",
      body("for (;;) { if (I[0] < 0) return null; I[0] = I[0] - 1; }"),
      "a loop that does not begin with a budget check",
    ],
    [
      "a loop that charges nothing",
      body("for (;;) { if (I[0] < 1) return null; I[0] = I[0] - 0; }"),
      "a loop that does not charge its budget",
    ],
    [
      "a loop that charges another word",
      body("for (;;) { if (I[0] < 1) return null; I[1] = I[0] - 1; }"),
      "a loop that does not charge its budget",
    ],
    [
      "a loop that raises its budget",
      body("for (;;) { if (I[0] < 1) return null; I[0] = I[0] - 1; I[0] = 9; }"),
      "a loop's budget is written",
    ],
    [
      "text that nests too deeply",
      body(`const a = ${"(".repeat(60000)}1${")".repeat(60000)};`),
      "syntax error: Not enough stack",
    ],
  ];

  it.each(rejected)("refuses %s", (_, text, reason) => {
    expect(() => verifier.verify(text, "the emission")).toThrow(EmissionError);
    expect(() => verifier.verify(text, "the emission")).toThrow(reason);
  });

  it("names the emission, the line and the column, and has a stable code", () => {
    let error: unknown;
    try {
      verifier.verify("function b() {\n  return top;\n}", "the translation of 4096");
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(EmissionError);
    expect(error).toMatchObject({ code: "E_EMISSION", what: "the translation of 4096", line: 2, column: 10 });
    expect((error as Error).message).toContain("the translation of 4096: 2:10: unknown name top");
  });

  it("refuses a view that is not bound", () => {
    const few = new EmissionVerifier(new Set(["I"]));
    expect(() => few.verify(body("const a = U[0];"), "a block")).toThrow("unknown name U");
    expect(() => few.verify(body("return jump();"), "a block")).toThrow("unknown name jump");
  });
});
