/** Disks in the browser's private file system by name, made when they are first opened. */
import type { BlockBackend } from "../disk/block-backend.js";
import type { ClusterCodecs } from "../disk/cluster-codec.js";
import { DiskError } from "../disk/errors.js";
import type { ImageFormat } from "../disk/image-formats.js";
import { createQcow2 } from "../disk/qcow2/create.js";
import { loadHeader } from "../disk/qcow2/metadata.js";
import { Qcow2Image } from "../disk/qcow2/qcow2-image.js";
import { RawBackend } from "../disk/raw-backend.js";
import { browserError, findFile, folderIn, isMissing, partsOf, privateRoot } from "./browser-files.js";
import { OpfsFile } from "./opfs-file.js";
import { makeWhole, removeLeftovers } from "./whole-files.js";

/** A disk and how it is opened. */
export interface OpfsDiskOptions {
  /** A browser counts all bytes of a raw disk as room in use, and of a qcow2 disk what has been written. */
  readonly format: "raw" | "qcow2";
  /** Bytes of the disk that is made if there is none; else of no effect. That of the disk below by default. */
  readonly size?: number;
  readonly isReadOnly?: boolean;
  /** What reads compressed clusters of qcow2. */
  readonly codecs?: ClusterCodecs;
  /** The disk below one in qcow2, which is only read. */
  readonly backing?: OpfsBacking;
}

/** A disk that another keeps the changes of. */
export interface OpfsBacking {
  /** What the image above calls it: an address, or a name. It is opened again only with the same one. */
  readonly name: string;
  readonly format: ImageFormat;
  /** It is closed with the disk above, and where that can't be opened. */
  readonly disk: BlockBackend;
}

/**
 * Opens a disk, in a worker; makes it if there is none and its size is known. It is the worker's until it is closed.
 * @param name with slashes between folders, such as `disks/home.qcow2`
 * @throws DiskError `E_IMAGE_LOCKED` if another tab or VM has it; `E_DISK_IO` if there is none; `E_IMAGE_CHAIN` if it lies
 *   on another disk than is given; `E_DISK_FULL`, and what the formats have
 */
export async function openOpfsDisk(name: string, options: OpfsDiskOptions): Promise<BlockBackend> {
  const { format, isReadOnly = false, backing } = options;
  try {
    if (format !== "raw" && format !== "qcow2")
      throw refuse(name, `${format} is no format of disks in a browser; use qcow2`);
    if (format === "raw" && backing !== undefined)
      throw refuse(name, "a raw disk lies on no other; use qcow2");
    await makeIfMissing(name, options);
    const file = await OpfsFile.open(name, { isReadOnly });
    if (format === "raw") return new RawBackend(file);
    try {
      checkBacking(name, (await loadHeader(file)).backingFile, backing?.name);
    } catch (error) {
      await file.close();
      throw error;
    }
    return await Qcow2Image.open(file, {
      ...(options.codecs && { codecs: options.codecs }),
      ...(backing && { backing: backing.disk }),
    });
  } catch (error) {
    await backing?.disk.close();
    throw error;
  }
}

async function makeIfMissing(name: string, options: OpfsDiskOptions): Promise<void> {
  const { format, backing, size = backing?.disk.size } = options;
  const parts = partsOf(name);
  const leaf = parts.pop()!;
  try {
    const isMade = size !== undefined && options.isReadOnly !== true;
    const folder = await folderIn(await privateRoot(), parts, isMade);
    if ((await findFile(folder, leaf)) !== undefined) return;
    if (!isMade) throw noDisk(name);
    if (!Number.isSafeInteger(size) || size <= 0) throw refuse(name, `a disk of ${size} bytes can't be`);
    await removeLeftovers(folder);
    // One that another tab has made meanwhile is as good.
    await makeWhole(
      { name, folder, leaf },
      folder,
      (file) =>
        format === "raw"
          ? file.truncate(size)
          : createQcow2(file, {
              size,
              ...(backing && { backingFile: backing.name, backingFormat: backing.format }),
            }),
      { replaces: false },
    );
  } catch (error) {
    throw isMissing(error) ? noDisk(name) : browserError(name, "make", error);
  }
}

const noDisk = (name: string): DiskError =>
  new DiskError(
    "E_DISK_IO",
    `${name}: there is no such disk in this browser; give its size to make it, or use another`,
  );

function checkBacking(name: string, named: string | undefined, given: string | undefined): void {
  if (named === given) return;
  const [is, has] = [named, given].map((each) =>
    each === undefined ? "no other disk" : JSON.stringify(each),
  );
  throw new DiskError(
    "E_IMAGE_CHAIN",
    `${name}: the image lies on ${is}, and is opened on ${has}; open it as it was made`,
  );
}

const refuse = (name: string, how: string): DiskError => new DiskError("E_IMAGE_FORMAT", `${name}: ${how}`);
