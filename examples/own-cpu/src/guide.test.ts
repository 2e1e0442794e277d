/**
 * The guide's code blocks, run as they stand, print what stands below them. With UPDATE_FILETESTS=1 in the environment
 * the guide gets the outputs instead: read the difference before committing it.
 */
import * as decoder from "@hyperfile/decoder";
import * as jit from "@hyperfile/jit";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { bless, guideBlocks, guideProgram, outputsOf } from "../guide.mjs";

const modules: Readonly<Record<string, unknown>> = { "@hyperfile/decoder": decoder, "@hyperfile/jit": jit };

/** Runs the program; gives what it printed. */
function printedBy(program: string): string {
  const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
  const { outputText } = ts.transpileModule(program, { compilerOptions });
  const lines: string[] = [];
  const console = { log: (...values: unknown[]) => lines.push(`${values.map(String).join(" ")}\n`) };
  new Function("require", "exports", "console", outputText)((name: string) => modules[name], {}, console);
  return lines.join("");
}

describe("the guide to a CPU of one's own", () => {
  const blocks = guideBlocks();

  it("is a program of about 150 lines besides the programs that it runs", () => {
    const lines = blocks.flatMap(({ code }) => code.split("\n").filter((line) => line.trim() !== ""));
    expect(lines.length).toBeGreaterThan(120);
    expect(lines.length).toBeLessThan(230);
  });

  it("prints what it says", () => {
    const outputs = outputsOf(printedBy(guideProgram(blocks)));
    if (process.env.UPDATE_FILETESTS === "1") bless(outputs);
    else expect(outputs).toEqual(blocks.map(({ output }) => output));
  });
});
