/** What keeps a daemon from starting, or from being found. */

/** Another daemon answers at the socket or has the state folder, or one of them can't be made. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";

  constructor(
    readonly code: "E_DAEMON_RUNNING" | "E_SOCKET" | "E_STATE",
    message: string,
  ) {
    super(message);
  }
}
