/**
 * The images of VMs, as the daemon gives them out: one VM writes an image and is then its only user, or any number read it.
 * The daemon has the locks, against other processes, so that they are given back when a VM's thread is killed, and are
 * the dead's when the daemon is.
 */
import { existsSync, linkSync, realpathSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import type { HostClaim, VmSpec } from "@hyperfile/broker";
import { createQcow2, DiskError, isAddress } from "@hyperfile/devices/disk";
import { ImageLock, NodeFile, openStore, storePath } from "@hyperfile/devices/node";
import { CliError } from "../errors.js";

type DiskSpec = VmSpec["disks"][number];

/** An image that is used. */
interface Use {
  /** Of its writer. */
  readonly lock: ImageLock | undefined;
  /** VMs, once for each disk. */
  readonly names: string[];
}

/** The path of a disk's image, or its address. */
export const imagePath = ({ file }: DiskSpec, folder: string): string =>
  isAddress(file) ? file : resolve(folder, file);

/** Whether a VM writes to a disk's image. */
export const isWritten = ({ readonly, ephemeral }: DiskSpec): boolean => !readonly && !ephemeral;

/** All images that VMs use. */
export class DiskClaims {
  /** By their real paths. */
  private readonly uses = new Map<string, Use>();

  /**
   * Takes a VM's images, and makes those that are to be made.
   * @throws DiskError `E_IMAGE_LOCKED` for one that another VM or process has; nothing is taken then
   */
  readonly take = async (spec: VmSpec, folder: string): Promise<HostClaim> => {
    const taken: string[] = [];
    try {
      for (const disk of spec.disks) {
        const path = imagePath(disk, folder);
        if (isAddress(path)) continue;
        if (disk.sizeBytes !== undefined && !existsSync(path)) await makeImage(path, disk);
        taken.push(this.use(path, spec.name, isWritten(disk)));
      }
    } catch (error) {
      this.release(taken, spec.name);
      throw error;
    }
    return this.claim(taken, spec.name);
  };

  private claim(taken: readonly string[], name: string): HostClaim {
    let isHeld = true;
    return {
      share: (other) => {
        for (const path of taken) this.uses.get(path)!.names.push(other);
        return this.claim(taken, other);
      },
      release: () => {
        if (isHeld) this.release(taken, name);
        isHeld = false;
      },
    };
  }

  private use(file: string, name: string, isWriter: boolean): string {
    const path = realOf(file);
    const use = this.uses.get(path);
    if (use !== undefined && (isWriter || use.lock !== undefined)) {
      const others = [...new Set(use.names)].join(", ");
      const does =
        use.lock === undefined ? "reads the image, which would change" : "has the image, to write it";
      throw new DiskError(
        "E_IMAGE_LOCKED",
        `${file}: VM ${others} ${does}: stop it first, or use another image`,
      );
    }
    if (use !== undefined) use.names.push(name);
    else {
      if (!isWriter) ImageLock.refuseIfTaken(path);
      this.uses.set(path, { lock: isWriter ? ImageLock.take(path) : undefined, names: [name] });
    }
    return path;
  }

  private release(taken: readonly string[], name: string): void {
    for (const path of taken) {
      const { names, lock } = this.uses.get(path)!;
      names.splice(names.indexOf(name), 1);
      if (names.length > 0) continue;
      this.uses.delete(path);
      lock?.release();
    }
  }
}

/** Links to an image are the image. @throws CliError `E_FILE` */
function realOf(file: string): string {
  try {
    return realpathSync(file);
  } catch (cause) {
    throw new CliError(
      "E_FILE",
      `there is no image ${file}: make it with hyperfile image create, or give size`,
      {
        cause,
      },
    );
  }
}

let made = 0;

/** Makes an image of zeros, whole or not at all. @throws DiskError, CliError */
export async function makeImage(path: string, { format, sizeBytes }: DiskSpec): Promise<void> {
  const size = sizeBytes!;
  if (format === "store") {
    const { store, name } = storePath(path);
    await openStore(store).create(name, { size });
    return;
  }
  const beside = join(dirname(path), `.${basename(path)}.new-${process.pid}-${made++}`);
  try {
    const file = await NodeFile.open(beside, { create: true });
    try {
      if (format === "qcow2") await createQcow2(file, { size });
      else await file.truncate(size);
      await file.flush();
    } finally {
      await file.close();
    }
    linkSync(beside, path);
  } catch (cause) {
    if (cause instanceof DiskError) throw cause;
    throw new CliError("E_FILE", `can't make the image ${path}: ${(cause as Error).message}`, { cause });
  } finally {
    rmSync(beside, { force: true });
  }
}
