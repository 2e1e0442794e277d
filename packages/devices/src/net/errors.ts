/** What can't be done with a network as it was asked for: one line that names the thing and says what to do. */

/** Stable codes of {@link NetworkError}. */
export type NetworkErrorCode =
  /** A port, VLAN, address or size that can't be. */
  | "E_NETWORK_OPTION"
  /** An address or a port of the host that is taken. */
  | "E_NETWORK_IN_USE"
  /** The host refused. */
  | "E_NETWORK_HOST";

/** A network that can't be as asked for. */
export class NetworkError extends Error {
  override readonly name = "NetworkError";

  constructor(
    readonly code: NetworkErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
