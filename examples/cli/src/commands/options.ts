/**
 * Values of command-line options: parsing with bounds. Each parser throws commander's
 * `InvalidArgumentError`, whose text becomes the end of a one-line message that names the option.
 */

import { fileErrorReason, readRegularFile } from "@hyperfile/broker/host";
import { type DumpKind, dumpKinds } from "@hyperfile/jit/names";
import type { AddressRange } from "@hyperfile/jit/trace";
import { InvalidArgumentError } from "commander";
import { CliError } from "../errors.js";
import type { NamedBytes } from "../machine-types.js";

const kibibyte = 1024;
const mebibyte = kibibyte * kibibyte;
const gibibyte = mebibyte * kibibyte;

/** The least memory that a machine can have: room for a small program and its device tree. */
export const minimumMemoryBytes = mebibyte;

/** The most memory that a machine can have: RAM starts at 2 GiB, and RV32 ends at 4 GiB. */
export const maximumMemoryBytes = 2 * gibibyte;

const units: Readonly<Record<string, number>> = { K: kibibyte, M: mebibyte, G: gibibyte };

/**
 * A memory size such as `256M`, `1G` or `1.5GiB`, in bytes.
 * @throws InvalidArgumentError for anything else, and for sizes that no machine can have
 */
export function parseMemorySize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMG])(?:i?B)?$/i.exec(text.trim());
  if (!match) throw new InvalidArgumentError("Give a number and a unit, such as 256M or 1G.");
  const bytes = Number(match[1]) * units[match[2].toUpperCase()];
  if (bytes < minimumMemoryBytes || bytes > maximumMemoryBytes) {
    throw new InvalidArgumentError("A machine can have from 1M to 2G of memory.");
  }
  if (bytes % 4096 !== 0) throw new InvalidArgumentError("Memory comes in pages of 4K.");
  return bytes;
}

/** The longest time that can be given in seconds: ten years, as in a Hyperfile. */
const maximumSeconds = 87_600 * 3600;

/**
 * A positive number of seconds, of at least a millisecond.
 * @throws InvalidArgumentError for anything else, and for more than ten years
 */
export function parseSeconds(text: string): number {
  const seconds = /^\d+(?:\.\d+)?$/.test(text.trim()) ? Number(text) : 0;
  if (!(seconds >= 0.001)) throw new InvalidArgumentError("Give a positive number of seconds.");
  if (seconds > maximumSeconds)
    throw new InvalidArgumentError(`At most ${maximumSeconds} seconds are possible.`);
  return seconds;
}

/**
 * A TCP port.
 * @throws InvalidArgumentError for anything but a whole number from 1 to 65535
 */
export function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65535) throw new InvalidArgumentError("Give a TCP port from 1 to 65535.");
  return port;
}

/**
 * An address, hexadecimal with `0x` or decimal.
 * @throws InvalidArgumentError for anything else, and for more than 64 bits
 */
export function parseAddress(text: string): bigint {
  if (!/^(?:0x[0-9a-f]+|\d+)$/i.test(text)) {
    throw new InvalidArgumentError("Give an address such as 0x80000000.");
  }
  const address = BigInt(text);
  if (address >= 1n << 64n) throw new InvalidArgumentError("An address has at most 64 bits.");
  return address;
}

/**
 * Kinds of dumps, separated by commas.
 * @throws InvalidArgumentError for a kind that there isn't
 */
export function parseDumpKinds(text: string): ReadonlySet<DumpKind> {
  const kinds = text.split(",").map((word) => word.trim());
  const unknown = kinds.find((kind) => !(dumpKinds as readonly string[]).includes(kind));
  if (unknown !== undefined) {
    throw new InvalidArgumentError(`There is no dump "${unknown}"; there are ${dumpKinds.join(", ")}.`);
  }
  return new Set(kinds as DumpKind[]);
}

/**
 * A range of addresses such as `0x80000000+0x100`: an address and a number of bytes.
 * @throws InvalidArgumentError for anything else
 */
export function parseAddressRange(text: string): AddressRange {
  const [start, length, ...rest] = text.split("+");
  if (start === undefined || length === undefined || rest.length > 0) {
    throw new InvalidArgumentError("Give an address and a number of bytes, such as 0x80000000+0x100.");
  }
  const range = { start: parseAddress(start), length: parseAddress(length) };
  if (range.length === 0n) throw new InvalidArgumentError("Give at least one byte.");
  return range;
}

/**
 * A number of rows.
 * @throws InvalidArgumentError for anything but a whole number from 1 to 10000
 */
export function parseCount(text: string): number {
  const count = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > 10_000) throw new InvalidArgumentError("Give a number from 1 to 10000.");
  return count;
}

/**
 * Reads a file that the command line names, a regular one; `what` is its role, for messages.
 * @param memoryBytes of the machine that all of it goes into; a larger one is not read. A program may be larger than what of it
 *   is loaded, by its symbols, but not than all memory that a machine can have
 * @throws CliError `E_FILE` when it can't be read or is empty
 */
export async function readNamedFile(
  what: string,
  name: string,
  memoryBytes = maximumMemoryBytes,
): Promise<NamedBytes> {
  let bytes: Uint8Array;
  try {
    bytes = await readRegularFile(name, memoryBytes);
  } catch (error) {
    const place = (error as { code?: unknown }).code === "ETOOLARGE" ? " in a machine's memory" : "";
    throw new CliError("E_FILE", `can't read the ${what} ${name}: ${fileErrorReason(error)}${place}`, {
      cause: error,
    });
  }
  if (bytes.length === 0) throw new CliError("E_FILE", `the ${what} ${name} is empty`);
  return { name, bytes };
}
