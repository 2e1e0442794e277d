/**
 * The benchmark's guest: Debian's own kernel with a file system of the programs' packages, unpacked as they are, and
 * busybox. The packages' part is kept in the user's cache; the scripts and inputs are a second archive behind it, which
 * the kernel unpacks as well (Linux documentation, driver-api/early-userspace/buffer-format).
 */
import { createHash, generateKeyPairSync } from "node:crypto";
import { mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type InitramfsEntry, packInitramfs } from "@hyperfile/devices/image";
import {
  hostDebianArchive,
  openApt,
  type PackageFile,
  type PackageLink,
  type Progress,
  prepareDebianGuest,
  readPackage,
  readPrepared,
  replaceFolder,
  userCacheFolder,
  writePrepared,
} from "@hyperfile/machine/debian";
import { benchFolder, withIterations } from "../suite.js";
import { initScript, workloadScripts } from "./init-script.js";
import { sampleText } from "./sample-text.js";
import { type Inputs, linuxProgramWork, packages, workloads } from "./workloads.js";

/** A guest that is ready to boot. */
export interface BenchGuest {
  /** Path of the kernel. */
  readonly kernel: string;
  /** The initial file system. */
  readonly initramfs: Uint8Array;
  /** What the work is done on. */
  readonly inputs: Inputs;
  /** Versions of the programs' packages, by name. */
  readonly versions: Readonly<Record<string, string>>;
}

const architecture = "riscv64";
const programsFile = "programs.cpio";
/** The suite's program as a process of Linux. */
const linuxProgram = join(benchFolder, "guest", "bin", "linux-rv64", `${linuxProgramWork.name}.elf`);
/** Size of the sample text. */
const TEXT_BYTES = 2 << 20;
const KEY_BITS = 3072;

/** Files that no program reads while it works. */
const isIdle = (path: string): boolean =>
  /^(?:usr\/)?(?:share\/(?:doc|man|info|locale|lintian|bug|doc-base|bash-completion)|lib\/[^/]+\/gconv)\//.test(
    path,
  );

/** Changes whenever the archive of programs has to be built anew. */
const recipe = createHash("sha256")
  .update(JSON.stringify([1, packages, isIdle.toString()]))
  .digest("hex")
  .slice(0, 16);

/** Where a path of a package is since Debian's folders `bin`, `sbin` and `lib` moved below `usr`. */
export const mergedPath = (path: string): string =>
  path.replace(/\/$/, "").replace(/^(bin|sbin|lib|lib64)(?=\/)/, "usr/$1");

/**
 * The packages' contents as entries, each folder before what it holds. Of a path that two packages bring, the later
 * one's stays.
 */
export function packageEntries(
  contents: readonly { readonly files: readonly PackageFile[]; readonly links: readonly PackageLink[] }[],
): InitramfsEntry[] {
  const entries = new Map<string, InitramfsEntry>();
  const folder = (path: string): void => {
    if (path === "." || entries.has(path)) return;
    folder(dirname(path));
    entries.set(path, { path, kind: "directory", mode: 0o755 });
  };
  for (const name of ["dev", "proc", "sys", "tmp", "root", "etc", "opt/busybox", "bench"]) folder(name);
  for (const name of ["bin", "sbin", "lib"]) {
    folder(`usr/${name}`);
    entries.set(name, { path: name, kind: "symlink", target: `usr/${name}` });
  }
  for (const { files, links } of contents) {
    for (const { path: original, mode, bytes } of files) {
      const path = mergedPath(original);
      folder(dirname(path));
      entries.set(path, { path, kind: "file", mode: mode & 0o777, bytes });
    }
    for (const { path: original, target } of links) {
      const path = mergedPath(original);
      if (entries.get(path)?.kind === "directory") continue;
      folder(dirname(path));
      entries.set(path, { path, kind: "symlink", target });
    }
  }
  return [...entries.values()];
}

/** Fetches the packages into the cache unless they are there; gives their archive's path and versions. */
async function preparePrograms(
  suite: string,
  progress: Progress,
  busybox: string,
): Promise<{ archive: string; versions: Record<string, string> }> {
  const folder = join(userCacheFolder(), `bench-${suite}-${architecture}`);
  let manifest = await readPrepared(folder, () => false);
  if (manifest?.recipe !== recipe) {
    manifest = await replaceFolder(folder, async (temporary) => {
      const source = await hostDebianArchive();
      const aptFolder = join(temporary, "apt");
      await mkdir(aptFolder);
      const apt = await openApt({ folder: aptFolder, archive: source, suite, architecture, progress });
      await apt.update();
      const records = await apt.resolve(packages);
      const contents: { files: PackageFile[]; links: PackageLink[] }[] = [];
      for (const file of await apt.download(records))
        contents.push(await readPackage(file, (path) => !isIdle(path)));
      await rm(aptFolder, { recursive: true, force: true });
      const program = { path: "usr/bin/busybox", mode: 0o755, bytes: await readFile(busybox) };
      const shell = { path: "usr/bin/sh", target: "busybox" };
      const archive = packInitramfs(packageEntries([...contents, { files: [program], links: [shell] }]));
      return writePrepared(
        temporary,
        {
          format: 1,
          release: suite,
          recipe,
          archive: `${source.uri} ${suite}`,
          packages: records.map(({ name, version, sha256 }) => ({ name, version, sha256 })),
        },
        new Map([[programsFile, archive]]),
      );
    });
  }
  const versions = Object.fromEntries(
    manifest.packages
      .filter(({ name }) => packages.includes(name))
      .map(({ name, version }) => [name, version]),
  );
  return { archive: join(folder, programsFile), versions };
}

/** The inputs: the same text and message everywhere, and a key of this run's own. */
export function makeInputs(): Inputs {
  const { privateKey } = generateKeyPairSync("rsa", {
    modulusLength: KEY_BITS,
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return { text: sampleText(TEXT_BYTES), message: sampleText(1024), privateKey };
}

/** The archive of scripts and inputs. */
export async function workArchive(inputs: Inputs): Promise<Uint8Array> {
  const file = (path: string, bytes: Uint8Array, mode = 0o644): InitramfsEntry => ({
    path,
    kind: "file",
    mode,
    bytes,
  });
  const text = (path: string, content: string, mode?: number) => file(path, Buffer.from(content), mode);
  const scripts = await Promise.all(
    ["work.sql", "work.lua", "work.py"].map(async (name) =>
      file(`bench/${name}`, await readFile(join(benchFolder, "guest", "debian", name))),
    ),
  );
  const { name, iterations } = linuxProgramWork;
  return packInitramfs([
    text("init", initScript, 0o755),
    ...workloads.flatMap((workload) =>
      workloadScripts(workload).map(([path, content]) => text(path, content)),
    ),
    ...scripts,
    file(`bench/${name}`, withIterations(await readFile(linuxProgram), name, iterations), 0o755),
    file("bench/text", inputs.text),
    file("bench/message", inputs.message),
    text("bench/key", inputs.privateKey, 0o600),
  ]);
}

/**
 * Prepares the guest with the programs of a Debian suite.
 * @throws DebianError for which `meansDebianIsUnavailable` holds where Debian can't be had
 */
export async function prepareBenchGuest(suite: string, progress: Progress): Promise<BenchGuest> {
  const { kernel } = await prepareDebianGuest({ progress });
  const { archive, versions } = await preparePrograms(suite, progress, join(dirname(kernel), "busybox"));
  const inputs = makeInputs();
  const initramfs = Buffer.concat([await readFile(archive), await workArchive(inputs)]);
  return { kernel, initramfs, inputs, versions };
}
