/** Stamps of images: equal for equal bytes, others for others, and of nothing but images. */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openStore } from "../../node.js";
import { stampOf } from "./image-stamp.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-stamps-"));
});
afterAll(() => rm(folder, { recursive: true }));

it("an image of a store is known by its manifest", async () => {
  const store = openStore(join(folder, "store"));
  await store.create("a", { size: 1 << 20 });
  await store.create("c", { size: 2 << 20 });
  await store.close();
  const [a, again, c] = await Promise.all(
    ["a", "a", "c"].map((name) => stampOf({ path: join(folder, "store", "images", name), format: "store" })),
  );
  expect(a).toMatch(/^manifest [0-9a-f]{64}$/);
  expect(again).toBe(a);
  expect(c).not.toBe(a);
});

it("nothing waits for what is no regular file in a manifest's place, and none is read that is too large", async () => {
  const path = join(folder, "fifo");
  execFileSync("mkfifo", [path]);
  await expect(stampOf({ path, format: "store" })).rejects.toMatchObject({
    code: "E_DISK_IO",
    message: `${path}: an image has to be a regular file, which this is not`,
  });
  const large = join(folder, "large");
  await writeFile(large, "");
  await truncate(large, 2 ** 40);
  await expect(stampOf({ path: large, format: "store" })).rejects.toMatchObject({
    code: "E_IMAGE_LIMIT",
    message: `${large}: a manifest has at most ${64 << 20} bytes`,
  });
});
