import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packInitramfs } from "@hyperfile/devices/image";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { makeModule } from "../../../test/debian-packages.js";
import { initReachedText } from "../init-script.js";
import { guestModules, initramfsEntries } from "../initramfs.js";
import { silentProgress } from "../progress.js";
import { readPrepared, replaceFolder, userCacheFolder, writePrepared } from "./cache.js";
import { prepareDebianGuest } from "./guest.js";

const manifest = { format: 1, release: "1", recipe: "old", archive: "a", packages: [] } as const;
const fields = { ...manifest, packages: [], modules: [...guestModules] };

describe("the cache", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hyperfile-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("follows the XDG variable when it is absolute", () => {
    expect(userCacheFolder({ XDG_CACHE_HOME: "/x" })).toBe("/x/hyperfile");
    expect(userCacheFolder({ XDG_CACHE_HOME: "x" })).toMatch(/\.cache\/hyperfile$/);
  });

  it("notices missing, cut and changed files", async () => {
    const bytes = Buffer.from("content");
    await writePrepared(folder, fields, new Map([["sub/file", bytes]]));
    expect(await readPrepared(folder, () => true)).toMatchObject({ release: "1" });
    await writeFile(join(folder, "sub/file"), "CONTENT");
    expect(await readPrepared(folder, () => false)).toBeDefined();
    expect(await readPrepared(folder, () => true)).toBeUndefined();
    await writeFile(join(folder, "sub/file"), "cut");
    expect(await readPrepared(folder, () => false)).toBeUndefined();
    await writeFile(join(folder, "manifest.json"), "{");
    expect(await readPrepared(folder, () => false)).toBeUndefined();
  });

  it("leaves nothing of a preparation that fails, and keeps the old folder", async () => {
    const target = join(folder, "guest");
    await replaceFolder(target, (temporary) => writeFile(join(temporary, "f"), "old"));
    const failing = replaceFolder(target, async (temporary) => {
      await writeFile(join(temporary, "f"), "half");
      throw new Error("interrupted");
    });
    await expect(failing).rejects.toThrow("interrupted");
    expect(await readdir(folder)).toEqual(["guest"]);
    expect(await readFile(join(target, "f"), "utf8")).toBe("old");
    await replaceFolder(target, (temporary) => writeFile(join(temporary, "f"), "new"));
    expect(await readFile(join(target, "f"), "utf8")).toBe("new");
    expect(await readdir(folder)).toEqual(["guest"]);
  });

  it("names a folder that can't be written", async () => {
    await writeFile(join(folder, "file"), "");
    const cacheFolder = join(folder, "file", "hyperfile");
    await expect(prepareDebianGuest({ progress: silentProgress, cacheFolder })).rejects.toMatchObject({
      code: "E_CACHE",
      message: expect.stringContaining(cacheFolder),
    });
    await expect(
      prepareDebianGuest({ progress: silentProgress, cacheFolder: "/proc/hyperfile" }),
    ).rejects.toMatchObject({
      code: "E_CACHE",
    });
  });

  it("gives a prepared guest without apt, and rebuilds an outdated initramfs from its parts", async () => {
    const prepared = join(folder, "debian-trixie-riscv64");
    await mkdir(prepared);
    const module = makeModule(["depends=", "alias=fs-ext4"]);
    await writePrepared(
      prepared,
      fields,
      new Map<string, Uint8Array>([
        ["vmlinux", Buffer.from("image")],
        ["initramfs.cpio", Buffer.from("outdated")],
        ["busybox", Buffer.from("busybox program")],
        ["modules/kernel/fs/ext4/ext4.ko", module],
      ]),
    );
    const first = await prepareDebianGuest({ progress: silentProgress, cacheFolder: folder });
    expect(first).toMatchObject({ release: "1", cached: true });
    const initramfs = await readFile(first.initrd, "latin1");
    expect(initramfs).toContain("busybox program");
    expect(initramfs).toContain("alias fs-ext4 ext4\n");
    await chmod(prepared, 0o555);
    const second = await prepareDebianGuest({ progress: silentProgress, cacheFolder: folder, verify: true });
    expect(second).toEqual(first);
    await chmod(prepared, 0o755);
  });
});

describe("a cached guest that is damaged", () => {
  let folder: string;
  let prepared: string;
  const { PATH } = process.env;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hyperfile-"));
    prepared = join(folder, "debian-trixie-riscv64");
    await mkdir(prepared);
    const files: [string, Uint8Array][] = [
      ["vmlinux", Buffer.from("image")],
      ["initramfs.cpio", Buffer.from("outdated")],
      ["busybox", Buffer.from("busybox program")],
    ];
    await writePrepared(prepared, fields, new Map(files));
    // Its initial file system is built by this program, and is right then.
    await prepareDebianGuest({ progress: silentProgress, cacheFolder: folder });
    // A host without apt: nothing can be fetched.
    process.env.PATH = folder;
  });
  afterEach(async () => {
    process.env.PATH = PATH;
    await rm(folder, { recursive: true });
  });
  const prepare = () => prepareDebianGuest({ progress: silentProgress, cacheFolder: folder });

  it("is used while it is whole", async () => {
    expect(await prepare()).toMatchObject({ cached: true });
  });

  it.each([
    ["vmlinux", "IMAGE"],
    ["vmlinux", "cut"],
    ["manifest.json", "{"],
  ])(
    "in %s is noticed without being asked for, and said to be so where it can't be fetched",
    async (file, text) => {
      await writeFile(join(prepared, file), text);
      await expect(prepare()).rejects.toMatchObject({
        code: "E_NO_APT",
        message: `the cached Debian in ${prepared} is damaged, and can't be fetched again: no apt on this host: apt-config is not installed; install apt, or boot another kernel`,
      });
      // What there was stays for another try.
      expect(await readFile(join(prepared, file), "utf8")).toBe(text);
    },
  );

  it("in the parts of an outdated initial file system is noticed before it is built of them", async () => {
    const name = join(prepared, "manifest.json");
    const old = { ...JSON.parse(await readFile(name, "utf8")), recipe: "old" };
    await writeFile(name, JSON.stringify(old));
    await writeFile(join(prepared, "busybox"), "BUSYBOX program");
    await expect(prepare()).rejects.toThrow(/is damaged, and can't be fetched again/);
  });
});

describe("a cached guest from before modules that came later", () => {
  const { PATH } = process.env;
  afterEach(() => {
    process.env.PATH = PATH;
  });

  it("is fetched anew, and where that can't be gets what is ours", async () => {
    const folder = await mkdtemp(join(tmpdir(), "hyperfile-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    const prepared = join(folder, "debian-trixie-riscv64");
    await mkdir(prepared);
    await writePrepared(
      prepared,
      { ...fields, modules: guestModules.filter((name) => name !== "vsock") },
      new Map([
        ["vmlinux", Buffer.from("image")],
        ["initramfs.cpio", Buffer.from("outdated")],
        ["busybox", Buffer.from("busybox program")],
      ]),
    );
    // An apt that can't be used, and tells that it was asked.
    await writeFile(join(folder, "apt-config"), `#!/bin/sh\necho asked >> ${folder}/asked\nexit 1\n`);
    await chmod(join(folder, "apt-config"), 0o755);
    process.env.PATH = folder;
    const guest = await prepareDebianGuest({ progress: silentProgress, cacheFolder: folder });
    expect(guest).toMatchObject({ release: "1", cached: true });
    expect(await readFile(join(folder, "asked"), "utf8")).toBe("asked\n");
    expect(await readFile(guest.initrd, "latin1")).toContain("sbin/hyperfile-agent");
    await prepareDebianGuest({ progress: silentProgress, cacheFolder: folder });
    expect(await readFile(join(folder, "asked"), "utf8")).toBe("asked\n");
  });
});

describe("the initramfs", () => {
  const entries = initramfsEntries({
    busybox: Buffer.from("busybox"),
    release: "6.1",
    agent: Buffer.from("agent"),
    modules: [
      { name: "b", depends: ["a"], aliases: ["x*"], path: "kernel/fs/b.ko", bytes: Buffer.from("B") },
      { name: "a", depends: [], aliases: [], path: "kernel/lib/a.ko", bytes: Buffer.from("A") },
    ],
  });
  const paths = entries.map(({ path }) => path);

  it("has each folder before what it holds", () => {
    for (const [index, path] of paths.entries()) {
      const folder = path.slice(0, path.lastIndexOf("/"));
      if (path.includes("/")) expect(paths.slice(0, index), path).toContain(folder);
    }
    expect(new Set(paths).size).toBe(paths.length);
  });

  it("has programs that can be executed, and the modules in order", () => {
    for (const path of ["init", "bin/busybox", "sbin/hyperfile-agent"]) {
      expect(entries.find((entry) => entry.path === path)).toMatchObject({ kind: "file", mode: 0o755 });
    }
    expect(paths.filter((path) => path.endsWith(".ko"))).toEqual([
      "lib/modules/6.1/kernel/lib/a.ko",
      "lib/modules/6.1/kernel/fs/b.ko",
    ]);
  });

  it("starts with the line that benchmarks wait for", () => {
    const init = entries.find((entry) => entry.path === "init");
    const text = init?.kind === "file" ? Buffer.from(init.bytes).toString() : "";
    const lines = text.split("\n");
    expect(lines[0]).toBe("#!/bin/busybox sh");
    expect(lines[3]).toBe(`echo "${initReachedText}$uptime"`);
    expect(text.trimEnd().endsWith("poweroff -f")).toBe(true);
  });

  it("is packed with every part on a 4-byte boundary and a trailer at the end", () => {
    const archive = Buffer.from(packInitramfs(entries));
    expect(archive.length % 4).toBe(0);
    const names: string[] = [];
    for (let offset = 0; offset < archive.length; ) {
      expect(archive.toString("latin1", offset, offset + 6)).toBe("070701");
      const field = (index: number) =>
        Number.parseInt(archive.toString("latin1", offset + 6 + 8 * index, offset + 14 + 8 * index), 16);
      const nameEnd = offset + 110 + field(11);
      names.push(archive.toString("latin1", offset + 110, nameEnd - 1));
      const content = (nameEnd + 3) & ~3;
      offset = (content + field(6) + 3) & ~3;
    }
    expect(names).toEqual([...paths, "TRAILER!!!"]);
  });
});
