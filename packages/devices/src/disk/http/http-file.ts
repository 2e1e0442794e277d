/**
 * A file behind a web server, read by ranges (RFC 9110, section 14) and kept in blocks while there is room. Any image can
 * lie on it, so that a disk is used before it has been fetched.
 *
 * The file is the one that was there when it was opened: where the server names versions (ETag, section 8.8.3, or the time
 * of the last change), bytes of another version are an error, not a mixture.
 */
import { lengthOf, readOnly, scatter, sliceOf } from "../block-backend.js";
import { DiskError } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import { inParallel } from "../turns.js";
import { checkAddress, type HttpAnswer, type HttpOptions, HttpSource, httpError } from "./http-source.js";

/** Bytes of a block, memory for blocks, and blocks that are fetched at once, unless something else is asked for. */
const [BLOCK_BYTES, CACHE_BYTES, AT_ONCE] = [256 << 10, 64 << 20, 8];
/** Bytes of a file at most: 64 TiB. */
const MOST_BYTES = 2 ** 46;

/** How a file is read. */
export interface HttpFileOptions extends HttpOptions {
  /** Bytes that are fetched at a time: a power of two, 256 KiB by default. */
  readonly blockBytes?: number;
  /** Bytes of memory for blocks; 64 MiB by default. */
  readonly cacheBytes?: number;
}

/** A file behind a web server. */
export class HttpFile implements ImageFile {
  readonly isReadOnly = true;
  /** In the order of their use, the last one last. */
  private readonly blocks = new Map<number, Promise<Uint8Array>>();
  private readonly most: number;
  private isClosed = false;

  private constructor(
    readonly name: string,
    readonly size: number,
    private readonly version: string | undefined,
    private readonly source: HttpSource,
    private readonly blockBytes: number,
    cacheBytes: number,
  ) {
    this.most = Math.max(AT_ONCE, Math.floor(cacheBytes / blockBytes));
  }

  /**
   * Opens a file.
   * @throws DiskError `E_IMAGE_FORMAT` if it is no address; `E_DISK_IO` if there is no such file, or the server gives no
   * ranges of it
   */
  static async open(address: string, options: HttpFileOptions = {}): Promise<HttpFile> {
    checkAddress(address);
    const { blockBytes = BLOCK_BYTES, cacheBytes = CACHE_BYTES } = options;
    const source = new HttpSource(options);
    // A server that gives no ranges would send all of it.
    const answer = await source
      .get(address, blockBytes, { range: `bytes=0-${blockBytes - 1}` })
      .catch((error) => {
        throw error instanceof DiskError && error.code === "E_IMAGE_LIMIT"
          ? withoutRanges(address, error)
          : error;
      });
    const size = sizeIn(address, answer);
    const file = new HttpFile(address, size, versionOf(answer), source, blockBytes, cacheBytes);
    if (size > 0) file.blocks.set(0, Promise.resolve(answer.bytes));
    return file;
  }

  async read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    const length = lengthOf(buffers);
    const inside = Math.max(0, Math.min(length, this.size - offset));
    const pieces: {
      readonly block: number;
      readonly from: number;
      readonly at: number;
      readonly bytes: number;
    }[] = [];
    for (let at = 0; at < inside; ) {
      const block = Math.floor((offset + at) / this.blockBytes);
      const from = offset + at - block * this.blockBytes;
      const bytes = Math.min(this.blockBytes - from, inside - at);
      pieces.push({ block, from, at, bytes });
      at += bytes;
    }
    await inParallel(pieces, AT_ONCE, async ({ block, from, at, bytes }) => {
      scatter((await this.block(block)).subarray(from, from + bytes), sliceOf(buffers, at, bytes));
    });
    for (const rest of sliceOf(buffers, inside, length - inside)) rest.fill(0);
  }

  write(): Promise<void> {
    return Promise.reject(readOnly(this.name));
  }

  async flush(): Promise<void> {}

  truncate(): Promise<void> {
    return Promise.reject(readOnly(this.name));
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.blocks.clear();
  }

  private block(number: number): Promise<Uint8Array> {
    const there = this.blocks.get(number);
    this.blocks.delete(number);
    const block = there ?? this.fetchBlock(number);
    if (!this.isClosed) this.blocks.set(number, block);
    if (there === undefined) {
      // What could not be fetched may be there the next time.
      block.catch(() => this.blocks.get(number) === block && this.blocks.delete(number));
      for (const [oldest] of this.blocks) {
        if (this.blocks.size <= this.most) break;
        this.blocks.delete(oldest);
      }
    }
    return block;
  }

  private async fetchBlock(number: number): Promise<Uint8Array> {
    const start = number * this.blockBytes;
    const length = Math.min(this.blockBytes, this.size - start);
    const answer = await this.source.get(this.name, length, {
      range: `bytes=${start}-${start + length - 1}`,
    });
    const isSame = sizeIn(this.name, answer) === this.size && versionOf(answer) === this.version;
    if (!isSame) throw httpError(this.name, "the file has changed since it was opened; open it again");
    if (answer.bytes.length !== length || startIn(answer) !== start)
      throw httpError(this.name, `the server sends other bytes than the ${length} at ${start}`);
    return answer.bytes;
  }
}

const withoutRanges = (address: string, cause?: unknown): DiskError =>
  httpError(address, "the server gives no ranges of the file; use one that does, or fetch the file", cause);

/** What names the version that an answer is of. */
const versionOf = ({ headers }: HttpAnswer): string | undefined =>
  headers.get("etag") ?? headers.get("last-modified") ?? undefined;

/** The file's size as an answer says it. */
function sizeIn(address: string, { status, headers, bytes }: HttpAnswer): number {
  const size = Number(/\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1]);
  // Of an empty file no range can be given.
  if (status === 416 && size === 0) return 0;
  // A small file may come whole.
  if (status === 200) return bytes.length;
  if (status === 404 || status === 410) throw httpError(address, "there is no such file");
  if (status !== 206) throw httpError(address, `the server answers with status ${status}`);
  if (!Number.isSafeInteger(size) || size > MOST_BYTES)
    throw httpError(address, "the server does not say how large the file is");
  return size;
}

/** Where the bytes of an answer begin. */
const startIn = ({ headers }: HttpAnswer): number =>
  Number(/^bytes (\d+)-/.exec(headers.get("content-range") ?? "")?.[1]);
