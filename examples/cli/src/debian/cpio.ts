/**
 * Writes the cpio archive that Linux unpacks as its initial file system: the `newc` format
 * (Documentation/driver-api/early-userspace/buffer-format.rst).
 */
import type { InitramfsEntry } from "./initramfs.js";

/** The archive of `entries` as one block of bytes. */
export function packInitramfs(entries: readonly InitramfsEntry[]): Uint8Array {
  const chunks: Buffer[] = [];
  const pad = (bytes: Buffer) => {
    chunks.push(bytes, Buffer.alloc(-bytes.length & 3));
  };
  const add = (inode: number, path: string, mode: number, content: Uint8Array) => {
    const name = Buffer.from(`${path}\0`);
    const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0];
    pad(Buffer.concat([Buffer.from(`070701${fields.map(hexadecimal).join("")}`), name]));
    pad(Buffer.from(content));
  };
  entries.forEach((entry, index) => {
    if (entry.kind === "directory") add(index + 1, entry.path, 0o040000 | entry.mode, new Uint8Array());
    else if (entry.kind === "file") add(index + 1, entry.path, 0o100000 | entry.mode, entry.bytes);
    else add(index + 1, entry.path, 0o120777, Buffer.from(entry.target));
  });
  add(0, "TRAILER!!!", 0, new Uint8Array());
  return Uint8Array.from(Buffer.concat(chunks));
}

function hexadecimal(value: number): string {
  return (value >>> 0).toString(16).padStart(8, "0");
}
