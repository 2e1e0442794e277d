/**
 * Files that the program writes by a name of its user's: new ones, and regular ones, which lose their content. Opening a
 * pipe would wait for its reader, where no signal is heard any more; a device or a folder is a mistake.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, statSync } from "node:fs";
import { systemErrorCode } from "./errors.js";

const { O_CREAT, O_NONBLOCK, O_WRONLY } = constants;
const MODE = 0o666;

/**
 * Opens a file to be written from its start.
 * @returns its descriptor, which is the caller's to close
 * @throws Error as `openSync`, with the code `ENOTREG` for what is no regular file
 */
export function openOutput(name: string): number {
  const file = openKept(name);
  try {
    ftruncateSync(file, 0);
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/** Looks at what has a name before there is anything to write: a pipe, a device and a folder are none of ours. @throws Error */
export function requireRegular(name: string): void {
  const found = statSync(name, { bigint: true, throwIfNoEntry: false });
  if (found?.isDirectory()) throw Object.assign(new Error("it is a folder"), { code: "EISDIR" });
  if (found !== undefined && !found.isFile()) throw notRegular();
}

function openKept(name: string): number {
  let file: number;
  try {
    file = openSync(name, O_WRONLY | O_CREAT | O_NONBLOCK, MODE);
  } catch (error) {
    // A pipe that nobody reads, or a device that is not there (open(2)).
    throw systemErrorCode(error) === "ENXIO" ? notRegular() : error;
  }
  // In plain numbers, Node 20 takes what stays of this look for that at the next module.
  if (fstatSync(file, { bigint: true }).isFile()) return file;
  closeSync(file);
  throw notRegular();
}

const notRegular = (): Error => Object.assign(new Error("it is no regular file"), { code: "ENOTREG" });
