/** Finds the function that a guest address lies in, from the symbols of an ELF file or from a list of them. */
import { isElf, parseElf } from "@hyperfile/devices/image";
import type { ProfileSymbol } from "@hyperfile/jit/trace";
import type { NamedBytes } from "./boot.js";
import { MachineError } from "./errors.js";

/** Names that assemblers and linkers make up, which mark places inside functions (RISC-V ELF psABI, mapping symbols). */
const INTERNAL = /^(?:\$|\.L)/;
/** Bytes that a function without a known end can have at most. */
const LONGEST = 0x10000n;

/** Makes a finder from addresses by name; the last name at or before an address is the one that counts. */
export function symbolFinder(
  symbols: ReadonlyMap<string, bigint>,
): (address: bigint) => ProfileSymbol | undefined {
  const sorted = [...symbols]
    .filter(([name]) => !INTERNAL.test(name))
    .map(([name, address]): ProfileSymbol => ({ name, address }))
    .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  return (address) => {
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    const found = sorted[low - 1];
    return found !== undefined && address - found.address < LONGEST ? found : undefined;
  };
}

/** A line of `nm`, of a kernel's `System.map`, or of `/proc/kallsyms`: address, kind, name. */
const LISTED = /^([0-9a-f]{4,16}) [a-z?] (\S+)/i;

/**
 * Addresses by name from a file: an ELF file, or a list of symbols.
 * @throws MachineError `E_SYMBOLS` if it has none
 */
export function symbolsIn({ name, bytes }: NamedBytes): ReadonlyMap<string, bigint> {
  const symbols = isElf(bytes)
    ? parseElf(bytes, name).symbols
    : new Map(
        new TextDecoder()
          .decode(bytes)
          .split("\n")
          .map((line) => LISTED.exec(line))
          .filter((match) => match !== null)
          .map((match): [string, bigint] => [match[2]!, BigInt(`0x${match[1]}`)]),
      );
  if (symbols.size > 0) return symbols;
  throw new MachineError(
    "E_SYMBOLS",
    `${name} has no symbols: give an ELF file that isn't stripped, or a System.map`,
  );
}
