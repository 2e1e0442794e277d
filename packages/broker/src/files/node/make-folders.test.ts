/** Folders on file systems that are well, in the way, and like no other. */
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fileErrorReason } from "../file-reason.js";
import { makeFolders, makeFoldersSync, OWNER_ONLY } from "./make-folders.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-folders-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe.each([
  ["at once", async (path: string) => makeFoldersSync(path, OWNER_ONLY)],
  ["in its time", (path: string) => makeFolders(path, OWNER_ONLY)],
])("a folder made %s", (how, make) => {
  it("has those above it, all of that mode, and may be there already", async () => {
    const path = join(folder, how, "b", "c");
    await make(path);
    await make(path);
    for (const made of [path, join(folder, how)]) expect((await stat(made)).mode & 0o777).toBe(0o700);
  });

  it("is refused where a file is in the way", async () => {
    await writeFile(join(folder, `file ${how}`), "");
    await expect(make(join(folder, `file ${how}`, "x", "y"))).rejects.toMatchObject({ code: "ENOTDIR" });
  });

  // Node's own recursive mkdir never comes back from there.
  it.runIf(process.platform === "linux")("is refused in /proc", async () => {
    await expect(make("/proc/hyperfile/state")).rejects.toMatchObject({ code: "ENOENT" });
  });
});

it("reasons are words where the code is known, and the error's own else", () => {
  expect(fileErrorReason({ code: "EROFS", message: "EROFS: x" })).toBe("the file system is read-only");
  expect(fileErrorReason(Object.assign(new Error("odd"), { code: "toString" }))).toBe("odd");
  expect(fileErrorReason("text")).toBe("text");
});
