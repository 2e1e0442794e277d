/**
 * The images of VMs, as the daemon gives them out: one VM writes an image and is then its only user, or any number read it,
 * such as what lies below the images of several. The daemon has the locks, against other processes too, so that they are
 * given back when a VM's thread is killed, and are the dead's when the daemon is.
 */
import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import type { HostClaim, VmSpec } from "@hyperfile/broker";
import { DiskError, isAddress } from "@hyperfile/devices/disk";
import { type ImageChain, lockChain } from "@hyperfile/devices/node";
import { CliError } from "../errors.js";
import { makeEmptyImage } from "../new-image.js";

type DiskSpec = VmSpec["disks"][number];

/** Images that a VM has, and the clones that share its disks. */
interface Claim {
  readonly chains: readonly ImageChain[];
  readonly names: string[];
}

/** The path of a disk's image, or its address. */
export const imagePath = ({ file }: DiskSpec, folder: string): string =>
  isAddress(file) ? file : resolve(folder, file);

/** Whether a VM writes to a disk's image. */
export const isWritten = ({ readonly, ephemeral }: DiskSpec): boolean => !readonly && !ephemeral;

/** All images that VMs use. */
export class DiskClaims {
  private readonly claims = new Set<Claim>();

  /**
   * Takes a VM's images and those below them, and makes those that are to be made.
   * @throws DiskError `E_IMAGE_LOCKED` for one that another VM or process has, CliError; nothing is taken then
   */
  readonly take = async (spec: VmSpec, folder: string): Promise<HostClaim> => {
    const chains: ImageChain[] = [];
    try {
      for (const disk of spec.disks) {
        const path = imagePath(disk, folder);
        if (!isAddress(path)) chains.push(await this.lock(path, disk));
      }
    } catch (error) {
      for (const chain of chains) chain.release();
      throw error;
    }
    const claim = { chains, names: [] };
    this.claims.add(claim);
    return this.share(claim, spec.name);
  };

  private async lock(path: string, disk: DiskSpec): Promise<ImageChain> {
    if (!existsSync(path)) {
      if (disk.sizeBytes === undefined)
        throw new CliError(
          "E_FILE",
          `there is no image ${path}: make it with hyperfile image create, or give size`,
        );
      await makeEmptyImage(path, { format: disk.format ?? "raw", size: disk.sizeBytes }, false);
    }
    try {
      return await lockChain(path, { format: disk.format, lock: isWritten(disk) ? "write" : "read" });
    } catch (error) {
      throw this.named(path, error);
    }
  }

  /** An image that one of our VMs has is named with the VM. */
  private named(path: string, error: unknown): unknown {
    if (!(error instanceof DiskError) || error.details.pid !== process.pid) return error;
    const image = error.details.image!;
    for (const { chains, names } of this.claims) {
      const lock = chains.flatMap(({ locks }) => locks).find((each) => isSameFile(each.image, image));
      if (lock === undefined) continue;
      const which = isSameFile(path, image) ? path : `${path}, which lies on ${image}`;
      const does =
        lock.use === "write" ? "has the image, to write it" : "reads the image, which would change";
      return new DiskError(
        "E_IMAGE_LOCKED",
        `${which}: VM ${[...new Set(names)].join(", ")} ${does}: stop it first, or use another image`,
        error.details,
        { cause: error },
      );
    }
    return error;
  }

  private share(claim: Claim, name: string): HostClaim {
    claim.names.push(name);
    let isHeld = true;
    return {
      share: async ({ name: other }) => this.share(claim, other),
      release: () => {
        if (isHeld) this.leave(claim, name);
        isHeld = false;
      },
    };
  }

  private leave(claim: Claim, name: string): void {
    claim.names.splice(claim.names.indexOf(name), 1);
    if (claim.names.length > 0) return;
    this.claims.delete(claim);
    for (const chain of claim.chains) chain.release();
  }
}

/** Whether two names are of one file. */
function isSameFile(one: string, other: string): boolean {
  if (one === other) return true;
  const [first, second] = [one, other].map((path) => statSync(path, { bigint: true, throwIfNoEntry: false }));
  return first !== undefined && first.ino === second?.ino && first.dev === second.dev;
}
