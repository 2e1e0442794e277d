/**
 * Makes folders with those above them. Not by `mkdir`'s own `recursive`: that spins for ever where a file system says of a
 * parent which is there that it is not, as `/proc` does, and one of libuv's few threads with it.
 */
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a folder and those above it; one that is there stays as it is.
 * @returns the topmost that was made, named as `folder` is; undefined if none was
 * @throws Error (the promise rejects) as `mkdir` does, and where the file system takes no folder
 */
export async function makeFolders(folder: string): Promise<string | undefined> {
  try {
    return await makeOne(folder);
  } catch (error) {
    const parent = dirname(folder);
    if (codeOf(error) !== "ENOENT" || parent === folder) throw error;
    const above = await makeFolders(parent);
    const made = await makeOne(folder).catch((cause: unknown) => {
      throw codeOf(cause) === "ENOENT" ? new Error("no folder can be made there", { cause }) : cause;
    });
    return above ?? made;
  }
}

const codeOf = (error: unknown): unknown => (error as { code?: unknown }).code;

const makeOne = (folder: string): Promise<string | undefined> =>
  mkdir(folder).then(
    () => folder,
    (error: unknown) => {
      if (codeOf(error) !== "EEXIST") throw error;
      return undefined;
    },
  );
