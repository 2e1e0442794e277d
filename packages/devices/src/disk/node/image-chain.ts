/**
 * An image and those below it: which files a disk is made of, found by their headers. Each is locked before its header is
 * read, so that what is found stays so: the topmost for what its user does with it, those below for reading.
 */
import { dirname, isAbsolute, join } from "node:path";
import { DiskError } from "../errors.js";
import { HttpFile } from "../http/http-file.js";
import { isAddress } from "../http/http-source.js";
import type { ImageFile } from "../image-file.js";
import { type ImageFormat, imageFormats } from "../image-formats.js";
import { loadHeader } from "../qcow2/metadata.js";
import { isManifest } from "../store/manifest.js";
import { ImageLock, type ImageUse } from "./image-lock.js";
import { NodeFile } from "./node-file.js";

/** Images of a chain, at most. */
const MOST_IMAGES = 64;

/** One image of a chain. */
export interface ImageLink {
  /** Its file, or its address; of an image of a store the manifest's. */
  readonly path: string;
  readonly format: ImageFormat;
}

/** An image that is found out about. */
export interface ChainOptions {
  /**
   * Found out if it is not given. A guest that writes a header to its raw disk could name any file of the host's as the
   * image below: where the format was found out, one that names an image below is refused.
   */
  readonly format?: ImageFormat | undefined;
  /** What the images are locked for: the topmost for this, those below for reading; `none` locks nothing. */
  readonly lock: ImageUse | "none";
  /** How many of the topmost are locked for that: one unless given. */
  readonly locked?: number;
}

/** The images that a disk is made of. */
export interface ImageChain {
  /** The topmost first. */
  readonly links: readonly ImageLink[];
  /** Of those that are files of the host's; none where nothing was to be locked. */
  readonly locks: readonly ImageLock[];
  /** Gives them back. */
  release(): void;
}

/** What a file is, by its first bytes. */
export async function formatOf(path: string): Promise<ImageFormat> {
  const file = await openImageFile(path, true);
  try {
    return await formatIn(file);
  } finally {
    await file.close();
  }
}

/** A file of the host's, or behind a web server. */
export async function openImageFile(path: string, isReadOnly: boolean): Promise<ImageFile> {
  if (!isAddress(path)) return NodeFile.open(path, { isReadOnly });
  if (isReadOnly) return HttpFile.open(path);
  throw new DiskError("E_DISK_READ_ONLY", `${path}: what lies behind a web server is only read`);
}

/** Where an image looks for the one below it, whose name is relative to its own folder. */
export const pathBelow = (image: string, name: string): string =>
  isAbsolute(name) || isAddress(name) ? name : join(dirname(image), name);

/**
 * Locks an image and all that are below it.
 * @throws DiskError `E_IMAGE_LOCKED`, `E_IMAGE_CHAIN`, and what the formats have; nothing is locked then
 */
export async function lockChain(image: string, options: ChainOptions): Promise<ImageChain> {
  const { format, lock, locked = 1 } = options;
  const locks: ImageLock[] = [];
  const release = () => {
    for (const each of locks) each.release();
  };
  try {
    const links: ImageLink[] = [];
    let next: Below | undefined = { path: image, format };
    while (next !== undefined) {
      const { path }: Below = next;
      if (links.some((link) => link.path === path) || links.length >= MOST_IMAGES) throw tooMany(links, path);
      if (lock !== "none" && !isAddress(path))
        locks.push(await ImageLock.take(path, links.length < locked ? lock : "read"));
      const found: ImageFormat = next.format ?? (await formatOf(path));
      links.push({ path, format: found });
      next = found === "qcow2" ? await below(path, next.format !== undefined) : undefined;
    }
    return { links, locks, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** An image that is to be looked at. */
interface Below {
  readonly path: string;
  /** As it is said; undefined if it has to be found out. */
  readonly format: ImageFormat | undefined;
}

/** The image below a qcow2 image, if there is one. */
async function below(path: string, isSaid: boolean): Promise<Below | undefined> {
  const file = await openImageFile(path, true);
  try {
    const { backingFile, backingFormat } = await loadHeader(file);
    if (backingFile === undefined) return undefined;
    if (!isSaid)
      throw new DiskError(
        "E_IMAGE_CHAIN",
        `${path}: the image names one below it, ${JSON.stringify(backingFile)}; a guest could have written that to a raw disk: ` +
          "say that its format is qcow2 if it is",
      );
    if (backingFormat !== undefined && !isFormat(backingFormat)) {
      throw new DiskError(
        "E_IMAGE_UNSUPPORTED",
        `${path}: its backing file has the format ${backingFormat}, which is not supported`,
      );
    }
    return { path: pathBelow(path, backingFile), format: backingFormat };
  } finally {
    await file.close();
  }
}

function tooMany(links: readonly ImageLink[], path: string): DiskError {
  const how =
    links.length < MOST_IMAGES
      ? "its backing files go in a circle"
      : `more than ${MOST_IMAGES} images are on each other`;
  return new DiskError("E_IMAGE_CHAIN", `${links[0]!.path}: ${how}, at ${path}`);
}

async function formatIn(file: ImageFile): Promise<ImageFormat> {
  const magic = new Uint8Array(32);
  await file.read(0, [magic]);
  if (isManifest(magic)) return "store";
  return magic[0] === 0x51 && magic[1] === 0x46 && magic[2] === 0x49 && magic[3] === 0xfb ? "qcow2" : "raw";
}

const isFormat = (name: string): name is ImageFormat => (imageFormats as readonly string[]).includes(name);
