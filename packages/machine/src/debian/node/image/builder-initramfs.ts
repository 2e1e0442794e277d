/**
 * The initial file system of the machine that builds an image: Debian's own, as `prepareDebianGuest` makes it, with a
 * second archive behind it (the kernel unpacks both, and the later file wins): `/init`, the build script, mke2fs with its
 * libraries, and the files of the settings.
 */
import { type InitramfsEntry, packInitramfs } from "@hyperfile/devices/image";
import { DebianError } from "../../errors.js";
import {
  builderInit,
  DATABASE_FOLDER,
  KEY_FILE,
  MKE2FS_FOLDER,
  SETTINGS_FOLDER,
} from "../../image/build-script.js";
import { readPackage } from "../deb.js";

/** The packages that bring mke2fs and what it is linked with; every system has them. */
export const mke2fsPackages = ["e2fsprogs", "libext2fs2t64", "libcom-err2", "libblkid1", "libuuid1", "libc6"];

/** The program, its settings, the dynamic linker and the libraries that it names. */
const mke2fsFile =
  /^(?:usr\/)?(?:sbin\/mke2fs|etc\/mke2fs\.conf|lib\/(?:[^/]+\/)?(?:ld-linux-[^/]*|lib(?:ext2fs|e2p|com_err|blkid|uuid|c|pthread)\.so\.[^/]*))$/;

/** The program with what it is linked with, side by side in one folder. */
export async function mke2fsEntries(files: readonly string[]): Promise<InitramfsEntry[]> {
  const entries = new Map<string, InitramfsEntry>();
  const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
  const placeOf = (path: string) => {
    const name = nameOf(path);
    return `${MKE2FS_FOLDER}/${name.startsWith("ld-linux-") ? "ld.so" : name}`;
  };
  for (const file of files) {
    const found = await readPackage(file, (path) => mke2fsFile.test(path));
    for (const { path, mode, bytes } of found.files)
      entries.set(placeOf(path), { path: placeOf(path), kind: "file", mode, bytes });
    // The linker has a link of its own name in another folder.
    for (const { path, target } of found.links)
      if (nameOf(path) !== nameOf(target))
        entries.set(placeOf(path), { path: placeOf(path), kind: "symlink", target: nameOf(target) });
  }
  for (const name of ["mke2fs", "mke2fs.conf", "ld.so", "libc.so.6"]) {
    if (!entries.has(`${MKE2FS_FOLDER}/${name}`))
      throw new DebianError("E_PACKAGE_FORMAT", `the packages ${mke2fsPackages.join(", ")} bring no ${name}`);
  }
  return [{ path: MKE2FS_FOLDER, kind: "directory", mode: 0o755 }, ...entries.values()];
}

/** What the builder is made from. */
export interface BuilderParts {
  /** Debian's initial file system. */
  readonly initrd: Uint8Array;
  readonly mke2fs: readonly InitramfsEntry[];
  readonly script: string;
  /** Files that are laid over the new system. */
  readonly settings: readonly InitramfsEntry[];
  /** Files of dpkg's database, each folder before what it holds. */
  readonly database: readonly InitramfsEntry[];
  readonly sshKey?: string | undefined;
}

/** The whole initial RAM disk. */
export function builderInitrd({
  initrd,
  mke2fs,
  script,
  settings,
  database,
  sshKey,
}: BuilderParts): Uint8Array {
  const encoder = new TextEncoder();
  const text = (path: string, content: string, mode: number): InitramfsEntry => ({
    path,
    kind: "file",
    mode,
    bytes: encoder.encode(content),
  });
  const under = (folder: string, entries: readonly InitramfsEntry[]) =>
    entries.map((entry) => ({ ...entry, path: `${folder}/${entry.path}` }));
  const laid = [...under(SETTINGS_FOLDER, settings), ...under(DATABASE_FOLDER, database)];
  const folders = new Set([SETTINGS_FOLDER, DATABASE_FOLDER]);
  for (const { path } of laid) {
    const steps = path.split("/");
    for (let depth = 1; depth < steps.length; depth++) folders.add(steps.slice(0, depth).join("/"));
  }
  const second = packInitramfs([
    text("init", builderInit, 0o755),
    text("build", script, 0o644),
    ...(sshKey === undefined ? [] : [text(KEY_FILE, `${sshKey.trim()}\n`, 0o600)]),
    ...mke2fs,
    ...[...folders].map((path): InitramfsEntry => ({ path, kind: "directory", mode: 0o755 })),
    ...laid,
  ]);
  // The second archive begins at a multiple of four bytes, as the first one's members do.
  const start = Math.ceil(initrd.length / 4) * 4;
  const whole = new Uint8Array(start + second.length);
  whole.set(initrd);
  whole.set(second, start);
  return whole;
}
