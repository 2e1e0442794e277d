/** What the suite takes from the `hyperfile` program: its command line, and where it keeps Debian's files. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { userCacheFolder } from "@hyperfile/machine/debian";

export { initReachedText } from "@hyperfile/machine/debian";

/** Arguments for Node that run the `hyperfile` program. */
export const hyperfileProgram = (): string =>
  createRequire(import.meta.url).resolve("hyperfile/bin/hyperfile.mjs");

/** The kernel and initial file system that `npm start` fetched and keeps. */
export const debianFiles = (): { kernel: string; initrd: string } => {
  const folder = join(userCacheFolder(), "debian-trixie-riscv64");
  return { kernel: join(folder, "vmlinux"), initrd: join(folder, "initramfs.cpio") };
};
