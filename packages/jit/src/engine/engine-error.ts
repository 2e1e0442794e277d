/** What an engine can't be made from. */

/** An engine that can't be made: what is asked for, or what it is made from, does not do here. */
export class EngineError extends Error {
  override readonly name = "EngineError";

  constructor(
    /** `E_TIER`: the platform does not allow the tier; `E_HELPER_NAME`: a helper's name can't be used. */
    readonly code: "E_TIER" | "E_HELPER_NAME",
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
