/**
 * Debian packages of another architecture, through the host's apt with a private configuration: its own
 * lists, cache and (empty) package database in the user's cache folder. Nothing is installed, no root is
 * needed, and apt itself checks the signatures and digests. Of the host's configuration only how to reach
 * the network is taken over (`Acquire::*`: proxies, timeouts), so that the host's hooks never run.
 */

import { spawn } from "node:child_process";
import { access, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileReason, systemErrorCode } from "../../files/file-reason.js";
import { makeFolders } from "../../files/node/make-folders.js";
import { DebianError } from "../errors.js";
import type { Progress } from "../progress.js";
import {
  type AptSource,
  type DebianArchive,
  findDebianArchive,
  parseDeb822,
  parseDeb822Sources,
  parseListSources,
} from "../sources.js";
import { fileDigest } from "./cache.js";

/** A package as the archive's index describes it. */
export interface PackageRecord {
  /** Package name. */
  name: string;
  /** Debian version, with its epoch if it has one. */
  version: string;
  /** Names of the packages that it depends on, in order; of alternatives the first. */
  depends: string[];
  /** The same of `Pre-Depends`. */
  preDepends: string[];
  /** Its priority, such as `required` or `optional`. */
  priority: string;
  /** Size of the `.deb` in bytes. */
  size: number;
  /** SHA-256 of the `.deb`, 64 hexadecimal digits. */
  sha256: string;
}

/** What {@link Apt} needs to know. */
export interface AptOptions {
  /** Folder that holds all of apt's files; made when missing. */
  folder: string;
  /** The archive to use. */
  archive: DebianArchive;
  /** Suite, such as `trixie`. */
  suite: string;
  /** Debian's name of the architecture, such as `riscv64`. */
  architecture: string;
  /** Where transfers report how far they are. */
  progress: Progress;
}

/** Folder of the host's apt configuration. */
const hostConfiguration = "/etc/apt";

/** Keyrings that Debian's package `debian-archive-keyring` installs, newest name first. */
const debianKeyrings = [
  "/usr/share/keyrings/debian-archive-keyring.pgp",
  "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/** The archive that serves every Debian, for hosts of another distribution that carry Debian's keys. */
const publicArchive = "http://deb.debian.org/debian";

/**
 * The Debian archive that this host uses.
 *
 * @param folder the apt configuration to read; the host's own unless a test says otherwise
 * @param keyrings keyring files to look for when the sources name none
 * @throws DebianError `E_NO_DEBIAN_SOURCE` when there is neither a Debian source nor a Debian keyring
 */
export async function hostDebianArchive(
  folder = hostConfiguration,
  keyrings: readonly string[] = debianKeyrings,
): Promise<DebianArchive> {
  const archive = findDebianArchive(await readSources(folder));
  let keyring: string | undefined;
  for (const path of keyrings) {
    if (keyring === undefined && (await isReadable(path))) keyring = path;
  }
  if (archive) {
    const named = archive.signedBy;
    const usable = named !== undefined && (!named.startsWith("/") || (await isReadable(named)));
    const isKey = named !== undefined && (named.startsWith("/") || named.includes("-----BEGIN PGP"));
    return { uri: archive.uri, signedBy: usable && isKey ? named : keyring };
  }
  if (keyring !== undefined) return { uri: publicArchive, signedBy: keyring };
  throw new DebianError(
    "E_NO_DEBIAN_SOURCE",
    `no Debian source in ${folder}: add one to ${join(folder, "sources.list.d")}, or install debian-archive-keyring`,
  );
}

async function readSources(folder: string): Promise<AptSource[]> {
  const sources: AptSource[] = [];
  const read = async (path: string) => {
    const text = await readFile(path, "utf8").catch(() => "");
    sources.push(...(path.endsWith(".sources") ? parseDeb822Sources(text) : parseListSources(text)));
  };
  await read(join(folder, "sources.list"));
  const parts = join(folder, "sources.list.d");
  for (const name of (await readdir(parts).catch(() => [])).sort()) {
    if (/\.(?:list|sources)$/.test(name)) await read(join(parts, name));
  }
  return sources;
}

async function isReadable(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Host settings that are ours to decide: what is fetched, and that nothing unsigned is accepted. */
const ownSettings = /^Acquire::(?:IndexTargets|Allow|Languages|CompressionTypes|GzipIndexes|ByHash|cdrom)/i;

/** The lines of `apt-config dump` that say how to reach the network. */
export function networkSettings(dump: string): string {
  return dump
    .split("\n")
    .filter((line) => /^Acquire::\S+ ".*";$/.test(line) && !ownSettings.test(line))
    .join("\n");
}

/** Quotes a value for apt's configuration language, which has no escape for a double quote. */
function quoted(path: string): string {
  if (/["\n]/.test(path))
    throw new DebianError("E_CACHE", `apt can't use the folder ${path}: its name has a quote`);
  return `"${path}"`;
}

/** A private apt over one archive. Create it with {@link openApt}. */
export interface Apt {
  /**
   * Fetches the archive's index and checks its signature.
   * @throws DebianError `E_NETWORK` when the archive can't be reached, `E_APT` for anything else
   */
  update(): Promise<void>;
  /**
   * The newest record of each named package.
   * @throws DebianError `E_PACKAGE_NOT_FOUND` for a name that the index lacks
   */
  show(names: readonly string[]): Promise<PackageRecord[]>;
  /**
   * The named packages and all that they need (`Depends` and `Pre-Depends`, as apt itself would choose them for a
   * system without any package), each after what it needs as far as apt can order them.
   * @throws DebianError `E_PACKAGE_NOT_FOUND` for a name that the index lacks, `E_APT` when the packages can't be together
   */
  resolve(names: readonly string[]): Promise<PackageRecord[]>;
  /**
   * Downloads the packages, checked against the signed index; gives the path of each `.deb`. Those that an earlier call
   * has left in the folder are taken from there.
   * @throws DebianError `E_NETWORK` when the archive can't be reached, `E_APT` for anything else
   */
  download(packages: readonly PackageRecord[]): Promise<string[]>;
}

/**
 * Sets up a private apt in `options.folder`.
 * @throws DebianError `E_NO_APT` when the host has no apt, `E_CACHE` when the folder can't be written
 */
export async function openApt(options: AptOptions): Promise<Apt> {
  const { folder, archive, suite, architecture, progress } = options;
  const configuration = join(folder, "apt.conf");
  const hostSettings = networkSettings(await runTool("apt-config", ["dump"], { environment: {} }));
  try {
    for (const part of ["state/lists/partial", "cache/archives/partial"]) {
      await makeFolders(join(folder, part));
    }
    let signedBy = archive.signedBy;
    if (signedBy?.includes("-----BEGIN PGP")) {
      await writeFile(join(folder, "key.asc"), signedBy);
      signedBy = join(folder, "key.asc");
    }
    const options = [`arch=${architecture}`, ...(signedBy ? [`signed-by=${signedBy}`] : [])].join(" ");
    await writeFile(join(folder, "sources.list"), `deb [${options}] ${archive.uri} ${suite} main\n`);
    await writeFile(join(folder, "status"), "");
    await writeFile(
      configuration,
      `${hostSettings}
Dir::State ${quoted(join(folder, "state"))};
Dir::State::status ${quoted(join(folder, "status"))};
Dir::Cache ${quoted(join(folder, "cache"))};
Dir::Etc::sourcelist ${quoted(join(folder, "sources.list"))};
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "${architecture}";
APT::Architectures "${architecture}";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "1";
${process.getuid?.() === 0 ? 'APT::Sandbox::User "root";\n' : ""}`,
    );
  } catch (error) {
    if (error instanceof DebianError) throw error;
    throw new DebianError("E_CACHE", `can't write the cache folder ${folder}: ${fileReason(error)}`, {
      cause: error,
    });
  }
  const environment = { APT_CONFIG: configuration };

  const notFound = (name: string): DebianError =>
    new DebianError(
      "E_PACKAGE_NOT_FOUND",
      `Debian ${suite} for ${architecture} at ${archive.uri} has no package ${name}`,
    );
  const apt: Apt = {
    async update() {
      progress.begin(`fetching the package index of Debian ${suite} from ${archive.uri}`);
      await runTool("apt-get", ["-q", "update"], { environment, progress });
      progress.end();
    },
    async show(names) {
      const output = await runTool("apt-cache", ["show", "--no-all-versions", ...names], {
        environment,
      }).catch((error: unknown) => {
        if (error instanceof DebianError && error.code === "E_APT") return "";
        throw error;
      });
      const records = parsePackageRecords(output);
      return names.map((name) => {
        const record = records.find((candidate) => candidate.name === name);
        if (record) return record;
        throw notFound(name);
      });
    },
    async resolve(names) {
      const args = ["-q", "--simulate", "--no-install-recommends", "install", ...names];
      try {
        return await apt.show(parseSimulation(await runTool("apt-get", args, { environment })));
      } catch (error) {
        const absent = error instanceof DebianError ? absentPackage(error.message) : undefined;
        throw absent === undefined ? error : notFound(absent);
      }
    },
    async download(wanted) {
      const target = join(folder, "archives");
      const paths = wanted.map(({ name }) => join(target, `${name}.deb`));
      const packages: PackageRecord[] = [];
      for (const [index, each] of wanted.entries()) {
        const digest = await fileDigest(paths[index]!).catch(() => undefined);
        if (digest === undefined || digest !== each.sha256) packages.push(each);
      }
      if (packages.length === 0) return paths;
      const temporary = join(folder, `partial-${process.pid}`);
      await rm(temporary, { recursive: true, force: true });
      await makeFolders(temporary);
      try {
        const total = packages.reduce((sum, { size }) => sum + size, 0);
        const what =
          packages.length > 3
            ? `${packages.length} packages`
            : packages.map(({ name }) => name).join(" and ");
        progress.begin(`downloading ${what}`, total);
        const exact = packages.map(({ name, version }) => `${name}=${version}`);
        await runTool("apt-get", ["-q", "download", ...exact], { environment, progress, folder: temporary });
        progress.end();
        const files = await readdir(temporary);
        await makeFolders(target);
        for (const { name } of packages) {
          const file = files.find(
            (candidate) => candidate.startsWith(`${name}_`) && candidate.endsWith(".deb"),
          );
          if (!file)
            throw new DebianError("E_APT", `apt-get download reported success but left no file of ${name}`);
          await rename(join(temporary, file), join(target, `${name}.deb`));
        }
        return paths;
      } finally {
        await rm(temporary, { recursive: true, force: true });
      }
    },
  };
  return apt;
}

/** The package that apt says it does not have, in a message of {@link aptFailure}. */
export const absentPackage = (message: string): string | undefined =>
  /Unable to locate package (\S+)|Package '?([^' ]+)'? has no installation candidate/
    .exec(message)
    ?.slice(1)
    .find(Boolean);

/** The names of the packages that `apt-get --simulate install` would install, in its order. */
export function parseSimulation(text: string): string[] {
  return [...text.matchAll(/^Inst ([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9-]+)? /gm)].map(([, name]) => name);
}

/** Parses the stanzas that `apt-cache show` prints. */
export function parsePackageRecords(text: string): PackageRecord[] {
  return parseDeb822(text)
    .filter((stanza) => stanza.has("package"))
    .map((stanza) => ({
      name: stanza.get("package") ?? "",
      version: stanza.get("version") ?? "",
      depends: namesOf(stanza.get("depends")),
      preDepends: namesOf(stanza.get("pre-depends")),
      priority: stanza.get("priority") ?? "optional",
      size: Number(stanza.get("size") ?? 0),
      sha256: stanza.get("sha256") ?? "",
    }));
}

/** The names in a field of dependencies, the first of each group of alternatives. */
const namesOf = (field = ""): string[] =>
  field
    .split(",")
    .map((dependency) => dependency.trim().split(/[\s|(:]/)[0])
    .filter(Boolean);

/** What apt says when it is the network, and not the archive, that fails. */
const networkFailure =
  /resolv|connect|timed out|timeout|unreachable|Network|Failed to fetch|Connection|no longer has a Release file/i;

/**
 * The error for a failed apt run, out of what it printed: the first `E:` or `Err:` line, which names the
 * file or host.
 */
export function aptFailure(tool: string, status: number | null, output: string): DebianError {
  const lines = output
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const line = lines.find((text) => text.startsWith("E:")) ?? lines.find((text) => text.startsWith("Err:"));
  const reason = line?.replace(/^(?:E|Err):\S*\s*/, "").replace(/\s+/g, " ") ?? `exit status ${status}`;
  const isKey = lines.find((text) => /NO_PUBKEY|not signed|EXPKEYSIG|BADSIG|signature/i.test(text));
  if (isKey) {
    return new DebianError(
      "E_APT",
      `${tool} doesn't trust the archive's signature: ${isKey.replace(/^(?:E|W|Err):\S*\s*/, "")}`,
    );
  }
  if (networkFailure.test(reason))
    return new DebianError(
      "E_NETWORK",
      `can't reach the Debian archive: ${reason}; check the network, and the proxy and sources that apt has`,
    );
  return new DebianError("E_APT", `${tool} failed: ${reason}`);
}

interface RunOptions {
  environment: Readonly<Record<string, string>>;
  /** Gets the percentages that apt writes to its status descriptor (`APT::Status-Fd`). */
  progress?: Progress;
  folder?: string;
}

/** Runs one of apt's programs; gives its standard output. */
async function runTool(tool: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { environment, progress, folder } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(tool, progress ? ["-o", "APT::Status-Fd=3", ...args] : [...args], {
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      env: { ...process.env, LC_ALL: "C.UTF-8", ...environment },
      ...(folder === undefined ? {} : { cwd: folder }),
    });
    let output = "";
    let errors = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (errors += text));
    child.stdio[3]?.on("data", (bytes: Buffer) => {
      const percentages = [...bytes.toString("latin1").matchAll(/^dlstatus:\d+:([\d.]+):/gm)];
      const last = percentages.at(-1);
      if (last) progress?.update(Number(last[1]) / 100);
    });
    child.on("error", (error) => {
      reject(
        systemErrorCode(error) === "ENOENT"
          ? new DebianError(
              "E_NO_APT",
              `no apt on this host: ${tool} is not installed; install apt, or boot another kernel`,
            )
          : new DebianError("E_APT", `can't run ${tool}: ${error.message}`, { cause: error }),
      );
    });
    child.on("close", (status) => {
      if (status === 0) resolve(output);
      else reject(aptFailure(tool, status, `${errors}\n${output}`));
    });
  });
}
