/** Files that can't be used: one line that names the file and the place, and says what to do. */

/** Stable codes of {@link ImageError}. */
export type ImageErrorCode =
  | "E_ELF_TRUNCATED"
  | "E_ELF_MALFORMED"
  | "E_ELF_MACHINE"
  | "E_KERNEL_TRUNCATED"
  | "E_KERNEL_UNKNOWN"
  | "E_KERNEL_COMPRESSED"
  | "E_INITRD_UNKNOWN"
  | "E_INITRD_TRUNCATED"
  | "E_INITRD_DAMAGED"
  | "E_INITRD_ENTRY"
  | "E_DOES_NOT_FIT"
  | "E_OVERLAP";

/** A file that can't be loaded. */
export class ImageError extends Error {
  override readonly name = "ImageError";

  constructor(
    readonly code: ImageErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
