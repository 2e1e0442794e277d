/** Runs a generated program under QEMU or in our machine, and gives what it printed. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tiers as allTiers, type Tier } from "@hyperfile/jit";
import { createMachine } from "../../src/machine.js";
import { RAM_BYTES } from "./layout.js";
import type { Program } from "./program.js";

/** The tiers that are compared: all that can be named. */
export const tiers = allTiers.filter((tier) => tier !== "auto");
/** A program that runs longer than this hangs. */
const LIMIT_SECONDS = 20;
/** Arrivals before a block is translated: programs are short. */
const HOT = 3;
/**
 * Our extensions and no others. Room for a second hart makes QEMU's atomics true ones, which report their faults as
 * stores; without it they are a load and a store.
 */
const extensions =
  "h=false,zba=true,zbb=true,zbs=true,zbc=false,svinval=true,svpbmt=false,svnapot=false,sstc=true,v=false";

/** Runs a program under QEMU. */
export async function runQemu(program: Program): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "hyperfile-differential-"));
  try {
    const image = join(folder, "program.elf");
    await writeFile(image, program.elf);
    const machine = ["-M", "virt", "-cpu", `rv${program.xlen},${extensions}`, "-smp", "1,maxcpus=2"];
    const console = ["-display", "none", "-monitor", "none", "-serial", "stdio"];
    const rest = ["-m", `${RAM_BYTES >> 20}M`, "-bios", "none", "-kernel", image];
    return await output(`qemu-system-riscv${program.xlen}`, [...machine, ...console, ...rest]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function output(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    let errors = "";
    child.stdout.setEncoding("latin1").on("data", (part: string) => {
      text += part;
    });
    child.stderr.setEncoding("utf8").on("data", (part: string) => {
      errors += part;
    });
    const limit = setTimeout(() => child.kill("SIGKILL"), LIMIT_SECONDS * 1000);
    child.on("error", reject);
    child.on("close", (status) => {
      clearTimeout(limit);
      if (status === 0) resolve(text);
      else reject(new Error(`${command} ended with ${status ?? "a signal"}: ${errors}\n${text.slice(-200)}`));
    });
  });
}

/** Runs a program in our machine. */
export async function runOurs(program: Program, tier: Tier): Promise<string> {
  const parts: string[] = [];
  const decoder = new TextDecoder("latin1");
  const machine = await createMachine({
    xlen: program.xlen,
    memoryBytes: RAM_BYTES,
    elf: { name: `program ${program.seed}`, bytes: program.elf },
    append: "",
    tier,
    hotThreshold: HOT,
    verifyEmitted: "sampled",
    deterministic: true,
    console: { write: (bytes) => void parts.push(decoder.decode(bytes)) },
  });
  const limit = setTimeout(() => machine.stop("timeout"), LIMIT_SECONDS * 1000);
  const end = await machine.run();
  clearTimeout(limit);
  if (end.kind !== "exit" || end.status !== 0)
    throw new Error(
      `seed ${program.seed}: the machine ended with ${end.kind} ${end.status}: ${end.message ?? ""}`,
    );
  return parts.join("");
}
