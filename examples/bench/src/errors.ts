/** Errors that the program reports to its user: one line on standard error and a non-zero exit status. */

/** What went wrong, as a stable name. */
export type BenchErrorCode = "E_USAGE" | "E_IMAGE" | "E_RUN" | "E_MISSING" | "E_FILE";

/** An error meant for the user: `message` is one line that names the thing, the place and the remedy. */
export class BenchError extends Error {
  /** The stable name of this kind of error. */
  readonly code: BenchErrorCode;

  constructor(code: BenchErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "BenchError";
    this.code = code;
  }
}
