/**
 * `--drive`: what the user says of a disk, its image opened, and given back however the run ends. A run that a signal ends
 * gives its images back first.
 */
import { type BlockBackend, OverlayBackend } from "@hyperfile/devices/disk";
import { formatOf, type ImageFormat, imageFormats, openImage } from "@hyperfile/devices/node";
import { type BlockCacheMode, blockCacheModes } from "@hyperfile/devices/virtio";
import type { Drive } from "@hyperfile/machine";
import { InvalidArgumentError } from "commander";
import { CliError, errorLine } from "./errors.js";

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
const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

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

/** An image that a machine uses. */
interface OpenDrive {
  readonly drive: Drive;
  close(): Promise<void>;
}

/**
 * Runs `job` with the images of drives, which are closed afterwards.
 * @param error writes to standard error
 * @throws DiskError for images that can't be used or are taken, CliError `E_USAGE`
 */
export async function withDrives<T>(
  drives: readonly DriveFlags[],
  error: (text: string) => void,
  job: (drives: readonly Drive[]) => Promise<T>,
): Promise<T> {
  const open: OpenDrive[] = [];
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= Promise.allSettled(open.map((each) => each.close())).then((results) => {
      const failed = results.find((result) => result.status === "rejected");
      if (failed !== undefined) throw failed.reason;
    });
    return closing;
  };
  const onError = (cause: unknown): void => {
    if (closing === undefined) error(`${errorLine(cause)}\n`);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    void close()
      .catch((cause) => error(`${errorLine(cause)}\n`))
      .finally(() => {
        for (const each of endingSignals) process.off(each, onSignal);
        process.kill(process.pid, signal);
      });
  };
  try {
    if (drives.length > 0) for (const signal of endingSignals) process.on(signal, onSignal);
    for (const flags of drives) open.push(await openDrive(flags, once(onError)));
    return await job(open.map(({ drive }) => drive));
  } finally {
    try {
      await close();
    } finally {
      for (const signal of endingSignals) process.off(signal, onSignal);
    }
  }
}

/** The first failure says it; a guest that tries again would have it said without end. */
function once(report: (cause: unknown) => void): (cause: unknown) => void {
  let isSaid = false;
  return (cause) => {
    if (!isSaid) report(cause);
    isSaid = true;
  };
}

async function openDrive(flags: DriveFlags, onError: (cause: unknown) => void): Promise<OpenDrive> {
  const { file, isReadOnly, isSnapshot, cache, serial } = flags;
  const isWritable = !isReadOnly && !isSnapshot;
  const format = flags.format ?? (await formatOf(file));
  // A guest could write a header that names any file of the host's as its backing file.
  if (isWritable && flags.format === undefined && format === "raw")
    throw new CliError(
      "E_USAGE",
      `${file}: say format=raw to have a raw image written to: if its guest wrote the header of another format, the image would be taken for one next time`,
    );
  const image = await openImage(file, { format: flags.format, isWritable });
  let disk: BlockBackend = image.disk;
  if (isSnapshot) disk = new OverlayBackend(disk, { name: file });
  return {
    drive: { disk, isReadOnly, cache, onError, ...(serial === undefined ? {} : { serial }) },
    close: async () => {
      await disk.close();
      await image.close();
    },
  };
}
