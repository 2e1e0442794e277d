/** What the host says of a file operation that failed, in words for the end of a one-line message. */

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is not a folder",
  ENOSPC: "the disk is full: make room and try again",
  EDQUOT: "the disk quota is used up: make room and try again",
  EFBIG: "the file would be larger than is allowed",
  EROFS: "the file system is read-only",
  EIO: "the device reports an error",
  EMFILE: "too many files are open",
  ELOOP: "its links go in a circle",
};

/** The system error name (`ENOENT`, `EACCES`, ...) that `error` carries, if any. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** The reason of a failed file operation: words where its code is known, else the error's message. */
export function fileReason(error: unknown): string {
  const code = systemErrorCode(error);
  if (code !== undefined && Object.hasOwn(reasons, code)) return reasons[code]!;
  return error instanceof Error ? error.message : String(error);
}
