/**
 * The code in READMEs below which no output stands: each is run with what its reader would have, and does what the text
 * says. Code with its output is run by `examples/own-cpu/src/guide.test.ts`.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as disk from "@hyperfile/devices/disk";
import * as node from "@hyperfile/devices/node";
import * as riscv from "@hyperfile/jit/riscv";
import * as machine from "@hyperfile/machine";
import * as machineNode from "@hyperfile/machine/node";
import ts from "typescript";
import { afterAll, beforeAll, expect, it } from "vitest";
import * as guest from "../../guest/src/index.js";
import * as nes from "../../jsnes/src/console.js";
import { testRom } from "../../jsnes/src/test-rom.js";
import * as mos6502 from "../../mos6502/src/index.js";
import { readmes, root } from "./readme-commands.js";

const modules: Readonly<Record<string, unknown>> = {
  "@hyperfile/devices/disk": disk,
  "@hyperfile/devices/node": node,
  "@hyperfile/jit/riscv": riscv,
  "@hyperfile/machine": machine,
  "@hyperfile/machine/node": machineNode,
  "@hyperfile/example-guest": guest,
  "@hyperfile/example-jsnes": nes,
  "@hyperfile/example-mos6502": mos6502,
};

/** The blocks of a README that are code without an output. */
const blocksOf = (file: string): string[] =>
  [...readFileSync(join(root, file), "utf8").matchAll(/^```(\w*)\n(.*?)^```$(?=(\n\n```text)?)/gms)]
    .filter(([, language = "", , output]) => /^[tj]s$/.test(language) && output === undefined)
    .map(([, , code = ""]) => code);

/** Functions whose body may wait, as modules may. */
const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

/** Runs code with names that its reader has; gives what it printed, and what it calls so. */
async function run(
  code: string,
  given: Readonly<Record<string, unknown>> = {},
  wanted = "undefined",
): Promise<{ printed: string[]; value: unknown }> {
  const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
  const { outputText } = ts.transpileModule(code, { compilerOptions });
  const printed: string[] = [];
  const console = { log: (...values: unknown[]) => printed.push(values.map(String).join(" ")) };
  const names = ["require", "exports", "console", ...Object.keys(given)];
  const value: unknown = await new AsyncFunction(...names, `${outputText}\nreturn ${wanted};`)(
    (name: string) => modules[name],
    {},
    console,
    ...Object.values(given),
  );
  return { printed, value };
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-code-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** What each README's block does. */
const runs: Readonly<Record<string, (code: string) => Promise<void>>> = {
  async "README.md"(code) {
    expect((await run(code)).printed).toEqual(["42"]);
  },
  async "packages/devices/README.md"(code) {
    const { printed } = await run(
      code.replaceAll('"disk.qcow2"', JSON.stringify(join(folder, "disk.qcow2"))),
    );
    expect(printed).toEqual(["0"]);
  },
  async "packages/machine/README.md"(code) {
    const file = JSON.stringify(join(folder, "half.snapshot"));
    expect((await run(code.replaceAll('"half.snapshot"', file))).printed).toEqual(["stopped 250000"]);
  },
  async "examples/guest/README.md"(code) {
    const { value } = await run(code, {}, "image");
    expect([...(value as Uint8Array).subarray(0, 5)]).toEqual([0x7f, 0x45, 0x4c, 0x46, 2]);
  },
  async "examples/jsnes/README.md"(code) {
    let frames = 0;
    // A cartridge is a string of bytes to jsnes.
    const bytes = Buffer.from(testRom()).toString("latin1");
    await run(code, { onFrame: () => frames++, onAudioSample() {}, bytes });
    expect(frames).toBe(1);
  },
  async "examples/mos6502/README.md"(code) {
    const { printed } = await run(code, {}, "machine");
    // A store of each value, 256 of them if there were cycles: 4 for txa and sta and 5 for inx and bne, so that 1000 do for 90.
    const values = printed.map((line) => line.split(" ").map(Number));
    expect(values.map(([, value]) => value)).toEqual(values.map((_, at) => at));
    expect(values.length).toBeGreaterThan(80);
  },
};

/** Code that is not run, by what is in it, with the reason. */
const notRun: Readonly<Record<string, string>> = {
  debianBoot: "boots Debian on the reader's terminal; boot.test.ts has what it calls",
};

const all = readmes()
  .flatMap((file) => blocksOf(file).map((code) => ({ file, code })))
  .filter(({ code }) => !Object.keys(notRun).some((name) => code.includes(name)));

it("every block is run, or has a reason", () => {
  expect(all.map(({ file }) => file).sort()).toEqual(Object.keys(runs).sort());
});

it.each(all)("$file", ({ file, code }) => runs[file]!(code));
