/** Errors of machines in pages. */

/**
 * What was asked of a machine in a page was refused, or the machine is lost: one line that says what to do.
 *
 * `code` is `E_OPTION` for an option or attribute that makes no sense, `E_FETCH` for a file that can't be loaded, `E_STATE`
 * for what the machine can't do in its state, `E_INPUT` for more input than waits, `E_TIMEOUT` for output that did not come
 * in time, `E_WORKER` for a worker that can't be started or was lost, `E_CLOSED` for a machine that was closed; else it is
 * that of the machine's own error, such as `E_BOOT`, `E_KERNEL_UNKNOWN` or `E_SNAPSHOT_DAMAGED`.
 */
export class PageMachineError extends Error {
  override readonly name = "PageMachineError";

  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}
