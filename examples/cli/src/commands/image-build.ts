/** `hyperfile image build debian`: a whole Debian on a disk image. */
import { fileErrorReason, parseSize, readRegularFile } from "@hyperfile/broker/host";
import { copyDisk } from "@hyperfile/devices/disk";
import { type ImageFormat, imageFormats, openStore } from "@hyperfile/devices/node";
import type { DebianImage, DebianImageOptions } from "@hyperfile/machine/debian";
import { type Command, InvalidArgumentError, Option } from "commander";
import { CliError } from "../errors.js";
import { makeImage } from "../new-image.js";
import { showProgress } from "../progress.js";
import type { Streams } from "../session.js";

/** Builds an image into its store. */
export type BuildImage = (options: DebianImageOptions) => Promise<DebianImage>;

/** What the command needs of the program. */
export interface BuildSurroundings {
  readonly streams: Streams;
  write(text: string): void;
  /** Builds the image; tests have another. */
  readonly build?: BuildImage;
}

interface BuildFlags {
  readonly suite: string;
  readonly size: number;
  readonly packages: readonly string[];
  readonly hostname: string;
  readonly user?: string;
  readonly sshKey?: string;
  readonly format: ImageFormat;
  readonly variant: "required" | "standard";
  readonly rebuild?: boolean;
}

/** Bytes of a file with a public key, and of others that somebody may have added to it. */
const MOST_KEY_BYTES = 65_536;

function parseImageSize(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError("Give a number and a unit, such as 4G.");
  return bytes;
}

const listed = (text: string, before: readonly string[]): readonly string[] => [
  ...before,
  ...text.split(/[\s,]+/).filter(Boolean),
];

/** Adds the command. */
export function addBuildCommand(
  image: Command,
  surroundings: BuildSurroundings,
  finish: (status: number) => void,
): void {
  image
    .command("build")
    .description(
      "build a bootable image of a system: packages by the host's apt, installed in a machine of ours",
    )
    .addOption(new Option("--suite <suite>", "suite of Debian").default("trixie"))
    .addOption(
      new Option("--size <size>", "size of the disk").argParser(parseImageSize).default(4 * 2 ** 30, "4G"),
    )
    .option("--packages <names>", "packages to add, with commas between them; may be repeated", listed, [])
    .option("--hostname <name>", "name of the system", "debian")
    .option("--user <name>", "a user beside root; neither has a password")
    .option("--ssh-key <file>", "public key that lets the user, or root, in over SSH; adds openssh-server")
    .addOption(
      new Option("--variant <variant>", "what every Debian has, or all that one expects of it, with systemd")
        .choices(["required", "standard"])
        .default("standard"),
    )
    .addOption(new Option("--format <format>", "format of the image").choices(imageFormats).default("qcow2"))
    .option("--rebuild", "build it even if the same image is in the cache")
    .argument("<system>", "which system: debian")
    .argument("<out>", "file of the new image; one that is there is refused")
    .action(async (system: string, out: string, flags: BuildFlags) => {
      if (system !== "debian")
        throw new CliError("E_USAGE", `there is no system "${system}" to build: give debian`);
      finish(await build(out, flags, surroundings));
    });
}

async function build(out: string, flags: BuildFlags, surroundings: BuildSurroundings): Promise<number> {
  const { format, sshKey, ...settings } = flags;
  const key = sshKey === undefined ? undefined : await readKey(sshKey);
  const { columns, isTTY } = process.stderr;
  const { streams } = surroundings;
  const progress = showProgress({
    isTTY,
    columns,
    write: (text) => (streams.redraw ?? streams.error)(text),
  });
  let image: DebianImage | undefined;
  // Made before it is built: who builds for ten minutes should not learn then that the file can't be written.
  await makeImage(out, { format, size: flags.size }, async (disk) => {
    const build = surroundings.build ?? (await import("@hyperfile/machine/debian")).buildDebianImage;
    image = await build({ ...settings, bytes: flags.size, ...(key && { sshKey: key }), progress });
    progress.begin(`writing ${out}`, flags.size);
    const source = await openStore(image.store, { isReadOnly: true }).open(image.name);
    try {
      await copyDisk(source, disk, { onProgress: (share) => progress.update(share) });
    } finally {
      await source.close();
    }
  });
  progress.end();
  const { packages, cached } = image!;
  const drive = `file=${out.replaceAll(",", ",,")}${format === "raw" ? ",format=raw" : ""}`;
  surroundings.write(
    `${out}: Debian ${flags.suite}, ${packages.length} packages${cached ? ", from the cache" : ""}\n` +
      `start it: hyperfile start --memory 1G --append root=/dev/vda --drive ${drive}\n`,
  );
  return 0;
}

async function readKey(name: string): Promise<string> {
  try {
    return new TextDecoder().decode(await readRegularFile(name, MOST_KEY_BYTES));
  } catch (error) {
    throw new CliError("E_FILE", `can't read the SSH key ${name}: ${fileErrorReason(error)}`, {
      cause: error,
    });
  }
}
