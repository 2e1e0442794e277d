/**
 * The index of an image: which chunk has which digest. Its pages are read when they are needed; those that have changed
 * stay in memory until they are saved, the others as long as there is room.
 */
import type { ChunkObjects } from "./chunk-objects.js";
import { DIGEST_BYTES, hexOf, PAGE_BYTES, PAGE_ENTRIES } from "./manifest.js";

/** Unchanged pages that are kept: 8 MiB. */
const MOST_CLEAN = 256;

interface Page {
  readonly bytes: Uint8Array;
  /** Counts changes, so that one made while the page is saved is not forgotten. */
  changes: number;
  saved: number;
}

/** The index of one image. */
export class ChunkIndex {
  private readonly digests: string[];
  private readonly pages = new Map<number, Page>();
  private readonly loading = new Map<number, Promise<Page>>();

  /**
   * @param name of the image, for errors
   * @param digests of its pages, "" for one of zeros
   */
  constructor(
    private readonly name: string,
    private readonly objects: ChunkObjects,
    digests: readonly string[],
  ) {
    this.digests = [...digests];
  }

  /** The digest of a chunk in hexadecimal; "" for one of zeros. */
  async get(chunk: number): Promise<string> {
    const number = Math.floor(chunk / PAGE_ENTRIES);
    if (!this.pages.has(number) && this.digests[number] === "") return "";
    const { bytes } = await this.page(number);
    return digestAt(bytes, (chunk % PAGE_ENTRIES) * DIGEST_BYTES);
  }

  /** Lets a chunk have a digest; undefined for zeros. */
  async set(chunk: number, digest: Uint8Array | undefined): Promise<void> {
    const number = Math.floor(chunk / PAGE_ENTRIES);
    let page: Page;
    // While it was waited for, others may have taken its room.
    do page = await this.page(number);
    while (this.pages.get(number) !== page);
    const at = (chunk % PAGE_ENTRIES) * DIGEST_BYTES;
    if (digest === undefined) page.bytes.fill(0, at, at + DIGEST_BYTES);
    else page.bytes.set(digest, at);
    page.changes++;
  }

  /** Adds all pages that have changed; gives the digests of all. */
  async save(): Promise<readonly string[]> {
    for (const [number, page] of [...this.pages]) {
      if (page.changes === page.saved) continue;
      const { changes } = page;
      const bytes = page.bytes.slice();
      this.digests[number] = bytes.every((byte) => byte === 0) ? "" : hexOf(await this.objects.add(bytes));
      page.saved = changes;
    }
    this.trim();
    return [...this.digests];
  }

  private async page(number: number): Promise<Page> {
    const page = this.pages.get(number);
    if (page !== undefined) {
      // What was used last goes last.
      this.pages.delete(number);
      this.pages.set(number, page);
      return page;
    }
    let loading = this.loading.get(number);
    if (loading === undefined) {
      loading = this.load(number).finally(() => this.loading.delete(number));
      this.loading.set(number, loading);
    }
    return loading;
  }

  private async load(number: number): Promise<Page> {
    const digest = this.digests[number]!;
    const bytes =
      digest === "" ? new Uint8Array(PAGE_BYTES) : await this.objects.read(this.name, digest, PAGE_BYTES);
    const page = { bytes, changes: 0, saved: 0 };
    this.pages.set(number, page);
    this.trim();
    return page;
  }

  private trim(): void {
    let extra = this.pages.size - MOST_CLEAN;
    for (const [number, { changes, saved }] of this.pages) {
      if (extra <= 0) return;
      if (changes !== saved) continue;
      this.pages.delete(number);
      extra--;
    }
  }
}

/** The digests in a page in hexadecimal, "" for a chunk of zeros. */
export function* digestsIn(page: Uint8Array): Iterable<string> {
  for (let at = 0; at < page.length; at += DIGEST_BYTES) yield digestAt(page, at);
}

function digestAt(page: Uint8Array, at: number): string {
  const digest = page.subarray(at, at + DIGEST_BYTES);
  return digest.every((byte) => byte === 0) ? "" : hexOf(digest);
}
