/**
 * An image store: disks by name over one heap of chunks that they share. Making an image, cloning it and taking a snapshot
 * of it are each one manifest; equal chunks are there once, whoever wrote them.
 */
import type { BlockBackend } from "../block-backend.js";
import type { ClusterCodecs } from "../cluster-codec.js";
import { DiskError } from "../errors.js";
import { inParallel } from "../turns.js";
import { digestsIn } from "./chunk-index.js";
import { CHUNKS, ChunkObjects, digestInKey } from "./chunk-objects.js";
import {
  checkShape,
  DEFAULT_CHUNK,
  type Manifest,
  MOST_MANIFEST,
  PAGE_BYTES,
  PAGE_ENTRIES,
  pageCount,
  parseManifest,
  printManifest,
} from "./manifest.js";
import { checkKey, type ObjectPlace } from "./object-place.js";
import { StoreBackend } from "./store-backend.js";

/** Where manifests lie. */
const IMAGES = "images/";
/** Time for which a collection of garbage leaves what nobody names, unless something else is asked for: an hour. */
const DEFAULT_GRACE_MS = 3_600_000;
/** Objects that are copied at once. */
const AT_ONCE = 8;

/** What a new image is. */
export interface NewImage {
  /** Bytes of the disk. */
  readonly size: number;
  /** Bytes of a chunk: a power of two from 4 KiB to 4 MiB; 256 KiB by default. */
  readonly chunkBytes?: number;
  /** Texts by name, for the user. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** What a collection of garbage found. */
export interface Collected {
  /** Objects that an image names, and that are too new to go. */
  readonly kept: number;
  readonly removed: number;
  /** Bytes of those that were removed. */
  readonly removedBytes: number;
}

/** A problem of an image. */
export interface StoreProblem {
  /** The chunk's offset on the disk in bytes; undefined for a page of the index. */
  readonly offset?: number;
  readonly message: string;
}

/** Images in a place. */
export class ImageStore {
  private readonly objects: ChunkObjects;

  /** @param codecs that chunks are packed with; without them new chunks are not packed, and packed ones can't be read */
  constructor(
    private readonly place: ObjectPlace,
    codecs?: ClusterCodecs,
  ) {
    this.objects = new ChunkObjects(place, codecs);
  }

  /**
   * Makes an image that reads as zeros.
   * @throws DiskError `E_DISK_IO` if there is one with the name; `E_IMAGE_FORMAT` for a name or a size that can't be
   */
  async create(name: string, image: NewImage): Promise<void> {
    const { size, chunkBytes = DEFAULT_CHUNK, labels = {} } = image;
    checkShape(this.nameOf(name), size, chunkBytes);
    const pages = Array.from({ length: pageCount(size, chunkBytes) }, () => "");
    await this.add(name, { size, chunkBytes, pages, createdAt: new Date().toISOString(), labels });
  }

  /**
   * Makes an image of what `fill` writes. It is there when it is whole; where that fails nothing of it has a name. A place
   * that can't be written is told at once.
   * @throws DiskError as {@link create}; what `fill` throws
   */
  async make(name: string, image: NewImage, fill: (disk: BlockBackend) => Promise<void>): Promise<void> {
    const { size, chunkBytes = DEFAULT_CHUNK, labels = {} } = image;
    checkShape(this.nameOf(name), size, chunkBytes);
    if (await this.has(name)) throw this.isThere(name);
    await this.place.prepare?.();
    const pages = Array.from({ length: pageCount(size, chunkBytes) }, () => "");
    const { place, objects } = this;
    const disk = new StoreBackend({
      place,
      objects,
      name: this.nameOf(name),
      key: this.keyOf(name),
      manifest: { size, chunkBytes, pages, createdAt: new Date().toISOString(), labels },
      isWritable: true,
      isDraft: true,
    });
    try {
      await fill(disk);
    } catch (error) {
      await disk.abandon();
      throw error;
    }
    await disk.close();
    await this.add(name, disk.manifest);
  }

  /** Gives up what was added and has no name yet. The store can be used on. */
  async close(): Promise<void> {
    await this.place.close?.();
  }

  /**
   * Opens an image.
   * @param options.isWritable locks it, where the place can
   * @param options.isLocked the caller has its lock
   * @param options.closesStore closes the store with the image, for who has opened it for that
   * @throws DiskError `E_DISK_IO` if there is none; `E_IMAGE_LOCKED`; `E_IMAGE_DAMAGED`
   */
  async open(
    name: string,
    options: {
      readonly isWritable?: boolean;
      readonly isLocked?: boolean;
      readonly closesStore?: boolean;
      readonly cacheBytes?: number;
    } = {},
  ): Promise<StoreBackend> {
    const { isWritable = false, isLocked = false, closesStore = false } = options;
    const key = this.keyOf(name);
    let manifest = await this.manifest(name);
    const release = isWritable && !isLocked ? await this.place.lock?.(key) : undefined;
    try {
      // Who had the lock before may have written it.
      if (isWritable) manifest = await this.manifest(name);
      const { place, objects } = this;
      return new StoreBackend({
        ...options,
        place,
        objects,
        name: this.nameOf(name),
        key,
        manifest,
        release: async () => {
          release?.();
          if (closesStore) await this.close();
        },
      });
    } catch (error) {
      release?.();
      throw error;
    }
  }

  /** Whether there is an image with a name. @throws DiskError `E_IMAGE_FORMAT` for one that can't be */
  async has(name: string): Promise<boolean> {
    return (await this.place.read(this.keyOf(name), MOST_MANIFEST)) !== undefined;
  }

  /** What an image is. @throws DiskError `E_DISK_IO` if there is none; `E_IMAGE_DAMAGED` */
  async manifest(name: string): Promise<Manifest> {
    const bytes = await this.place.read(this.keyOf(name), MOST_MANIFEST);
    if (bytes === undefined)
      throw new DiskError("E_DISK_IO", `${this.nameOf(name)}: there is no such image in the store`);
    return parseManifest(this.nameOf(name), bytes);
  }

  /**
   * Makes an image that has the same bytes as another has now; of one that is open, as its last flush has left it.
   * @throws DiskError `E_DISK_IO` if there is no such image, or one with the new name
   */
  async clone(name: string, copy: string): Promise<void> {
    const manifest = await this.manifest(name);
    await this.add(copy, { ...manifest, createdAt: new Date().toISOString() });
  }

  /**
   * Copies an image of another store, as its chunks are packed there; only those that are not here are read.
   * @param options.onProgress told the share that is done, from 0 to 1
   * @returns bytes of chunks that were copied
   * @throws DiskError `E_DISK_IO` if there is no such image, or one with the new name here; `E_IMAGE_DAMAGED`
   */
  async pull(
    from: ImageStore,
    name: string,
    options: { readonly as?: string; readonly onProgress?: (share: number) => void } = {},
  ): Promise<number> {
    const { as = name, onProgress } = options;
    const manifest = await from.manifest(name);
    const { size, chunkBytes, pages } = manifest;
    let copied = 0;
    const copy = async (digest: string, length: number) => {
      const bytes = await this.objects.copy(from.objects, from.nameOf(name), digest, length);
      copied += bytes;
    };
    for (const [number, page] of pages.entries()) {
      if (page !== "") {
        await copy(page, PAGE_BYTES);
        const chunks = [...digestsIn(await this.objects.read(this.nameOf(as), page, PAGE_BYTES))];
        const first = number * PAGE_ENTRIES * chunkBytes;
        const present = chunks.flatMap((digest, at) => {
          const length = Math.min(chunkBytes, size - first - at * chunkBytes);
          return digest === "" || length <= 0 ? [] : [{ digest, length }];
        });
        let done = 0;
        await inParallel(present, AT_ONCE, async ({ digest, length }) => {
          await copy(digest, length);
          onProgress?.((number + ++done / present.length) / pages.length);
        });
      }
      onProgress?.((number + 1) / pages.length);
    }
    await this.place.sync();
    await this.add(as, manifest);
    return copied;
  }

  /** Removes an image; its chunks go with the next collection of garbage. @throws DiskError `E_IMAGE_LOCKED` */
  async remove(name: string): Promise<void> {
    const key = this.keyOf(name);
    await this.manifest(name);
    const release = await this.place.lock?.(key);
    try {
      if (!(await this.place.remove(key)))
        throw new DiskError("E_DISK_IO", `${this.nameOf(name)}: there is no such image in the store`);
    } finally {
      release?.();
    }
  }

  /** The names of all images. */
  async *names(): AsyncIterable<string> {
    for await (const { key } of this.place.list(IMAGES)) yield key.slice(IMAGES.length);
  }

  /**
   * Reads all that an image names.
   * @param onProgress told the share that is done, from 0 to 1
   */
  async check(name: string, onProgress?: (share: number) => void): Promise<readonly StoreProblem[]> {
    const { size, chunkBytes, pages } = await this.manifest(name);
    const problems: StoreProblem[] = [];
    const read = async (digest: string, length: number, offset?: number): Promise<Uint8Array | undefined> => {
      try {
        return await this.objects.read(this.nameOf(name), digest, length);
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
        problems.push({ ...(offset !== undefined && { offset }), message: error.message });
        return undefined;
      }
    };
    for (const [number, digest] of pages.entries()) {
      const page = digest === "" ? undefined : await read(digest, PAGE_BYTES);
      let at = number * PAGE_ENTRIES * chunkBytes;
      for (const chunk of page === undefined ? [] : digestsIn(page)) {
        if (chunk !== "" && at < size) await read(chunk, Math.min(chunkBytes, size - at), at);
        at += chunkBytes;
      }
      onProgress?.((number + 1) / pages.length);
    }
    return problems;
  }

  /**
   * Removes objects that no image names and that are older than the time of grace, which has to be longer than any
   * writer takes from adding a chunk to the flush that names it.
   * @throws DiskError `E_IMAGE_DAMAGED` if an image can't be read: then nothing is removed
   */
  async collect(options: { readonly graceMs?: number; readonly now?: number } = {}): Promise<Collected> {
    const { graceMs = DEFAULT_GRACE_MS, now = Date.now() } = options;
    const named = new Set<string>();
    for await (const name of this.names()) {
      for (const page of (await this.manifest(name)).pages) {
        if (page === "" || named.has(page)) continue;
        named.add(page);
        for (const chunk of digestsIn(await this.objects.read(this.nameOf(name), page, PAGE_BYTES)))
          if (chunk !== "") named.add(chunk);
      }
    }
    let [kept, removed, removedBytes] = [0, 0, 0];
    for await (const { key, bytes } of this.place.list(CHUNKS)) {
      const digest = digestInKey(key);
      if (digest !== undefined && !named.has(digest) && (await this.place.remove(key, now - graceMs))) {
        removed++;
        removedBytes += bytes;
      } else kept++;
    }
    await this.place.sweep?.(now - graceMs);
    return { kept, removed, removedBytes };
  }

  private async add(name: string, manifest: Manifest): Promise<void> {
    const isNew = await this.place.create(this.keyOf(name), await printManifest(manifest));
    if (!isNew) throw this.isThere(name);
  }

  private isThere(name: string): DiskError {
    return new DiskError("E_DISK_IO", `${this.nameOf(name)}: there is such an image already`);
  }

  private keyOf(name: string): string {
    checkKey(this.place.name, name);
    // So that the path of an image says where the store ends.
    if (name.split("/").includes("images"))
      throw new DiskError("E_IMAGE_FORMAT", `${this.nameOf(name)}: no part of a name can be "images"`);
    return `${IMAGES}${name}`;
  }

  private nameOf(name: string): string {
    return `${this.place.name}/${IMAGES}${name}`;
  }
}
