/** `--share`: what the user says of a folder. */
import { InvalidArgumentError } from "commander";

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
