import { assemble, assembleRows, insnRow, riscvFrontEnd, rowFrontEnd } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { fileTests, fileTestsIn } from "../../test/filetest.js";
import { riscvSlotName } from "../arch/riscv/slot-names.js";
import { FlatCpu } from "../engine/flat-cpu.js";
import {
  type ExplainedCode,
  type ExplainedStage,
  explainBlock,
  explainJsRegion,
  explainRegion,
} from "./explain.js";
import { regionWasmText } from "./region-text.js";

const ORIGIN = 0x80000000n;

/** Assembled code, and the address of its label `head`. */
function program(source: string, xlen: 32 | 64, origin = ORIGIN): { code: ExplainedCode; head: bigint } {
  const { bytes, symbols } = assemble(source, { xlen, origin });
  return {
    code: {
      frontEnd: riscvFrontEnd(xlen),
      slotName: riscvSlotName,
      flagsSlot: "fflags",
      bytesAt: (address) => {
        const offset = Number(address - origin);
        return offset >= 0 && offset < bytes.length ? bytes.subarray(offset) : new Uint8Array(0);
      },
    },
    head: symbols.get("head") ?? origin,
  };
}

const stage = (stages: readonly ExplainedStage[], name: string): readonly string[] =>
  stages.find((each) => each.name.startsWith(name))!.lines;

for (const file of fileTestsIn("explain")) {
  fileTests("explain", file, (input, title) => {
    const { code, head } = program(input, title.startsWith("rv32") ? 32 : 64);
    const block = explainBlock(code, head)!;
    const region = explainRegion(code, head)!;
    const marks = stage(region, "WebAssembly").filter(
      (line) => line.includes(";; 0x") || line.includes(";; block"),
    );
    return [
      ...stage(block, "assembly"),
      "",
      ...stage(region, "region"),
      "",
      ...marks.map((line) => line.trim()),
    ].join("\n");
  });
}

describe("explained code", () => {
  const source = "head:\n lw a3, 0(a1)\n addi a1, a1, 4\n add a0, a0, a3\n bltu a1, a2, head\n ret\n";

  it("goes through IR and passes", () => {
    const { code, head } = program(source, 64);
    const stages = explainBlock(code, head)!;
    expect(stages.map(({ name }) => name)).toEqual(["assembly", "IR", "optimised IR"]);
    expect(stage(stages, "IR").join("\n")).toContain("get.i64 x[11]");
    expect(stage(stages, "optimised").length).toBeLessThanOrEqual(stage(stages, "IR").length);
  });

  it("becomes WebAssembly with the names of registers, structure, and addresses", () => {
    const { code, head } = program(source, 64);
    const text = stage(explainRegion(code, head)!, "WebAssembly").join("\n");
    const fragments = [
      "budget = i32.load[budget]",
      "; unlikely",
      "page = i64.load[pc] & -0x1000",
      "a1 = i64.load[a1]",
      "loop ",
      ";; block 0x80000000",
      ";; 0x80000000: lw a3,0(a1)",
      "ld32(",
      ";; 0x80000002: addi a1,a1,4",
      "a1 = ",
      ";; 0x80000004: add a0,a0,a3",
      "continue ",
      "i64.store[a0] = a0",
    ];
    let from = 0;
    for (const fragment of fragments) {
      const found = text.indexOf(fragment, from);
      expect(found, `${fragment} after offset ${from} of\n${text}`).toBeGreaterThanOrEqual(0);
      from = found;
    }
    const exit = program("head:\n beqz a0, . + 256\n ebreak\n", 64);
    expect(stage(explainRegion(exit.code, exit.head)!, "WebAssembly").join("\n")).toContain(
      "i64.store[pc] = page + 0x100  ; 0x80000100",
    );
  });

  it("becomes a JavaScript region with its registers in locals, and the assembly beside it", () => {
    const { code, head } = program(source, 64);
    const stages = explainJsRegion(code, head)!;
    expect(stages.map(({ name }) => name.replace(/\d+/, "N"))).toEqual([
      "region in tier js",
      "JavaScript of the region, N characters",
    ]);
    const text = stage(stages, "JavaScript").join("\n");
    const fragments = [
      "function r_0() {",
      "x_11 = I[",
      "L0: for (;;) {",
      "// 0x80000000: lw a3,0(a1)",
      "ld32(",
    ];
    let from = 0;
    for (const fragment of fragments) {
      const found = text.indexOf(fragment, from);
      expect(found, `${fragment} after offset ${from} of\n${text}`).toBeGreaterThanOrEqual(0);
      from = found;
    }
    expect(text).toContain("continue L0;");
  });

  it("is what the engine emits, with small pages and jumps to known addresses", () => {
    const frontEnd = rowFrontEnd({
      name: "fine",
      slots: [
        { name: "r", type: "i32", length: 8 },
        { name: "pc", type: "i32", length: 1 },
      ],
      rows: {
        add: insnRow("00000001 rd[2:0] 00000 imm[15:0]", "rd, imm", (m, f) =>
          m.set("r", f.rd, m.binary("add", m.get("r", f.rd), m.load("i32", 8, m.field(f.imm), false))),
        ),
        st: insnRow("00000010 rd[2:0] 00000 imm[15:0]", "rd, imm", (m, f) =>
          m.store(8, m.field(f.imm), m.get("r", f.rd)),
        ),
        go: insnRow("00000011 at[23:0]", "at", (m, f) => m.jumpIndirect(m.field(f.at))),
      },
      illegal: 1,
      pageBytes: 256,
    });
    const { bytes } = assembleRows(
      frontEnd,
      "add r1, 0x400\n st r1, 0x404\n go 0x120\n .zero 20\n add r2, 0x400\n go 0x100",
      0x100,
    );
    const seen: string[] = [];
    const cpu = new FlatCpu({
      frontEnd,
      ramBytes: 0x2000,
      tier: "js",
      hotThreshold: 3,
      trace: {
        onRegion: ({ low, code }) => {
          if (low === 0x100 && code.kind === "js") seen.push(code.text);
        },
      },
    });
    cpu.write(0x100, bytes);
    cpu.pc = 0x100;
    cpu.run(500);
    const stages = explainJsRegion(cpu.code, 0x100n)!;
    const shown = stage(stages, "JavaScript").filter((line) => !line.trim().startsWith("//"));
    expect(shown).toEqual(seen[0]!.trimEnd().split("\n"));
    expect(shown.join().match(/-256\b/g)!.length).toBeGreaterThan(1);

    const lengths: number[] = [];
    const emitted: string[][] = [];
    const slotName = (slot: string, at: number) => `${slot}${at}`;
    const inWasm = new FlatCpu({
      frontEnd,
      ramBytes: 0x2000,
      tier: "wasm",
      hotThreshold: 3,
      trace: {
        onRegion: ({ low, code }) => {
          if (low !== 0x100 || code.kind !== "wasm") return;
          const view = { frontEnd, slotName, hartOffset: 0, page: 0n, assemblyAt: () => "an instruction" };
          emitted.push(regionWasmText(code.module, code.body, code.notes, view));
          lengths.push(code.body.code.length);
        },
      },
    });
    inWasm.write(0x100, bytes);
    inWasm.pc = 0x100;
    inWasm.run(500);
    const explained = explainRegion({ ...inWasm.code, slotName }, 0x100n)!;
    const code = (lines: readonly string[]) => lines.filter((line) => !line.includes(";;"));
    const wasm = code(stage(explained, "WebAssembly"));
    expect(wasm).toEqual(code(emitted[0]!));
    expect(explained.map(({ name }) => name)).toContain(`WebAssembly, ${lengths[0]} bytes`);
    expect(wasm.length).toBeGreaterThan(20);
  });

  it("is not known past its end; a block ends before an instruction of two pages, a region does not", () => {
    const { code } = program("head:\n nop\n", 64);
    expect(explainBlock(code, ORIGIN + 0x100n)).toBeUndefined();
    expect(explainRegion(code, ORIGIN + 0x100n)).toBeUndefined();
    const crossing = program(".option norvc\nhead:\n li a0, 1\n", 64, ORIGIN + 0xffen);
    expect(explainBlock(crossing.code, crossing.head)).toBeUndefined();
    expect(stage(explainRegion(crossing.code, crossing.head)!, "region")[0]).toContain("2 pages");
  });
});
