/** Errors of preparing Debian. */

/**
 * What went wrong: `E_CACHE` for the folder that its files are kept in, `E_IMAGE_SETTING` for what a system image is to
 * be, `E_IMAGE_BUILD` for the machine that builds it; with any other, Debian can't be had on this host, which leaves
 * another guest.
 */
export type DebianErrorCode =
  | "E_CACHE"
  | "E_NO_APT"
  | "E_NO_DEBIAN_SOURCE"
  | "E_NETWORK"
  | "E_APT"
  | "E_PACKAGE_NOT_FOUND"
  | "E_PACKAGE_FORMAT"
  | "E_IMAGE_SETTING"
  | "E_IMAGE_BUILD";

/** Debian can't be prepared: one line that names the thing, the place and the remedy. */
export class DebianError extends Error {
  override readonly name = "DebianError";

  constructor(
    readonly code: DebianErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** Whether `error` says that apt or Debian can't be had here, so that another guest has to do. */
export function meansDebianIsUnavailable(error: unknown): error is DebianError {
  return error instanceof DebianError && !/^E_(?:CACHE|IMAGE_)/.test(error.code);
}
