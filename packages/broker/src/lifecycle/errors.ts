/** Errors of VMs' lives that a user can act on. */

/** What went wrong, as a stable name. */
export type LifecycleErrorCode =
  | "E_VM_UNKNOWN"
  | "E_VM_STATE"
  | "E_VM_CRASHED"
  | "E_NAME_TAKEN"
  | "E_EXEC"
  | "E_EXEC_TIMEOUT"
  | "E_PROVISION"
  | "E_NETWORK_UNKNOWN"
  | "E_SNAPSHOT_UNKNOWN"
  | "E_SNAPSHOT_FOLDER"
  | "E_SETTING"
  | "E_LOG"
  | "E_DISK"
  | "E_FILES"
  | "E_GUEST";

/** Something can't be done with a VM; `message` is one line that names it, its state and the remedy. */
export class LifecycleError extends Error {
  override readonly name = "LifecycleError";

  constructor(
    readonly code: LifecycleErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
