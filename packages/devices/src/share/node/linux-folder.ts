/**
 * A folder of a Linux host, shared with machines.
 *
 * **Confinement.** Nothing outside the folder is read, written or seen, whatever links, names, renames and races there are, of
 * the guest's or of the host's:
 *
 * - each node is a handle on its place (`O_PATH`), which stands for one file for ever;
 * - a name is looked up in the handle of its folder, one step at a time, through `/proc/self/fd/N/NAME`; it is a name, checked,
 *   and what stands there is never followed: links are the guest's to read;
 * - what was opened is what is judged: kind and identity come from the handle, and a file is opened through its own handle;
 * - before a handle is used, and after one was opened, the host says where its file is now: what somebody has moved out of the
 *   folder is gone (ESTALE).
 *
 * **Bounds.** A view keeps so many handles and closes those that were not used for longest; a node without a handle is looked for
 * where it was last seen, and is gone if that is another file. A node of which a file is open keeps its handle, so that a
 * file without a name stays what it was.
 */
import { constants, open } from "node:fs";
import { ShareError } from "../errors.js";
import type { FolderView, SharedFolder } from "../shared-folder.js";
import { Handle } from "./handles.js";
import { call, identityOf, statOf, tellsBirth, whereabouts } from "./host-calls.js";
import { LinuxView } from "./linux-view.js";

/** How a folder is shared. */
export interface LinuxFolderOptions {
  /** Guests can't change anything. */
  readonly isReadOnly?: boolean;
  /** Handles that a machine keeps, those on open files apart; 1024 unless given. */
  readonly handles?: number;
}

const HANDLES = 1024;

/** What the host's errors mean for who shares a folder. */
const reasons: Readonly<Record<string, string>> = {
  ENOENT: "there is no such folder: make it, or name another",
  ENOTDIR: "it is no folder: share the folder that it is in",
  EACCES: "permission is denied: share a folder that you may read",
  ELOOP: "its links go in a circle: name the folder itself",
  EMFILE: "too many files are open: close some, or raise the limit (ulimit -n)",
};

/** A folder of the host's. Close it after the last run of the last machine that has it. */
export class LinuxFolder implements SharedFolder {
  private constructor(
    readonly name: string,
    readonly isReadOnly: boolean,
    private readonly root: Handle,
    private readonly make: () => FolderView,
  ) {}

  /**
   * Opens a folder. A link that the path ends in is followed, once: later changes of the path are nothing to the folder.
   * @throws ShareError `E_SHARE_FOLDER` for what can't be shared, `E_SHARE_HOST` where there is no way to confine a guest
   */
  static async open(path: string, options: LinuxFolderOptions = {}): Promise<LinuxFolder> {
    const { isReadOnly = false, handles = HANDLES } = options;
    if (process.platform !== "linux") throw unsupported(path, `${process.platform} has no such handles`);
    const fd = await call<number>((done) =>
      open(path, constants.O_RDONLY | constants.O_DIRECTORY, done),
    ).catch((cause) => {
      const reason = reasons[(cause as { code?: string }).code ?? ""] ?? String(cause.message);
      throw new ShareError("E_SHARE_FOLDER", `can't share ${path}: ${reason}`, { cause });
    });
    const root = new Handle(fd);
    try {
      whereabouts(fd);
      const hasBirth = await tellsBirth();
      const identity = identityOf(await statOf(fd), hasBirth);
      const make = () => new LinuxView({ root, identity, hasBirth, isReadOnly, handles });
      return new LinuxFolder(path, isReadOnly, root, make);
    } catch (cause) {
      root.release();
      throw unsupported(path, "/proc is not mounted", cause);
    }
  }

  view(): FolderView {
    return this.make();
  }

  /** Lets go of the folder. Its views fail from now on. */
  close(): void {
    this.root.release();
  }
}

const unsupported = (path: string, why: string, cause?: unknown): ShareError =>
  new ShareError(
    "E_SHARE_HOST",
    `can't share ${path}: guests are confined to a folder by handles of Linux in /proc, and ${why}`,
    { cause },
  );
