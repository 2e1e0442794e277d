/** Images by path: which of a chain are locked, for what and for how long. */
import { linkSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ImageLock, NodeFile, openImage, openStore } from "../../node.js";
import { createQcow2 } from "../index.js";

let folder: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-chain-"));
  writeFileSync(at("base.raw"), new Uint8Array(1 << 20).fill(7));
  await overlay("middle", "base.raw", "raw");
  await overlay("top", "middle", "qcow2");
  await overlay("other", "middle", "qcow2");
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);
const locks = () => readdirSync(folder).filter((name) => name.includes(".lock-"));
const isTaken = (image: string) => ({ code: "E_IMAGE_LOCKED", details: { image: at(image) } });
const format = "qcow2";

async function overlay(name: string, backingFile: string, backingFormat: string): Promise<void> {
  const file = await NodeFile.open(at(name), { create: true });
  await createQcow2(file, { size: 1 << 20, backingFile, backingFormat });
  await file.close();
}

it("an open image has those below it for reading, which nobody writes until it is closed", async () => {
  linkSync(at("base.raw"), at("linked.raw"));
  for (const isWritable of [true, false]) {
    const top = await openImage(at("top"), { format, isWritable });
    expect(top.links.map(({ path }) => path)).toEqual([at("top"), at("middle"), at("base.raw")]);
    for (const name of ["middle", "base.raw", "linked.raw"]) {
      await expect(openImage(at(name), { format: "raw", isWritable: true })).rejects.toMatchObject({
        code: "E_IMAGE_LOCKED",
      });
      (await ImageLock.take(at(name), "read")).release();
    }
    // Others may lie on the same images.
    const other = await openImage(at("other"), { format, isWritable: true });
    if (isWritable) await expect(openImage(at("top"), { format })).rejects.toMatchObject(isTaken("top"));
    else await (await openImage(at("top"), { format })).close();
    await top.close();
    await expect(ImageLock.take(at("base.raw"))).rejects.toMatchObject(isTaken("base.raw"));
    await other.close();
    expect(locks()).toEqual([]);
  }
});

it("an image that somebody writes is not opened, nor what lies on it, and nothing stays locked", async () => {
  for (const name of ["top", "middle", "base.raw"]) {
    const lock = await ImageLock.take(at(name));
    const before = locks();
    for (const isWritable of [true, false])
      await expect(openImage(at("top"), { format, isWritable })).rejects.toMatchObject(isTaken(name));
    expect(locks()).toEqual(before);
    // Who has the locks, or only looks, is not refused.
    await (await openImage(at("top"), { format, isLocked: true })).close();
    lock.release();
  }
  await overlay("lost", "none", "raw");
  await expect(openImage(at("lost"), { format })).rejects.toThrow(/none: can't open the file: there is no/);
  writeFileSync(at("junk"), Uint8Array.of(0x51, 0x46, 0x49, 0xfb));
  await expect(openImage(at("junk"), { isWritable: true })).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
  expect(locks()).toEqual([]);
});

it("an image of a store below another is neither written nor removed", async () => {
  const store = openStore(at("store"));
  await store.create("base", { size: 1 << 20 });
  await overlay("over", "store/images/base", "store");
  const over = await openImage(at("over"), { format, isWritable: true });
  const path = at("store/images/base");
  await expect(openImage(path, { isWritable: true })).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
  await expect(store.remove("base")).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
  await over.close();
  await (await openImage(path, { isWritable: true })).close();
  await store.remove("base");
});
