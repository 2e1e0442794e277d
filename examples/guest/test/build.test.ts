import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { embeddedGuest } from "../src/index.js";
import { compilerPrefix, guestFolder, runTool, versionOf } from "./tools.js";

const MACHINE_RISCV = 243;
const ENTRY = 0x80200000;

describe("the built images", () => {
  it.each([32, 64] as const)("hold a small RV%i executable for the payload's address", async (xlen) => {
    const image = await embeddedGuest(xlen);
    const view = new DataView(image.buffer, image.byteOffset);
    expect(view.getUint32(0)).toBe(0x7f454c46);
    expect(view.getUint8(4)).toBe(xlen / 32);
    expect(view.getUint16(18, true)).toBe(MACHINE_RISCV);
    expect(view.getUint32(24, true)).toBe(ENTRY);
    expect(image.length).toBeLessThan(64 * 1024);
  });

  it("are what the sources build", async (context) => {
    const recorded = await readFile(join(guestFolder, "bin/compiler.txt"), "utf8");
    const installed = [versionOf(`${compilerPrefix}gcc`), versionOf(`${compilerPrefix}ld`)];
    if (installed.includes(undefined)) context.skip(`${compilerPrefix}gcc is not installed`);
    if (versionOf("make") === undefined) context.skip("make is not installed");
    if (`${installed.join("\n")}\n` !== recorded) {
      context.skip(`the images were built by other tools: ${recorded.trim().replace("\n", ", ")}`);
    }
    const folder = await mkdtemp(join(tmpdir(), "hyperfile-guest-"));
    try {
      runTool("make", [`CROSS=${compilerPrefix}`, `BIN=${folder}/bin`, `BUILD=${folder}/build`]);
      for (const xlen of [32, 64] as const) {
        const built = await readFile(join(folder, `bin/guest${xlen}.elf`));
        expect(
          built.equals(await embeddedGuest(xlen)),
          `guest${xlen}.elf differs: run make in examples/guest`,
        ).toBe(true);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
