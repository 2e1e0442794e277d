/** Initial RAM disks: enough of a check to refuse what no kernel would take. */
import { ImageError } from "./errors.js";
import { compressionOf } from "./kernel-image.js";

const NEWC = "070701";
const NEWC_CRC = "070702";
const HEADER_BYTES = 110;
const TRAILER = "TRAILER!!!";

/**
 * Checks a `newc` cpio archive member by member up to its trailer; compressed archives are the kernel's business.
 * @param name what messages call the file
 * @throws ImageError if it is neither, or is cut short
 */
export function checkInitrd(bytes: Uint8Array, name: string): void {
  if (compressionOf(bytes) !== undefined) return;
  const text = (from: number, length: number) => new TextDecoder().decode(bytes.subarray(from, from + length));
  const magic = text(0, 6);
  if (magic !== NEWC && magic !== NEWC_CRC) {
    throw new ImageError("E_INITRD_UNKNOWN", `${name}: neither a newc cpio archive nor a compressed one: build it with cpio -H newc`);
  }
  for (let at = 0; ; ) {
    const header = text(at, HEADER_BYTES);
    const damaged = () =>
      new ImageError("E_INITRD_TRUNCATED", `${name}: the archive breaks off or is damaged at byte ${at} of ${bytes.length}`);
    if (!/^07070[12][0-9a-fA-F]{104}$/.test(header)) throw damaged();
    const fileBytes = Number.parseInt(header.slice(54, 62), 16);
    const nameBytes = Number.parseInt(header.slice(94, 102), 16);
    const data = (at + HEADER_BYTES + nameBytes + 3) & ~3;
    if (nameBytes < 1 || data + fileBytes > bytes.length + 3) throw damaged();
    if (text(at + HEADER_BYTES, nameBytes - 1) === TRAILER) return;
    at = (data + fileBytes + 3) & ~3;
  }
}
