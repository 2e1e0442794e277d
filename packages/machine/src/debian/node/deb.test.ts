import { spawnSync } from "node:child_process";
import { mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeAr, makeDeb, makeModule } from "../../../test/debian-packages.js";
import { loadOrder, modulesAlias, modulesDep, readModuleInformation } from "../modules.js";
import { decompressXz, readPackageFiles, writeUncompressed } from "./deb.js";
import { readKernelPackage } from "./guest.js";

/** `printf hello | xz --format=xz` */
const helloXz = Buffer.from(
  "/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAEaGVsbG8AAAAAsTe52+XaHpsAAR0FuC2Arx+2830BAAAAAARZWg==",
  "base64",
);

describe("Debian packages", () => {
  let folder: string;
  const file = async (bytes: Uint8Array) => {
    const path = join(folder, "x.deb");
    await writeFile(path, bytes);
    return path;
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "hyperfile-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("gives the wanted files", async () => {
    const path = await file(await makeDeb({ "./usr/bin/a": "first", "./usr/bin/b": "x".repeat(100_000) }));
    const files = await readPackageFiles(path, (name) => name.endsWith("/b"));
    expect(files.map((entry) => [entry.path, entry.bytes.length])).toEqual([["usr/bin/b", 100_000]]);
  });

  it("writes a package uncompressed at any place of a file, as dpkg reads it", async () => {
    const path = await file(await makeDeb({ "./usr/bin/a": "odd", "./usr/bin/b": "x".repeat(100_000) }));
    const disk = await open(join(folder, "disk"), "w");
    const bytes = await writeUncompressed(path, disk, 4096);
    await disk.close();
    const whole = await readFile(join(folder, "disk"));
    expect(whole.length).toBe(4096 + bytes);
    const copy = join(folder, "copy.deb");
    await writeFile(copy, whole.subarray(4096));
    const files = (from: string) => readPackageFiles(from, () => true);
    expect(await files(copy)).toEqual(await files(path));
    expect(whole.toString("latin1")).toContain("data.tar  ");
    const dpkg = spawnSync("dpkg-deb", ["--contents", copy], { encoding: "utf8" });
    if (dpkg.error !== undefined) return;
    expect([dpkg.status, dpkg.stdout.trim().split("\n").length]).toEqual([0, 2]);
  });

  it("leaves a package that is damaged out of a file of others, by its name", async () => {
    const disk = await open(join(folder, "disk"), "w");
    const path = await file(makeAr({ "debian-binary": "2.0\n", "control.tar.gz": "no gzip" }));
    await expect(writeUncompressed(path, disk, 0)).rejects.toThrow(/x\.deb is damaged/);
    await disk.close();
  });

  it.each([
    ["no ar archive", Buffer.from("MZ, and more")],
    ["no data member", makeAr({ "debian-binary": "2.0\n" })],
    ["an unknown compression", makeAr({ "data.tar.lzma": "x" })],
    ["damaged content", makeAr({ "data.tar.gz": "no gzip stream" })],
    ["damaged xz content", makeAr({ "data.tar.xz": "no xz stream, but long enough to be read" })],
    ["a truncated xz stream", makeAr({ "data.tar.xz": helloXz.subarray(0, 30) })],
  ])("reports %s", async (_, bytes) => {
    await expect(readPackageFiles(await file(bytes), () => true)).rejects.toMatchObject({
      code: "E_PACKAGE_FORMAT",
    });
  });

  it("reports a package that ends early", async () => {
    const whole = await makeDeb({ "./a": "content" });
    await expect(readPackageFiles(await file(whole.subarray(0, -20)), () => true)).rejects.toThrow(
      /ends inside/,
    );
  });

  it("decompresses xz, and reports a stream that ends early", async () => {
    expect(Buffer.from(await decompressXz(helloXz)).toString()).toBe("hello");
    await expect(decompressXz(helloXz.subarray(0, 24))).rejects.toThrow();
    expect(Buffer.from(await decompressXz(helloXz)).toString()).toBe("hello");
  });

  it("takes kernel and modules out of a kernel package, with modules that those need", async () => {
    const base = "./usr/lib/modules/6.12.1-riscv64";
    const path = await file(
      await makeDeb({
        "./boot/vmlinux-6.12.1-riscv64": "image",
        [`${base}/modules.builtin`]: "kernel/crypto/crc32c.ko\n",
        [`${base}/kernel/drivers/virtio/virtio_mmio.ko`]: makeModule(["depends="]),
        [`${base}/kernel/drivers/block/virtio_blk.ko`]: makeModule([
          "depends=later-helper",
          "alias=virtio:d2v*",
        ]),
        [`${base}/kernel/drivers/net/virtio_net.ko`]: makeModule(["depends=crc32c"]),
        [`${base}/kernel/fs/ext4/ext4.ko`]: makeModule([]),
        [`${base}/kernel/lib/later-helper.ko`]: makeModule(["depends="]),
        [`${base}/kernel/sound/unwanted.ko`]: makeModule([]),
      }),
    );
    const { kernel, release, modules } = await readKernelPackage(path);
    expect([Buffer.from(kernel).toString(), release]).toEqual(["image", "6.12.1-riscv64"]);
    expect(modules.map(({ name }) => name).sort()).toEqual([
      "ext4",
      "later_helper",
      "virtio_blk",
      "virtio_mmio",
      "virtio_net",
    ]);
    expect(modulesAlias(modules)).toBe("alias virtio:d2v* virtio_blk\n");
    expect(modulesDep(modules)).toContain("kernel/drivers/block/virtio_blk.ko: kernel/lib/later-helper.ko\n");
  });

  it("reports a kernel package without a module that the guest can't do without", async () => {
    const path = await file(await makeDeb({ "./boot/vmlinux-1": "image" }));
    await expect(readKernelPackage(path)).rejects.toThrow(/virtio_mmio\.ko/);
  });
});

describe("kernel modules", () => {
  it("are asked what they need", () => {
    const bytes = makeModule(["license=GPL", "depends=jbd2,mb-cache", "alias=fs-ext4", "alias=ext3"]);
    expect(readModuleInformation("kernel/fs/ext4/ext4.ko", bytes)).toEqual({
      name: "ext4",
      depends: ["jbd2", "mb_cache"],
      aliases: ["fs-ext4", "ext3"],
    });
  });

  it("are refused when they are none", () => {
    expect(() => readModuleInformation("x.ko", Buffer.from("text"))).toThrow(/not a kernel module/);
    expect(() => readModuleInformation("x.ko", makeModule([]).subarray(0, 100))).toThrow(/outside the file/);
  });

  it("are ordered by need, even in a circle", () => {
    const module = (name: string, ...depends: string[]) => ({ name, depends, aliases: [] });
    const names = (modules: { name: string }[]) => modules.map(({ name }) => name);
    expect(names(loadOrder([module("c", "b"), module("b", "a"), module("a")]))).toEqual(["a", "b", "c"]);
    expect(names(loadOrder([module("x", "y"), module("y", "x")])).sort()).toEqual(["x", "y"]);
  });
});
