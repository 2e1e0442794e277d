/** Every guest program prints the same checksum on all machines. */
import { tiers } from "@hyperfile/jit";
import { describe, expect, it } from "vitest";
import { createMachine } from "../../cli/src/machine.js";
import { runChild, toolVersion } from "../src/processes.js";
import { type Isa, parseResult, programs, readImage, withIterations } from "../src/suite.js";
import { runInV86 } from "../src/v86-machine.js";
import { temporaryFile } from "./tools.js";

const isas: readonly Isa[] = ["rv64", "rv32"];
/** `auto` is one of the others. */
const distinctTiers = tiers.filter((tier) => tier !== "auto");
const SECONDS = 60;
const MEBIBYTES = 64;

async function testImage(name: string, isa: Isa | "i386", iterations: number): Promise<Uint8Array> {
  return withIterations(await readImage(name, isa), name, iterations);
}

describe.each(isas)("the %s programs", (isa) => {
  describe.each(distinctTiers)("under the tier %s", (tier) => {
    it.each(programs)("print $name's checksum", async ({ name, testIterations, testChecksum }) => {
      let output = "";
      const decoder = new TextDecoder();
      const machine = await createMachine({
        xlen: isa === "rv64" ? 64 : 32,
        memoryBytes: MEBIBYTES << 20,
        append: "",
        tier,
        verifyEmitted: "all",
        hotThreshold: 500, // the work is small: translations are to run all the same
        deterministic: false,
        elf: { name, bytes: await testImage(name, isa, testIterations) },
        console: { write: (bytes) => void (output += decoder.decode(bytes)) },
      });
      const limit = setTimeout(() => machine.stop("timeout"), SECONDS * 1000);
      const end = await machine.run();
      clearTimeout(limit);
      expect(end).toMatchObject({ kind: "exit", status: 0 });
      expect(parseResult(name, output)).toEqual({ iterations: testIterations, checksum: testChecksum });
    });
  });

  const qemu = `qemu-system-riscv${isa.slice(2)}`;
  it.for(programs)("print $name's checksum under QEMU", async (program, context) => {
    context.skip(toolVersion(qemu) === undefined, `${qemu} is not installed`);
    const { name, testIterations, testChecksum } = program;
    const file = await temporaryFile(`${name}.elf`, await testImage(name, isa, testIterations));
    const board = [
      "-M",
      "virt",
      "-m",
      `${MEBIBYTES}M`,
      "-display",
      "none",
      "-serial",
      "stdio",
      "-monitor",
      "none",
    ];
    const { output } = await runChild(qemu, [...board, "-bios", "none", "-kernel", file], {
      timeout: SECONDS,
    });
    expect(parseResult(name, output)).toEqual({ iterations: testIterations, checksum: testChecksum });
  });
});

describe("the i386 programs", () => {
  it.each(programs)("print $name's checksum under v86", async ({ name, testIterations, testChecksum }) => {
    const { output } = await runInV86(await testImage(name, "i386", testIterations), MEBIBYTES);
    expect(parseResult(name, output)).toEqual({ iterations: testIterations, checksum: testChecksum });
  });
});
