/** Instructions that begin in one page and end in the next. */
import type { FrontEnd, GuestInsn } from "@hyperfile/decoder";
import { PAGE_SIZE } from "../memory/layout.js";

/**
 * The instruction at an offset of a page.
 * @param u8 linear memory
 * @param frame byte offset of the page's frame in it
 * @param next byte offset of the next page's frame; undefined if it is not known
 * @returns undefined if part of the instruction lies in a page that is not known
 */
export function decodeInPages(
  frontEnd: FrontEnd,
  u8: Uint8Array,
  frame: number,
  next: number | undefined,
  offset: number,
): GuestInsn | undefined {
  const inFirst = PAGE_SIZE - offset;
  const insn = frontEnd.decode(u8, frame + offset, inFirst, offset);
  if (insn !== null || next === undefined) return insn ?? undefined;
  const bytes = new Uint8Array(inFirst + frontEnd.maximumLength);
  bytes.set(u8.subarray(frame + offset, frame + PAGE_SIZE));
  bytes.set(u8.subarray(next, next + frontEnd.maximumLength), inFirst);
  return frontEnd.decode(bytes, 0, bytes.length, offset) ?? undefined;
}
