/**
 * What dpkg knows of a package that it has unpacked and not yet configured: for packages without a script that runs before
 * unpacking that is all told by the package itself, so that the host can lay it out in dpkg's stead. Files of dpkg's
 * database: deb-control(5), deb-triggers(5), dpkg's `lib/dpkg/trig{deferred,lib}.c` and `infodb-access.c`.
 *
 * Configuration files are there under their own names and not as `.dpkg-new`: when dpkg configures the package it takes
 * them as dealt with, and keeps the digest that its database has.
 */
import type { InitramfsEntry } from "@hyperfile/devices/image";
import { DebianError } from "../errors.js";
import { parseDeb822 } from "../sources.js";

/** A file of a package's control archive. */
export interface ControlMember {
  /** Permission bits. */
  readonly mode: number;
  readonly bytes: Uint8Array;
}

/** A package that is laid out. */
export interface LaidOutPackage {
  /** Members of its control archive, by name. */
  readonly control: ReadonlyMap<string, ControlMember>;
  /** Paths of all that it brings, in its order, with a slash in front and none behind; `/.` is the root. */
  readonly paths: readonly string[];
  /** MD5 of regular files, 32 hexadecimal digits by path: of its configuration files, and of all where it has no `md5sums`. */
  readonly digests: ReadonlyMap<string, string>;
}

/** The folder of dpkg's database. */
const DATABASE = "var/lib/dpkg";
/** Members of the control archive that dpkg reads and does not keep. */
const unkept: ReadonlySet<string> = new Set(["control", "list"]);
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Whether a package is told by what it brings: none of its scripts runs before it is unpacked. */
export const isTold = (control: ReadonlyMap<string, ControlMember>): boolean => !control.has("preinst");

/** The configuration files that a package names (deb-conffiles(5)); those that are to be removed are left out. */
export function configurationFiles(control: ReadonlyMap<string, ControlMember>): readonly string[] {
  return linesOf(control, "conffiles").filter((line) => line.startsWith("/"));
}

/**
 * The files of dpkg's database for packages that are laid out, each folder before what it holds.
 * @throws DebianError `E_PACKAGE_FORMAT` for a package whose control file names no package
 */
export function unpackedState(packages: readonly LaidOutPackage[]): InitramfsEntry[] {
  const entries: InitramfsEntry[] = ["", "/info", "/triggers", "/updates"].map((folder) => ({
    path: `${DATABASE}${folder}`,
    kind: "directory",
    mode: 0o755,
  }));
  const file = (path: string, bytes: Uint8Array | string, mode = 0o644): void => {
    entries.push({
      path: `${DATABASE}/${path}`,
      kind: "file",
      mode,
      bytes: typeof bytes === "string" ? encoder.encode(bytes) : bytes,
    });
  };
  const status: string[] = [];
  const triggers = new Map<string, string[]>();
  const fileTriggers: string[] = [];
  for (const each of packages) {
    const { control, paths, digests } = each;
    const { name, stanza } = stanzaOf(each);
    status.push(stanza);
    file(`info/${name}.list`, paths.map((path) => `${path}\n`).join(""));
    if (!control.has("md5sums")) {
      const sums = [...digests].map(([path, digest]) => `${digest}  ${path.slice(1)}\n`);
      if (sums.length > 0) file(`info/${name}.md5sums`, sums.join(""));
    }
    for (const [member, { mode, bytes }] of control)
      if (!unkept.has(member)) file(`info/${name}.${member}`, bytes, mode);
    for (const { trigger, isAwaited } of interests(control)) {
      const who = `${name}${isAwaited ? "" : "/noawait"}`;
      if (trigger.startsWith("/")) fileTriggers.push(`${trigger} ${who}\n`);
      else triggers.set(trigger, [...(triggers.get(trigger) ?? []), `${who}\n`]);
    }
  }
  file("info/format", "1\n");
  file("status", `${status.join("\n\n")}${status.length > 0 ? "\n\n" : ""}`);
  if (fileTriggers.length > 0) file("triggers/File", fileTriggers.join(""));
  for (const [trigger, lines] of triggers) file(`triggers/${trigger}`, lines.join(""));
  return entries;
}

/** The package's name in the database, with its architecture if others may be beside it, and what the status says of it. */
function stanzaOf({ control, digests }: LaidOutPackage): { readonly name: string; readonly stanza: string } {
  const text = decoder.decode(control.get("control")?.bytes).trim();
  const [fields] = parseDeb822(text);
  const name = fields?.get("package");
  if (fields === undefined || name === undefined)
    throw new DebianError("E_PACKAGE_FORMAT", "a package has a control file that names no package");
  const files = configurationFiles(control);
  const lines = [text, "Status: install ok unpacked"];
  // dpkg's word for one that is listed and not there is "newconffile".
  if (files.length > 0)
    lines.push("Conffiles:", ...files.map((path) => ` ${path} ${digests.get(path) ?? "newconffile"}`));
  const isShared = fields.get("multi-arch") === "same";
  return {
    name: isShared ? `${name}:${fields.get("architecture")}` : name,
    stanza: lines.join("\n"),
  };
}

/** The triggers that a package waits for (deb-triggers(5)). */
function interests(
  control: ReadonlyMap<string, ControlMember>,
): { readonly trigger: string; readonly isAwaited: boolean }[] {
  return linesOf(control, "triggers").flatMap((line) => {
    const [, kind, trigger] = /^interest(-await|-noawait)?\s+(\S+)$/.exec(line) ?? [];
    return trigger === undefined ? [] : [{ trigger, isAwaited: kind !== "-noawait" }];
  });
}

/** The lines of a member without comments and blanks. */
function linesOf(control: ReadonlyMap<string, ControlMember>, member: string): string[] {
  return decoder
    .decode(control.get(member)?.bytes)
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .filter(Boolean);
}
