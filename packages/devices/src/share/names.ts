/** Names of files as Linux has them: 1 to 255 bytes without a slash or a zero byte, none of them `.` or `..`. */
import { FolderError } from "./errors.js";

/** Longest name in bytes (NAME_MAX). */
export const MOST_NAME_BYTES = 255;
/** Longest target of a link in bytes (PATH_MAX, without its end). */
export const MOST_TARGET_BYTES = 4095;

/** Whether text with a character a byte is the name of something in a folder, and leads nowhere else. */
export function isName(name: string): boolean {
  if (name === "" || name === "." || name === ".." || name.length > MOST_NAME_BYTES) return false;
  return !name.includes("/") && !name.includes("\0");
}

/** Refuses what is no name. @throws FolderError */
export function checkName(name: string): void {
  if (isName(name)) return;
  throw new FolderError(name.length > MOST_NAME_BYTES ? "ENAMETOOLONG" : "EINVAL");
}

/** Text of bytes, a character each. */
export function textOf(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Bytes of text with a character a byte. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}
