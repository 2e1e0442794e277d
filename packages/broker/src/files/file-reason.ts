/** What the host says of a file operation that failed, in words for the end of a one-line message. */

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  EISDIR: "it is a folder",
  ENOTDIR: "a part of the path is not a folder",
  ENOSPC: "no space left on the device",
  EROFS: "the file system is read-only",
  EEXIST: "a file is in the way",
  EFBIG: "the file would be larger than is allowed",
  EDQUOT: "the disk quota is used up",
  EIO: "the device reports an error",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open on this computer",
  ELOOP: "its links go in a circle",
  ENAMETOOLONG: "the name is too long",
};

/** The reason of a failed file operation: words where its code is known, else the error's message. */
export function fileErrorReason(error: unknown): string {
  const { code, message } = (typeof error === "object" && error !== null ? error : {}) as {
    code?: unknown;
    message?: unknown;
  };
  const known = typeof code === "string" && Object.hasOwn(reasons, code) ? reasons[code] : undefined;
  return known ?? (typeof message === "string" ? message : String(error));
}
