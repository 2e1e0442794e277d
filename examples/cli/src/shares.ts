/** `--share`: what the user says of a folder, opened, and given back however the run ends. */
import { LinuxFolder } from "@hyperfile/devices/node";
import type { Share } from "@hyperfile/machine";
import { InvalidArgumentError } from "commander";
import { errorLine } from "./errors.js";

/** A folder as the command line names it. */
export interface ShareFlags {
  readonly path: string;
  readonly tag: string;
  readonly isReadOnly: boolean;
}

/** How `--share` is used, for messages and help. */
export const shareUsage = "DIR=TAG[,readonly]";

/** Most folders of a machine: the board has eight slots, of which console and entropy have two. */
const MOST_SHARES = 6;

/**
 * Reads one `--share` and adds it to those before. A comma in the path is written twice, as for `--drive`; the last `=` ends
 * the path.
 * @throws InvalidArgumentError
 */
export function parseShare(text: string, before: readonly ShareFlags[] = []): readonly ShareFlags[] {
  // No path has a NUL in it.
  const [named = "", ...words] = text.replaceAll(",,", "\0").split(",");
  const [, path = "", tag = ""] = /^(.*)=([^=]*)$/s.exec(named.replaceAll("\0", ",")) ?? [];
  if (path === "") throw new InvalidArgumentError(`Name the folder and its tag: ${shareUsage}.`);
  // The guest makes a folder of that name.
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,35}$/.test(tag))
    throw new InvalidArgumentError(
      `"${tag}" is no tag: use 1 to 36 letters, digits, ".", "_" and "-", the first no "." or "-".`,
    );
  for (const word of words)
    if (word !== "readonly") throw new InvalidArgumentError(`There is no "${word}"; write ${shareUsage}.`);
  if (words.length > 1) throw new InvalidArgumentError("Give readonly once.");
  if (before.some((share) => share.tag === tag)) throw new InvalidArgumentError(`Give the tag ${tag} once.`);
  if (before.length === MOST_SHARES)
    throw new InvalidArgumentError(`A machine takes ${MOST_SHARES} folders.`);
  return [...before, { path, tag, isReadOnly: words.length > 0 }];
}

/**
 * Runs `job` with folders, which are closed afterwards.
 * @param error writes to standard error
 * @throws ShareError for folders that can't be shared
 */
export async function withShares<T>(
  shares: readonly ShareFlags[],
  error: (text: string) => void,
  job: (shares: readonly Share[]) => Promise<T>,
): Promise<T> {
  const open: { readonly folder: LinuxFolder; readonly share: Share }[] = [];
  try {
    for (const { path, tag, isReadOnly } of shares) {
      const folder = await LinuxFolder.open(path, { isReadOnly });
      let isSaid = false;
      const onError = (cause: unknown): void => {
        if (!isSaid) error(`${errorLine(cause)}\n`);
        isSaid = true;
      };
      open.push({ folder, share: { folder, tag, onError } });
    }
    return await job(open.map(({ share }) => share));
  } finally {
    for (const { folder } of open) folder.close();
  }
}
