/**
 * The snapshots of one VM: files in a folder of its own, named as the user named them. A file whose name begins with a dot
 * is one that a guest is writing, or was when its process ended.
 */
import { type BigIntStats, readdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { makeFoldersSync, OWNER_ONLY } from "../../files/node/make-folders.js";
import { LifecycleError } from "../errors.js";

/** A snapshot of a VM. */
export interface SnapshotInfo {
  readonly name: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** Ending of snapshot files. */
const SNAPSHOT = ".snapshot";

/** A folder of snapshots. */
export class SnapshotFolder {
  /**
   * @param path of the folder; made when the first snapshot is
   * @param vm whose snapshots they are, for messages
   */
  constructor(
    readonly path: string,
    private readonly vm: string,
  ) {}

  /** Its snapshots, the oldest first. What is no file, or can't be looked at, is none. */
  list(): SnapshotInfo[] {
    return this.files()
      .filter((file) => file.endsWith(SNAPSHOT))
      .flatMap((file) => {
        const stat = statOf(join(this.path, file));
        if (stat?.isFile() !== true) return [];
        return [
          { name: file.slice(0, -SNAPSHOT.length), bytes: Number(stat.size), at: Number(stat.mtimeMs) },
        ];
      })
      .sort((one, other) => one.at - other.at);
  }

  /** Path of a snapshot that is there. @throws LifecycleError `E_SNAPSHOT_UNKNOWN` with the names of those that are */
  find(name: string): string {
    const path = this.pathOf(name);
    const names = this.list().map((snapshot) => snapshot.name);
    if (names.includes(name)) return path;
    throw new LifecycleError(
      "E_SNAPSHOT_UNKNOWN",
      `VM ${this.vm} has no snapshot ${name}; ${names.length === 0 ? "it has none" : `it has ${names.join(", ")}`}`,
    );
  }

  /** Path for a snapshot to be written. @throws LifecycleError `E_SNAPSHOT_UNKNOWN` if the name is none */
  place(name: string): string {
    const path = this.pathOf(name);
    makeFoldersSync(this.path, OWNER_ONLY);
    return path;
  }

  /**
   * Removes what a killed process left behind: files that were being written. For the owner of the folder, before any
   * guest writes there.
   * @returns their number; a folder that is not there has none
   * @throws LifecycleError `E_SNAPSHOT_FOLDER` if the folder can't be read, or a file not removed
   */
  sweep(): number {
    try {
      const left = readdirSync(this.path).filter((name) => name.startsWith("."));
      for (const name of left) unlinkSync(join(this.path, name));
      return left.length;
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      if (code === "ENOENT") return 0;
      throw new LifecycleError("E_SNAPSHOT_FOLDER", `can't tidy the snapshots of VM ${this.vm}: ${message}`, {
        cause,
      });
    }
  }

  private files(): string[] {
    try {
      return readdirSync(this.path);
    } catch {
      // It is not made yet, or may not be read: either way there is nothing to show.
      return [];
    }
  }

  private pathOf(name: string): string {
    if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return join(this.path, `${name}${SNAPSHOT}`);
    throw new LifecycleError(
      "E_SNAPSHOT_UNKNOWN",
      `${name} is no name for a snapshot: use letters, digits, . _ and -`,
    );
  }
}

/** What is known of a file; undefined if it can't be looked at, as a link to nowhere or to itself. */
function statOf(path: string): BigIntStats | undefined {
  try {
    // Not in plain numbers: Node 20 takes what stays of a pipe's for the next module's.
    return statSync(path, { bigint: true });
  } catch {
    return undefined;
  }
}
