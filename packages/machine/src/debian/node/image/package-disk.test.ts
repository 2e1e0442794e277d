/**
 * What is laid out in dpkg's stead, held against dpkg: packages that the host's dpkg-deb makes, laid out by us and unpacked
 * by dpkg, come to the same files and the same database once dpkg has configured both. Left out on hosts without dpkg.
 */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { unpackedState } from "../../image/unpacked-state.js";
import { silentProgress } from "../../progress.js";
import { type PackageDisks, writePackageDisks } from "./package-disk.js";

const architecture = spawnSync("dpkg", ["--print-architecture"], { encoding: "utf8" }).stdout?.trim();

let folder: string;
const at = (...names: string[]) => join(folder, ...names);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-package-disk-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C", PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  expect(`${status} ${stderr}`).toMatch(/^0 /);
  return stdout;
}

/** Makes a package of files by path; a content that begins with `->` is a link. */
function makePackage(name: string, fields: readonly string[], files: Readonly<Record<string, string>>) {
  const tree = at("trees", name);
  const control = [
    `Package: ${name}`,
    "Version: 1.0-1",
    "Maintainer: Nobody <nobody@example.org>",
    "Description: a package of a test",
    " With more about it.",
    " .",
    " And more.",
  ];
  const all = {
    "DEBIAN/control": `${[...control.slice(0, 3), ...fields, ...control.slice(3)].join("\n")}\n`,
    ...files,
  };
  for (const [path, content] of Object.entries(all)) {
    mkdirSync(dirname(join(tree, path)), { recursive: true, mode: 0o755 });
    if (content.startsWith("->")) symlinkSync(content.slice(2), join(tree, path));
    else writeFileSync(join(tree, path), content, { mode: content.startsWith("#!") ? 0o755 : 0o644 });
  }
  const file = at(`${name}.deb`);
  run("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, file);
  return { name, file, size: statSync(file).size };
}

/** The bytes of a part of the disk. */
function part(disk: string, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const file = openSync(disk, "r");
  readSync(file, bytes, 0, length, offset);
  closeSync(file);
  return bytes;
}

/** The disks of packages, in files of some name. */
async function disksOf(name: string, packages: Parameters<typeof writePackageDisks>[1], base: string[] = []) {
  const files = { archive: at(`${name}.tar`), packages: at(`${name}.debs`) };
  return { files, disks: await writePackageDisks(files, packages, new Set(base), silentProgress) };
}

/** Lays out an archive and the state, as the build does, in a new folder. */
function layOut(root: string, archive: string, { laidOut }: PackageDisks): void {
  mkdirSync(root);
  run("tar", "--no-same-owner", "-x", "-p", "-f", archive, "-C", root);
  for (const entry of unpackedState(laidOut)) {
    const place = join(root, entry.path);
    if (entry.kind === "directory") mkdirSync(place, { recursive: true });
    else if (entry.kind === "file") writeFileSync(place, entry.bytes, { mode: entry.mode });
  }
}

/** Runs dpkg on a root of its own, as whoever runs the test. */
const dpkg = (root: string, ...args: string[]) =>
  run("dpkg", `--root=${root}`, "--force-not-root", "--force-bad-path", "--log=/dev/null", ...args);

/** All that is below a folder: modes and content by path; what dpkg keeps for itself alone is left out. */
function treeOf(root: string, path = ""): [string, string][] {
  return readdirSync(join(root, path), { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry): [string, string][] => {
      const name = `${path}/${entry.name}`;
      if (
        /^\/var\/lib\/dpkg\/(?:lock|lock-frontend|status-old|available|triggers\/(?:Lock|Unincorp))$/.test(
          name,
        )
      )
        return [];
      const mode = (lstatSync(join(root, name)).mode & 0o7777).toString(8);
      if (entry.isDirectory()) return [[name, mode], ...treeOf(root, name)];
      if (entry.isSymbolicLink()) return [[name, readlinkSync(join(root, name))]];
      const content = readFileSync(join(root, name), "utf8");
      const isList = name.startsWith("/var/lib/dpkg/triggers/");
      return [[name, `${mode} ${isList ? content.split("\n").sort().join("\n") : content}`]];
    });
}

describe.skipIf(!architecture)("a disk of packages", () => {
  it("comes to what dpkg makes of them", async () => {
    const packages = [
      makePackage("base-tree", ["Architecture: all", "Priority: required"], {
        "usr/bin/tool": "#!/bin/sh\n",
        bin: "->usr/bin",
        "usr/share/doc/base-tree/copyright": "free\n",
        [`usr/share/${"long/".repeat(30)}file`]: "far away\n",
      }),
      makePackage("libthing1", [`Architecture: ${architecture}`, "Multi-Arch: same", "Section: libs"], {
        "usr/lib/thing/libthing.so.1.0": "code",
        "usr/lib/thing/libthing.so.1": "->libthing.so.1.0",
        "DEBIAN/triggers": "activate-noawait thing-cache\n",
        "DEBIAN/shlibs": "libthing 1 libthing1\n",
        "DEBIAN/md5sums": "c13367945d5d4c91047b3b50234aa7ab  usr/lib/thing/libthing.so.1.0\n",
      }),
      makePackage("watcher", [`Architecture: ${architecture}`, "Depends: libthing1"], {
        "etc/watcher.conf": "watch = 1\n",
        "etc/watcher.d/first": "first\n",
        "DEBIAN/conffiles": "/etc/watcher.conf\n/etc/watcher.d/first\n",
        "DEBIAN/triggers": "interest-noawait thing-cache\ninterest /usr/share/watched\n",
      }),
    ];
    const { files, disks } = await disksOf("told", packages);
    expect(disks.packages).toEqual([]);
    expect(statSync(files.archive).size).toBe(disks.archive);
    expect(disks.laidOut.map(({ paths }) => paths.length)).toEqual([40, 6, 5]);
    layOut(at("ours"), files.archive, disks);

    mkdirSync(at("theirs", "var/lib/dpkg/info"), { recursive: true });
    for (const name of ["updates", "triggers"]) mkdirSync(at("theirs", "var/lib/dpkg", name));
    writeFileSync(at("theirs", "var/lib/dpkg/status"), "");
    dpkg(at("theirs"), "--unpack", ...packages.map(({ file }) => file));
    const statuses = (root: string) =>
      run("dpkg-query", `--admindir=${root}/var/lib/dpkg`, "-W", "-f", `\${Package} \${Status}\n`);
    expect(statuses(at("ours"))).toBe(statuses(at("theirs")));
    for (const root of [at("ours"), at("theirs")]) {
      dpkg(root, "--configure", "--pending");
      expect(dpkg(root, "--audit")).toBe("");
    }
    const ours = treeOf(at("ours"));
    expect(ours.length).toBeGreaterThan(50);
    expect(ours).toEqual(treeOf(at("theirs")));
  });

  it("leaves to dpkg what has a script before, or a file of another's, and lays out the base all the same", async () => {
    const script = { "DEBIAN/preinst": "#!/bin/sh\n" };
    const packages = [
      makePackage("first", ["Architecture: all"], { "usr/bin/first": "1" }),
      makePackage("scripted", ["Architecture: all"], { ...script, "usr/bin/scripted": "2" }),
      makePackage("scripted-base", ["Architecture: all"], { ...script, "usr/bin/scripted-base": "3" }),
      makePackage("taker", ["Architecture: all", "Replaces: first"], { "usr/bin/first": "4" }),
      makePackage("last", ["Architecture: all"], { "usr/bin/last": "5" }),
    ];
    const { files, disks } = await disksOf("mixed", packages, ["scripted-base"]);
    expect(disks.packages.map(({ name }) => name)).toEqual(["scripted", "scripted-base", "taker"]);
    for (const { offset, bytes, name } of disks.packages) {
      writeFileSync(at("part.deb"), part(files.packages, offset, bytes));
      expect(run("dpkg-deb", "-f", at("part.deb"), "Package").trim()).toBe(name);
    }
    layOut(at("mixed-root"), files.archive, disks);
    expect(readdirSync(at("mixed-root", "usr/bin")).sort()).toEqual(["first", "last", "scripted-base"]);
    expect(readFileSync(at("mixed-root", "usr/bin/first"), "utf8")).toBe("1");
    expect(
      run("dpkg-query", `--admindir=${at("mixed-root")}/var/lib/dpkg`, "-W", "-f", `\${Package}\n`),
    ).toBe("first\nlast\n");
  });
});
