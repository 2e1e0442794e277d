/** Images of the host's by path: their format, their backing chain, and the lock of who writes them. */
import { dirname, isAbsolute, join } from "node:path";
import type { BlockBackend } from "../block-backend.js";
import { DiskError } from "../errors.js";
import { HttpFile } from "../http/http-file.js";
import { isAddress } from "../http/http-source.js";
import type { ImageFile } from "../image-file.js";
import { loadHeader } from "../qcow2/metadata.js";
import { Qcow2Image } from "../qcow2/qcow2-image.js";
import { RawBackend } from "../raw-backend.js";
import { isManifest } from "../store/manifest.js";
import { nodeCodecs } from "./codecs.js";
import { ImageLock } from "./image-lock.js";
import { NodeFile } from "./node-file.js";
import { openStore, storePath } from "./store-path.js";

/** Formats of images; `store` is one of an image store, at `STORE/images/NAME`. */
export const imageFormats = ["raw", "qcow2", "store"] as const;
/** A format of images. */
export type ImageFormat = (typeof imageFormats)[number];

/** Images of a chain, at most. */
const MOST_IMAGES = 64;

/** How an image is opened. */
export interface OpenImageOptions {
  /**
   * Found out if it is not given. A guest that writes a header to its raw disk could name any file of the host's as the
   * image below: where the format was found out, one that names an image below is refused.
   */
  readonly format?: ImageFormat | undefined;
  /** Takes the image's lock until it is closed. */
  readonly isWritable?: boolean;
  /** The caller has the image's lock, for longer than the image is open. */
  readonly isLocked?: boolean;
}

/** One image of a chain. */
export interface ImageLink {
  /** Its file, or its address; of an image of a store the manifest's. */
  readonly path: string;
  readonly format: ImageFormat;
}

/** An open image. */
export interface OpenImage {
  readonly disk: BlockBackend;
  readonly format: ImageFormat;
  /** The same disk, where it is in qcow2. */
  readonly qcow2?: Qcow2Image;
  /** The images that it is made of, the topmost first. */
  readonly links: readonly ImageLink[];
  /** Closes the disk and gives up the lock. */
  close(): Promise<void>;
}

/** What a file is, by its first bytes. */
export async function formatOf(path: string): Promise<ImageFormat> {
  const file = await openFile(path, true);
  try {
    return await formatIn(file);
  } finally {
    await file.close();
  }
}

/** A file of the host's, or behind a web server. */
async function openFile(path: string, isReadOnly: boolean): Promise<ImageFile> {
  if (!isAddress(path)) return NodeFile.open(path, { isReadOnly });
  if (isReadOnly) return HttpFile.open(path);
  throw new DiskError("E_DISK_READ_ONLY", `${path}: what lies behind a web server is only read`);
}

async function formatIn(file: ImageFile): Promise<ImageFormat> {
  const magic = new Uint8Array(32);
  await file.read(0, [magic]);
  if (isManifest(magic)) return "store";
  return magic[0] === 0x51 && magic[1] === 0x46 && magic[2] === 0x49 && magic[3] === 0xfb ? "qcow2" : "raw";
}

/**
 * Opens an image with all that is below it.
 * @throws DiskError `E_IMAGE_LOCKED`, `E_IMAGE_CHAIN`, and what the formats have
 */
export async function openImage(path: string, options: OpenImageOptions = {}): Promise<OpenImage> {
  const { isWritable = false, isLocked = false } = options;
  const format = options.format ?? (await formatOf(path));
  if (format === "store") {
    const disk = await openStored(path, isWritable, isLocked);
    return { disk, format, links: [{ path, format }], close: () => disk.close() };
  }
  const lock = isWritable && !isLocked && !isAddress(path) ? ImageLock.take(path) : undefined;
  try {
    const opened = await openLink(path, { format, isSaid: options.format !== undefined }, !isWritable, []);
    return {
      ...opened,
      async close() {
        try {
          await opened.disk.close();
        } finally {
          lock?.release();
        }
      },
    };
  } catch (error) {
    lock?.release();
    throw error;
  }
}

async function openLink(
  path: string,
  { format, isSaid }: { readonly format: ImageFormat; readonly isSaid: boolean },
  isReadOnly: boolean,
  above: readonly string[],
): Promise<Omit<OpenImage, "close">> {
  if (above.includes(path) || above.length >= MOST_IMAGES) {
    const how = above.includes(path)
      ? "its backing files go in a circle"
      : `more than ${MOST_IMAGES} images are on each other`;
    throw new DiskError("E_IMAGE_CHAIN", `${above[0]}: ${how}, at ${path}`);
  }
  if (format === "store") return { disk: await openStored(path, false), format, links: [{ path, format }] };
  const file = await openFile(path, isReadOnly);
  if (format === "raw") return { disk: new RawBackend(file), format, links: [{ path, format }] };
  let backing: BlockBackend | undefined;
  const links: ImageLink[] = [{ path, format }];
  try {
    const { backingFile, backingFormat } = await loadHeader(file);
    if (backingFile !== undefined) {
      if (!isSaid)
        throw new DiskError(
          "E_IMAGE_CHAIN",
          `${path}: the image names one below it, ${JSON.stringify(backingFile)}; a guest could have written that to a raw disk: ` +
            "say that its format is qcow2 if it is",
        );
      const isWhole = isAbsolute(backingFile) || isAddress(backingFile);
      const below = isWhole ? backingFile : join(dirname(path), backingFile);
      if (backingFormat !== undefined && !isFormat(backingFormat)) {
        throw new DiskError(
          "E_IMAGE_UNSUPPORTED",
          `${path}: its backing file has the format ${backingFormat}, which is not supported`,
        );
      }
      const asked = { format: backingFormat ?? (await formatOf(below)), isSaid: backingFormat !== undefined };
      const link = await openLink(below, asked, true, [...above, path]);
      backing = link.disk;
      links.push(...link.links);
    }
  } catch (error) {
    await file.close();
    throw error;
  }
  const qcow2 = await Qcow2Image.open(file, { codecs: nodeCodecs, ...(backing && { backing }) });
  return { disk: qcow2, format, qcow2, links };
}

const isFormat = (name: string): name is ImageFormat => (imageFormats as readonly string[]).includes(name);

function openStored(path: string, isWritable: boolean, isLocked = false): Promise<BlockBackend> {
  const { store, name } = storePath(path);
  return openStore(store, { isReadOnly: !isWritable }).open(name, { isWritable, isLocked });
}
