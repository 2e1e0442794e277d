/**
 * The bus: which device answers at which guest-physical address.
 *
 * Drivers touch one device many times in a row, so a look-up tries the last device first and searches the sorted
 * map by halves otherwise. Invariant: attachments are sorted by base and do not overlap.
 */
import { BoardError } from "../errors.js";
import type { AccessSize, MmioDevice } from "../ports.js";

interface Attachment {
  readonly base: number;
  readonly end: number;
  readonly device: MmioDevice;
}

const hex = (value: number): string => `0x${value.toString(16)}`;
const place = (range: Attachment): string =>
  `${range.device.name} (${hex(range.base)} to ${hex(range.end - 1)})`;

/** A machine's address map outside RAM. */
export class Bus {
  private attachments: Attachment[] = [];
  private last: Attachment | undefined;

  /** Devices in order of their addresses. */
  get devices(): readonly MmioDevice[] {
    return this.attachments.map((attachment) => attachment.device);
  }

  /**
   * Lets `device` answer for `size` bytes from `base`.
   * @throws BoardError if the range is empty or not of integers (`E_BUS_RANGE`), or overlaps another device's
   *   (`E_BUS_OVERLAP`; the message names both)
   */
  attach(base: number, size: number, device: MmioDevice): void {
    const added: Attachment = { base, end: base + size, device };
    if (!Number.isSafeInteger(base) || base < 0 || !Number.isSafeInteger(added.end) || size < 1) {
      throw new BoardError(
        "E_BUS_RANGE",
        `${device.name}: ${size} bytes from ${base} is not an address range`,
      );
    }
    const other = this.attachments.find((present) => base < present.end && added.end > present.base);
    if (other !== undefined) {
      throw new BoardError("E_BUS_OVERLAP", `${place(added)} overlaps ${place(other)}: move one of them`);
    }
    this.attachments = [...this.attachments, added].sort((a, b) => a.base - b.base);
  }

  /**
   * Reads `size` bytes at `gpa`, unsigned. Undefined, an access fault, where no device answers for all of them:
   * at a hole, and across the end of a device even if another follows.
   */
  read(gpa: number, size: AccessSize): number | undefined {
    const attachment = this.find(gpa, size);
    return attachment?.device.read(gpa - attachment.base, size);
  }

  /** Writes the low `size` bytes of `value`, unsigned; false, an access fault, under the conditions of `read`. */
  write(gpa: number, size: AccessSize, value: number): boolean {
    const attachment = this.find(gpa, size);
    if (attachment === undefined) return false;
    attachment.device.write(gpa - attachment.base, size, value);
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
}
