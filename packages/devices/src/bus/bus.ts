/**
 * The bus: which device answers at which guest-physical address. Look-ups remember the last device, since drivers
 * touch one device many times in a row.
 */
import type { AccessSize, MmioDevice } from "../ports.js";

interface Attachment {
  readonly base: number;
  readonly end: number;
  readonly device: MmioDevice;
}

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
   * @throws RangeError if the range overlaps another device's
   */
  attach(base: number, size: number, device: MmioDevice): void {
    const end = base + size;
    const other = this.attachments.find((attachment) => base < attachment.end && end > attachment.base);
    if (other !== undefined) {
      throw new RangeError(`${device.name} at 0x${base.toString(16)} overlaps ${other.device.name}`);
    }
    this.attachments = [...this.attachments, { base, end, device }].sort((a, b) => a.base - b.base);
  }

  /** Reads `size` bytes at `gpa`, unsigned; undefined where no device answers for all of them. */
  read(gpa: number, size: AccessSize): number | undefined {
    const attachment = this.find(gpa, size);
    return attachment?.device.read(gpa - attachment.base, size);
  }

  /** Writes the low `size` bytes of `value`; false where no device answers for all of them. */
  write(gpa: number, size: AccessSize, value: number): boolean {
    const attachment = this.find(gpa, size);
    if (attachment === undefined) return false;
    attachment.device.write(gpa - attachment.base, size, value);
    return true;
  }

  private find(gpa: number, size: number): Attachment | undefined {
    const { last } = this;
    if (last !== undefined && gpa >= last.base && gpa + size <= last.end) return last;
    const found = this.attachments.find((attachment) => gpa >= attachment.base && gpa + size <= attachment.end);
    if (found !== undefined) this.last = found;
    return found;
  }
}
