/** The folders of one VM in its thread: opened for it, and once more for each of its clones. */
import { resolve } from "node:path";
import type { VmSpec } from "@hyperfile/broker";
import { LinuxFolder } from "@hyperfile/devices/node";
import type { Share } from "@hyperfile/machine";

/** Folders of a VM. */
export class GuestShares {
  private constructor(
    private readonly specs: VmSpec["shares"],
    private readonly base: string,
    private readonly folders: readonly LinuxFolder[],
  ) {}

  /** @param base where relative names begin. @throws ShareError (the promise rejects) for a folder that can't be shared */
  static async open(specs: VmSpec["shares"], base: string): Promise<GuestShares> {
    const folders: LinuxFolder[] = [];
    try {
      for (const { folder, readonly } of specs)
        folders.push(await LinuxFolder.open(resolve(base, folder), { isReadOnly: readonly }));
      return new GuestShares(specs, base, folders);
    } catch (error) {
      for (const folder of folders) folder.close();
      throw error;
    }
  }

  /** The same folders for a clone, whose own they are. */
  again(): Promise<GuestShares> {
    return GuestShares.open(this.specs, this.base);
  }

  /** What the machine has. */
  get shares(): readonly Share[] {
    return this.specs.map(({ tag, uid, gid }, at) => ({ tag, uid, gid, folder: this.folders[at]! }));
  }

  /** Lets go of them; the VM's run is over. */
  close(): void {
    for (const folder of this.folders) folder.close();
  }
}
