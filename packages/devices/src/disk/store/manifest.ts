/**
 * What an image is in a store: a manifest, which names the pages of its index, which name its chunks; each by the SHA-256
 * (FIPS 180-4) of its bytes. So an image, a snapshot and a clone are the same thing, and share what is equal.
 *
 * A manifest is a line of text and a JSON object: `hyperfile-image 1 SHA-256-OF-THE-REST`, then `size`, `chunkBytes`,
 * `pages` (a digest in hexadecimal for each, "" for one whose chunks are all zeros), `createdAt`, and `labels`, texts by
 * name that are the user's.
 *
 * A page is {@link PAGE_ENTRIES} digests of {@link DIGEST_BYTES} bytes each; one of zeros stands for a chunk of zeros.
 */
import { DiskError } from "../errors.js";

/** Digests in a page of the index. */
export const PAGE_ENTRIES = 1024;
/** Bytes of a digest. */
export const DIGEST_BYTES = 32;
/** Bytes of a page. */
export const PAGE_BYTES = PAGE_ENTRIES * DIGEST_BYTES;
/** Bytes of a chunk, at least and at most: powers of two. */
export const [LEAST_CHUNK, MOST_CHUNK] = [4096, 4 << 20];
/** Bytes of a chunk, unless something else is asked for. */
export const DEFAULT_CHUNK = 256 << 10;
/** Bytes of a manifest at most. */
export const MOST_MANIFEST = 64 << 20;
/** Bytes of a disk at most: 64 TiB. */
const MOST_DISK = 2 ** 46;
const MOST_LABELS = 64;

const MAGIC = "hyperfile-image";
const VERSION = 1;

/** An image of a store. */
export interface Manifest {
  /** Bytes of the disk. */
  readonly size: number;
  /** Bytes of a chunk; the last one may have fewer. */
  readonly chunkBytes: number;
  /** Digests of the index's pages in hexadecimal; "" for a page of zeros. */
  readonly pages: readonly string[];
  /** When it was made, as ISO 8601 has it. */
  readonly createdAt: string;
  /** Texts by name, for the user. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Pages that the index of a disk has. */
export const pageCount = (size: number, chunkBytes: number): number =>
  Math.ceil(Math.ceil(size / chunkBytes) / PAGE_ENTRIES);

/** Whether bytes begin as a manifest does. */
export const isManifest = (bytes: Uint8Array): boolean =>
  bytes.length > MAGIC.length &&
  new TextDecoder().decode(bytes.subarray(0, MAGIC.length + 1)) === `${MAGIC} `;

/** The SHA-256 of bytes. */
export async function digestOf(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>));
}

/** A digest as text. */
export function hexOf(digest: Uint8Array): string {
  let text = "";
  for (const byte of digest) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** A manifest as bytes. */
export async function printManifest(manifest: Manifest): Promise<Uint8Array> {
  const body = new TextEncoder().encode(`${JSON.stringify(manifest)}\n`);
  const head = new TextEncoder().encode(`${MAGIC} ${VERSION} ${hexOf(await digestOf(body))}\n`);
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

/**
 * Checks what a new image is to be.
 * @throws DiskError `E_IMAGE_FORMAT` with what is allowed
 */
export function checkShape(name: string, size: number, chunkBytes: number): void {
  if (!Number.isSafeInteger(size) || size < 0 || size > MOST_DISK)
    throw new DiskError("E_IMAGE_FORMAT", `${name}: a disk has from 0 to ${MOST_DISK} bytes, not ${size}`);
  if (!isChunkSize(chunkBytes))
    throw new DiskError(
      "E_IMAGE_FORMAT",
      `${name}: chunks have a power of two from ${LEAST_CHUNK} to ${MOST_CHUNK} bytes, not ${chunkBytes}`,
    );
}

/**
 * Reads a manifest, in time and memory that its length bounds.
 * @param name of the image, for errors
 * @throws DiskError `E_IMAGE_FORMAT` if it is none, `E_IMAGE_UNSUPPORTED` for another version, `E_IMAGE_DAMAGED`
 */
export async function parseManifest(name: string, bytes: Uint8Array): Promise<Manifest> {
  const damaged = (how: string) =>
    new DiskError("E_IMAGE_DAMAGED", `${name}: the manifest is damaged: ${how}; use another copy of it`, {
      structure: "manifest",
      how,
    });
  if (!isManifest(bytes)) throw new DiskError("E_IMAGE_FORMAT", `${name}: this is no image of a store`);
  const end = bytes.subarray(0, 256).indexOf(0x0a);
  const [, version, digest] = new TextDecoder().decode(bytes.subarray(0, Math.max(end, 0))).split(" ");
  if (end < 0 || digest === undefined) throw damaged("its first line is cut off");
  if (version !== String(VERSION))
    throw new DiskError(
      "E_IMAGE_UNSUPPORTED",
      `${name}: the image has version ${JSON.stringify(version)}; this program reads version ${VERSION}`,
    );
  const body = bytes.subarray(end + 1);
  if (hexOf(await digestOf(body)) !== digest) throw damaged("its checksum does not fit");
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw damaged("it is not JSON");
  }
  return checkManifest(value, damaged);
}

function checkManifest(value: unknown, damaged: (how: string) => DiskError): Manifest {
  if (typeof value !== "object" || value === null) throw damaged("it is not a JSON object");
  const { size, chunkBytes, pages, createdAt, labels } = value as Record<string, unknown>;
  if (!Number.isSafeInteger(size) || (size as number) < 0 || (size as number) > MOST_DISK)
    throw damaged("size is no number of bytes");
  if (!isChunkSize(chunkBytes)) throw damaged("chunkBytes is no size of chunks");
  const count = pageCount(size as number, chunkBytes);
  if (!Array.isArray(pages) || pages.length !== count) throw damaged(`pages is not a list of ${count}`);
  const wrong = pages.findIndex((page) => typeof page !== "string" || !/^([0-9a-f]{64})?$/.test(page));
  if (wrong >= 0) throw damaged(`page ${wrong} has no digest`);
  if (typeof createdAt !== "string" || !isDate(createdAt)) throw damaged("createdAt is no date");
  const texts = typeof labels === "object" && labels !== null ? Object.entries(labels) : undefined;
  if (texts === undefined || texts.length > MOST_LABELS || texts.some(([, text]) => typeof text !== "string"))
    throw damaged(`labels are not at most ${MOST_LABELS} texts by name`);
  return {
    size: size as number,
    chunkBytes,
    pages: pages as string[],
    createdAt,
    labels: Object.fromEntries(texts) as Record<string, string>,
  };
}

/** A moment as ISO 8601 has it, in UTC, to the second or finer. */
function isDate(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(text) && !Number.isNaN(Date.parse(text));
}

function isChunkSize(value: unknown): value is number {
  if (!Number.isInteger(value)) return false;
  const bytes = value as number;
  return bytes >= LEAST_CHUNK && bytes <= MOST_CHUNK && (bytes & (bytes - 1)) === 0;
}
