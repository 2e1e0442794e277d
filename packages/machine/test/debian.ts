/** Debian on the machine, for tests and experiments: from the files that `npm start` keeps, where they are. */
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import type { BootImages } from "../src/index.js";

// XDG base directories: a name that is not absolute is ignored.
const { XDG_CACHE_HOME: base } = process.env;
const caches = base !== undefined && isAbsolute(base) ? base : join(homedir(), ".cache");
const folder = join(caches, "hyperfile", "debian-trixie-riscv64");

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

/** What its shell prompts with. */
export const DEBIAN_PROMPT = "# ";
