/**
 * Kernel modules: what each says of itself in its `.modinfo` section, which others it needs, and the index
 * files that `modprobe` reads. Debian's kernel package carries no `modules.dep` (its maintainer script runs
 * `depmod` at installation), so the modules themselves are asked.
 */
import { DebianError } from "./errors.js";

/** What a module says of itself. */
export interface ModuleInformation {
  /** Name with underscores, as the kernel lists it. */
  name: string;
  /** Names of the modules whose symbols it uses. */
  depends: string[];
  /** Patterns of the devices and services that it stands for. */
  aliases: string[];
}

/** A kernel module, decompressed. */
export interface KernelModule extends ModuleInformation {
  /** Path below `lib/modules/<release>/`, ending in `.ko`. */
  path: string;
  /** The ELF file. */
  bytes: Uint8Array;
}

/** A byte a character, so that bytes and characters count alike. */
const latin1 = new TextDecoder("latin1");

/** A module's name as the kernel writes it: file names use `-` and `_` at will. */
export function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf("/") + 1);
  return file.replace(/\.ko(?:\.(?:xz|gz|zst))?$/, "").replaceAll("-", "_");
}

/**
 * Reads the `.modinfo` section of a 64-bit little-endian ELF file (System V ABI, chapter 4: a section
 * header has `sh_name` at 0, `sh_offset` at 24 and `sh_size` at 32).
 * @throws DebianError `E_PACKAGE_FORMAT` when `bytes` is no such file
 */
export function readModuleInformation(path: string, bytes: Uint8Array): ModuleInformation {
  const fail = (what: string) =>
    new DebianError("E_PACKAGE_FORMAT", `${path} is not a kernel module: ${what}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 64 || view.getUint32(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) {
    throw fail("it has no 64-bit little-endian ELF header");
  }
  const table = Number(view.getBigUint64(40, true));
  const entryBytes = view.getUint16(58, true);
  const count = view.getUint16(60, true);
  const namesIndex = view.getUint16(62, true);
  if (entryBytes < 64 || namesIndex >= count || table + count * entryBytes > bytes.length) {
    throw fail("its section headers are outside the file");
  }
  const section = (index: number) => {
    const header = table + index * entryBytes;
    const start = Number(view.getBigUint64(header + 24, true));
    return {
      name: view.getUint32(header, true),
      start,
      end: start + Number(view.getBigUint64(header + 32, true)),
    };
  };
  const text = (start: number, end: number) => latin1.decode(bytes.subarray(start, Math.max(start, end)));
  const names = section(namesIndex);
  if (names.end > bytes.length) throw fail("its section names are outside the file");
  for (let index = 0; index < count; index++) {
    const { name, start, end } = section(index);
    const nameStart = names.start + name;
    if (text(nameStart, Math.min(names.end, nameStart + 9)) !== ".modinfo\0") continue;
    if (end > bytes.length) throw fail("its .modinfo section is outside the file");
    const fields = text(start, end)
      .split("\0")
      .filter((field) => field.includes("="));
    const values = (key: string) =>
      fields.filter((field) => field.startsWith(`${key}=`)).map((field) => field.slice(key.length + 1));
    return {
      name: moduleName(path),
      depends: values("depends")
        .flatMap((list) => list.split(","))
        .filter(Boolean)
        .map(moduleName),
      aliases: values("alias"),
    };
  }
  throw fail("it has no .modinfo section");
}

/** Names of the modules that are needed by `modules` but neither among them nor built in, sorted. */
export function missingDependencies(
  modules: ReadonlyMap<string, ModuleInformation>,
  builtIn: ReadonlySet<string>,
): string[] {
  const missing = new Set<string>();
  for (const { depends } of modules.values()) {
    for (const name of depends) {
      if (!modules.has(name) && !builtIn.has(name)) missing.add(name);
    }
  }
  return [...missing].sort();
}

/**
 * The modules in an order in which each comes after those that it needs; otherwise in the given order.
 * Dependencies that are not among `modules` count as built in.
 */
export function loadOrder<M extends ModuleInformation>(modules: readonly M[]): M[] {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const ordered = new Set<M>();
  const visiting = new Set<M>();
  const visit = (module: M) => {
    if (ordered.has(module) || visiting.has(module)) return;
    visiting.add(module);
    for (const name of module.depends) {
      const needed = byName.get(name);
      if (needed) visit(needed);
    }
    ordered.add(module);
  };
  for (const module of modules) visit(module);
  return [...ordered];
}

/** `modules.dep`: a line a module, naming every module that has to be loaded before it, nearest first. */
export function modulesDep(modules: readonly KernelModule[]): string {
  const byName = new Map(modules.map((module) => [module.name, module]));
  const needs = (module: KernelModule, found: Set<KernelModule>) => {
    for (const name of module.depends) {
      const needed = byName.get(name);
      if (!needed || needed === module) continue;
      const isNew = !found.delete(needed);
      found.add(needed);
      if (isNew) needs(needed, found);
    }
    return found;
  };
  return modules
    .map(
      (module) => `${module.path}:${[...needs(module, new Set())].map(({ path }) => ` ${path}`).join("")}\n`,
    )
    .join("");
}

/** `modules.alias`: which module serves which device or service pattern. */
export function modulesAlias(modules: readonly KernelModule[]): string {
  return modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join("");
}
