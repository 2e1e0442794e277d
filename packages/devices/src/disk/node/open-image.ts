/** Images of the host's by path: opened with all that is below them, and locked while they are open. */
import type { BlockBackend } from "../block-backend.js";
import type { ImageFormat } from "../image-formats.js";
import { Qcow2Image } from "../qcow2/qcow2-image.js";
import { RawBackend } from "../raw-backend.js";
import { nodeCodecs } from "./codecs.js";
import { type ImageLink, lockChain, openImageFile } from "./image-chain.js";
import { openStore, storePath } from "./store-path.js";

/** How an image is opened. */
export interface OpenImageOptions {
  /**
   * Found out if it is not given. A guest that writes a header to its raw disk could name any file of the host's as the
   * image below: where the format was found out, one that names an image below is refused.
   */
  readonly format?: ImageFormat | undefined;
  /** Locks the image for writing until it is closed; else for reading. Those below are locked for reading. */
  readonly isWritable?: boolean;
  /** Nothing is locked: the caller has the locks for longer than the image is open, or looks only at what it is. */
  readonly isLocked?: boolean;
}

/** An open image. */
export interface OpenImage {
  readonly disk: BlockBackend;
  readonly format: ImageFormat;
  /** The same disk, where it is in qcow2. */
  readonly qcow2?: Qcow2Image;
  /** The images that it is made of, the topmost first. */
  readonly links: readonly ImageLink[];
  /** Closes the disk and gives up the locks. */
  close(): Promise<void>;
}

/**
 * Opens an image with all that is below it.
 * @throws DiskError `E_IMAGE_LOCKED`, `E_IMAGE_CHAIN`, and what the formats have
 */
export async function openImage(path: string, options: OpenImageOptions = {}): Promise<OpenImage> {
  const { format, isWritable = false, isLocked = false } = options;
  const { links, release } = await lockChain(path, {
    format,
    lock: isLocked ? "none" : isWritable ? "write" : "read",
  });
  try {
    const disk = await openLinks(links, isWritable);
    return {
      disk,
      format: links[0]!.format,
      ...(disk instanceof Qcow2Image && { qcow2: disk }),
      links,
      async close() {
        try {
          await disk.close();
        } finally {
          release();
        }
      },
    };
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Opens the images of a chain that the caller has locked, on each other.
 * @param isWritable of the topmost
 */
export async function openLinks(links: readonly ImageLink[], isWritable = false): Promise<BlockBackend> {
  const [{ path, format }, ...below] = links as [ImageLink, ...ImageLink[]];
  // Its lock is the caller's.
  if (format === "store") {
    const { store, name } = storePath(path);
    const images = openStore(store, { isReadOnly: !isWritable });
    return images.open(name, { isWritable, isLocked: true, closesStore: true });
  }
  const file = await openImageFile(path, !isWritable);
  if (format === "raw") return new RawBackend(file);
  let backing: BlockBackend | undefined;
  try {
    if (below.length > 0) backing = await openLinks(below);
  } catch (error) {
    await file.close();
    throw error;
  }
  return Qcow2Image.open(file, { codecs: nodeCodecs, ...(backing && { backing }) });
}
