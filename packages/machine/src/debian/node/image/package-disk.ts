/** The disk that brings packages into the machine that builds an image: archives of what is laid out, then packages. */
import { type FileHandle, open } from "node:fs/promises";
import { fileReason } from "../../../files/file-reason.js";
import { DebianError } from "../../errors.js";
import { PACKAGE_BLOCK, type Place, type PlacedPackage } from "../../image/build-script.js";
import { configurationFiles, isTold, type LaidOutPackage } from "../../image/unpacked-state.js";
import type { Progress } from "../../progress.js";
import { readControl, writeFiles, writeUncompressed } from "../deb.js";

/** Bytes of an archive from which on the next one begins: the build tells how far it is between two. */
const ARCHIVE_BYTES = 16 << 20;

/** Bytes of the zeros that end an archive (tar(5)), which that of its last package has. */
const ARCHIVE_END = 1024;

/** A package that is installed. */
export interface SourcePackage {
  readonly name: string;
  /** Path of its file, and the file's bytes. */
  readonly file: string;
  readonly size: number;
}

/** What is on the disk. */
export interface PackageDisk {
  readonly archives: readonly Place[];
  /** Packages that dpkg unpacks. */
  readonly packages: readonly PlacedPackage[];
  /** The others, as they are laid out. */
  readonly laidOut: readonly LaidOutPackage[];
}

/**
 * Writes the packages to a new file, uncompressed: the host is the faster one at that.
 * @param packages in the order in which they are laid out
 * @param base names of those that are laid out even if dpkg unpacks them
 * @throws DebianError `E_CACHE` when the file can't be written, `E_PACKAGE_FORMAT` for a damaged package
 */
export async function writePackageDisk(
  path: string,
  packages: readonly SourcePackage[],
  base: ReadonlySet<string>,
  progress: Progress,
): Promise<PackageDisk> {
  const file = await open(path, "wx").catch((error: unknown) => {
    throw new DebianError("E_CACHE", `can't write ${path}: ${fileReason(error)}`, { cause: error });
  });
  const disk = new PackageDiskWriter(file);
  const total = packages.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  try {
    progress.begin("decompressing the packages", total);
    const kept: SourcePackage[] = [];
    for (const each of packages) {
      if (!(await disk.layOut(each, base.has(each.name)))) kept.push(each);
      done += each.size;
      progress.update(done / total);
    }
    disk.endArchive();
    for (const each of kept) await disk.addPackage(each);
    await disk.end();
    progress.end();
  } finally {
    await file.close();
  }
  return disk;
}

class PackageDiskWriter implements PackageDisk {
  readonly archives: Place[] = [];
  readonly packages: PlacedPackage[] = [];
  readonly laidOut: LaidOutPackage[] = [];
  /** Where the next byte goes, and where its archive began. */
  private at = 0;
  private start = 0;
  /** What is laid out, but for folders. */
  private readonly there = new Set<string>();

  constructor(private readonly file: FileHandle) {}

  /**
   * Lays a package out, if its state is known then, or if it is of the base. Gives whether its state is: one that has a
   * file of another's takes it over or fails, which is dpkg's to say.
   */
  async layOut({ file }: SourcePackage, isBase: boolean): Promise<boolean> {
    const control = await readControl(file);
    if (!isTold(control) && !isBase) return false;
    const configuration = new Set(configurationFiles(control));
    const hasSums = control.has("md5sums");
    const { bytes, entries } = await writeFiles(
      file,
      this.file,
      this.at,
      (path) => !hasSums || configuration.has(path),
    );
    const files = entries.filter(({ isFolder }) => !isFolder).map((entry) => entry.path);
    const isTaken = files.some((path) => this.there.has(path));
    if (isTaken && !isBase) return false;
    for (const path of files) this.there.add(path);
    this.at += bytes;
    if (this.at - this.start >= ARCHIVE_BYTES) this.endArchive();
    if (!isTold(control) || isTaken) return false;
    const digests = new Map(
      entries.flatMap(({ path, digest }) => (digest === undefined ? [] : [[path, digest] as const])),
    );
    this.laidOut.push({ control, paths: entries.map(({ path }) => path), digests });
    return true;
  }

  endArchive(): void {
    const bytes = this.at - this.start;
    if (bytes === 0) return;
    this.archives.push({ offset: this.start, bytes: bytes + ARCHIVE_END });
    this.skip(this.at + ARCHIVE_END);
  }

  async addPackage({ name, file }: SourcePackage): Promise<void> {
    const bytes = await writeUncompressed(file, this.file, this.at);
    this.packages.push({ name, offset: this.at, bytes });
    this.skip(this.at + bytes);
  }

  async end(): Promise<void> {
    await this.file.truncate(this.at);
  }

  private skip(to: number): void {
    this.at = Math.ceil(to / PACKAGE_BLOCK) * PACKAGE_BLOCK;
    this.start = this.at;
  }
}
