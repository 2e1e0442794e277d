/** Debian as a machine boots it. */
import { readFile } from "node:fs/promises";
import type { BootImages, NamedBytes } from "../../boot.js";
import { fileReason } from "../../files/file-reason.js";
import { type DebianCommandLine, debianCommandLine } from "../command-line.js";
import { DebianError } from "../errors.js";
import { type DebianGuestOptions, prepareDebianGuest } from "./guest.js";

/**
 * Debian's kernel and initial file system, fetched where they are not in the cache, for a machine's `boot`.
 * @throws DebianError as {@link prepareDebianGuest} does
 */
export async function debianBoot(options: DebianGuestOptions & DebianCommandLine = {}): Promise<BootImages> {
  const { kernel, initrd } = await prepareDebianGuest(options);
  return {
    kernel: await read(kernel),
    initrd: await read(initrd),
    append: debianCommandLine(options),
  };
}

async function read(name: string): Promise<NamedBytes> {
  try {
    return { name, bytes: await readFile(name) };
  } catch (error) {
    throw new DebianError("E_CACHE", `can't read ${name}: ${fileReason(error)}`, { cause: error });
  }
}
