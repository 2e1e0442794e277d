/** Device trees that can't be read or written. */

/** Stable codes of {@link FdtError}. */
export type FdtErrorCode =
  | "E_FDT_MAGIC"
  | "E_FDT_MALFORMED"
  | "E_FDT_TRUNCATED"
  | "E_FDT_VALUE"
  | "E_FDT_VERSION";

/** A device tree that can't be read or written; the message names the place and the remedy. */
export class FdtError extends Error {
  override readonly name = "FdtError";

  constructor(
    readonly code: FdtErrorCode,
    message: string,
  ) {
    super(message);
  }
}
