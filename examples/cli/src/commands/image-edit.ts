/** The part of `hyperfile image` that changes images in place: commit, rebase, snapshot, resize. */
import { rm } from "node:fs/promises";
import { formatSize } from "@hyperfile/broker/host";
import {
  applySnapshot,
  createSnapshot,
  deleteSnapshot,
  type ImageFile,
  listSnapshots,
} from "@hyperfile/devices/disk";
import {
  commitImage,
  type ImageFormat,
  ImageLock,
  imageFormats,
  NodeFile,
  rebaseImage,
  resizeImage,
} from "@hyperfile/devices/node";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CliError } from "../errors.js";
import { printableLine } from "../printable.js";

/** What the commands need of the program. */
export interface EditSurroundings {
  write(text: string): void;
  /** Tells a share from 0 to 1 as work goes on. */
  progress(what: string): (share: number) => void;
  /** Reads a size of a disk. @throws InvalidArgumentError */
  parseSize(text: string): number;
}

/** A size, or how much more. */
interface NewSize {
  readonly isMore: boolean;
  readonly bytes: number;
}

/** Adds the commands. */
export function addEditCommands(
  image: Command,
  { write, progress, parseSize }: EditSurroundings,
  finish: (status: number) => void,
): void {
  image
    .command("commit")
    .description("write what a qcow2 image has itself to the image below, and empty it then")
    .argument("<file>", "file of the image")
    .addOption(new Option("--keep", "leave the image as it is").conflicts("drop"))
    .option("--drop", "remove the image when that is done")
    .action(async (file: string, { keep, drop }: { keep?: boolean; drop?: boolean }) => {
      await commitImage(file, {
        keep: keep === true || drop === true,
        onProgress: progress("committed"),
      });
      if (drop) await rm(file);
      finish(0);
    });

  image
    .command("rebase")
    .description("put a qcow2 image on another one, or on none; what it reads stays the same")
    .argument("<file>", "file of the image")
    .requiredOption(
      "--backing <file>",
      'image to put it on, named from the image\'s folder; "" for none, with all that was below copied',
    )
    .addOption(new Option("--backing-format <format>", "format of that image").choices(imageFormats))
    .option("--unsafe", "change the name only, for an image below that has moved: nothing is compared")
    .action(
      async (
        file: string,
        flags: { backing: string; backingFormat?: ImageFormat; unsafe?: boolean },
      ): Promise<void> => {
        const { backing, backingFormat: format, unsafe } = flags;
        if (backing === "" && format !== undefined)
          throw new CliError("E_USAGE", "no image below has no format: leave out --backing-format");
        await rebaseImage(file, backing === "" ? undefined : { file: backing, format }, {
          isUnsafe: unsafe ?? false,
          onProgress: progress("compared"),
        });
        finish(0);
      },
    );

  const parseNewSize = (text: string): NewSize => {
    if (text.startsWith("-"))
      throw new InvalidArgumentError("Give the size that is to be left, and --shrink.");
    const isMore = text.startsWith("+");
    return { isMore, bytes: parseSize(isMore ? text.slice(1) : text) };
  };
  image
    .command("resize")
    .description("change the size of the disk of a raw or qcow2 image; what is new reads as zeros")
    .argument("<file>", "file of the image")
    .argument("<size>", "bytes of the disk, such as 2G; or how much more, such as +512M", parseNewSize)
    .option("--shrink", "allow a smaller size: what lies behind it is lost")
    .addOption(
      new Option("--format <format>", "format of the image; found out by default").choices(imageFormats),
    )
    .action(async (file: string, size: NewSize, flags: { shrink?: boolean; format?: ImageFormat }) => {
      await resizeImage(file, flags.format, (before) => {
        const after = size.isMore ? before + size.bytes : size.bytes;
        if (after < before && !flags.shrink)
          throw new CliError(
            "E_USAGE",
            `${file}: the disk has ${before} bytes, and ${after} are less: give --shrink to lose what lies behind`,
          );
        return after;
      });
      finish(0);
    });
  addSnapshotCommands(image, write, finish);
}

function addSnapshotCommands(
  image: Command,
  write: (text: string) => void,
  finish: (status: number) => void,
): void {
  const snapshot = image
    .command("snapshot")
    .description("list, create, apply and delete the snapshots inside a qcow2 image");
  snapshot.action(() => {
    throw new CliError(
      "E_USAGE",
      "hyperfile image snapshot needs a command; hyperfile image snapshot --help lists them",
    );
  });
  snapshot
    .command("list")
    .description("list the snapshots of an image: number, size of the disk, time, name")
    .argument("<file>", "file of the image")
    .action(async (path: string) => {
      const file = await NodeFile.open(path, { isReadOnly: true });
      try {
        for (const { id, name, seconds, size } of await listSnapshots(file)) {
          const disk = size === undefined ? "-" : formatSize(size);
          const when = new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
          write(`${printableLine(id).padEnd(4)} ${disk.padStart(8)}  ${when}  ${printableLine(name)}\n`);
        }
      } finally {
        await file.close();
      }
      finish(0);
    });
  const commands: readonly (readonly [
    name: string,
    what: string,
    which: string,
    act: (file: ImageFile, name: string) => Promise<void>,
  ])[] = [
    ["create", "keep the disk as it is now under a name", "name of the snapshot", createSnapshot],
    [
      "apply",
      "let the disk be what it was; what it is now is lost",
      "name or number of the snapshot",
      applySnapshot,
    ],
    ["delete", "delete a snapshot", "name or number of the snapshot", deleteSnapshot],
  ];
  for (const [name, what, which, act] of commands)
    snapshot
      .command(name)
      .description(what)
      .argument("<file>", "file of the image")
      .argument("<name>", which)
      .action(async (path: string, of: string) => {
        const lock = await ImageLock.take(path);
        try {
          const file = await NodeFile.open(path);
          try {
            await act(file, of);
          } finally {
            await file.close();
          }
        } finally {
          lock.release();
        }
        finish(0);
      });
}
