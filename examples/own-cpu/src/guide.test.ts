/**
 * The code blocks of the guide and of the packages' READMEs, run as they stand, print what stands below them. With
 * UPDATE_FILETESTS=1 in the environment the documents get the outputs instead: read the difference before committing it.
 */
import * as decoder from "@hyperfile/decoder";
import * as devices from "@hyperfile/devices";
import * as jit from "@hyperfile/jit";
import ts from "typescript";
import { expect, it } from "vitest";
import { bless, blocksOf, GUIDE, outputsOf, programOf, readmes } from "../guide.mjs";

const modules: Readonly<Record<string, unknown>> = {
  "@hyperfile/decoder": decoder,
  "@hyperfile/devices": devices,
  "@hyperfile/jit": jit,
};

/** Runs the program; gives what it printed. */
function printedBy(program: string): string {
  const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
  const { outputText } = ts.transpileModule(program, { compilerOptions });
  const lines: string[] = [];
  const console = { log: (...values: unknown[]) => lines.push(`${values.map(String).join(" ")}\n`) };
  new Function("require", "exports", "console", outputText)((name: string) => modules[name], {}, console);
  return lines.join("");
}

it("the guide makes a CPU in about 150 lines besides the programs that it runs", () => {
  const lines = blocksOf(GUIDE).flatMap(({ code }) => code.split("\n").filter((line) => line.trim() !== ""));
  expect(lines.length).toBeGreaterThan(120);
  expect(lines.length).toBeLessThan(230);
});

it.each([GUIDE, ...readmes])("%s prints what it says", (document) => {
  const blocks = blocksOf(document);
  expect(blocks.length).toBeGreaterThan(0);
  const outputs = outputsOf(printedBy(programOf(blocks)));
  if (process.env.UPDATE_FILETESTS === "1") bless(document, outputs);
  else expect(outputs).toEqual(blocks.map(({ output }) => output));
});
