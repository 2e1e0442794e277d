/**
 * The file of an image, as the formats see it: bytes that can be read, written and made longer. Hosts bring their own;
 * here is one in memory.
 */
import { clear, lengthOf, sliceOf } from "./block-backend.js";
import { SparseBytes } from "./sparse-bytes.js";

/** A file. The rules of {@link BlockBackend} hold, except that it grows when it is written behind its end. */
export interface ImageFile {
  /** What messages call it: its path, as a rule. */
  readonly name: string;
  readonly isReadOnly: boolean;
  /** Bytes, now. */
  readonly size: number;
  /** Fills `buffers`; what lies behind the end reads as zeros. */
  read(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  write(offset: number, buffers: readonly Uint8Array[]): Promise<void>;
  /** Makes what has been written durable, the size included. */
  flush(): Promise<void>;
  /** Cuts the file, or makes it longer with zeros. */
  truncate(size: number): Promise<void>;
  /** Whether the host has given the file no room at all, so that it reads as zeros. */
  isHole?(): Promise<boolean>;
  close(): Promise<void>;
}

/** A file that its user does not close. */
export const keptOpen = (file: ImageFile): ImageFile => ({
  name: file.name,
  isReadOnly: file.isReadOnly,
  get size() {
    return file.size;
  },
  read: (offset, buffers) => file.read(offset, buffers),
  write: (offset, buffers) => file.write(offset, buffers),
  flush: () => file.flush(),
  truncate: (size) => file.truncate(size),
  isHole: async () => (await file.isHole?.()) ?? false,
  close: async () => {},
});

/** A file in memory. */
export class MemoryFile implements ImageFile {
  readonly isReadOnly = false;
  private bytes = new SparseBytes();
  private length = 0;

  constructor(readonly name: string = "memory") {}

  get size(): number {
    return this.length;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const inside = Math.max(0, Math.min(lengthOf(buffers), this.length - offset));
    this.bytes.read(offset, sliceOf(buffers, 0, inside));
    clear(sliceOf(buffers, inside, lengthOf(buffers) - inside));
  }

  async write(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.bytes.write(offset, buffers);
    this.length = Math.max(this.length, offset + lengthOf(buffers));
  }

  async flush(): Promise<void> {}

  async truncate(size: number): Promise<void> {
    if (size < this.length) this.bytes.clear(size, this.length - size);
    this.length = size;
  }

  async isHole(): Promise<boolean> {
    return this.bytes.allocatedBytes === 0;
  }

  async close(): Promise<void> {}

  /** A file of its own with the same bytes. */
  copy(name: string = this.name): MemoryFile {
    const copy = new MemoryFile(name);
    copy.bytes = this.bytes.fork();
    copy.length = this.length;
    return copy;
  }
}
