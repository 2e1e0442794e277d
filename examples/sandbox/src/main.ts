/** Runs a bare-metal program in a sandbox: `node examples/sandbox/dist/main.js program.elf [MILLISECONDS]`. */
import { readFile } from "node:fs/promises";
import { runSandboxed } from "./index.js";

const [file, milliseconds = "10000"] = process.argv.slice(2);
if (file === undefined || !/^\d{1,9}$/.test(milliseconds)) {
  console.error("sandbox: give a program, an ELF file, and at most a number of milliseconds");
  process.exit(2);
}
try {
  const result = await runSandboxed(await readFile(file), {
    instructions: 1e12,
    milliseconds: Number(milliseconds),
  });
  process.stdout.write(result.output);
  const { end, status, instructions, memoryBytes } = result;
  console.error(`sandbox: ${end}, status ${status}, ${instructions} instructions, ${memoryBytes} bytes`);
  process.exitCode = end === "exit" ? status : 1;
} catch (error) {
  console.error(`sandbox: ${file}: ${(error as Error).message}`);
  process.exitCode = 1;
}
