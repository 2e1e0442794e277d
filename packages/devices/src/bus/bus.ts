/**
 * The bus: which registers answer at which guest-physical address.
 *
 * Drivers touch one device many times in a row, so a look-up tries the last mapping first and searches the sorted
 * map by halves otherwise. Mappings come, move and go at run time, also in the middle of an access to them.
 *
 * Invariant: mappings that are placed are sorted by base and do not overlap each other or a reserved range.
 */
import { BoardError } from "../errors.js";
import type { AccessSize, MmioRegisters } from "../ports.js";

/** Registers on the bus, where they are and where they go. */
export interface BusMapping {
  /** Whose they are, for messages. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** First guest-physical address; undefined while they are nowhere. */
  readonly base: number | undefined;
  /**
   * Places them at `base`, wherever they were. False, and nothing changes, if that is no range or overlaps another:
   * guests ask for such things.
   */
  move(base: number): boolean;
  /** Takes them away; they can be moved to another place later. */
  unmap(): void;
}

/** The bus, as devices see it whose registers move. */
export interface AddressMap {
  /** Places registers at `base`; nowhere yet if it is undefined. */
  map(base: number | undefined, size: number, registers: MmioRegisters, name: string): BusMapping;
}

interface Placed {
  readonly base: number;
  readonly end: number;
  readonly name: string;
}

/** A place never changes: an access that moves its own mapping goes on with the place that it found. */
interface Attachment extends Placed {
  readonly registers: MmioRegisters;
}

const hex = (value: number): string => `0x${value.toString(16)}`;
const place = (range: Placed): string => `${range.name} (${hex(range.base)} to ${hex(range.end - 1)})`;

/** A machine's address map outside RAM. */
export class Bus implements AddressMap {
  private attachments: readonly Attachment[] = [];
  private last: Attachment | undefined;
  private readonly reserved: Placed[] = [];

  /** Whose registers are on it, in order of their addresses. */
  get names(): readonly string[] {
    return this.attachments.map(({ name }) => name);
  }

  /**
   * Keeps registers out of a range where something else answers: RAM.
   * @throws BoardError as `map`
   */
  reserve(base: number, size: number, name: string): void {
    this.reserved.push(this.free({ name, base, end: base + size }));
  }

  /**
   * Lets `registers` answer for `size` bytes from `base`, or makes them ready to be moved to their first place.
   * @throws BoardError if the range is empty or not of integers (`E_BUS_RANGE`), or overlaps another
   *   (`E_BUS_OVERLAP`; the message names both)
   */
  map(base: number | undefined, size: number, registers: MmioRegisters, name: string): BusMapping {
    // Registers first, so that these have another shape than reserved ranges, which lie above 2^31.
    const at = (start: number): Attachment => ({
      registers,
      name,
      base: compact(start),
      end: compact(start + size),
    });
    let placed = base === undefined ? undefined : this.free(at(base));
    if (placed !== undefined) this.attach(placed);
    else checked(at(0));
    return {
      name,
      size,
      get base() {
        return placed?.base;
      },
      move: (start) => {
        const next = at(start);
        if (!isRange(next) || this.rival(next, placed) !== undefined) return false;
        if (placed !== undefined) this.detach(placed);
        placed = next;
        this.attach(next);
        return true;
      },
      unmap: () => {
        if (placed !== undefined) this.detach(placed);
        placed = undefined;
      },
    };
  }

  /**
   * Reads `size` bytes at `gpa`, unsigned. Undefined, an access fault, where nobody answers for all of them: at a hole,
   * and across the end of a mapping even if another follows.
   */
  read(gpa: number, size: AccessSize): number | undefined {
    const attachment = this.find(gpa, size);
    return attachment?.registers.read(gpa - attachment.base, size);
  }

  /** Writes the low `size` bytes of `value`, unsigned; false, an access fault, under the conditions of `read`. */
  write(gpa: number, size: AccessSize, value: number): boolean {
    const attachment = this.find(gpa, size);
    if (attachment === undefined) return false;
    attachment.registers.write(gpa - attachment.base, size, value);
    return true;
  }

  /**
   * Reads 8 bytes at `gpa`, a multiple of 8, as one access: low word into `words[0]`, high word into `words[1]`. False
   * where nobody takes them so: they are then to be read as two of 4.
   */
  readWide(gpa: number, words: Uint32Array): boolean {
    const attachment = this.find(gpa, 8);
    const wide = attachment?.registers.wide;
    if (attachment === undefined || wide === undefined) return false;
    wide.read(gpa - attachment.base, words);
    return true;
  }

  /** Writes 8 bytes at `gpa`, a multiple of 8, as one access; false under the conditions of `readWide`. */
  writeWide(gpa: number, low: number, high: number): boolean {
    const attachment = this.find(gpa, 8);
    const wide = attachment?.registers.wide;
    if (attachment === undefined || wide === undefined) return false;
    wide.write(gpa - attachment.base, low, high);
    return true;
  }

  private find(gpa: number, size: number): Attachment | undefined {
    const { last, attachments } = this;
    if (last !== undefined && gpa >= last.base && gpa + size <= last.end) return last;
    let from = 0;
    let to = attachments.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      const candidate = attachments[middle]!;
      if (gpa < candidate.base) to = middle;
      else if (gpa >= candidate.end) from = middle + 1;
      else {
        if (gpa + size > candidate.end) return undefined;
        this.last = candidate;
        return candidate;
      }
    }
    return undefined;
  }

  /** The range, if it is one and free. */
  private free<R extends Placed>(range: R): R {
    const other = this.rival(checked(range), undefined);
    if (other !== undefined)
      throw new BoardError("E_BUS_OVERLAP", `${place(range)} overlaps ${place(other)}: move one of them`);
    return range;
  }

  /** Who has part of a range already, `self` excepted. */
  private rival(range: Placed, self: Placed | undefined): Placed | undefined {
    const overlaps = (other: Placed) => other !== self && range.base < other.end && range.end > other.base;
    return this.attachments.find(overlaps) ?? this.reserved.find(overlaps);
  }

  private attach(attachment: Attachment): void {
    this.attachments = [...this.attachments, attachment].sort((a, b) => a.base - b.base);
  }

  private detach(attachment: Attachment): void {
    this.attachments = this.attachments.filter((each) => each !== attachment);
    this.last = undefined;
  }
}

/**
 * The same number, as a small integer of the engine if it is one. What comes out of an object beside others of its shape
 * with larger numbers is a boxed double; as bounds of a mapping such doubled the time of a look-up.
 */
const compact = (value: number): number =>
  Number.isInteger(value) && value >= 0 && value < 0x80000000 ? value | 0 : value;

const isRange = ({ base, end }: Placed): boolean =>
  Number.isSafeInteger(base) && base >= 0 && Number.isSafeInteger(end) && end > base;

function checked<R extends Placed>(range: R): R {
  if (isRange(range)) return range;
  const { name, base, end } = range;
  throw new BoardError("E_BUS_RANGE", `${name}: ${end - base} bytes from ${base} is not an address range`);
}
