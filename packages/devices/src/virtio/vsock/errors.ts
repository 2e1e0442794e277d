/** What can't be done with a device for sockets as it was asked for: one line that names the thing and says what to do. */

/** Stable codes of {@link VsockError}: an address that no guest can have, a port that is taken or none. */
export type VsockErrorCode = "E_VSOCK_CID" | "E_VSOCK_PORT";

/** A device for sockets that can't be used as asked for. */
export class VsockError extends Error {
  override readonly name = "VsockError";

  constructor(
    readonly code: VsockErrorCode,
    message: string,
  ) {
    super(message);
  }
}
