/**
 * One writer of an image. Node has no lock that the kernel frees, so that a writer announces itself by a file of its own
 * name beside the image, whole from its first moment, and then looks at the others' files: if any of their processes
 * lives, it withdraws. Two that announce themselves see each other, so that never both stay.
 *
 * A name has the process, when it began, and the boot of its computer, so that what a killed process left says nothing to
 * anybody; whoever takes the image removes it. A writer on another computer can't be seen, and is believed.
 */
import { readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { DiskError } from "../errors.js";
import { fileError } from "./node-file.js";

/** Fields of /proc/PID/stat after the name in parentheses (proc(5)): state, and the time of the start in ticks. */
const [STATE, START_TIME] = [0, 19];
let taken = 0;

/** Numbers of processes mean something only on one boot and in one namespace. */
const here = (): string =>
  `${clean(hostname())}-${clean(text("/proc/sys/kernel/random/boot_id"))}-${namespace()}`;

/** The right to write an image. */
export class ImageLock {
  private constructor(private readonly file: string) {}

  /** Takes the lock of an image. @throws DiskError `E_IMAGE_LOCKED` if somebody else has it */
  static take(image: string): ImageLock {
    const { folder, prefix } = placeOf(image);
    const name = `${prefix}${process.pid}-${startTimeOf(process.pid) ?? 0}-${taken++}-${here()}.lock`;
    const file = join(folder, name);
    try {
      writeFileSync(file, "", { flag: "wx", mode: 0o600 });
    } catch (error) {
      throw fileError(image, "lock", error);
    }
    const holder = othersOf(folder, prefix, name);
    if (holder === undefined) return new ImageLock(file);
    rmSync(file, { force: true });
    throw lockedBy(image, holder);
  }

  /** Refuses an image that somebody writes. @throws DiskError `E_IMAGE_LOCKED` */
  static refuseIfTaken(image: string): void {
    const { folder, prefix } = placeOf(image);
    const holder = othersOf(folder, prefix, "");
    if (holder !== undefined) throw lockedBy(image, holder);
  }

  /** Gives the image back. */
  release(): void {
    rmSync(this.file, { force: true });
  }
}

/** Links to an image are the image. */
function placeOf(image: string): { readonly folder: string; readonly prefix: string } {
  try {
    const path = realpathSync(image);
    return { folder: dirname(path), prefix: `.${basename(path)}.` };
  } catch (error) {
    throw fileError(image, "open", error);
  }
}

const lockedBy = (image: string, name: string): DiskError =>
  new DiskError(
    "E_IMAGE_LOCKED",
    `${image}: process ${name.split("-")[0]} writes the image; wait until it has ended, or remove .${basename(image)}.${name} if it has`,
  );

/** The lock of another that lives, without its prefix; what the dead left is removed. */
function othersOf(folder: string, prefix: string, own: string): string | undefined {
  for (const name of readdirSync(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith(".lock") || name === own) continue;
    const rest = name.slice(prefix.length);
    const [, pid, start, place] = /^(\d+)-(\d+)-\d+-(.*)\.lock$/.exec(rest) ?? [];
    if (pid === undefined || lives(pid, start!, place!)) return rest;
    rmSync(join(folder, name), { force: true });
  }
  return undefined;
}

function lives(pid: string, start: string, place: string): boolean {
  if (place !== here()) {
    const [host, boot] = [clean(hostname()), clean(text("/proc/sys/kernel/random/boot_id"))];
    // Of this computer, only another boot is surely gone; another namespace can't be seen.
    return !place.startsWith(`${host}-`) || place.startsWith(`${host}-${boot}-`);
  }
  const found = startTimeOf(Number(pid));
  if (found !== undefined) return found === start;
  if (text("/proc/self/stat") !== "") return false;
  try {
    process.kill(Number(pid), 0);
    return true;
  } catch {
    return false;
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

function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
