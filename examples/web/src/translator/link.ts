/**
 * A program in the part of an address after `#`: version, instruction set, block, and the source, compressed (raw
 * deflate) and in base64url. Nothing is sent anywhere.
 */
import { isIsaName } from "./isas.js";
import type { IsaName } from "./protocol.js";

/** What a link holds. */
export interface SharedProgram {
  readonly isa: IsaName;
  /** Address of the block that is shown, as columns print it. */
  readonly block: string;
  readonly source: string;
}

/** A link that can't be read. */
export class LinkError extends Error {
  override readonly name = "LinkError";
  readonly code = "E_LINK";
}

const VERSION = "p1";
/** Most bytes of a program in UTF-8; compressed text of a few bytes may otherwise be gigabytes. */
const MOST_BYTES = 1 << 18;

/** The fragment for a program, with its `#`. */
export async function fragmentOf({ isa, block, source }: SharedProgram): Promise<string> {
  const packed = await bytesOf(
    new Blob([source]).stream().pipeThrough(new CompressionStream("deflate-raw")),
    Infinity,
  );
  const text = btoa(String.fromCharCode(...packed))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
  return `#${VERSION}.${isa}.${block.slice(2)}.${text}`;
}

/** The program of a fragment. @throws LinkError saying what is wrong with it */
export async function programOf(fragment: string): Promise<SharedProgram> {
  const [version, isa, block, text, ...rest] = fragment.replace(/^#/, "").split(".");
  if (version !== VERSION) throw new LinkError("the link is of no version that this page knows");
  if (isa === undefined || !isIsaName(isa))
    throw new LinkError("the link names no instruction set of this page");
  if (block === undefined || text === undefined || rest.length > 0 || !/^[\da-f]{1,16}$/.test(block))
    throw new LinkError("the link is cut off, or has more than a link has");
  return { isa, block: `0x${block}`, source: await unpacked(text) };
}

async function unpacked(text: string): Promise<string> {
  try {
    const packed = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) =>
      each.charCodeAt(0),
    );
    const bytes = await bytesOf(
      new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw")),
      MOST_BYTES,
    );
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof LinkError) throw error;
    throw new LinkError("the link's program can't be unpacked: part of it is missing or changed");
  }
}

async function bytesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>, most: number): Promise<Uint8Array> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  for (const reader = stream.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(parts).arrayBuffer());
    length += value.length;
    if (length > most) {
      void reader.cancel();
      throw new LinkError(`the link's program is longer than ${most} bytes`);
    }
    parts.push(value);
  }
}
