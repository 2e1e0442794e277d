/** The committed images are what the committed sources build. */
import { spawnSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { toolVersion } from "../src/processes.js";
import { benchFolder, emptyProgram, type ImageIsa, programs } from "../src/suite.js";
import { temporaryFolder } from "./tools.js";

const guest = join(benchFolder, "guest");
const compilers: readonly (readonly [ImageIsa, string])[] = [
  ["rv64", "riscv64-unknown-elf-"],
  ["rv32", "riscv64-unknown-elf-"],
  ["i386", "x86_64-linux-gnu-"],
];

describe("the images", () => {
  it("are one for each program and instruction set", async () => {
    const names = [...programs, emptyProgram].map(({ name }) => name).sort();
    const sources = (await readdir(join(guest, "programs"))).filter((file) => file.endsWith(".c"));
    expect(sources.sort()).toEqual(names.map((name) => `${name}.c`).sort());
    for (const [isa] of compilers) {
      const images = (await readdir(join(guest, "bin", isa))).filter((file) => file.endsWith(".elf"));
      expect(images.sort()).toEqual(names.map((name) => `${name}.elf`).sort());
    }
  });

  it.for(compilers)("of %s are what the sources build", async ([isa, prefix], context) => {
    const recorded = await readFile(join(guest, "bin", isa, "compiler.txt"), "utf8");
    const installed = [toolVersion(`${prefix}gcc`), toolVersion(`${prefix}ld`)];
    context.skip(installed.includes(undefined), `${prefix}gcc is not installed`);
    context.skip(toolVersion("make") === undefined, "make is not installed");
    context.skip(`${installed.join("\n")}\n` !== recorded, `built by other tools: ${recorded}`);
    const folder = await temporaryFolder();
    const made = spawnSync("make", [`BIN=${folder}/bin`, `BUILD=${folder}/build`, `ISAS=${isa}`], {
      cwd: guest,
      encoding: "utf8",
    });
    expect(made.stderr).toBe("");
    for (const { name } of [...programs, emptyProgram]) {
      const [built, committed] = await Promise.all(
        [folder, guest].map((base) => readFile(join(base, "bin", isa, `${name}.elf`))),
      );
      expect(built!.equals(committed!), `${isa}/${name}.elf differs: run make in examples/bench/guest`).toBe(
        true,
      );
    }
  });
});
