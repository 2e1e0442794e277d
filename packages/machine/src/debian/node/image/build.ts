/**
 * Builds a system image of Debian without root and without another emulator: apt of the host finds and fetches packages,
 * a machine of ours lays them out and configures them on an empty disk. Images are kept in a store in the user's cache
 * under a name that says what is in them, so that the same image is built once.
 */
import { createHash } from "node:crypto";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { copyDisk, lengthOf, RawBackend } from "@hyperfile/devices/disk";
import { NodeFile, openStore } from "@hyperfile/devices/node";
import { agentProgram } from "../../../agent/node/agent-program.js";
import { fileReason } from "../../../files/file-reason.js";
import { makeFolders } from "../../../files/node/make-folders.js";
import { riscvVirt } from "../../../riscv-virt.js";
import { DebianError } from "../../errors.js";
import { BuildLog } from "../../image/build-log.js";
import { builderInit, buildScript } from "../../image/build-script.js";
import { basePackages, installPlan } from "../../image/install-plan.js";
import {
  checkImageSettings,
  type ImageSettings,
  settingsFiles,
  wantedPackages,
} from "../../image/settings.js";
import { unpackedState } from "../../image/unpacked-state.js";
import { guestModules } from "../../initramfs.js";
import { type Progress, silentProgress } from "../../progress.js";
import type { DebianArchive } from "../../sources.js";
import { type Apt, hostDebianArchive, openApt, type PackageRecord } from "../apt.js";
import { temporaryFolder, userCacheFolder } from "../cache.js";
import { type DebianGuest, type DebianGuestOptions, prepareDebianGuest } from "../guest.js";
import { builderInitrd, mke2fsEntries, mke2fsPackages } from "./builder-initramfs.js";
import { writePackageDisks } from "./package-disk.js";

/** How an image is built. */
export interface DebianImageOptions
  extends Partial<ImageSettings>,
    Pick<DebianGuestOptions, "progress" | "cacheFolder"> {
  /** Build it even when it is in the cache. */
  readonly rebuild?: boolean;
}

/** A system image in the cache. */
export interface DebianImage {
  /** Folder of its store, and its name there. */
  readonly store: string;
  readonly name: string;
  /** What boots it, with `root=/dev/vda` on the command line. */
  readonly guest: DebianGuest;
  readonly packages: readonly PackageRecord[];
  /** Whether it was there already. */
  readonly cached: boolean;
}

/** RAM of the builder: packages wait there for dpkg. */
const RAM_BYTES = 2 ** 30;
/** Bytes of packages that wait at most. */
const GROUP_BYTES = 320 * 2 ** 20;
const architecture = "riscv64";

/**
 * The image, out of the cache or built.
 * @throws DebianError `E_IMAGE_SETTING` for settings that can't be, `E_IMAGE_BUILD` with the name of the package or the
 *   step that failed, whose log is kept; `E_CACHE`, and those that say that Debian can't be had
 */
export async function buildDebianImage(options: DebianImageOptions = {}): Promise<DebianImage> {
  const { progress = silentProgress, cacheFolder = userCacheFolder(), rebuild = false, ...given } = options;
  const settings = checkImageSettings(given);
  const guest = await prepareDebianGuest({ progress, cacheFolder });
  const agent = await agentProgram();
  const archive = await hostDebianArchive();
  const { suite } = settings;
  const folder = join(cacheFolder, `apt-${suite}-${architecture}`);
  const apt = await openApt({ folder, archive, suite, architecture, progress });
  const packages = await findPackages(apt, settings, archive);

  const key = contentKey({ settings, archive, packages, guest, agent });
  const store = join(cacheFolder, "image-store");
  const name = `debian-${suite}-${key.slice(0, 16)}`;
  const images = openStore(store);
  const image = (cached: boolean): DebianImage => ({ store, name, guest, packages, cached });
  await makeFolders(store).catch((error: unknown) => {
    throw new DebianError("E_CACHE", `can't write the cache folder ${store}: ${fileReason(error)}`, {
      cause: error,
    });
  });
  const names = await all(images.names());
  if (names.includes(name)) {
    if (!rebuild) return image(true);
    await images.remove(name);
  }

  const work = await temporaryFolder(join(cacheFolder, "image-build"));
  try {
    const files = await apt.download(packages);
    const uuid = uuidOf(key);
    const log = join(cacheFolder, "image-build.log");
    await runBuilder({ settings, archive, guest, agent, packages, files, uuid, work, log, progress });
    // Under the name that counts there are whole images only.
    const partial = `${name}.part-${process.pid}`;
    progress.begin("keeping the image in the cache", settings.bytes);
    await images.create(partial, { size: settings.bytes });
    try {
      const [from, to] = [
        await openDisk(join(work, "disk")),
        await images.open(partial, { isWritable: true }),
      ];
      try {
        await copyDisk(from, to, { onProgress: (share) => progress.update(share) });
        await to.flush();
      } finally {
        await to.close();
        await from.close();
      }
      await images.clone(partial, name);
    } finally {
      await images.remove(partial);
    }
    progress.end();
    return image(false);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** The packages of the image, in apt's order. */
async function findPackages(
  apt: Apt,
  settings: ImageSettings,
  archive: DebianArchive,
): Promise<readonly PackageRecord[]> {
  const wanted = [...wantedPackages(settings, archive), "e2fsprogs"];
  try {
    await apt.update();
  } catch (error) {
    // An index of an earlier build does without the network, as long as the packages are there, too.
    if (!(error instanceof DebianError) || error.code !== "E_NETWORK") throw error;
    const packages = await apt.resolve(wanted).catch(() => undefined);
    if (packages === undefined) throw error;
    return packages;
  }
  return apt.resolve(wanted);
}

/** Digest of all that makes the image what it is. */
function contentKey(parts: {
  settings: ImageSettings;
  archive: DebianArchive;
  packages: readonly PackageRecord[];
  guest: DebianGuest;
  agent: Uint8Array;
}): string {
  const { settings, archive, packages, guest, agent } = parts;
  const sample = { name: "sample", offset: 0, bytes: 1 };
  const batches = [{ groups: [[sample]], configure: ["sample"] }];
  const script = buildScript({ settings, uuid: "", batches: [...batches, ...batches] });
  const files = settingsFiles(settings, archive, "", agent).map((entry) => ({
    ...entry,
    ...("bytes" in entry && { bytes: Buffer.from(entry.bytes).toString("latin1") }),
  }));
  const found = packages.map(({ name, version, sha256 }) => [name, version, sha256]);
  // Of what boots the builder only its modules get into the image.
  const modules = [guest.release, guestModules];
  return createHash("sha256")
    .update(JSON.stringify([builderInit, script, settings, files, found, modules]))
    .digest("hex");
}

/** A UUID of version 8 (RFC 9562, 5.8), whose content is ours to choose. */
function uuidOf(key: string): string {
  const digits = `${key.slice(0, 12)}8${key.slice(13, 16)}8${key.slice(17, 32)}`;
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const openDisk = async (path: string): Promise<RawBackend> => new RawBackend(await NodeFile.open(path));

/** A disk that tells of the bytes that are read of it. */
class WatchedDisk extends RawBackend {
  constructor(
    file: NodeFile,
    private readonly hasRead: (bytes: number) => void,
  ) {
    super(file);
  }

  override read(offset: number, buffers: readonly Uint8Array[]): Promise<void> {
    this.hasRead(lengthOf(buffers));
    return super.read(offset, buffers);
  }
}

interface BuilderRun {
  readonly settings: ImageSettings;
  readonly archive: DebianArchive;
  readonly guest: DebianGuest;
  readonly agent: Uint8Array;
  readonly packages: readonly PackageRecord[];
  readonly files: readonly string[];
  readonly uuid: string;
  /** Folder that gets the disks of packages and the image's. */
  readonly work: string;
  /** File for what the machine prints, if it fails. */
  readonly log: string;
  readonly progress: Progress;
}

/** Builds the image in the work folder's `disk`. @throws DebianError `E_IMAGE_BUILD` */
async function runBuilder(run: BuilderRun): Promise<void> {
  const { settings, archive, guest, agent, packages, files, uuid, work, progress } = run;
  const base = basePackages(packages);
  // The links of the merged /usr come with base-files; everything else follows them.
  const sources = packages.map(({ name, size }, index) => ({ name, size, file: files[index]! }));
  sources.sort((a, b) => Number(b.name === "base-files") - Number(a.name === "base-files"));
  const parts = { archive: join(work, "archive"), packages: join(work, "packages") };
  const content = await writePackageDisks(parts, sources, base, progress);
  const places = new Map(content.packages.map((place) => [place.name, place]));
  const planned = packages.map((each) => ({ ...each, bytes: places.get(each.name)?.bytes }));
  const batches = installPlan(planned, base, GROUP_BYTES).map(({ groups, configure }) => ({
    groups: groups.map((group) => group.map(({ name }) => places.get(name)!)),
    configure,
  }));
  const script = buildScript({ settings, uuid, batches });
  const fileOf = (name: string) => files[packages.findIndex((each) => each.name === name)];
  const mke2fs = await mke2fsEntries(mke2fsPackages.map(fileOf).filter((file) => file !== undefined));
  const initrd = builderInitrd({
    initrd: await readFile(guest.initrd),
    mke2fs,
    script,
    settings: settingsFiles(settings, archive, uuid, agent),
    database: unpackedState(content.laidOut),
    sshKey: settings.sshKey,
  });
  const disk = await NodeFile.open(join(work, "disk"), { create: true });
  await disk.truncate(settings.bytes);
  const archiveFile = await NodeFile.open(parts.archive, { isReadOnly: true });
  const packageFile = await NodeFile.open(parts.packages, { isReadOnly: true });
  const log = new BuildLog(
    {
      archive: content.archive,
      unpacked: new Map(content.packages.map(({ name, bytes }) => [name, bytes])),
      packages: new Set(packages.map(({ name }) => name)),
    },
    progress,
  );
  const drives = [
    { disk: new RawBackend(disk), cache: "unsafe" as const },
    { disk: new WatchedDisk(archiveFile, (bytes) => log.hasRead(bytes)), isReadOnly: true },
    { disk: new RawBackend(packageFile), isReadOnly: true },
  ];
  let problem: unknown;
  progress.begin("installing Debian");
  const machine = riscvVirt({
    ramBytes: RAM_BYTES,
    boot: {
      kernel: { name: guest.kernel, bytes: await readFile(guest.kernel) },
      initrd: { name: guest.initrd, bytes: initrd },
      append: "console=ttyS0 quiet panic=-1",
    },
    console: log,
    devices: ["entropy"],
    background: true,
    onReset: "end",
    drives: drives.map((drive) => ({ ...drive, onError: (error: unknown) => (problem ??= error) })),
  });
  let ending: string;
  try {
    const end = await machine.run();
    ending = end.kind === "stuck" ? end.message : "it ended before it was done";
  } finally {
    machine.free();
    for (const drive of drives) await drive.disk.close();
  }
  const failure =
    problem === undefined
      ? log.failure(ending)
      : new DebianError("E_CACHE", fileReason(problem), { cause: problem });
  if (failure === undefined) {
    progress.end();
    return;
  }
  await writeFile(run.log, log.text).catch(() => {});
  throw new DebianError(failure.code, `${failure.message}; its log is ${run.log}`, { cause: problem });
}
