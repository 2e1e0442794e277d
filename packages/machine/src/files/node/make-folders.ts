/**
 * Makes folders with those above them. Not by `mkdir`'s own `recursive`: that spins for ever where a file system says of a
 * parent which is there that it is not, as `/proc` does, and says `ENOENT` of one that is read-only.
 */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { systemErrorCode } from "../file-reason.js";

/** Makes a folder and those above it; one that is there stays as it is. @throws Error (the promise rejects) as `mkdir` does */
export async function makeFolders(folder: string): Promise<void> {
  try {
    await makeOne(folder);
  } catch (error) {
    const parent = dirname(folder);
    if (systemErrorCode(error) !== "ENOENT" || parent === folder) throw error;
    await makeFolders(parent);
    await makeOne(folder);
  }
}

const makeOne = (folder: string): Promise<void> =>
  mkdir(folder).catch((error: unknown) => {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  });
