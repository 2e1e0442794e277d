/**
 * Makes folders with those above them. Not by `mkdir`'s own `recursive`: that spins for ever where a file system says of a
 * parent which is there that it is not, as `/proc` does, and says `ENOENT` of one that is read-only.
 */
import { mkdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";

/** Mode of what only its owner may see. */
export const OWNER_ONLY = 0o700;

/**
 * Makes a folder and those above it; one that is there stays as it is.
 * @param mode of those that are made, before the umask
 * @param make one folder; tests replace it
 * @throws Error (the promise rejects) as `mkdir` does
 */
export async function makeFolders(
  folder: string,
  mode = 0o777,
  make: (path: string, mode: number) => Promise<unknown> = mkdir,
): Promise<void> {
  const makeOne = () => make(folder, mode).catch(allowExisting);
  try {
    await makeOne();
  } catch (error) {
    const parent = dirname(folder);
    if (!isMissing(error) || parent === folder) throw error;
    await makeFolders(parent, mode, make);
    await makeOne();
  }
}

/** The same at once. @throws Error as `mkdirSync` does */
export function makeFoldersSync(folder: string, mode = 0o777): void {
  const makeOne = () => {
    try {
      mkdirSync(folder, mode);
    } catch (error) {
      allowExisting(error);
    }
  };
  try {
    makeOne();
  } catch (error) {
    const parent = dirname(folder);
    if (!isMissing(error) || parent === folder) throw error;
    makeFoldersSync(parent, mode);
    makeOne();
  }
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code;
const isMissing = (error: unknown): boolean => codeOf(error) === "ENOENT";

function allowExisting(error: unknown): void {
  if (codeOf(error) !== "EEXIST") throw error;
}
