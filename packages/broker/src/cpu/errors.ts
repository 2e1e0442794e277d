/** Errors of resource management that a user can act on. */

/** What went wrong, as a stable name. */
export type ResourceErrorCode =
  | "E_ADMISSION"
  | "E_ALLOTMENT"
  | "E_POOL_UNKNOWN"
  | "E_NAME_TAKEN"
  | "E_CLIENT_UNKNOWN"
  | "E_POOL_BUSY"
  | "E_POOL_DEPTH";

/** A resource can't be given as asked; `message` is one line that names the pool or VM, the figures and the remedy. */
export class ResourceError extends Error {
  override readonly name = "ResourceError";

  constructor(
    readonly code: ResourceErrorCode,
    message: string,
  ) {
    super(message);
  }
}
