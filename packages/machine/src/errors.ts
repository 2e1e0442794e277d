/** Errors of the machine package. */

/**
 * What went wrong: `E_BOOT` for images that don't make a machine together, `E_DISK` for disks that don't, `E_NIC` for network
 * cards that don't, `E_SHARE` for folders that don't, `E_VSOCK` for a device for sockets that doesn't, `E_MEMORY` for memory
 * without the regions that are asked for, `E_SYMBOLS` for a file that has none, `E_IDENTITY` for a saved identity of another
 * shape, `E_COMMAND` for a command that a guest's shell does not take, `E_DEVICES_BUSY` for devices that do not answer in time.
 */
export type MachineErrorCode =
  | "E_BOOT"
  | "E_DISK"
  | "E_MEMORY"
  | "E_NIC"
  | "E_SHARE"
  | "E_SYMBOLS"
  | "E_VSOCK"
  | "E_IDENTITY"
  | "E_COMMAND"
  | "E_DEVICES_BUSY";

/** A machine that can't be made or restored: one line that names the thing and the remedy. */
export class MachineError extends Error {
  override readonly name = "MachineError";

  constructor(
    readonly code: MachineErrorCode,
    message: string,
  ) {
    super(message);
  }
}
