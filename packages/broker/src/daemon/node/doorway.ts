/**
 * The Unix socket at which clients find a server. Its file can vanish with the folder that it is in, and with it the way to
 * a server that runs on; so it can be looked at, and made anew, while connections that are there stay.
 *
 * The socket is made under a name of its own, and then linked to its path: closing a listener removes the file of the name
 * that it was made with, and the path may lead to another daemon by then.
 */
import { chmodSync, linkSync, statSync, unlinkSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { dirname, join } from "node:path";
import { makeFoldersSync, OWNER_ONLY } from "../../files/node/make-folders.js";

/** Most bytes that a Unix socket's path has on Linux, with its end. */
const MOST_SOCKET_PATH = 107;
let drafts = 0;
/** A name for a socket that is being made, beside its path, and mostly shorter. */
const draftOf = (path: string): string =>
  join(dirname(path), `.${process.pid.toString(36)}-${(drafts++).toString(36)}`);

/** The bytes by which a socket's path is too long, or has too long a folder; 0 if it is not. */
export const excessOf = (path: string): number =>
  Math.max(0, ...[path, draftOf(path)].map((name) => Buffer.byteLength(name) - MOST_SOCKET_PATH));

/** A socket with a path. */
export class Doorway {
  /** What listens in the server's place since the socket was made anew. */
  private helper: Server | undefined;
  private file: string | undefined;

  /** @param server that gets the connections; it listens itself at first */
  constructor(
    readonly path: string,
    private readonly server: Server,
  ) {}

  /** Whether the path leads here. */
  get isOpen(): boolean {
    return this.file !== undefined && identityOf(this.path) === this.file;
  }

  /**
   * Listens, anew if it did; the folder is made if it is missing.
   * @throws Error (the promise rejects) of the host's, `EEXIST` if something is at the path
   */
  async open(): Promise<void> {
    makeFoldersSync(dirname(this.path), OWNER_ONLY);
    const draft = draftOf(this.path);
    removeSocket(draft);
    const { server } = this;
    const isFirst = !server.listening;
    const listening = isFirst
      ? server
      : createServer({ allowHalfOpen: true, noDelay: true }, (socket) => server.emit("connection", socket));
    try {
      await listen(listening, draft);
      chmodSync(draft, 0o600);
      linkSync(draft, this.path);
      removeSocket(draft);
    } catch (error) {
      listening.close();
      removeSocket(draft);
      throw error;
    }
    this.file = identityOf(this.path);
    this.helper?.close();
    if (isFirst) return;
    listening.on("error", (error) => server.emit("error", error));
    this.helper = listening;
  }

  /** Takes the path away. */
  close(): void {
    if (this.isOpen) removeSocket(this.path);
    this.file = undefined;
    this.helper?.close();
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => {
      server.off("error", reject);
      resolve();
    });
    // Nobody else may have it for a moment, either. It is made before `listen` returns.
    const mask = process.umask(0o177);
    try {
      server.listen(path);
    } finally {
      process.umask(mask);
    }
  });
}

/**
 * Removes a socket's file, if it is there. Not by `rmSync`, which looks at the file first: where a socket was looked at last,
 * other than in big integers, Node 20 does not follow the links to the modules that it loads next, and does not find what
 * those need.
 */
export function removeSocket(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** What tells a file from all others; undefined if there is none. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino, birthtimeNs } = statSync(path, { bigint: true });
    return `${dev}-${ino}-${birthtimeNs}`;
  } catch {
    return undefined;
  }
}
