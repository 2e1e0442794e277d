/** Debian on the machine, for tests and experiments: from the files that `npm start` keeps, where they are. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { prepareDebianGuest, readPrepared, userCacheFolder } from "../src/debian/index.js";
import type { BootImages } from "../src/index.js";

const folder = join(userCacheFolder(), "debian-trixie-riscv64");

/** Debian's kernel and initial file system; undefined where they were never fetched. */
export function debianImages(): BootImages | undefined {
  const [kernel, initrd] = ["vmlinux", "initramfs.cpio"].map((name) => ({ name, path: join(folder, name) }));
  if (!existsSync(kernel!.path) || !existsSync(initrd!.path)) return undefined;
  return {
    kernel: { name: "vmlinux", bytes: readFileSync(kernel!.path) },
    initrd: { name: "initramfs.cpio", bytes: readFileSync(initrd!.path) },
    append: "console=ttyS0",
  };
}

/**
 * The same with the guest agent as it is now; undefined where Debian was never fetched, or before there was one. Nothing is
 * fetched.
 */
export async function debianWithAgent(): Promise<BootImages | undefined> {
  const manifest = await readPrepared(folder, () => false);
  if (manifest?.modules?.includes("vsock") !== true) return undefined;
  await prepareDebianGuest();
  return debianImages();
}

/** What its shell prompts with. */
export const DEBIAN_PROMPT = "# ";
