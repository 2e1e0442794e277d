/**
 * One daemon to a state folder. Node has no lock that the kernel frees, so that the lock is a symbolic link in the folder
 * `lock`, whose target is a record of its maker: making it fails where it is there already, and it is whole from the first
 * moment. Of several that take the folder at once exactly one makes the link.
 *
 * What a killed daemon left is known as such, since its identity is used once (`process-identity.ts`). Nobody removes it to
 * make his own, since he might remove one that is newer than what he looked at. Who takes over makes the link after it
 * instead, `after-` with the dead maker's identity; so links form a chain from `holder`, and the last one is the holder's.
 * Two invariants keep it sound:
 *
 * - Only a live holder changes the chain: he moves his link to its start, in place of what is there, and removes it at his
 *   end. So who has made a link and still finds it by following the chain from its start is the holder; who does not
 *   withdraws the link, and looks again.
 * - A link whose maker is dead and that is not in the holder's chain will never be in one, and is removed.
 */
import { readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { makeFoldersSync, OWNER_ONLY } from "../../files/node/make-folders.js";
import { isIdentity, lifeOf, newIdentity } from "../../files/node/process-identity.js";

/** Who has a state folder. */
export interface StateHolder {
  readonly pid: number;
  /** Socket at which it answers. */
  readonly socket: string;
}

/** Attempts to add a link: each further one says that another had the folder meanwhile. */
const ATTEMPTS = 100;
/** Milliseconds that a socket has to answer. */
const ANSWER_MS = 1000;
const [FIRST, AFTER] = ["holder", "after-"];

/** A link: its name, what it points to, and what it says. */
interface Link {
  readonly name: string;
  readonly target: string;
  readonly identity: string;
  readonly holder: StateHolder;
}

/** A folder that this process has. */
export class StateLock {
  private constructor(
    private readonly folder: string,
    private readonly target: string,
  ) {}

  /**
   * Takes a state folder.
   * @returns who has it, if somebody has
   * @throws the file system's error if the folder can't be written
   */
  static async take(folder: string, socket: string): Promise<StateLock | StateHolder> {
    const locks = join(folder, "lock");
    makeFoldersSync(locks, OWNER_ONLY);
    const identity = newIdentity();
    const target = JSON.stringify({ identity, pid: process.pid, socket });
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const last = chainOf(locks).at(-1);
      if (last !== undefined && (await lives(last))) return last.holder;
      const path = join(locks, last === undefined ? FIRST : AFTER + last.identity);
      if (!makeLink(target, path)) continue;
      let isHeld = false;
      try {
        isHeld = chainOf(locks).at(-1)?.target === target;
        if (isHeld) renameSync(path, join(locks, FIRST));
      } catch (error) {
        isHeld = false;
        throw error;
      } finally {
        if (!isHeld) rmSync(path, { force: true });
      }
      if (!isHeld) continue;
      removeLeft(locks);
      return new StateLock(locks, target);
    }
    throw Object.assign(new Error("others take it again and again"), { code: "EBUSY" });
  }

  /** Whether this process has the folder still: one that has been removed or put elsewhere has nobody. */
  get isHeld(): boolean {
    return targetOf(join(this.folder, FIRST)) === this.target;
  }

  /** Gives the folder back. */
  release(): void {
    try {
      if (this.isHeld) rmSync(join(this.folder, FIRST), { force: true });
    } catch {
      // The folder is read-only: with this process, the link says nothing any more.
    }
  }
}

/**
 * Who has a state folder, as far as the files say; undefined if nobody has. For clients that look for their daemon.
 */
export function holderOf(folder: string): StateHolder | undefined {
  const last = chainOf(join(folder, "lock")).at(-1);
  return last !== undefined && lifeOf(last.identity) === "lives" ? last.holder : undefined;
}

/** One in another namespace can't be seen, but its socket may answer. */
async function lives({ identity, holder }: Link): Promise<boolean> {
  const life = lifeOf(identity);
  return life === "lives" || (life === "unseen" && holder.socket !== "" && (await answers(holder.socket)));
}

/** The links from the first to the holder's; none if nobody has taken the folder. */
function chainOf(locks: string): Link[] {
  const chain: Link[] = [];
  const names = new Set<string>();
  for (let name = FIRST; !names.has(name); ) {
    const target = targetOf(join(locks, name));
    if (target === undefined) break;
    names.add(name);
    const link = linkOf(name, target);
    chain.push(link);
    name = AFTER + link.identity;
  }
  return chain;
}

/** Where a link points to; undefined if there is none. */
function targetOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // What is no link is nobody's.
    return code === "EINVAL" ? "" : undefined;
  }
}

function linkOf(name: string, target: string): Link {
  try {
    const { identity, pid, socket } = JSON.parse(target) as Record<string, unknown>;
    if (isIdentity(identity) && typeof pid === "number" && typeof socket === "string")
      return { name, target, identity, holder: { pid, socket } };
  } catch {
    // Somebody else made it: nobody who is known to live.
  }
  return { name, target, identity: "nobody", holder: { pid: 0, socket: "" } };
}

/** Makes a link; false if there is one. */
function makeLink(target: string, path: string): boolean {
  try {
    symlinkSync(target, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Removes what the dead have left beside the holder's link, which is the first; what stays disturbs nobody. */
function removeLeft(locks: string): void {
  try {
    for (const name of readdirSync(locks)) {
      if (name === FIRST) continue;
      const { identity } = linkOf(name, targetOf(join(locks, name)) ?? "");
      if (lifeOf(identity) === "gone") rmSync(join(locks, name), { force: true });
    }
  } catch {}
}

/** Whether somebody answers at a socket. */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (is: boolean) => {
      socket.destroy();
      resolve(is);
    };
    socket.setTimeout(ANSWER_MS, () => end(false));
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}
