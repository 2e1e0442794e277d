/**
 * The code blocks of the guide and of the packages' READMEs, run as they stand, print what stands below them. With
 * UPDATE_FILETESTS=1 in the environment the documents get the outputs instead: read the difference before committing it.
 */
import * as broker from "@hyperfile/broker";
import * as brokerCpu from "@hyperfile/broker/cpu";
import * as decoder from "@hyperfile/decoder";
import * as devices from "@hyperfile/devices";
import * as disk from "@hyperfile/devices/disk";
import * as fdt from "@hyperfile/devices/fdt";
import * as image from "@hyperfile/devices/image";
import * as net from "@hyperfile/devices/net";
import * as devicesNode from "@hyperfile/devices/node";
import * as share from "@hyperfile/devices/share";
import * as virtio from "@hyperfile/devices/virtio";
import * as jit from "@hyperfile/jit";
import * as engine from "@hyperfile/jit/engine";
import * as memory from "@hyperfile/jit/memory";
import * as riscv from "@hyperfile/jit/riscv";
import * as trace from "@hyperfile/jit/trace";
import * as machine from "@hyperfile/machine";
import * as debug from "@hyperfile/machine/debug";
import * as guests from "@hyperfile/machine/guests";
import * as snapshot from "@hyperfile/machine/snapshot";
import * as vm from "@hyperfile/machine/vm";
import ts from "typescript";
import { expect, it } from "vitest";
import { bless, blocksOf, GUIDE, outputsOf, programOf, proofsIn, readmes } from "../guide.mjs";

const modules: Readonly<Record<string, unknown>> = {
  "@hyperfile/broker": broker,
  "@hyperfile/broker/cpu": brokerCpu,
  "@hyperfile/decoder": decoder,
  "@hyperfile/devices": devices,
  "@hyperfile/devices/disk": disk,
  "@hyperfile/devices/fdt": fdt,
  "@hyperfile/devices/image": image,
  "@hyperfile/devices/net": net,
  "@hyperfile/devices/node": devicesNode,
  "@hyperfile/devices/share": share,
  "@hyperfile/devices/virtio": virtio,
  "@hyperfile/jit": jit,
  "@hyperfile/jit/engine": engine,
  "@hyperfile/jit/memory": memory,
  "@hyperfile/jit/riscv": riscv,
  "@hyperfile/jit/trace": trace,
  "@hyperfile/machine": machine,
  "@hyperfile/machine/debug": debug,
  "@hyperfile/machine/guests": guests,
  "@hyperfile/machine/snapshot": snapshot,
  "@hyperfile/machine/vm": vm,
};

/** Functions whose body may wait, as modules may. */
const AsyncFunction = (async () => {}).constructor as FunctionConstructor;

/** Runs the program; gives what it printed. */
async function printedBy(program: string): Promise<string> {
  const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 };
  const { outputText } = ts.transpileModule(program, { compilerOptions });
  const lines: string[] = [];
  const console = { log: (...values: unknown[]) => lines.push(`${values.map(String).join(" ")}\n`) };
  await new AsyncFunction("require", "exports", "console", outputText)(
    (name: string) => modules[name],
    {},
    console,
  );
  return lines.join("");
}

it("the guide makes a CPU in about 150 lines besides the programs that it runs", () => {
  const lines = blocksOf(GUIDE).flatMap(({ code }) => code.split("\n").filter((line) => line.trim() !== ""));
  expect(lines.length).toBeGreaterThan(120);
  expect(lines.length).toBeLessThan(230);
});

it.each([GUIDE, ...readmes])("%s prints what it says", async (document) => {
  const blocks = blocksOf(document);
  expect(blocks.length).toBeGreaterThan(0);
  const outputs = outputsOf(await printedBy(programOf(blocks)));
  if (process.env.UPDATE_FILETESTS === "1") bless(document, outputs);
  else expect(outputs).toEqual(blocks.map(({ output }) => output));
});

it("SPECIFICATION.md names tests and experiments that there are", () => {
  const proofs = proofsIn("SPECIFICATION.md");
  expect(proofs.length).toBeGreaterThan(20);
  expect(proofs.filter(({ exists }) => !exists)).toEqual([]);
});
