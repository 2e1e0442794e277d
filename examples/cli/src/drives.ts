/**
 * The disks of `--drive`: their images opened, and given back however the run ends. A run that a signal ends gives its
 * images back first.
 */
import { type BlockBackend, OverlayBackend } from "@hyperfile/devices/disk";
import { formatOf, openImage } from "@hyperfile/devices/node";
import type { Drive } from "@hyperfile/machine";
import type { DriveFlags } from "./drive-flags.js";
import { CliError, errorLine } from "./errors.js";

const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

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
