/**
 * Where a daemon is to be found: the lock of its state folder, and its socket. Both are files, which can vanish under a
 * daemon that runs; then it could not be reached any more, and a second one would be started beside it. So they are made
 * anew, and a daemon for which that can't be done and that has no VM ends.
 *
 * It looks when something has changed in the socket's folder, as the host tells without being asked, and when it is told to:
 * a daemon at rest does nothing.
 */
import { existsSync, type FSWatcher, watch } from "node:fs";
import type { Server } from "node:net";
import { basename, dirname } from "node:path";
import { fileErrorReason } from "../../files/file-reason.js";
import { DaemonError } from "./daemon-error.js";
import { Doorway, excessOf, removeSocket } from "./doorway.js";
import { answers, StateLock } from "./state-lock.js";

/** Milliseconds from a change to a look: who removes a folder is to be through. */
const SETTLE_MS = 200;

/** Who is told of a presence. */
export interface PresenceListener {
  /** It has been made anew, after this had vanished. */
  restored(what: string): void;
  /** It can't be made anew; tried, and told, again at the next look. */
  lost(reason: string): void;
}

/** A daemon's lock and socket. */
export class Presence {
  private doorway: Doorway | undefined;
  private listener: PresenceListener | undefined;
  private watcher: FSWatcher | undefined;
  private settling: NodeJS.Timeout | undefined;
  private restoring: Promise<void> | undefined;
  private isOver = false;

  private constructor(
    private readonly folder: string,
    private readonly socket: string,
    private lock: StateLock,
  ) {}

  /** Takes the state folder. @throws DaemonError (the promise rejects) if another daemon is there, or it can't be had */
  static async take(folder: string, socket: string): Promise<Presence> {
    await freeSocket(socket);
    return new Presence(folder, socket, await takeState(folder, socket));
  }

  /** Has a server listen at the socket. @throws DaemonError `E_SOCKET` (the promise rejects) */
  async open(server: Server, listener: PresenceListener): Promise<void> {
    const doorway = new Doorway(this.socket, server);
    await openDoorway(doorway);
    this.doorway = doorway;
    this.listener = listener;
    this.watch();
  }

  /** Makes anew what has vanished. */
  look(): void {
    const { doorway } = this;
    if (this.isOver || doorway === undefined || (doorway.isOpen && this.lock.isHeld)) return;
    this.restoring ??= this.restore(doorway).finally(() => {
      this.restoring = undefined;
    });
  }

  /** Takes no more connections: nobody is to find it. */
  hide(): void {
    this.isOver = true;
    this.watcher?.close();
    clearTimeout(this.settling);
    this.doorway?.close();
  }

  /** Gives both back. */
  async close(): Promise<void> {
    this.hide();
    await this.restoring;
    this.doorway?.close();
    this.lock.release();
  }

  private async restore(doorway: Doorway): Promise<void> {
    const gone: string[] = [];
    try {
      if (!this.lock.isHeld) {
        gone.push(`the state folder ${this.folder}`);
        this.lock = await takeState(this.folder, this.socket);
      }
      if (!doorway.isOpen) {
        gone.push(`the socket ${this.socket}`);
        await freeSocket(this.socket);
        await openDoorway(doorway);
      }
      this.watch();
      this.listener?.restored(gone.join(" and "));
    } catch (error) {
      const { message } = error as Error;
      if (!this.isOver) this.listener?.lost(`${gone.at(-1)} has gone: ${message}`);
    }
  }

  private watch(): void {
    this.watcher?.close();
    this.watcher = undefined;
    const folder = dirname(this.socket);
    const names = [basename(this.socket), basename(folder)];
    try {
      this.watcher = watch(folder, { persistent: false }, (_, name) => {
        if (name === null || names.includes(name)) this.lookSoon();
      }).on("error", () => {});
    } catch {
      // The host has no watch left for it: what vanishes is seen when it is told to look.
    }
    // What has gone before the watch was there has told nobody.
    this.lookSoon();
  }

  private lookSoon(): void {
    this.settling ??= setTimeout(() => {
      this.settling = undefined;
      this.look();
    }, SETTLE_MS).unref();
  }
}

async function openDoorway(doorway: Doorway): Promise<void> {
  try {
    await doorway.open();
  } catch (error) {
    throw new DaemonError("E_SOCKET", `can't listen at ${doorway.path}: ${fileErrorReason(error)}`);
  }
}

/** Takes the state folder. */
async function takeState(folder: string, socket: string): Promise<StateLock> {
  let taken: Awaited<ReturnType<typeof StateLock.take>>;
  try {
    taken = await StateLock.take(folder, socket);
  } catch (error) {
    throw new DaemonError(
      "E_STATE",
      `can't use the state folder ${folder}: ${fileErrorReason(error)}; mend that, or choose another folder (HYPERFILE_STATE)`,
    );
  }
  if (taken instanceof StateLock) return taken;
  throw new DaemonError(
    "E_DAEMON_RUNNING",
    `a daemon has the state folder ${folder} already: process ${taken.pid}, which answers at ${taken.socket}; end it (kill ${taken.pid}), or choose another folder (HYPERFILE_STATE)`,
  );
}

/** Makes sure that the socket's path is free: of a daemon that runs, and of the file that a killed one left. */
async function freeSocket(path: string): Promise<void> {
  const excess = excessOf(path);
  if (excess > 0)
    throw new DaemonError(
      "E_SOCKET",
      `the socket's path ${path} is too long, by ${excess} bytes: choose another (HYPERFILE_SOCKET)`,
    );
  if (!existsSync(path)) return;
  if (await answers(path)) throw new DaemonError("E_DAEMON_RUNNING", `a daemon answers at ${path} already`);
  removeSocket(path);
}
