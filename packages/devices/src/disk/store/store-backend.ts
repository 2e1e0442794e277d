/**
 * A disk in an image store. Chunks are read when they are needed, checked, and kept while there is room. A write changes
 * chunks in memory; a flush adds those that have changed to the store, then the pages of the index that name them, and
 * then lets the image's name stand for the new manifest: a kill between any two steps leaves the image as the flush before
 * had left it, and objects that nobody names, which a collection of garbage removes.
 *
 * Invariant: `changes` of a chunk counts what was written to it, and `saved` what is in the index. A chunk of which both
 * are equal may be forgotten.
 */
import {
  type BlockBackend,
  type Extent,
  isZero,
  lengthOf,
  readOnly,
  scatter,
  sliceOf,
} from "../block-backend.js";
import { DiskError } from "../errors.js";
import { Requests } from "../requests.js";
import { inParallel, RangeLocks, Turns } from "../turns.js";
import { ChunkIndex } from "./chunk-index.js";
import type { ChunkObjects } from "./chunk-objects.js";
import { type Manifest, MOST_MANIFEST, printManifest } from "./manifest.js";
import type { ObjectPlace } from "./object-place.js";

/** Objects that are read or added at once. */
const AT_ONCE = 8;
/** Memory for chunks, unless something else is asked for. */
const DEFAULT_CACHE = 64 << 20;

/** What a disk in a store is made of. */
export interface StoreBackendParts {
  readonly place: ObjectPlace;
  readonly objects: ChunkObjects;
  /** The image's name in messages, and the key of its manifest. */
  readonly name: string;
  readonly key: string;
  readonly manifest: Manifest;
  /** Without it the disk is only read. */
  readonly isWritable?: boolean;
  /** The image has no name yet: its manifest is for who gives it one. */
  readonly isDraft?: boolean;
  /** Bytes of memory for chunks, those that wait for a flush included; 64 MiB by default. */
  readonly cacheBytes?: number;
  /** Called when the disk is closed. */
  readonly release?: () => void | Promise<void>;
}

interface Chunk {
  readonly bytes: Uint8Array;
  changes: number;
  saved: number;
}

/** A disk in an image store. */
export class StoreBackend implements BlockBackend {
  readonly size: number;
  readonly isReadOnly: boolean;
  private readonly requests: Requests;
  private readonly locks = new RangeLocks();
  private readonly saves = new Turns();
  private readonly index: ChunkIndex;
  /** In the order of their use, the last one last. */
  private readonly chunks = new Map<number, Chunk>();
  private readonly loading = new Map<number, Promise<Chunk>>();
  /** Numbers of those that have changed since they were added. */
  private readonly changed = new Set<number>();
  private readonly most: number;
  /** Whether the index has changes that no manifest has. */
  private hasUnnamed = false;
  private current: Manifest;
  private release: (() => void | Promise<void>) | undefined;

  constructor(private readonly parts: StoreBackendParts) {
    const { manifest, name, isWritable = false, cacheBytes = DEFAULT_CACHE } = parts;
    this.size = manifest.size;
    this.isReadOnly = !isWritable;
    this.current = manifest;
    this.release = parts.release;
    this.requests = new Requests(name, manifest.size);
    this.index = new ChunkIndex(name, parts.objects, manifest.pages);
    this.most = Math.max(2 * AT_ONCE, Math.floor(cacheBytes / manifest.chunkBytes));
  }

  /** What the image was when it was last flushed, or opened. */
  get manifest(): Manifest {
    return this.current;
  }

  read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    return this.request(offset, length, false, () =>
      inParallel([...this.pieces(offset, length)], AT_ONCE, async ({ number, from, at, bytes }) => {
        const chunk = await this.chunk(number);
        scatter(chunk.bytes.subarray(from, from + bytes), sliceOf(buffers, at, bytes));
      }),
    );
  }

  write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    return this.change(offset, length, (piece) => sliceOf(buffers, piece.at, piece.bytes));
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.change(offset, length, () => undefined);
  }

  discard(offset: number, length: number): Promise<void> {
    return this.writeZeroes(offset, length);
  }

  extent(offset: number, length: number): Promise<Extent> {
    return this.request(offset, length, false, async () => {
      const { chunkBytes } = this.current;
      let end = offset;
      let kind: Extent["kind"] | undefined;
      while (end < offset + length) {
        const number = Math.floor(end / chunkBytes);
        const here = (await this.isZeros(number)) ? "zero" : "data";
        if (here !== (kind ??= here)) break;
        end = (number + 1) * chunkBytes;
      }
      return { length: Math.min(end, offset + length) - offset, kind: kind ?? "zero", depth: 0 };
    });
  }

  async flush(): Promise<void> {
    this.requests.check(0, 0);
    if (!this.isReadOnly) await this.saves.run(() => this.save());
  }

  async close(): Promise<void> {
    await this.requests.close();
    try {
      if (!this.isReadOnly) await this.saves.run(() => this.save());
    } finally {
      await this.letGo();
    }
  }

  /** Closes the disk without what was written since the last flush. */
  async abandon(): Promise<void> {
    await this.requests.close();
    await this.saves.run(() => this.letGo());
  }

  private async letGo(): Promise<void> {
    const { release } = this;
    this.release = undefined;
    await release?.();
  }

  private *pieces(offset: number, length: number) {
    const { chunkBytes } = this.current;
    for (let at = 0; at < length; ) {
      const number = Math.floor((offset + at) / chunkBytes);
      const from = offset + at - number * chunkBytes;
      const bytes = Math.min(chunkBytes - from, length - at);
      yield { number, from, at, bytes };
      at += bytes;
    }
  }

  /** Writes to each chunk of a range what `contentOf` gives for it, or zeros. */
  private change(
    offset: number,
    length: number,
    contentOf: (piece: { readonly at: number; readonly bytes: number }) => readonly Uint8Array[] | undefined,
  ): Promise<void> {
    if (this.isReadOnly) return Promise.reject(readOnly(this.parts.name));
    return this.request(offset, length, true, () =>
      inParallel([...this.pieces(offset, length)], AT_ONCE, async (piece) => {
        await this.makeRoom();
        const { number, from, bytes } = piece;
        const chunk = bytes === this.bytesOf(number) ? this.blank(number) : await this.chunk(number);
        // From here on nothing is awaited: the chunk is changed and kept, or neither.
        const content = contentOf(piece);
        if (content === undefined) chunk.bytes.fill(0, from, from + bytes);
        else {
          let to = from;
          for (const part of content) {
            chunk.bytes.set(part, to);
            to += part.length;
          }
        }
        chunk.changes++;
        this.changed.add(number);
        this.keep(number, chunk);
      }),
    );
  }

  private bytesOf(number: number): number {
    const { chunkBytes } = this.current;
    return Math.min(chunkBytes, this.size - number * chunkBytes);
  }

  private async isZeros(number: number): Promise<boolean> {
    const chunk = this.chunks.get(number);
    if (chunk !== undefined && chunk.changes !== chunk.saved) return isZero(chunk.bytes);
    return (await this.index.get(number)) === "";
  }

  /** A chunk that will be written whole. */
  private blank(number: number): Chunk {
    return this.chunks.get(number) ?? { bytes: new Uint8Array(this.bytesOf(number)), changes: 0, saved: 0 };
  }

  private async chunk(number: number): Promise<Chunk> {
    const chunk = this.chunks.get(number);
    if (chunk !== undefined) {
      this.keep(number, chunk);
      return chunk;
    }
    let loading = this.loading.get(number);
    if (loading === undefined) {
      loading = this.load(number).finally(() => this.loading.delete(number));
      this.loading.set(number, loading);
    }
    return loading;
  }

  private async load(number: number): Promise<Chunk> {
    const { name, objects } = this.parts;
    const digest = await this.index.get(number);
    const length = this.bytesOf(number);
    const bytes = digest === "" ? new Uint8Array(length) : (await objects.read(name, digest, length)).slice();
    const chunk = { bytes, changes: 0, saved: 0 };
    this.keep(number, chunk);
    return chunk;
  }

  /** Notes the use of a chunk, and forgets others while there are too many. */
  private keep(number: number, chunk: Chunk): void {
    this.chunks.delete(number);
    this.chunks.set(number, chunk);
    let extra = this.chunks.size - this.most;
    if (extra <= 0) return;
    for (const [other, { changes, saved }] of this.chunks) {
      if (changes !== saved || other === number) continue;
      this.chunks.delete(other);
      if (--extra <= 0) return;
    }
  }

  /** Adds changed chunks to the store where more than half of the room waits for a flush. */
  private async makeRoom(): Promise<void> {
    if (this.changed.size * 2 > this.most) await this.saves.run(() => this.saveChunks());
  }

  private async saveChunks(): Promise<void> {
    await inParallel([...this.changed], AT_ONCE, async (number) => {
      const chunk = this.chunks.get(number)!;
      const { changes } = chunk;
      const bytes = chunk.bytes.slice();
      const digest = isZero(bytes) ? undefined : await this.parts.objects.add(bytes);
      await this.index.set(number, digest);
      this.hasUnnamed = true;
      chunk.saved = changes;
      if (chunk.changes === changes) this.changed.delete(number);
    });
  }

  private async save(): Promise<void> {
    await this.saveChunks();
    if (!this.hasUnnamed) return;
    const { place, key, name, isDraft } = this.parts;
    const manifest = { ...this.current, pages: await this.index.save(), createdAt: new Date().toISOString() };
    const bytes = await printManifest(manifest);
    if (bytes.length > MOST_MANIFEST)
      throw new DiskError("E_IMAGE_LIMIT", `${name}: the manifest would have ${bytes.length} bytes`);
    await place.sync();
    if (!isDraft) await place.replace(key, bytes);
    this.current = manifest;
    this.hasUnnamed = false;
  }

  private request<T>(
    offset: number,
    length: number,
    isExclusive: boolean,
    job: () => Promise<T>,
  ): Promise<T> {
    const { chunkBytes } = this.current;
    const first = Math.floor(offset / chunkBytes);
    const end = Math.ceil((offset + length) / chunkBytes);
    return this.requests.run(offset, length, () => this.locks.run(first, end, isExclusive, job));
  }
}
