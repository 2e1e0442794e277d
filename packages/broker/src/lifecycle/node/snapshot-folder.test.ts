import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SnapshotFolder } from "./snapshot-folder.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-snapshots-"));
});
afterEach(() => rm(folder, { recursive: true }));

it("what a killed process left behind is swept, and nothing else", async () => {
  const kept = join(folder, "vm.snapshot");
  await writeFile(kept, "whole");
  await writeFile(join(folder, "notes.snapshot-in-progress"), "whose name is not ours");
  await writeFile(join(folder, ".4711-0.snapshot-in-progress"), "half a snapshot");
  await symlink(kept, join(folder, ".4711-1.snapshot-in-progress"));
  const snapshots = new SnapshotFolder(folder, "vm");
  expect(snapshots.sweep()).toBe(2);
  expect((await readdir(folder)).sort()).toEqual(["notes.snapshot-in-progress", "vm.snapshot"]);
  expect(snapshots.sweep()).toBe(0);
  expect(new SnapshotFolder(join(folder, "missing"), "vm").sweep()).toBe(0);
});

it("a folder that can't be tidied is told by the name of its VM", async () => {
  await writeFile(join(folder, "file"), "");
  expect(() => new SnapshotFolder(join(folder, "file"), "web").sweep()).toThrow(
    expect.objectContaining({
      code: "E_SNAPSHOT_FOLDER",
      message: expect.stringMatching(/^can't tidy the snapshots of VM web: ENOTDIR/),
    }),
  );
  await mkdir(join(folder, ".folder"));
  expect(() => new SnapshotFolder(folder, "web").sweep()).toThrow(/VM web: /);
});
