/**
 * One writer of an image. Node has no lock that the kernel frees, so that the lock is a file beside the image which has
 * the holder's identity in it. It is made as a hard link to a file that is whole: of several that take the lock at once
 * exactly one makes the link.
 *
 * An identity is the process, when it began, and the boot of its computer, and is used once: what a killed process left
 * is known as such. Nobody removes it to make his own, since he might remove one that is newer than what he looked at.
 * Who takes over makes the link after it instead, `.IMAGE.lock.` with the dead holder's identity; so links form a chain
 * from `.IMAGE.lock`, and the last one is the holder's. Two invariants keep it sound:
 *
 * - Only a live holder removes links of its chain, the first one first. So who has made a link and still finds it by
 *   following the chain from its start is the holder; who does not withdraws the link, and looks again.
 * - A link whose maker is dead and that is not in the holder's chain will never be in one, and is removed.
 *
 * A writer on another computer can't be seen, and is believed.
 */
import { randomInt } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { DiskError } from "../errors.js";
import { fileError } from "./node-file.js";

/** Fields of /proc/PID/stat after the name in parentheses (proc(5)): state, and the time of the start in ticks. */
const [STATE, START_TIME] = [0, 19];
/** Links of a chain, and attempts to add one: each further attempt says that another had the lock meanwhile. */
const [MOST_LINKS, ATTEMPTS] = [1000, 100];

/** Numbers of processes mean something only on one boot and in one namespace. */
const here = (): string =>
  `${clean(hostname())}-${clean(text("/proc/sys/kernel/random/boot_id"))}-${namespace()}`;

/** Where the locks of an image are, and the name of its first link; other names are this, a word, and an identity. */
interface Place {
  readonly folder: string;
  readonly first: string;
}

/** A link of a chain: its file, and whose it is. */
interface Link {
  readonly file: string;
  readonly holder: string;
}

/** The right to write an image. */
export class ImageLock {
  private constructor(private readonly chain: readonly Link[]) {}

  /** Takes the lock of an image. @throws DiskError `E_IMAGE_LOCKED` if somebody else has it */
  static take(image: string): ImageLock {
    const place = placeOf(image);
    const own = `${process.pid}-${startTimeOf(process.pid) ?? 0}-${randomInt(2 ** 47)}-${here()}`;
    const draft = join(place.folder, `${draftPrefix(place)}${own}`);
    try {
      writeFileSync(draft, own, { flag: "wx", mode: 0o644 });
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const last = chainOf(place).at(-1);
        if (last !== undefined && lives(last.holder)) throw lockedBy(image, last);
        const file = linkAfter(place, last?.holder);
        if (!makeLink(draft, file)) continue;
        let isHeld = false;
        try {
          const chain = chainOf(place);
          isHeld = chain.at(-1)?.holder === own;
          if (!isHeld) continue;
          removeLeft(place, chain);
          return new ImageLock(chain);
        } finally {
          if (!isHeld) rmSync(file, { force: true });
        }
      }
    } catch (error) {
      throw fileError(image, "lock", error);
    } finally {
      rmSync(draft, { force: true });
    }
    throw new DiskError(
      "E_IMAGE_LOCKED",
      `${image}: others take the image all the time; try again when they have ended`,
    );
  }

  /** Refuses an image that somebody writes. @throws DiskError `E_IMAGE_LOCKED` */
  static refuseIfTaken(image: string): void {
    try {
      const last = chainOf(placeOf(image)).at(-1);
      if (last !== undefined && lives(last.holder)) throw lockedBy(image, last);
    } catch (error) {
      throw fileError(image, "look for the lock of", error);
    }
  }

  /** Gives the image back. What is no longer as this lock has left it is another's. */
  release(): void {
    for (const { file, holder } of this.chain) {
      if (text(file) === holder) rmSync(file, { force: true });
    }
  }
}

/** Links to an image are the image. */
function placeOf(image: string): Place {
  try {
    const path = realpathSync(image);
    return { folder: dirname(path), first: `.${basename(path)}.lock` };
  } catch (error) {
    throw fileError(image, "open", error);
  }
}

/** The link that comes after a dead holder's; the first one if there was none. */
const linkAfter = ({ folder, first }: Place, holder: string | undefined): string =>
  join(folder, holder === undefined ? first : `${first}.${holder}`);
const draftPrefix = ({ first }: Place): string => `${first}-draft.`;

/** The links from the first to the holder's; none if nobody has taken the image. */
function chainOf(place: Place): Link[] {
  const chain: Link[] = [];
  while (chain.length < MOST_LINKS) {
    const last = chain.at(-1);
    // What is not an identity is nobody's that could be known to be dead.
    if (last !== undefined && partsOf(last.holder) === undefined) break;
    const file = linkAfter(place, last?.holder);
    let holder: string;
    try {
      holder = contentOf(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") break;
      throw error;
    }
    chain.push({ file, holder });
  }
  return chain;
}

/** Makes a link; false if there is one. */
function makeLink(draft: string, file: string): boolean {
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(code)) throw error;
    throw new DiskError(
      "E_DISK_IO",
      `${file}: can't make the lock: the file system has no hard links; keep images that are written on one that has`,
      {},
      { cause: error },
    );
  }
}

/** Removes what the dead have left beside the holder's chain; what stays disturbs nobody. */
function removeLeft(place: Place, chain: readonly Link[]): void {
  const [links, drafts] = [`${place.first}.`, draftPrefix(place)];
  try {
    for (const name of readdirSync(place.folder)) {
      const file = join(place.folder, name);
      if (chain.some((link) => link.file === file)) continue;
      let maker = "";
      if (name.startsWith(drafts)) maker = name.slice(drafts.length);
      else if (name.startsWith(links) && partsOf(name.slice(links.length))) maker = text(file);
      if (!lives(maker)) rmSync(file, { force: true });
    }
  } catch {}
}

const lockedBy = (image: string, { file, holder }: Link): DiskError =>
  new DiskError(
    "E_IMAGE_LOCKED",
    `${image}: ${partsOf(holder) === undefined ? "somebody" : `process ${holder.split("-")[0]}`} writes the image; ` +
      `wait until it has ended, or remove ${file} if it has`,
  );

/** The parts of an identity: process, start, and place. */
function partsOf(
  holder: string,
): { readonly pid: number; readonly start: string; readonly place: string } | undefined {
  const [, pid, start, place] = /^(\d+)-(\d+)-\d+-([A-Za-z0-9-]*)$/.exec(holder) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), start: start!, place: place! };
}

function lives(holder: string): boolean {
  const parts = partsOf(holder);
  if (parts === undefined) return true;
  const { pid, start, place } = parts;
  if (place !== here()) {
    const [host, boot] = [clean(hostname()), clean(text("/proc/sys/kernel/random/boot_id"))];
    // Of this computer, only another boot is surely gone; another namespace can't be seen.
    return !place.startsWith(`${host}-`) || place.startsWith(`${host}-${boot}-`);
  }
  const found = startTimeOf(pid);
  if (found !== undefined) return found === start;
  try {
    process.kill(pid, 0);
    // With /proc, a process that is not to be seen there has ended and not been waited for.
    return text("/proc/self/stat") === "";
  } catch (error) {
    // Another user's process, which /proc may hide.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** When a process began, in ticks since the boot; undefined if it is not there. */
function startTimeOf(pid: number): string | undefined {
  const stat = text(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return stat === "" || ["Z", "X", "x"].includes(fields[STATE] ?? "") ? undefined : fields[START_TIME];
}

function namespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid").replace(/\D/g, "");
  } catch {
    return "";
  }
}

const clean = (value: string): string => value.replace(/[^A-Za-z0-9]/g, "");

/** What a file has, of a pipe or a device nothing: their readers may wait for ever. */
function contentOf(path: string): string {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return fstatSync(file).isFile() ? readFileSync(file, "utf8") : "";
  } finally {
    closeSync(file);
  }
}

/** What a file has; nothing if it is not there, or may not be read. */
function text(path: string): string {
  try {
    return contentOf(path);
  } catch {
    return "";
  }
}
