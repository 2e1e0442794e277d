/**
 * The regions of a guest-physical address space: what is where, by name.
 *
 * - `ram`: pages with frames from the pool, that can be shared, swapped and given up. One region is the main one; any
 *   number of others may lie elsewhere, with holes between.
 * - `rom`, `flash`: bytes that the maker gives, which harts read and run and nobody writes.
 * - `lent`: a window, into which a device maps frames of its own while the machine runs.
 *
 * What is not in a region, and what a region does not take (a store to ROM, anything at an empty page of a window), goes
 * to the bus: there a device answers, or nobody.
 *
 * Invariant: regions are pages as a whole, sorted by base, and do not overlap.
 */
import { PAGE_SIZE } from "./layout.js";
import { MemoryError } from "./linear-memory.js";

export type RegionKind = "ram" | "rom" | "flash" | "lent";

/** More RAM, beside the main region. */
export interface RamOptions {
  readonly kind: "ram";
  readonly name: string;
  /** Guest-physical address of the first byte, a multiple of 4096. */
  readonly base: number;
  /** Bytes, a multiple of 4096. */
  readonly bytes: number;
}

/** Memory that the maker fills and nobody writes. */
export interface RomOptions {
  readonly kind: "rom" | "flash";
  readonly name: string;
  /** Guest-physical address of the first byte, a multiple of 4096. */
  readonly base: number;
  /** Bytes, a multiple of 4096; as many as the contents need unless given. */
  readonly bytes?: number;
  /** What is read from the start on; they are copied. What is behind reads as zeros in ROM, as ones in flash. */
  readonly contents: Uint8Array;
}

/** A region that a memory is made with. */
export type RegionOptions = RamOptions | RomOptions;

/** A region as others see it. */
export interface MemoryRegion {
  readonly kind: RegionKind;
  readonly name: string;
  /** Guest-physical address of the first byte; undefined of a window that is nowhere. */
  readonly base: number | undefined;
  readonly bytes: number;
  /** Of ROM and flash: a hash of what is in it. */
  readonly hash?: number;
}

/** A region where it is. */
export interface PlacedRegion {
  readonly kind: RegionKind;
  readonly name: string;
  readonly base: number;
  readonly bytes: number;
}

const hex = (value: number): string => `0x${value.toString(16)}`;

/** A region with its place, for messages. */
const placeOf = ({ name, base, bytes }: PlacedRegion): string =>
  `${name} (${hex(base)} to ${hex(base + bytes - 1)})`;

/** Most bytes of a region: offsets in it have 32 bits. */
const MOST_BYTES = 2 ** 32;

/** Whether a region begins and ends with a page, in what numbers are exact for. */
export const isPlace = (base: number, bytes: number): boolean =>
  Number.isSafeInteger(base) &&
  base >= 0 &&
  base % PAGE_SIZE === 0 &&
  Number.isSafeInteger(base + bytes) &&
  bytes > 0 &&
  bytes <= MOST_BYTES &&
  bytes % PAGE_SIZE === 0;

/** @throws MemoryError `E_REGION_RANGE` for a region that does not begin and end with a page */
export function checkPlace({ name, base, bytes }: PlacedRegion): void {
  if (isPlace(base, bytes)) return;
  throw new MemoryError(
    "E_REGION_RANGE",
    `${name}: ${bytes} bytes from ${Number.isSafeInteger(base) ? hex(base) : base} are no region: use at most 4 GiB, from a multiple of ${PAGE_SIZE} to another`,
  );
}

/** Regions that a memory is made with, at most; what names of regions are, as those of a device tree. */
const MOST_REGIONS = 256;
const NAME = /^[A-Za-z0-9][A-Za-z0-9,._+-]{0,30}$/;
const kinds: readonly unknown[] = ["ram", "rom", "flash"];

/**
 * Checks what a maker asks for, whose types nobody may have checked; not whether regions overlap.
 * @throws MemoryError `E_REGION_NAME`, `E_REGION_CONTENTS`, `E_REGION_KIND`, `E_REGION_RANGE`, or `E_MEMORY_SIZE` for too
 *   many
 */
export function checkRegions(regions: readonly RegionOptions[]): void {
  if (!Array.isArray(regions) || regions.length > MOST_REGIONS)
    throw new MemoryError(
      "E_MEMORY_SIZE",
      Array.isArray(regions)
        ? `${regions.length} regions of memory are too many: use ${MOST_REGIONS} at most`
        : "regions of memory have to be a list",
    );
  for (const [index, region] of (regions as readonly unknown[]).entries()) {
    if (typeof region !== "object" || region === null)
      throw new MemoryError("E_REGION_KIND", `region ${index} of the memory is ${String(region)}, no region`);
    const { kind, name, contents, base, bytes } = region as Partial<RomOptions>;
    if (typeof name !== "string" || !NAME.test(name))
      throw new MemoryError(
        "E_REGION_NAME",
        name === "" || name === undefined
          ? `region ${index} of the memory has no name: give it one`
          : `region ${index} of the memory can't be called ${JSON.stringify(name)}: use 1 to 31 letters, digits and ,._+-`,
      );
    if (!kinds.includes(kind))
      throw new MemoryError(
        "E_REGION_KIND",
        `${name}: there is no kind of memory ${JSON.stringify(kind)}: use ram, rom or flash`,
      );
    if (kind !== ("ram" as string) && !(contents instanceof Uint8Array))
      throw new MemoryError("E_REGION_CONTENTS", `${name}: ${kind} needs contents, a Uint8Array`);
    const size = bytes ?? (contents && Math.ceil(contents.length / PAGE_SIZE) * PAGE_SIZE);
    checkPlace({ kind, name, base, bytes: size } as PlacedRegion);
  }
}

/** Regions in the order of their addresses. */
export class RegionMap<R extends PlacedRegion> {
  private sorted: readonly R[] = [];

  get all(): readonly R[] {
    return this.sorted;
  }

  /** The region that an address is in. */
  find(gpa: number): R | undefined {
    const { sorted } = this;
    let from = 0;
    let to = sorted.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      const region = sorted[middle]!;
      if (gpa < region.base) to = middle;
      else if (gpa >= region.base + region.bytes) from = middle + 1;
      else return region;
    }
    return undefined;
  }

  /** A region, other than `self`, that has some of these bytes. */
  rival(base: number, bytes: number, self?: R): R | undefined {
    return this.sorted.find(
      (other) => other !== self && base < other.base + other.bytes && base + bytes > other.base,
    );
  }

  /** @throws MemoryError `E_REGION_RANGE`, `E_REGION_OVERLAP`, or `E_REGION_NAME` if another has its name */
  add(region: R): void {
    checkPlace(region);
    const namesake = this.sorted.find(({ name }) => name === region.name);
    if (namesake !== undefined || region.name === "")
      throw new MemoryError(
        "E_REGION_NAME",
        namesake === undefined
          ? `the region at ${hex(region.base)} has no name: give it one`
          : `${placeOf(region)} has the name of ${placeOf(namesake)}: call one of them otherwise`,
      );
    const rival = this.rival(region.base, region.bytes);
    if (rival !== undefined)
      throw new MemoryError(
        "E_REGION_OVERLAP",
        `${placeOf(region)} overlaps ${placeOf(rival)}: move one of them`,
      );
    this.sorted = [...this.sorted, region].sort((one, other) => one.base - other.base);
  }

  remove(region: R): void {
    this.sorted = this.sorted.filter((each) => each !== region);
  }
}
