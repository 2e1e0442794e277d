/** What can go wrong with a disk or its image: one line that names the image, the structure and the place. */

/** Stable codes of {@link DiskError}. */
export type DiskErrorCode =
  /** A request reaches outside the disk. */
  | "E_DISK_RANGE"
  /** A write to a disk that is only read. */
  | "E_DISK_READ_ONLY"
  /** A request after `close`. */
  | "E_DISK_CLOSED"
  /** A request that was given up before its turn. */
  | "E_DISK_CANCELLED"
  /** Something that can be done once at a time is being done. */
  | "E_DISK_BUSY"
  /** The host could not read or write; `cause` is its error. */
  | "E_DISK_IO"
  /** No room is left, on the host or below a limit. */
  | "E_DISK_FULL"
  /** Not an image of the format asked for, or options that don't go together. */
  | "E_IMAGE_FORMAT"
  /** A feature of the format that is not supported; the message names it. */
  | "E_IMAGE_UNSUPPORTED"
  /** A structure contradicts itself or the file; `structure` and `offset` say where. */
  | "E_IMAGE_DAMAGED"
  /** A structure is larger than the limits for images. */
  | "E_IMAGE_LIMIT"
  /** The backing chain can't be followed. */
  | "E_IMAGE_CHAIN"
  /** Somebody else uses the image; `image` and `pid` say which and who. */
  | "E_IMAGE_LOCKED";

/** A request that failed, or an image that can't be used. */
export class DiskError extends Error {
  override readonly name = "DiskError";

  constructor(
    readonly code: DiskErrorCode,
    message: string,
    readonly details: {
      /** The part of the image that is meant. */
      readonly structure?: string;
      /** Its offset in the image's file, in bytes. */
      readonly offset?: number;
      /** What is wrong with it. */
      readonly how?: string;
      /** The path of the image that is taken, without links, and the process that has it. */
      readonly image?: string;
      readonly pid?: number;
    } = {},
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** An offset as messages show it. */
export const hex = (offset: number): string => `0x${offset.toString(16)}`;

/** The error for a structure of an image that can't be right. */
export const damagedImage = (image: string, structure: string, offset: number, how: string): DiskError =>
  new DiskError(
    "E_IMAGE_DAMAGED",
    `${image}: the image is damaged: ${structure} at offset ${hex(offset)} ${how}; use another copy of the image`,
    { structure, offset, how },
  );

/** The error for a structure that is larger than is allowed. */
export const beyondLimit = (image: string, structure: string, offset: number, how: string): DiskError =>
  new DiskError("E_IMAGE_LIMIT", `${image}: ${structure} at offset ${hex(offset)} ${how}`, {
    structure,
    offset,
  });
