/** Boards and trees that can't be built: one line that names the thing and the place and says what to do. */

/** Stable codes of {@link BoardError}. */
export type BoardErrorCode =
  | "E_BUS_OVERLAP"
  | "E_BUS_RANGE"
  | "E_HARTS"
  | "E_IRQ_SOURCE"
  | "E_IRQ_TAKEN"
  | "E_ISA"
  | "E_PART_DEVICE"
  | "E_PART_NAME"
  | "E_RAM_SIZE"
  | "E_VIRTIO_SLOTS";

/** A machine that can't be put together as asked. */
export class BoardError extends Error {
  override readonly name = "BoardError";

  constructor(
    readonly code: BoardErrorCode,
    message: string,
  ) {
    super(message);
  }
}
