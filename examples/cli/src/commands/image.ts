/** `hyperfile image`: makes, shows, converts and checks disk images. */
import { resolve } from "node:path";
import { formatSize, parseSize } from "@hyperfile/broker/host";
import { checkQcow2, isAddress } from "@hyperfile/devices/disk";
import {
  formatOf,
  type ImageFormat,
  ImageLock,
  imageFormats,
  NodeFile,
  openImage,
  openStore,
  storePath,
} from "@hyperfile/devices/node";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CliError } from "../errors.js";
import { copyImage, makeEmptyImage } from "../new-image.js";
import { printableLine } from "../printable.js";
import { addBuildCommand, type BuildSurroundings } from "./image-build.js";
import { addEditCommands } from "./image-edit.js";
import { addStoreCommands } from "./image-store.js";

/** What the commands need of the program. */
type ImageSurroundings = BuildSurroundings;

interface QcowFlags {
  readonly clusterSize: number;
  readonly compression: "zlib" | "zstd";
}

/** Statuses of `image check` where it finds faults, as of qemu-img. */
const [CORRUPT, LEAKED] = [2, 3];

function parseDiskSize(text: string): number {
  const bytes = /^\d+$/.test(text) ? Number(text) : parseSize(text);
  if (bytes === undefined || bytes > 2 ** 50)
    throw new InvalidArgumentError("Give bytes, or a number and a unit, such as 512M or 2G.");
  return bytes;
}

const formatOption = (flags: string, text: string) => new Option(flags, text).choices(imageFormats);

function withQcowOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--cluster-size <size>", "bytes of a qcow2 cluster, 512 to 2M")
        .argParser(parseDiskSize)
        .default(65536, "64K"),
    )
    .addOption(
      new Option("--compression <type>", "how qcow2 clusters are compressed")
        .choices(["zlib", "zstd"])
        .default("zlib"),
    );
}

/** Adds the commands to `image`. */
export function addImageCommands(
  image: Command,
  surroundings: ImageSurroundings,
  finish: (status: number) => void,
): void {
  const { write } = surroundings;
  image.action(() => {
    throw new CliError("E_USAGE", "hyperfile image needs a command; hyperfile image --help lists them");
  });

  withQcowOptions(image.command("create"))
    .description("make an empty image; a file that is there is refused")
    .argument("<file>", "file of the image")
    .argument("[size]", "bytes of the disk, such as 2G; by default those of the backing file", parseDiskSize)
    .addOption(formatOption("--format <format>", "format of the image").default("qcow2"))
    .option(
      "--backing <file>",
      "image below, which is left as it is; relative names are relative to the new image",
    )
    .addOption(formatOption("--backing-format <format>", "format of the image below"))
    .action(async (file: string, size: number | undefined, flags: CreateFlags) => {
      finish(await create(file, size, flags));
    });

  image
    .command("info")
    .description("show what an image is")
    .argument("<file>", "file of the image")
    .addOption(formatOption("--format <format>", "format of the image; found out by default"))
    .action(async (file: string, flags: { format?: ImageFormat }) =>
      finish(await info(file, flags.format, write)),
    );

  withQcowOptions(image.command("convert"))
    .description("copy an image, with all that is below it, to a new one")
    .argument("<from>", "image to copy")
    .argument("<to>", "file of the new image; one that is there is refused")
    .addOption(formatOption("--from-format <format>", "format of the image; found out by default"))
    .addOption(formatOption("--format <format>", "format of the new image").default("qcow2"))
    .option("--compress", "compress the clusters of a qcow2 image")
    .action(async (from: string, to: string, flags: ConvertFlags) =>
      finish(await convert(from, to, flags, surroundings)),
    );

  image
    .command("check")
    .description(
      "look for faults in an image of a store or in qcow2: status 2 for corruptions, 3 for leaks only",
    )
    .argument("<file>", "file of the image")
    .addOption(
      new Option("--repair <what>", "mend leaks, or all that can be mended").choices(["leaks", "all"]),
    )
    .action(async (file: string, flags: { repair?: "leaks" | "all" }) =>
      finish(await check(file, flags.repair, surroundings)),
    );

  image
    .command("map")
    .description("show which ranges of a disk have data, and in which image of a chain")
    .argument("<file>", "file of the image")
    .addOption(formatOption("--format <format>", "format of the image; found out by default"))
    .action(async (file: string, flags: { format?: ImageFormat }) =>
      finish(await map(file, flags.format, write)),
    );
  addBuildCommand(image, surroundings, finish);
  const error = (text: string) => surroundings.streams.error(text);
  const tellProgress = (what: string) => progress(what, surroundings);
  addEditCommands(image, { write, progress: tellProgress, parseSize: parseDiskSize }, finish);
  addStoreCommands(image, { write, error, progress: tellProgress }, finish);
}

interface CreateFlags extends QcowFlags {
  readonly format: ImageFormat;
  readonly backing?: string;
  readonly backingFormat?: ImageFormat;
}

async function create(path: string, size: number | undefined, flags: CreateFlags): Promise<number> {
  const { backing, backingFormat } = flags;
  if (backing !== undefined && flags.format !== "qcow2") {
    throw new CliError(
      "E_USAGE",
      `a ${flags.format} image has no image below: leave out --backing, or use --format qcow2`,
    );
  }
  let below: { readonly size: number; readonly format: ImageFormat } | undefined;
  if (backing !== undefined) {
    const opened = await openImage(isAddress(backing) ? backing : resolve(path, "..", backing), {
      format: backingFormat,
    });
    below = { size: opened.disk.size, format: opened.format };
    await opened.close();
  }
  const bytes = size ?? below?.size;
  if (bytes === undefined) throw new CliError("E_USAGE", `${path}: how large? Give a size, such as 2G`);
  await makeEmptyImage(path, {
    size: bytes,
    format: flags.format,
    clusterSize: flags.clusterSize,
    compression: flags.compression,
    ...(below && { backingFile: backing!, backingFormat: below.format }),
  });
  return 0;
}

async function info(
  path: string,
  format: ImageFormat | undefined,
  write: (text: string) => void,
): Promise<number> {
  // Only what does not change while somebody writes it.
  const image = await openImage(path, { format, isLocked: true });
  const { disk, qcow2 } = image;
  const rows: [string, string][] = [
    ["image", path],
    ["format", image.format],
    ["disk", `${formatSize(disk.size)} (${disk.size} bytes)`],
  ];
  if (qcow2 !== undefined) {
    const { version, clusterBits, compression, refcountOrder, backingFile, backingFormat, snapshotCount } =
      qcow2.header;
    rows.push(
      ["version", String(version)],
      ["cluster", formatSize(2 ** clusterBits)],
      ["compression", compression],
    );
    rows.push(["refcount", `${2 ** refcountOrder} bits`], ["snapshots", String(snapshotCount)]);
    if (backingFile !== undefined)
      rows.push(["backing", `${backingFile} (${backingFormat ?? "format not named"})`]);
  }
  await image.close();
  write(rows.map(([name, value]) => `${name.padEnd(12)}${printableLine(value)}\n`).join(""));
  return 0;
}

interface ConvertFlags extends QcowFlags {
  readonly format: ImageFormat;
  readonly fromFormat?: ImageFormat;
  readonly compress?: boolean;
}

async function convert(
  from: string,
  to: string,
  flags: ConvertFlags,
  surroundings: ImageSurroundings,
): Promise<number> {
  if (flags.compress && flags.format !== "qcow2") {
    const why =
      flags.format === "raw"
        ? "a raw image can't be compressed: leave out --compress, or use --format qcow2"
        : "an image of a store is compressed anyway: leave out --compress";
    throw new CliError("E_USAGE", why);
  }
  const { fromFormat, compress, ...image } = flags;
  await copyImage({ path: from, format: fromFormat }, to, image, {
    isCompressed: compress ?? false,
    onProgress: progress("copied", surroundings),
  });
  return 0;
}

/** Tells each tenth that is done, on standard error, where somebody looks on. */
function progress(what: string, { streams }: ImageSurroundings): (share: number) => void {
  let told = 0;
  const isSeen = process.stderr.isTTY === true;
  return (share) => {
    const tenth = Math.floor(share * 10);
    if (!isSeen || tenth <= told) return;
    told = tenth;
    streams.error(`${what} ${tenth * 10} %\n`);
  };
}

async function check(
  path: string,
  repair: "leaks" | "all" | undefined,
  surroundings: ImageSurroundings,
): Promise<number> {
  if (isAddress(path) || (await formatOf(path)) === "store") return checkStored(path, repair, surroundings);
  const lock = await ImageLock.take(path, repair === undefined ? "read" : "write");
  try {
    const file = await NodeFile.open(path, { isReadOnly: repair === undefined });
    try {
      const result = await checkQcow2(file, {
        ...(repair && { repair }),
        onProgress: progress("checked", surroundings),
      });
      const { corruptions, leaks, clusters, repaired } = result;
      for (const [kind, { first }] of [
        ["corruption", corruptions],
        ["leak", leaks],
      ] as const) {
        for (const { structure, offset, how } of first)
          surroundings.write(
            `${printableLine(`${kind}: ${structure} at 0x${offset.toString(16)} ${how}`)}\n`,
          );
      }
      if (repair !== undefined)
        surroundings.write(`mended: ${repaired.corruptions} corruptions, ${repaired.leaks} leaks\n`);
      surroundings.write(
        `${corruptions.count} corruptions, ${leaks.count} leaks; ${clusters.allocated} of ${clusters.total} clusters in use, ${clusters.compressed} compressed\n`,
      );
      return corruptions.count > 0 ? CORRUPT : leaks.count > 0 ? LEAKED : 0;
    } finally {
      await file.close();
    }
  } finally {
    lock.release();
  }
}

async function checkStored(
  path: string,
  repair: "leaks" | "all" | undefined,
  surroundings: ImageSurroundings,
): Promise<number> {
  if (repair !== undefined)
    throw new CliError(
      "E_USAGE",
      `${path}: an image of a store can't be mended: use another copy of the store`,
    );
  const { store, name } = storePath(path);
  const problems = await openStore(store, { isReadOnly: true }).check(
    name,
    progress("checked", surroundings),
  );
  for (const { offset, message } of problems)
    surroundings.write(
      `corruption: ${offset === undefined ? "" : `at ${offset} of the disk: `}${printableLine(message)}\n`,
    );
  surroundings.write(`${problems.length} corruptions\n`);
  return problems.length > 0 ? CORRUPT : 0;
}

async function map(
  path: string,
  format: ImageFormat | undefined,
  write: (text: string) => void,
): Promise<number> {
  const image = await openImage(path, { format });
  try {
    const { disk } = image;
    let row: { start: number; end: number; depth: number } | undefined;
    const end = () => {
      if (row !== undefined) write(`${row.start} ${row.end - row.start} depth ${row.depth}\n`);
      row = undefined;
    };
    for (let at = 0; at < disk.size; ) {
      const { length, kind, depth } = await disk.extent(at, disk.size - at);
      if (kind === "zero" || (row !== undefined && row.depth !== depth)) end();
      if (kind === "data") row = { start: row?.start ?? at, end: at + length, depth };
      at += length;
    }
    end();
  } finally {
    await image.close();
  }
  return 0;
}
