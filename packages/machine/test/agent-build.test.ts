/** The guest agent's program: that it is what its sources build, and that both sides of its protocol have the same numbers. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import * as protocol from "../src/agent/protocol.js";
import { agentProgram } from "../src/node.js";

const folder = fileURLToPath(new URL("../agent", import.meta.url));
const prefix = process.env.CROSS ?? "riscv64-unknown-elf-";
const MACHINE_RISCV = 243;

/** The first line that a tool prints for `--version`, or undefined where the tool is not installed. */
function versionOf(tool: string): string | undefined {
  const run = spawnSync(tool, ["--version"], { encoding: "utf8" });
  return run.status === 0 ? run.stdout.split("\n")[0] : undefined;
}

describe("the built agent", () => {
  it("is a small static RV64 executable", async () => {
    const program = await agentProgram();
    const view = new DataView(program.buffer, program.byteOffset);
    expect(view.getUint32(0)).toBe(0x7f454c46);
    expect(view.getUint8(4)).toBe(2);
    expect(view.getUint16(18, true)).toBe(MACHINE_RISCV);
    // No program header asks for an interpreter (PT_INTERP is 3).
    const headers = Array.from({ length: view.getUint16(56, true) }, (_, at) =>
      view.getUint32(Number(view.getBigUint64(32, true)) + 56 * at, true),
    );
    expect(headers).not.toContain(3);
    expect(program.length).toBeLessThan(32 * 1024);
  });

  it("is what the sources build", async (context) => {
    const recorded = await readFile(join(folder, "bin/compiler.txt"), "utf8");
    const installed = [versionOf(`${prefix}gcc`), versionOf(`${prefix}ld`)];
    if (installed.includes(undefined)) context.skip(`${prefix}gcc is not installed`);
    if (versionOf("make") === undefined) context.skip("make is not installed");
    if (`${installed.join("\n")}\n` !== recorded)
      context.skip(`the program was built by other tools: ${recorded.trim().replace("\n", ", ")}`);
    const place = await mkdtemp(join(tmpdir(), "hyperfile-agent-"));
    try {
      const args = [`CROSS=${prefix}`, `BIN=${place}/bin`, `BUILD=${place}/build`];
      const run = spawnSync("make", args, { cwd: folder, encoding: "utf8" });
      expect(run.status, run.stderr).toBe(0);
      const built = await readFile(join(place, "bin/hyperfile-agent"));
      expect(built.equals(await agentProgram()), "it differs: run make in packages/machine/agent").toBe(true);
    } finally {
      await rm(place, { recursive: true, force: true });
    }
  });
});

describe("the protocol", () => {
  it("has the same numbers in C and in TypeScript", async () => {
    const header = await readFile(join(folder, "src/protocol.h"), "utf8");
    const inC = new Map([
      ...[...header.matchAll(/^#define (\w+) (\d+)$/gm)].map(
        ([, name, value]) => [name!, Number(value)] as const,
      ),
      ...[...header.matchAll(/\b((?:OPERATION|POWER|FRAME)_\w+) = (\d+)/g)].map(
        ([, name, value]) => [name!, Number(value)] as const,
      ),
    ]);
    const spelled = (group: string, name: string) =>
      `${group}_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    const inTypeScript = new Map<string, number>([
      ["PROTOCOL_VERSION", protocol.PROTOCOL_VERSION],
      ["AGENT_PORT", protocol.AGENT_PORT],
      ["HEADER_BYTES", protocol.HEADER_BYTES],
      ["MAX_PAYLOAD", protocol.MAX_PAYLOAD],
      ["INPUT_WINDOW", protocol.INPUT_WINDOW],
      ["MAX_DEPTH", protocol.MAX_DEPTH],
      ...Object.entries(protocol.Operation).map(
        ([name, value]) => [spelled("OPERATION", name), value] as const,
      ),
      ...Object.entries(protocol.Power).map(([name, value]) => [spelled("POWER", name), value] as const),
      ...Object.entries(protocol.FrameType).map(([name, value]) => [spelled("FRAME", name), value] as const),
    ]);
    expect(inTypeScript).toEqual(inC);
    expect(inC.size).toBeGreaterThan(35);
  });
});
