/** The disks that bring packages into the machine that builds an image: an archive of what is laid out, and packages. */
import { type FileHandle, open } from "node:fs/promises";
import { fileReason } from "../../../files/file-reason.js";
import { DebianError } from "../../errors.js";
import { PACKAGE_BLOCK, type PlacedPackage } from "../../image/build-script.js";
import { configurationFiles, isTold, type LaidOutPackage } from "../../image/unpacked-state.js";
import type { Progress } from "../../progress.js";
import { readControl, writeFiles, writeUncompressed } from "../deb.js";

/** A package that is installed. */
export interface SourcePackage {
  readonly name: string;
  /** Path of its file, and the file's bytes. */
  readonly file: string;
  readonly size: number;
}

/** What is on the disks. */
export interface PackageDisks {
  /** Bytes of the archive, with the zeros that end it. */
  readonly archive: number;
  /** Packages that dpkg unpacks. */
  readonly packages: readonly PlacedPackage[];
  /** The others, as they are laid out. */
  readonly laidOut: readonly LaidOutPackage[];
}

/** The files of the disks. */
export interface PackageDiskFiles {
  readonly archive: string;
  readonly packages: string;
}

/**
 * Writes the packages to new files, uncompressed: the host is the faster one at that.
 * @param packages in the order in which they are laid out
 * @param base names of those that are laid out even if dpkg unpacks them
 * @throws DebianError `E_CACHE` when a file can't be written, `E_PACKAGE_FORMAT` for a damaged package
 */
export async function writePackageDisks(
  files: PackageDiskFiles,
  packages: readonly SourcePackage[],
  base: ReadonlySet<string>,
  progress: Progress,
): Promise<PackageDisks> {
  const archive = await newFile(files.archive);
  try {
    const disk = await newFile(files.packages);
    try {
      const writer = new PackageDiskWriter(archive, disk);
      const total = packages.reduce((sum, { size }) => sum + size, 0);
      let done = 0;
      progress.begin("decompressing the packages", total);
      for (const each of packages) {
        if (!(await writer.layOut(each, base.has(each.name)))) await writer.add(each);
        done += each.size;
        progress.update(done / total);
      }
      await writer.end();
      progress.end();
      return writer;
    } finally {
      await disk.close();
    }
  } finally {
    await archive.close();
  }
}

const newFile = (path: string): Promise<FileHandle> =>
  open(path, "wx").catch((error: unknown) => {
    throw new DebianError("E_CACHE", `can't write ${path}: ${fileReason(error)}`, { cause: error });
  });

/** Bytes of the zeros that end an archive (tar(5)), and of a disk's sector. */
const [ARCHIVE_END, SECTOR] = [1024, 512];
const roundUp = (bytes: number, unit: number): number => Math.ceil(bytes / unit) * unit;

class PackageDiskWriter implements PackageDisks {
  readonly packages: PlacedPackage[] = [];
  readonly laidOut: LaidOutPackage[] = [];
  archive = 0;
  /** Where the next package goes. */
  private at = 0;
  /** What is laid out, but for folders. */
  private readonly there = new Set<string>();

  constructor(
    private readonly archiveFile: FileHandle,
    private readonly packageFile: FileHandle,
  ) {}

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
      this.archiveFile,
      this.archive,
      (path) => !hasSums || configuration.has(path),
    );
    const files = entries.filter(({ isFolder }) => !isFolder).map((entry) => entry.path);
    const isTaken = files.some((path) => this.there.has(path));
    if (isTaken && !isBase) return false;
    for (const path of files) this.there.add(path);
    this.archive += bytes;
    if (!isTold(control) || isTaken) return false;
    const digests = new Map(
      entries.flatMap(({ path, digest }) => (digest === undefined ? [] : [[path, digest] as const])),
    );
    this.laidOut.push({ control, paths: entries.map(({ path }) => path), digests });
    return true;
  }

  async add({ name, file }: SourcePackage): Promise<void> {
    const bytes = await writeUncompressed(file, this.packageFile, this.at);
    this.packages.push({ name, offset: this.at, bytes });
    this.at = roundUp(this.at + bytes, PACKAGE_BLOCK);
  }

  async end(): Promise<void> {
    const bytes = this.archive;
    this.archive = roundUp(bytes + ARCHIVE_END, SECTOR);
    // What was written of a package that is not laid out after all goes first.
    await this.archiveFile.truncate(bytes);
    await this.archiveFile.truncate(this.archive);
    await this.packageFile.truncate(Math.max(this.at, PACKAGE_BLOCK));
  }
}
