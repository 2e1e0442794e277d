/**
 * The small operating system of this project, which boots where Debian can't be had.
 * Its built ELF file is part of the repository, so it needs neither a network nor a compiler.
 */
import { access } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { readNamedFile } from "./commands/options.js";
import { CliError } from "./errors.js";
import type { NamedBytes } from "./machine-types.js";

/** Where the file is, seen from the built program and from its source. */
const places = ["../../guest/bin/guest64.elf"];

/**
 * Reads the embedded guest.
 * @throws CliError `E_GUEST_NOT_FOUND` when the checkout lacks it
 */
export async function readEmbeddedGuest(): Promise<NamedBytes> {
  for (const place of places) {
    const path = fileURLToPath(new URL(place, import.meta.url));
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) return readNamedFile("embedded guest", path);
  }
  throw new CliError(
    "E_GUEST_NOT_FOUND",
    "the embedded guest is missing: build examples/guest, or check it out again",
  );
}
