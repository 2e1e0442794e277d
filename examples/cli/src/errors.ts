/**
 * Errors that the program reports to its user: one line on standard error and a non-zero exit status.
 * Every error has a stable `code`, so that scripts and tests need not match texts.
 */

/** What went wrong, as a stable name: `E_USAGE` for the command line, `E_FILE` for a file named on it. */
export type CliErrorCode =
  | "E_USAGE"
  | "E_CONSOLE"
  | "E_FILE"
  | "E_STATS"
  | "E_DUMP"
  | "E_PROFILE"
  | "E_GUEST_NOT_FOUND"
  | "E_GDB"
  | "E_DAEMON"
  | "E_MACHINE";

/** An error meant for the user: `message` is one line that names the thing, the place and the remedy. */
export class CliError extends Error {
  /** The stable name of this kind of error. */
  readonly code: CliErrorCode;

  constructor(code: CliErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "CliError";
    this.code = code;
  }
}

/**
 * The one line that standard error gets for `error`: the message of the error, without its stack and with
 * line breaks folded, since a caller may show it in one line of a log.
 */
export function errorLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return `hyperfile: ${text.replace(/\s*\n\s*/g, "; ").trim()}`;
}

/** The system error name (`ENOENT`, `EACCES`, ...) that `error` carries, if any. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
