/** Finds the function that a guest address lies in, from the symbols of an ELF file. */
import type { ProfileSymbol } from "@hyperfile/jit";

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
