/** Dumps, profiles and listings of real runs of the embedded guest. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { printWasm, readWasmModule } from "@hyperfile/jit/trace";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createMachine } from "../src/machine.js";
import type { Machine, MachineOptions } from "../src/machine-types.js";
import { type Profile, readProfile, writeProfile } from "../src/profile-file.js";
import { type ProgramSurroundings, runProgram } from "../src/program.js";
import { FakeInput, FakeOutput } from "./streams.js";

const guestFile = (xlen: number) =>
  fileURLToPath(new URL(`../../guest/bin/guest${xlen}.elf`, import.meta.url));
/** Commands that keep the guest busy for some ten million instructions, and end it. */
const COMMANDS = "burn 1\ntouch 64\npoweroff\n";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-seeing-"));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => vi.restoreAllMocks());

/** Runs the command line with a machine that gets `commands` once its guest asks for them. */
async function hyperfile(
  args: readonly string[],
  options: Partial<MachineOptions> = {},
  commands = COMMANDS,
) {
  const input = new FakeInput(false);
  const output = new FakeOutput();
  let [text, errors] = ["", ""];
  let machine: Machine | undefined;
  const surroundings: ProgramSurroundings = {
    version: "0",
    streams: { input, output, error: (part) => (errors += part) },
    write: (part) => (text += part),
    machine: async () => ({
      createMachine: async (given) => {
        machine = await createMachine({
          ...given,
          hotThreshold: 500,
          ...options,
          console: {
            write: (bytes) => {
              given.console.write(bytes);
              if (commands !== "" && output.text.includes("guest# ")) {
                machine?.receive(new TextEncoder().encode(commands));
                commands = "";
              }
            },
          },
        });
        return machine;
      },
      explain: () => {
        throw new Error("not asked for");
      },
      disassemble: () => [],
    }),
  };
  const status = await runProgram(args, surroundings);
  return { status, text, errors, console: output.text };
}

const runGuest = (xlen: 32 | 64, ...flags: string[]) =>
  hyperfile(["run", "--kernel", guestFile(xlen), "--memory", "32M", "--timeout", "60", ...flags]);

describe("the text of WebAssembly", () => {
  it.each([64, 32] as const)("can be had of everything that is emitted on RV%i", async (xlen) => {
    const modules: Uint8Array[] = [];
    const { compile, Module } = WebAssembly;
    vi.spyOn(WebAssembly, "compile").mockImplementation((bytes) => {
      modules.push(new Uint8Array(bytes as Uint8Array));
      return compile(bytes);
    });
    vi.spyOn(WebAssembly, "Module").mockImplementation(((bytes) => {
      modules.push(new Uint8Array(bytes as Uint8Array));
      return new Module(bytes);
    }) as (bytes: BufferSource) => WebAssembly.Module);
    const { console } = await runGuest(xlen, "--tier", "wasm");
    expect(console).toMatch(/burn.*ok/);
    let functions = 0;
    for (const bytes of modules) {
      const module = readWasmModule(bytes);
      for (const each of module.functions) {
        const lines = printWasm(each, module);
        expect(lines.length).toBeGreaterThan(0);
        // Every structured instruction that is opened is closed: the last line stands outside of all.
        expect(lines[lines.length - 1]!.depth).toBe(0);
        functions++;
      }
    }
    expect(functions).toBeGreaterThan(50);
  });
});

describe("dumps", () => {
  const heading = (line: string) => /^[a-z]/.test(line);

  it.each(["js", "wasm"])(
    "show each stage of a translation and what happens at run time, tier %s",
    async (tier) => {
      const file = join(folder, `dump-${tier}`);
      const kinds = "insn,ir,opt,emit,exit,mmu,irq";
      const { status } = await runGuest(64, "--tier", tier, "--dump", kinds, "--dump-file", file);
      expect(status).toBe(0);
      const dump = await readFile(file, "utf8");
      expect(dump).toMatch(/^insn 0x[0-9a-f]+\n {2}0x[0-9a-f]+: [a-z]/m);
      expect(dump).toMatch(/^ir 0x[0-9a-f]+\n {2}insn \+0 len [24]/m);
      expect(dump).toMatch(/^opt 0x[0-9a-f]+\n {2}insn \+0/m);
      if (tier === "js") expect(dump).toMatch(/^emit js 0x[0-9a-f]+\n[\s\S]*?function r_[0-9a-f]+\(\)/m);
      else expect(dump).toMatch(/^emit wasm 0x[0-9a-f]+\n {2}region at 0x[\s\S]*?;; 0x[0-9a-f]+: [a-z]/m);
      expect(dump).toMatch(/^exit hot at 0x[0-9a-f]+$/m);
      expect(dump).toMatch(/^exit fetch at 0x/m);
      expect(dump).toMatch(/^mmu 0x[0-9a-f]+000 -> 0x[0-9a-f]+000 --x in S mode, page of \d+ KiB$/m);
      expect(dump).toMatch(/^mmu .* -w- in U mode/m);
      expect(dump).toMatch(/^irq exception 8 \(ecall from U mode\), epc 0x[0-9a-f]+, tval 0x0, U to S mode/m);
      expect(dump).toMatch(/^irq interrupt 5 \(supervisor timer\), epc/m);
    },
  );

  it("show only what was asked for, at the addresses that were asked for", async () => {
    const all = (await runGuest(64, "--tier", "wasm", "--deterministic", "--dump", "insn")).errors;
    const headings = all.split("\n").filter(heading);
    expect(headings.length).toBeGreaterThan(20);
    expect(headings.every((line) => line.startsWith("insn "))).toBe(true);
    const chosen = BigInt(headings[0]!.slice("insn ".length));
    const range = `0x${chosen.toString(16)}+2`;
    const some = (
      await runGuest(64, "--tier", "wasm", "--deterministic", "--dump", "insn", "--filter", range)
    ).errors;
    const blocks = some.split(/^insn /m).slice(1);
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) expect(block).toContain(`  0x${chosen.toString(16)}: `);
    const none = await runGuest(64, "--tier", "wasm", "--dump", "insn,emit,mmu", "--filter", "0x13+1");
    expect(none.errors).toBe("");
  });

  it("show regions of one block where nothing is chained", async () => {
    const { errors, console } = await runGuest(64, "--tier", "wasm", "--no-chain", "--dump", "emit");
    expect(console).toMatch(/burn.*ok/);
    const sizes = [...errors.matchAll(/region at 0x[0-9a-f]+: (\d+) blocks/g)].map((match) => match[1]);
    expect(sizes.length).toBeGreaterThan(20);
    expect(new Set(sizes)).toEqual(new Set(["1"]));
  });
});

describe("statistics", () => {
  it.each([
    ["wasm", "wasmInterpreter", "wasmRegions"],
    ["js", "jsInterpreter", "jsTranslations"],
    ["wasm-interpreter", "wasmInterpreter", undefined],
    ["interpreter", "jsInterpreter", undefined],
  ])("give the instructions of tier %s to what ran them", async (tier, interpreter, translations) => {
    const file = join(folder, "stats.json");
    const commands = translations === undefined ? "poweroff\n" : COMMANDS;
    const args = ["run", "--kernel", guestFile(64), "--memory", "32M", "--tier", tier, "--stats", file];
    await hyperfile(args, {}, commands);
    const statistics = JSON.parse(await readFile(file, "utf8"));
    expect(statistics.tier).toBe(tier);
    const byTier: Record<string, number> = statistics.instructionsByTier;
    const used = [interpreter, translations].filter((name) => name !== undefined);
    expect(
      Object.keys(byTier)
        .filter((name) => byTier[name] !== 0)
        .sort(),
    ).toEqual([...used].sort());
    const sum = Object.values(byTier).reduce((total, value) => total + value, 0);
    expect(sum).toBe(statistics.guestInstructions);
    expect(statistics.cpuSeconds).toBeGreaterThan(0);
    if (tier === "wasm") {
      expect(statistics.regions.count).toBeGreaterThan(0);
      expect(statistics.regions.modules).toBeGreaterThan(0);
      expect(statistics.cache.regionBytes).toBeGreaterThan(statistics.regions.count * 10);
      expect(statistics.cache.codePageBytes).toBeGreaterThan(0);
    }
  });
});

describe("top", () => {
  it.each(["wasm", "js"])(
    "shows the hottest code of a run with symbols and assembly, tier %s",
    async (tier) => {
      const file = join(folder, `profile-${tier}`);
      await runGuest(64, "--tier", tier, `--profile=${file}`);
      const profile = await readProfile(file);
      expect(profile).toMatchObject({ state: "ended", pid: process.pid });
      const { report } = profile;
      expect(report.samples).toBeGreaterThan(20);
      expect(report.units.reduce((sum, unit) => sum + unit.samples, report.otherSamples)).toBe(
        report.samples,
      );
      expect(report.tiers.interpreter.instructions + report.tiers.translations.instructions).toBe(
        report.instructions,
      );
      expect(report.units.some(({ kind }) => kind === "region")).toBe(true);

      const table = await hyperfile(["top", file, "-n", "3"]);
      expect(table.status).toBe(0);
      expect(table.text).toMatch(new RegExp(`guest64.elf: rv64gc, tier ${tier}, ended`));
      expect(table.text).toMatch(/traps {9}.*ecall/);
      expect(
        table.text.split("\n").filter((line) => /^ +[\d.]+ % +[\d.]+ +(region|block|interpreted)/.test(line)),
      ).toHaveLength(3);

      const [hottest] = report.units;
      const one = await hyperfile(["top", file, "--at", hottest!.address]);
      expect(one.text).toContain(` at ${hottest!.address}`);
      expect(one.text).toContain(`${hottest!.assembly![0]!.address}: ${hottest!.assembly![0]!.text}`);
      const map = join(folder, "System.map");
      const start = BigInt(hottest!.address) - 8n;
      await writeFile(map, `${start.toString(16).padStart(16, "0")} T hot_function\n`);
      const named = await hyperfile(["top", file, "-n", "1", "--symbols", map]);
      expect(named.text).toMatch(/hot_function\+0x8\n/);
      expect((await hyperfile(["top", file, "--at", "0x1"])).text).toContain("no samples there");
      expect((await hyperfile(["top", file, "-n", "1", "--assembly"])).text).toMatch(
        /^ +[\d.]+ % {2}0x[0-9a-f]+: [a-z]/m,
      );
    },
  );

  it("follows a machine until it ends, or is gone", async () => {
    const file = join(folder, "followed");
    await runGuest(64, "--tier", "wasm", `--profile=${file}`);
    const ended = await readProfile(file);
    const running: Profile = { ...ended, state: "running", interval: 10 };
    writeProfile(file, running);
    setTimeout(() => writeProfile(file, ended), 100);
    const followed = await hyperfile(["top", file, "--follow", "-n", "1"]);
    expect(followed.status).toBe(0);
    expect(followed.text).toMatch(/running as process \d+[\s\S]*, ended\n/);
    // No process has this number: it is beyond what systems give out.
    writeProfile(file, { ...running, pid: 2 ** 31 - 1 });
    expect((await hyperfile(["top", file, "--follow"])).text).toContain(", ended");
  });

  it("says in one line what is wrong with a profile", async () => {
    const file = join(folder, "wrong");
    const complaint = async (content: string) => {
      await writeFile(file, content);
      const { status, errors, text } = await hyperfile(["top", file]);
      expect({ status, text }).toEqual({ status: 1, text: "" });
      expect(errors).toMatch(/^hyperfile: [^\n]+\n$/);
      return errors;
    };
    expect(await complaint('{"format": "hyper')).toContain("it is not JSON");
    expect(await complaint("null")).toContain("is no profile");
    expect(await complaint('{"format": "hyperfile-profile", "version": 1}')).toContain("is no profile");
    const report = { units: [], tiers: {} };
    expect(await complaint(JSON.stringify({ format: "hyperfile-profile", version: 2, report }))).toContain(
      "version 2",
    );
    const followed = await hyperfile(["top", join(folder, "followed"), "--symbols", file]);
    expect(followed.errors).toMatch(/wrong has no symbols: give an ELF file/);
    const { errors, status } = await runGuest(64, `--profile=${join(folder, "none", "profile")}`);
    expect(status).toBe(1);
    expect(errors).toMatch(/^hyperfile: can't write the profile to .*: no such file or folder\n$/);
  });
});
