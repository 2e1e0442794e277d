/** Requests as reads and writes of an image's file: clusters whose bytes lie one after another there are one piece. */
import type { Entry } from "./mapping.js";

/** A part of a request. */
export interface Piece {
  /** What its first cluster is; the others follow it in the file, or read as the same. */
  readonly entry: Entry;
  /** Where it begins in its first cluster, and its length. */
  readonly skip: number;
  readonly length: number;
  /** Byte of the request. */
  readonly at: number;
}

/** Whether a cluster may be written where it is. */
export const isInPlace = ({ kind, isCopied }: Entry): boolean => kind === "data" && isCopied;

/** Whether what `entry` says goes on `length` bytes after the start of `head`. */
export function follows(head: Entry, entry: Entry, length: number): boolean {
  if (head.kind !== entry.kind || head.kind === "compressed") return false;
  return head.kind !== "data" || entry.offset === head.offset + length;
}

/** The pieces of a request of `length` bytes at `offset`, whose clusters are `entries`. */
export function piecesOf(
  entries: readonly Entry[],
  offset: number,
  length: number,
  clusterBytes: number,
): Piece[] {
  const pieces: { entry: Entry; skip: number; length: number; at: number }[] = [];
  const firstSkip = offset % clusterBytes;
  for (let index = 0, at = 0; at < length; index++) {
    const entry = entries[index]!;
    const skip = index === 0 ? firstSkip : 0;
    const part = Math.min(clusterBytes - skip, length - at);
    const last = pieces.at(-1);
    if (last !== undefined && follows(last.entry, entry, last.skip + last.length)) last.length += part;
    else pieces.push({ entry, skip, length: part, at });
    at += part;
  }
  return pieces;
}
