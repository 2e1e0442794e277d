/**
 * Reads files that somebody names: regular ones only, opened once, to a limit. A fifo, a terminal or a device would
 * make its reader wait for ever, and a thread that waits so can't even be ended.
 *
 * They are opened and closed in the thread that reads: Node closes what a thread has open when it is ended, but not what was
 * opened for it by another one and not yet handed over, which on a host with too much to do takes a while.
 */
import { closeSync, constants, fstatSync, openSync, read } from "node:fs";
import { promisify } from "node:util";

const readAt = promisify(read);
/** Bytes that one read takes at most. */
const MOST_AT_ONCE = 2 ** 30;

/**
 * The bytes of a file.
 * @param most bytes that it may have
 * @throws Error (the promise rejects) as `open` does, with code `ENOTREG` for what is no regular file, and `ETOOLARGE` for
 *   one that is too large
 */
export async function readRegularFile(path: string, most: number): Promise<Uint8Array> {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(file);
    if (stats.isDirectory()) throw problem("EISDIR", "it is a folder");
    if (!stats.isFile()) throw problem("ENOTREG", "it is no regular file");
    // A file of /proc has no size, and one that grows is read as it was.
    if (stats.size > most)
      throw problem("ETOOLARGE", `it has ${stats.size} bytes, and at most ${most} are possible`);
    const bytes = new Uint8Array(stats.size);
    let at = 0;
    while (at < bytes.length) {
      const { bytesRead } = await readAt(file, bytes, at, Math.min(bytes.length - at, MOST_AT_ONCE), at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return bytes.subarray(0, at);
  } finally {
    closeSync(file);
  }
}

const problem = (code: string, message: string): Error => Object.assign(new Error(message), { code });
