/** Folders on file systems that are well, in the way, and like no other. */
import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../node.js";
import { makeFolders } from "./make-folders.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-folders-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("a folder", () => {
  it("has those above it, of which the first that was made is told, named as it was asked for", async () => {
    await mkdir(join(folder, "there"));
    const path = join(folder, "there", "a", "b", "c");
    expect(await makeFolders(path)).toBe(join(folder, "there", "a"));
    expect((await stat(path)).isDirectory()).toBe(true);
    expect(await makeFolders(path)).toBeUndefined();
    const near = relative(process.cwd(), join(folder, "near"));
    expect(await makeFolders(join(near, "d"))).toBe(near);
    expect(await makeFolders("/")).toBeUndefined();
  });

  it("is refused where a file or a link to nowhere is in the way", async () => {
    await writeFile(join(folder, "file"), "");
    await expect(makeFolders(join(folder, "file", "x", "y"))).rejects.toMatchObject({ code: "ENOTDIR" });
    await symlink(join(folder, "nowhere"), join(folder, "link"));
    await expect(makeFolders(join(folder, "link", "x"))).rejects.toThrow("no folder can be made there");
  });

  // Node's own recursive mkdir never comes back from there.
  it.runIf(process.platform === "linux")("is refused in /proc, and so is a store there", async () => {
    await expect(makeFolders("/proc/hyperfile/images")).rejects.toThrow("no folder can be made there");
    const store = openStore("/proc/hyperfile");
    await expect(store.create("disk", { size: 1 << 20 })).rejects.toThrow(
      /^\/proc\/hyperfile\/[\w./]+: can't make the file: no folder can be made there$/,
    );
    await store.close();
  });
});
