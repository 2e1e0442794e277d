/** What can be wrong with a snapshot: one line that names the file's damaged part and says what to do. */

/** Stable codes of {@link SnapshotError}. */
export type SnapshotErrorCode =
  /** Not a snapshot at all. */
  | "E_SNAPSHOT_FORMAT"
  /** Of a version that this library does not read. */
  | "E_SNAPSHOT_VERSION"
  /** Truncated or altered; `section` names the place. */
  | "E_SNAPSHOT_DAMAGED"
  /** Of a machine of another make. */
  | "E_SNAPSHOT_MACHINE"
  /** A disk is not what it was when it was taken, or can't be told to be; `section` names it. */
  | "E_SNAPSHOT_DISK"
  /** A part has more state than it said that it can have. */
  | "E_SNAPSHOT_SIZE"
  /** It could not be read or written; `cause` is the host's error. */
  | "E_SNAPSHOT_FILE";

/** A snapshot that can't be written, read or used. */
export class SnapshotError extends Error {
  override readonly name = "SnapshotError";

  constructor(
    readonly code: SnapshotErrorCode,
    message: string,
    /** The section that is damaged, where one is. */
    readonly section?: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The error for a damaged section. */
export const damaged = (section: string, how: string, cause?: unknown): SnapshotError =>
  new SnapshotError(
    "E_SNAPSHOT_DAMAGED",
    `the snapshot is damaged: section ${section} ${how}; take the snapshot again or use another`,
    section,
    cause === undefined ? undefined : { cause },
  );
