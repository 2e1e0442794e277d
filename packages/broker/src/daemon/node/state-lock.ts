/**
 * One daemon to a state folder. Node has no lock that the kernel frees, so that a daemon announces itself by a file of
 * its own name, and then looks at the others' files: if any of their processes lives, it withdraws.
 *
 * Two that announce themselves see each other, since each looks only after its own file is there: never do both stay. A
 * name has the process, the time at which it began, and the boot of the computer, and so is used once: the file of one
 * that was killed says nothing to anybody, however its number is used again, and whoever holds the folder removes it.
 */
import { readdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { makeFoldersSync, OWNER_ONLY } from "../../files/node/make-folders.js";

/** Who has a state folder. */
export interface StateHolder {
  readonly pid: number;
  /** Socket at which it answers. */
  readonly socket: string;
}

/** Attempts, and the longest pause between two in milliseconds: others may only be looking, too. */
const [ATTEMPTS, PAUSE_MS] = [8, 60];
/** Milliseconds that a socket has to answer. */
const ANSWER_MS = 1000;
/** Fields of /proc/PID/stat after the name in parentheses (proc(5)): state, and the time of the start in ticks. */
const [STATE, START_TIME] = [0, 19];
const ENDING = ".lock";

/** Numbers of processes mean something only on one boot and in one namespace. */
const here = (): string => `${readText("/proc/sys/kernel/random/boot_id").trim()}-${namespace()}`;

/** Folders that this process has taken: two daemons in one process are two. */
let taken = 0;

/** A folder that this process has. */
export class StateLock {
  private constructor(private readonly file: string) {}

  /**
   * Takes a state folder.
   * @returns who has it, if somebody has
   * @throws the file system's error if the folder can't be written
   */
  static async take(folder: string, socket: string): Promise<StateLock | StateHolder> {
    const locks = join(folder, "lock");
    makeFoldersSync(locks, OWNER_ONLY);
    const start = startTimeOf(process.pid) ?? Date.now();
    const name = `${process.pid}-${start}-${taken++}-${here()}${ENDING}`;
    const file = join(locks, name);
    const beside = join(locks, `${name}.new`);
    for (let attempt = 1; ; attempt++) {
      // Whole from the first moment: a reader must not take it for that of nobody.
      try {
        writeFileSync(beside, JSON.stringify({ pid: process.pid, socket }), { mode: 0o600 });
        renameSync(beside, file);
      } catch (error) {
        rmSync(beside, { force: true });
        throw error;
      }
      const others = readdirSync(locks).filter((other) => other.endsWith(ENDING) && other !== name);
      let holder: StateHolder | undefined;
      for (const other of others) {
        const record = readRecord(join(locks, other));
        if (await lives(other, record)) holder ??= record;
        else rmSync(join(locks, other), { force: true });
      }
      if (holder === undefined) return new StateLock(file);
      rmSync(file, { force: true });
      if (attempt === ATTEMPTS) return holder;
      await pause(Math.random() * PAUSE_MS);
    }
  }

  /** Gives the folder back. */
  release(): void {
    try {
      rmSync(this.file, { force: true });
    } catch {
      // The folder is gone or read-only: with this process, the file says nothing any more.
    }
  }
}

/**
 * Who has a state folder, as far as the files say; undefined if nobody has. For clients that look for their daemon.
 */
export function holderOf(folder: string): StateHolder | undefined {
  const locks = join(folder, "lock");
  let names: string[];
  try {
    names = readdirSync(locks).filter((name) => name.endsWith(ENDING));
  } catch {
    return undefined;
  }
  return names.filter(isRunning).map((name) => readRecord(join(locks, name)))[0];
}

async function lives(name: string, { socket }: StateHolder): Promise<boolean> {
  if (isRunning(name)) return true;
  // One of another boot is gone; one in another namespace can't be seen, but its socket may answer.
  return !name.endsWith(`${here()}${ENDING}`) && socket !== "" && (await answers(socket));
}

/** Whether the process of a file's name runs: the same one, not another of its number, and no corpse. */
function isRunning(name: string): boolean {
  const [, pid, start, place] = /^(\d+)-(\d+)-\d+-(.*)\.lock$/.exec(name) ?? [];
  if (pid === undefined || place !== here()) return false;
  const startTime = startTimeOf(Number(pid));
  if (startTime !== undefined) return startTime === start;
  if (readText("/proc/self/stat") !== "") return false;
  // Without /proc there is only the number.
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch {
    return false;
  }
}

/** When a process began, in ticks since the boot; undefined if it is not there. */
function startTimeOf(pid: number): string | undefined {
  const text = readText(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const isDead = ["Z", "X", "x"].includes(fields[STATE] ?? "");
  return text === "" || isDead ? undefined : fields[START_TIME];
}

function namespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replace(/\D/g, "");
  } catch {
    return "";
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function readRecord(path: string): StateHolder {
  try {
    const { pid, socket } = JSON.parse(readFileSync(path, "utf8")) as Partial<StateHolder>;
    if (typeof pid === "number" && typeof socket === "string") return { pid, socket };
  } catch {
    // It has been withdrawn, or is damaged: its name says the most of it.
  }
  return { pid: Number.parseInt(path.slice(path.lastIndexOf("/") + 1), 10), socket: "" };
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
