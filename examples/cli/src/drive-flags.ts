/** `--drive`: what the user says of a disk. */
import {
  type BlockCacheMode,
  blockCacheModes,
  type ImageFormat,
  imageFormats,
} from "@hyperfile/devices/names";
import { InvalidArgumentError } from "commander";

/** A disk as the command line names it. */
export interface DriveFlags {
  readonly file: string;
  readonly format?: ImageFormat;
  readonly isReadOnly: boolean;
  /** Whether what is written goes with the run. */
  readonly isSnapshot: boolean;
  readonly cache: BlockCacheMode;
  readonly serial?: string;
}

/** How `--drive` is used, for messages and help. */
export const driveUsage =
  "file=FILE[,format=raw|qcow2|store][,readonly=on][,snapshot=on][,cache=writeback|writethrough|unsafe][,serial=TEXT]";
const keys = ["file", "format", "readonly", "snapshot", "cache", "serial"] as const;

/** Most disks of a machine: the board has eight slots, of which console and entropy have two. */
export const MOST_DRIVES = 6;

/**
 * Reads one `--drive` and adds it to those before. A comma in a value is written twice, as for QEMU.
 * @throws InvalidArgumentError
 */
export function parseDrive(text: string, before: readonly DriveFlags[] = []): readonly DriveFlags[] {
  const values = new Map<string, string>();
  // No path has a NUL in it.
  for (const part of text.replaceAll(",,", "\0").split(",")) {
    const [, key = "", given] = /^([^=]*)(?:=(.*))?$/s.exec(part.replaceAll("\0", ",")) ?? [];
    const value = given ?? (key === "readonly" || key === "snapshot" ? "on" : "");
    if (!(keys as readonly string[]).includes(key))
      throw new InvalidArgumentError(`There is no "${key}"; write ${driveUsage}.`);
    if (values.has(key)) throw new InvalidArgumentError(`Give ${key} once.`);
    values.set(key, value);
  }
  const file = values.get("file") ?? "";
  if (file === "") throw new InvalidArgumentError(`Name the image: ${driveUsage}.`);
  const oneOf = <T extends string>(key: string, choices: readonly T[]): T | undefined => {
    const value = values.get(key);
    if (value === undefined || (choices as readonly string[]).includes(value)) return value as T | undefined;
    throw new InvalidArgumentError(`"${value}" is no ${key}; there are ${choices.join(", ")}.`);
  };
  const format = oneOf("format", imageFormats);
  const serial = values.get("serial");
  if (serial !== undefined && !/^[\x20-\x7e]{1,20}$/.test(serial))
    throw new InvalidArgumentError("A serial is 1 to 20 ASCII characters.");
  if (before.length === MOST_DRIVES) throw new InvalidArgumentError(`A machine takes ${MOST_DRIVES} drives.`);
  const switches = ["on", "off"] as const;
  const drive = {
    file,
    isReadOnly: oneOf("readonly", switches) === "on",
    isSnapshot: oneOf("snapshot", switches) === "on",
    cache: oneOf("cache", blockCacheModes) ?? "writeback",
    ...(format === undefined ? {} : { format }),
    ...(serial === undefined ? {} : { serial }),
  };
  if (drive.isReadOnly && drive.isSnapshot)
    throw new InvalidArgumentError("readonly and snapshot don't go together.");
  return [...before, drive];
}
