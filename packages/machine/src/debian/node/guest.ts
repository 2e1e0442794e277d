/**
 * The Debian guest: the unmodified kernel and busybox of Debian's archive, and an
 * initramfs built from them and from this package's own parts, kept in the user's cache folder. A prepared guest is found
 * without the network; when only this package's part has changed, it is rebuilt from the cached files, and so it is where
 * modules have come to it that can't be fetched.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { packInitramfs } from "@hyperfile/devices/image";
import { agentProgram } from "../../agent/node/agent-program.js";
import { DebianError, meansDebianIsUnavailable } from "../errors.js";
import { initScript, leaseScript, profile } from "../init-script.js";
import { guestModules, initramfsEntries } from "../initramfs.js";
import { type KernelModule, missingDependencies, moduleName, readModuleInformation } from "../modules.js";
import { type Progress, silentProgress } from "../progress.js";
import { hostDebianArchive, openApt } from "./apt.js";
import { type Manifest, readPrepared, replaceFolder, userCacheFolder, writePrepared } from "./cache.js";
import { decompressXz, type PackageFile, readPackageFiles } from "./deb.js";

/** A guest that is ready to boot. */
export interface DebianGuest {
  /** Path of the kernel, a raw RISC-V `Image`. */
  kernel: string;
  /** Path of the initramfs, an uncompressed cpio archive. */
  initrd: string;
  /** The kernel's release, as `uname -r` prints it. */
  release: string;
  /** Whether everything was in the cache. */
  cached: boolean;
}

/** How to prepare the guest. */
export interface DebianGuestOptions {
  /** Where transfers report how far they are; nowhere unless given. */
  progress?: Progress;
  /** Where files are kept; {@link userCacheFolder} unless given. */
  cacheFolder?: string;
  /** Check the digests of all cached files, not only of those that are booted. */
  verify?: boolean;
  /** Fetch the newest packages even when a guest is cached. */
  refresh?: boolean;
}

const suite = "trixie";
const architecture = "riscv64";
const kernelMetaPackage = "linux-image-riscv64";
const busyboxPackage = "busybox-static";
const kernelFile = "vmlinux";
const initramfsFile = "initramfs.cpio";
const busyboxFile = "busybox";
const moduleFolder = "modules";
/** Files that a guest boots from. */
const booted: ReadonlySet<string> = new Set([kernelFile, initramfsFile]);

/** Changes whenever the initramfs has to be built anew. */
function recipeOf(agent: Uint8Array): string {
  return createHash("sha256")
    .update(JSON.stringify([3, initScript, leaseScript, profile, guestModules]))
    .update(agent)
    .digest("hex")
    .slice(0, 16);
}

/**
 * The Debian guest, out of the cache or else out of Debian's archive.
 * @throws DebianError `E_CACHE` when the cache folder can't be used, or one for which `meansDebianIsUnavailable` holds
 */
export async function prepareDebianGuest(options: DebianGuestOptions = {}): Promise<DebianGuest> {
  const folder = join(options.cacheFolder ?? userCacheFolder(), `debian-${suite}-${architecture}`);
  const guest = (manifest: Manifest, cached: boolean): DebianGuest => ({
    kernel: join(folder, kernelFile),
    initrd: join(folder, initramfsFile),
    release: manifest.release,
    cached,
  });
  const agent = await agentProgram();
  const recipe = recipeOf(agent);
  let outdated: Manifest | undefined;
  if (!options.refresh) {
    const all = (): boolean => true;
    // What is booted is always checked: a kernel with a wrong bit fails in ways that nobody understands.
    const manifest = await readPrepared(folder, options.verify ? all : (path) => booted.has(path));
    if (manifest?.recipe === recipe) return guest(manifest, true);
    outdated = manifest && (await readPrepared(folder, all));
    if (outdated !== undefined && hasModules(outdated))
      return guest(await rebuild(folder, outdated, agent), true);
  }
  const isDamaged = !options.refresh && existsSync(folder);
  try {
    const manifest = await replaceFolder(folder, (temporary) =>
      fetchGuest(temporary, agent, options.progress ?? silentProgress),
    );
    return guest(manifest, false);
  } catch (error) {
    if (!isDamaged || !meansDebianIsUnavailable(error)) throw error;
    // Without the modules that it lacks it does what it did before.
    if (outdated !== undefined) return guest(await rebuild(folder, outdated, agent), true);
    throw new DebianError(
      error.code,
      `the cached Debian in ${folder} is damaged, and can't be fetched again: ${error.message}`,
      { cause: error },
    );
  }
}

/** Whether all modules that a guest gets are among its files, or are not to be had for its kernel. */
function hasModules({ modules = [], files }: Manifest): boolean {
  const had = new Set([...modules, ...Object.keys(files).map(moduleName)]);
  return guestModules.every((name) => had.has(name));
}

/** Builds the initramfs again out of the cached busybox and modules. */
async function rebuild(folder: string, manifest: Manifest, agent: Uint8Array): Promise<Manifest> {
  const { files, ...rest } = manifest;
  const modules: KernelModule[] = [];
  for (const file of Object.keys(files)) {
    if (!file.startsWith(`${moduleFolder}/`)) continue;
    const path = file.slice(moduleFolder.length + 1);
    const bytes = await readFile(join(folder, file));
    modules.push({ ...readModuleInformation(path, bytes), path, bytes });
  }
  const busybox = await readFile(join(folder, busyboxFile));
  const initramfs = packInitramfs(initramfsEntries({ busybox, release: manifest.release, modules, agent }));
  return writePrepared(
    folder,
    { ...rest, recipe: recipeOf(agent) },
    new Map([[initramfsFile, initramfs]]),
    files,
  );
}

/** Fetches the packages into `folder` and takes out of them what the guest needs. */
async function fetchGuest(folder: string, agent: Uint8Array, progress: Progress): Promise<Manifest> {
  const archive = await hostDebianArchive();
  const aptFolder = join(folder, "apt");
  await mkdir(aptFolder);
  const apt = await openApt({ folder: aptFolder, archive, suite, architecture, progress });
  await apt.update();
  const [meta, busybox] = await apt.show([kernelMetaPackage, busyboxPackage]);
  const imageName = meta.depends.find((name) => /^linux-image-\d.*-riscv64$/.test(name));
  if (!imageName) {
    throw new DebianError(
      "E_PACKAGE_NOT_FOUND",
      `${kernelMetaPackage} ${meta.version} depends on no linux-image-*-riscv64`,
    );
  }
  const [image] = await apt.show([imageName]);
  const [imageDeb, busyboxDeb] = await apt.download([image, busybox]);

  progress.begin(`unpacking ${image.name}`);
  const { kernel, release, modules } = await readKernelPackage(imageDeb);
  const [busyboxProgram] = await readPackageFiles(busyboxDeb, (path) => /(?:^|\/)bin\/busybox$/.test(path));
  if (!busyboxProgram) throw lacks(busyboxDeb, "bin/busybox");
  const initramfs = packInitramfs(
    initramfsEntries({ busybox: busyboxProgram.bytes, release, modules, agent }),
  );
  const manifest = await writePrepared(
    folder,
    {
      format: 1,
      release,
      recipe: recipeOf(agent),
      modules: [...guestModules],
      archive: `${archive.uri} ${suite}`,
      packages: [image, busybox].map(({ name, version, sha256 }) => ({ name, version, sha256 })),
    },
    new Map([
      [kernelFile, kernel],
      [initramfsFile, initramfs],
      [busyboxFile, busyboxProgram.bytes],
      ...modules.map(({ path, bytes }): [string, Uint8Array] => [`${moduleFolder}/${path}`, bytes]),
    ]),
  );
  await rm(aptFolder, { recursive: true, force: true });
  progress.end();
  return manifest;
}

function lacks(file: string, path: string): DebianError {
  return new DebianError("E_PACKAGE_FORMAT", `the package ${file} has no file ${path}`);
}

const kernelPath = /^boot\/vmlinux-(.+)$/;
const modulePath = /^(?:usr\/)?lib\/modules\/[^/]+\/(.+\.ko)(\.xz)?$/;
const builtInPath = /^(?:usr\/)?lib\/modules\/[^/]+\/modules\.builtin$/;

/**
 * The kernel and the guest's modules out of a kernel package.
 * Which further modules those need is known only when they are read, so the package is read again in the
 * case that {@link guestModules} lacks one.
 * @throws DebianError `E_PACKAGE_FORMAT` when the package is damaged or lacks the kernel or a module
 */
export async function readKernelPackage(
  file: string,
): Promise<{ kernel: Uint8Array; release: string; modules: KernelModule[] }> {
  const isModule = (path: string, names: ReadonlySet<string>) =>
    modulePath.test(path) && names.has(moduleName(path));
  const wanted = new Set(guestModules);
  const files = await readPackageFiles(
    file,
    (path) => kernelPath.test(path) || builtInPath.test(path) || isModule(path, wanted),
  );
  const kernel = files.find(({ path }) => kernelPath.test(path));
  const release = kernel && kernelPath.exec(kernel.path)?.[1];
  if (!kernel || !release) throw lacks(file, "boot/vmlinux-*");
  const builtInList = files.find(({ path }) => builtInPath.test(path));
  const builtIn = new Set(
    Buffer.from(builtInList?.bytes ?? [])
      .toString("latin1")
      .split("\n")
      .filter(Boolean)
      .map(moduleName),
  );
  const modules = new Map<string, KernelModule>();
  const add = async (found: readonly PackageFile[]) => {
    for (const { path, bytes } of found) {
      const match = modulePath.exec(path);
      if (!match) continue;
      const content = match[2] ? await decompressXz(bytes) : bytes;
      const module = { ...readModuleInformation(path, content), path: match[1], bytes: content };
      modules.set(module.name, module);
    }
  };
  await add(files);
  for (;;) {
    const missing = missingDependencies(modules, builtIn);
    if (missing.length === 0) break;
    const names = new Set(missing);
    const found = await readPackageFiles(file, (path) => isModule(path, names));
    await add(found);
    const absent = missing.find((name) => !modules.has(name));
    if (absent) throw lacks(file, `${absent}.ko, which another module needs`);
  }
  for (const name of requiredModules) {
    if (!modules.has(name) && !builtIn.has(name)) throw lacks(file, `${name}.ko`);
  }
  return { kernel: kernel.bytes, release, modules: [...modules.values()] };
}

/** Without these the guest would lack its devices; the others come and go between kernel versions. */
const requiredModules = ["virtio_mmio", "virtio_blk", "virtio_net", "ext4"];
