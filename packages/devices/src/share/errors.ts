/**
 * What can go wrong with a shared folder: for its owner (`ShareError`), a folder that can't be shared; for the guest
 * (`FolderError`), a request that fails, by the name of Linux's error.
 */

/** Stable codes of {@link ShareError}. */
export type ShareErrorCode =
  /** There is no such folder, or the host refuses it; `cause` is its error. */
  | "E_SHARE_FOLDER"
  /** The host has not what confines a guest to a folder. */
  | "E_SHARE_HOST"
  /** A tag, a user or a group that no guest can be shown. */
  | "E_SHARE_OPTION";

/** A folder that can't be shared: one line that names it and says what to do. */
export class ShareError extends Error {
  override readonly name = "ShareError";

  constructor(
    readonly code: ShareErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Numbers of Linux's errors (include/uapi/asm-generic/errno.h), by their names: the guest's, whatever the host's are. */
export const linuxErrors = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  EPROTO: 71,
  EOVERFLOW: 75,
  EOPNOTSUPP: 95,
  ESTALE: 116,
  EDQUOT: 122,
} as const;

/** Name of an error of Linux. */
export type LinuxErrorName = keyof typeof linuxErrors;

/** A request of a guest that fails. */
export class FolderError extends Error {
  override readonly name = "FolderError";

  constructor(readonly code: LinuxErrorName) {
    super(code);
  }
}
