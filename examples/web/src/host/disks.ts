/** Disks of the page's VMs: where their bytes are, and how they are opened. */
import {
  type BlockBackend,
  ForkableDisk,
  HttpFile,
  MemoryFile,
  OverlayBackend,
  Qcow2Image,
  RawBackend,
} from "@hyperfile/devices/disk";
import { openOpfsDisk } from "@hyperfile/devices/web";

/** Where the bytes of a disk are. */
export type DiskRecipe =
  /** In the browser's private file system: what is written stays, and one VM of one tab has it at a time. */
  | {
      readonly kind: "private";
      readonly name: string;
      readonly format: "raw" | "qcow2";
      /** Bytes, for one that is made now. */
      readonly size?: number;
    }
  /** At an address, of which parts are fetched as they are read; what is written is kept in memory. */
  | { readonly kind: "address"; readonly url: string; readonly format: "raw" | "qcow2" }
  /** In memory; what is written goes with the VM. */
  | { readonly kind: "bytes"; readonly name: string; readonly bytes: Uint8Array };

/** Opens a disk, which can be forked for clones. @throws DiskError (the promise rejects) */
export async function openDisk(recipe: DiskRecipe): Promise<BlockBackend> {
  switch (recipe.kind) {
    case "private": {
      const { name, format, size } = recipe;
      return new ForkableDisk(await openOpfsDisk(name, { format, ...(size === undefined ? {} : { size }) }), {
        name,
      });
    }
    case "address": {
      const { url, format } = recipe;
      const file = await HttpFile.open(url);
      return new OverlayBackend(format === "raw" ? new RawBackend(file) : await Qcow2Image.open(file), {
        name: url,
      });
    }
    case "bytes": {
      const { name, bytes } = recipe;
      const file = new MemoryFile(name);
      await file.write(0, [bytes]);
      return new OverlayBackend(new RawBackend(file), { name });
    }
  }
}
