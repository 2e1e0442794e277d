/** The memory of a machine beside its main RAM: as its maker asks for it, and as its board is told of it. */
import { type VirtMemory, virtMap } from "@hyperfile/devices";
import {
  checkRegions,
  LentFrames,
  type MachineMemory,
  type RamOptions,
  type RomOptions,
} from "@hyperfile/jit/memory";
import { riscvMemory } from "@hyperfile/jit/riscv";
import { MachineError } from "./errors.js";
import type { PlainRecord } from "./snapshot/values.js";

/** ROM or flash on the board. */
export interface BoardRomOptions extends RomOptions {
  /**
   * What becomes of the guest's stores there: an access fault, or nothing. ROM faults and flash ignores them unless given;
   * atomics always fault, and no device writes there.
   */
  readonly stores?: "fault" | "ignore";
}

/** What a machine's memory is made from. */
export interface MachineRegions {
  /** Bytes of RAM, a multiple of 4096. */
  readonly ramBytes: number;
  /** Memory beside it: RAM, ROM or flash at other addresses. */
  readonly memoryRegions?: readonly (RamOptions | BoardRomOptions)[];
  /** Images for the two banks of flash, 32 MiB each, where QEMU's `virt` has them: `pflash0` and `pflash1`. */
  readonly flash?: readonly (Uint8Array | undefined)[];
  /** Bytes that devices may lend to the guest, for a machine with memory of its own. */
  readonly lentBytes?: number;
}

const BANK = virtMap.flash.size / 2;

/** All regions that are asked for. @throws MemoryError, MachineError `E_MEMORY` for more images than there are banks */
function regionsOf({
  memoryRegions = [],
  flash = [],
}: MachineRegions): readonly (RamOptions | BoardRomOptions)[] {
  if (!Array.isArray(memoryRegions)) throw new MachineError("E_MEMORY", "memoryRegions has to be a list");
  if (!Array.isArray(flash)) throw new MachineError("E_MEMORY", "flash has to be a list of images");
  if (flash.length * BANK > virtMap.flash.size)
    throw new MachineError("E_MEMORY", `${flash.length} images for flash: the board has 2 banks`);
  const banks = flash.flatMap((contents, bank): BoardRomOptions[] =>
    contents === undefined
      ? []
      : [
          {
            kind: "flash",
            name: `pflash${bank}`,
            base: virtMap.flash.base + bank * BANK,
            bytes: BANK,
            contents,
          },
        ],
  );
  const regions = [...memoryRegions, ...banks];
  checkRegions(regions);
  return regions;
}

/**
 * The memory of a new machine; one that is given must have the regions that are asked for.
 * @throws MemoryError for memory that can't be had, MachineError `E_MEMORY`
 */
export function makeMemory(options: MachineRegions, given: MachineMemory | undefined): MachineMemory {
  const regions = regionsOf(options);
  const { ramBytes, lentBytes = 0 } = options;
  if (given === undefined) return riscvMemory({ ramBytes, regions, lentBytes });
  const has = new Set(given.guest.regions.map(({ name }) => name));
  const missing = regions.find(({ name }) => !has.has(name));
  if (missing !== undefined)
    throw new MachineError(
      "E_MEMORY",
      `the memory that is given has no ${missing.name}: make it with that region`,
    );
  return given;
}

/** What the board is told of the regions beside main RAM. */
export function boardMemories({ guest }: MachineMemory, options: MachineRegions): VirtMemory[] {
  const asked = new Map(regionsOf(options).map((region) => [region.name, region] as const));
  return guest.regions.flatMap(({ kind, name, base, bytes }): VirtMemory[] => {
    if (kind === "lent" || base === undefined || base === guest.base) return [];
    const region = { kind, name, base, size: bytes };
    if (kind === "ram") return [region];
    const wish = asked.get(name) as BoardRomOptions | undefined;
    return [{ ...region, stores: wish?.stores ?? (kind === "rom" ? "fault" : "ignore") }];
  });
}

/** What a snapshot says of the regions beside main RAM: nothing where there are none, as before there were any. */
export function savedRegions({ guest }: MachineMemory): PlainRecord {
  const regions = guest.regions.flatMap(({ kind, name, base, bytes, hash = 0 }) =>
    kind === "lent" || base === undefined || base === guest.base ? [] : [{ kind, name, base, bytes, hash }],
  );
  return regions.length === 0 ? {} : { regions };
}

/** Makes what the parts of a board lend to its guest. */
export const lenderOf = ({ guest }: MachineMemory) => ({
  allocate: (bytes: number) => new LentFrames(guest.pool, bytes),
  window: (name: string, base: number | undefined, bytes: number) => guest.lend(name, base, bytes),
});
