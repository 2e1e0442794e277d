/**
 * Reads the guest agent's program. It is found through the package's own name rather than beside this file, which a bundler
 * may have put elsewhere.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

/**
 * The guest agent: a static ELF program for Linux on RISC-V with 64 bits, to be put into guests.
 * @throws the file system's error when the package's `agent/bin` folder is missing
 */
export async function agentProgram(): Promise<Uint8Array> {
  const path = createRequire(import.meta.url).resolve("@hyperfile/machine/agent-program");
  return new Uint8Array(await readFile(path));
}
