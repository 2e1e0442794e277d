/**
 * Reads the guest's images from disk. They are found through the package's own name rather than beside this file, so
 * that a program which bundles this module into another folder still finds them.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

/**
 * The ELF file of the embedded guest for harts of the given register width: RV64GC with Sv39, or RV32GC with Sv32. It
 * is an S-mode payload linked at 0x80200000 that expects the hart id in a0, the device tree's address in a1 and an SBI
 * beneath it.
 * @throws the file system's error when the package's `bin` folder is missing
 */
export async function embeddedGuest(xlen: 32 | 64): Promise<Uint8Array> {
  const path = createRequire(import.meta.url).resolve(`@hyperfile/example-guest/bin/guest${xlen}.elf`);
  return new Uint8Array(await readFile(path));
}
