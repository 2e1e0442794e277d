/** Image stores in the private file system: the rules of places for objects, and images that survive kills. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { contentOf, generator, randomBytes } from "../../test/disk-model.js";
import { FakeOrigin, type FakeTab } from "../../test/private-files.js";
import { ImageStore } from "../disk/index.js";

let origin: FakeOrigin;
let tab: FakeTab;
beforeEach(async () => {
  origin = new FakeOrigin();
  tab = await origin.tab();
});
afterEach(() => vi.unstubAllGlobals());

const openPlace = (name = "stores/main") => new tab.web.OpfsPlace(name);
const some = (mark: number, length = 100) => new Uint8Array(length).fill(mark);

async function keysOf(place: ReturnType<typeof openPlace>, prefix = ""): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of place.list(prefix)) keys.push(key);
  return keys.sort();
}

it("keeps objects", async () => {
  const place = openPlace();
  expect(await keysOf(place)).toEqual([]);
  expect(await place.read("chunks/aa/one", 1000)).toBeUndefined();
  expect(await place.renew("chunks/aa/one")).toBe(false);
  expect(await place.remove("chunks/aa/one")).toBe(false);
  await place.add("chunks/aa/one", some(1));
  await place.add("chunks/bb/two", some(2));
  await place.add("chunks/bb/none", some(0, 0));
  await place.add("chunks/aa/one", some(1));
  expect(await place.create("images/x", some(3))).toBe(true);
  expect(await place.create("images/x", some(4))).toBe(false);
  expect(await place.read("images/x", 100)).toEqual(some(3));
  await place.replace("images/x", some(5));
  expect(await place.read("images/x", 100)).toEqual(some(5));
  await expect(place.read("images/x", 99)).rejects.toMatchObject({ code: "E_IMAGE_LIMIT" });
  await place.sync();
  expect(await keysOf(place, "chunks/")).toEqual(["chunks/aa/one", "chunks/bb/none", "chunks/bb/two"]);
  expect(await keysOf(place, "images/")).toEqual(["images/x"]);
  expect(await place.renew("chunks/bb/none")).toBe(true);
  expect(await place.remove("chunks/bb/none")).toBe(true);
  expect(await place.read("chunks/bb/none", 1)).toBeUndefined();
  for (const key of ["", ".new/x", "a/../b", "a//b"])
    for (const call of [
      () => place.add(key, some(1)),
      () => place.renew(key),
      () => place.remove(key),
      () => place.read(key, 1),
    ])
      await expect(call()).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
  expect(() => openPlace("..")).toThrow(/can't be the name/);
  expect(origin.paths().sort()).toEqual(
    ["chunks/aa/one", "chunks/bb/two", "images/x"].map((key) => `stores/main/${key}`),
  );
});

it("removes what is old enough, and not what somebody has just added or renewed", async () => {
  const place = openPlace();
  await place.add("chunks/aa/one", some(1));
  const added = origin.now;
  for await (const { at } of place.list("chunks/")) expect(at).toBe(added);
  expect(await place.remove("chunks/aa/one", added - 1)).toBe(false);
  expect(await place.renew("chunks/aa/one")).toBe(true);
  expect(await place.read("chunks/aa/one", 100)).toEqual(some(1));
  expect(await place.remove("chunks/aa/one", added)).toBe(false);
  await place.add("chunks/aa/one", some(1));
  expect(await place.remove("chunks/aa/one", origin.now)).toBe(true);
});

it("reads an object that is renewed meanwhile", async () => {
  const place = openPlace();
  await place.add("chunks/aa/one", some(1));
  let renewed = 0;
  origin.before = async (call) => {
    if (call === "arrayBuffer" && renewed++ < 3) await place.renew("chunks/aa/one");
  };
  expect(await place.read("chunks/aa/one", 100)).toEqual(some(1));
  expect(renewed).toBe(4);
});

it("does not remove what is placed by another tab between its look and the removal", async () => {
  const place = openPlace();
  await place.add("chunks/aa/one", some(1));
  const old = origin.now;
  const [one, two] = [tab, await origin.tab()];
  const other = new two.web.OpfsPlace("stores/main");
  let replacing: Promise<void> | undefined;
  let isPlaced = false;
  origin.before = async (call) => {
    if (replacing !== undefined || call !== "removeEntry") return;
    two.enter();
    replacing = other.replace("chunks/aa/one", some(1)).then(() => void (isPlaced = true));
    await Promise.race([replacing, new Promise((resolve) => setTimeout(resolve, 50))]);
    expect(isPlaced).toBe(false);
    one.enter();
  };
  one.enter();
  expect(await place.remove("chunks/aa/one", old)).toBe(true);
  await replacing;
  expect(await place.read("chunks/aa/one", 100)).toEqual(some(1));
});

it("lets one tab write an image, until it lets go of it or is killed", async () => {
  const store = new ImageStore(openPlace());
  await store.create("disk", { size: 100_000 });
  const disk = await store.open("disk", { isWritable: true });
  const first = tab;
  tab = await origin.tab();
  const others = new ImageStore(openPlace());
  const locked = {
    code: "E_IMAGE_LOCKED",
    message: expect.stringMatching(
      /^stores\/main\/images\/disk: the disk is in use by another tab or VM of this browser; /,
    ),
  };
  await expect(others.open("disk", { isWritable: true })).rejects.toMatchObject(locked);
  await expect(others.remove("disk")).rejects.toMatchObject(locked);
  await (await others.open("disk")).close();
  await disk.close();
  await (await others.open("disk", { isWritable: true })).close();
  first.enter();
  await store.open("disk", { isWritable: true });
  first.kill();
  tab.enter();
  await (await others.open("disk", { isWritable: true })).close();
});

it("says at once that there is no room, and removes what the dead left", async () => {
  const place = openPlace();
  await place.prepare();
  expect(origin.paths()).toEqual([]);
  origin.quota = 0;
  const full = { code: "E_DISK_FULL", message: expect.stringMatching(/no more room; remove/) };
  await expect(place.prepare()).rejects.toMatchObject(full);
  await expect(place.add("chunks/aa/one", some(1))).rejects.toMatchObject(full);
  expect(origin.paths()).toEqual([]);
  origin.quota = Infinity;
  origin.before = async (call) => {
    if (call === "move") tab.kill();
  };
  expect(await tab.run(() => place.add("chunks/aa/one", some(1)))).toBe("killed");
  origin.before = async () => {};
  expect(origin.paths()).toEqual([expect.stringMatching(/^stores\/main\/\.new\/\..*\.in-progress$/)]);
  tab = await origin.tab();
  const later = openPlace();
  expect(await keysOf(later)).toEqual([]);
  expect(await later.sweep(0)).toBe(0);
  expect(await later.sweep(origin.now)).toBe(1);
  expect(origin.paths()).toEqual([]);
});

it("gives images back: written, cloned, checked, copied, collected", async () => {
  const random = generator(3);
  const store = new ImageStore(openPlace());
  await store.create("base", { size: 300_000, chunkBytes: 4096 });
  const disk = await store.open("base", { isWritable: true });
  const content = randomBytes(random, 300_000);
  await disk.write(0, [content]);
  await disk.close();
  await store.clone("base", "copies/one");
  const copy = await store.open("copies/one", { isWritable: true });
  await copy.write(5000, [some(7, 10_000)]);
  await copy.close();
  expect(await store.check("base")).toEqual([]);
  expect(await store.check("copies/one")).toEqual([]);
  expect(await keysOf(openPlace(), "images/")).toEqual(["images/base", "images/copies/one"]);
  tab = await origin.tab();
  const there = new ImageStore(openPlace());
  expect(Buffer.compare(await contentOf(await there.open("base")), content)).toBe(0);
  const pulled = new ImageStore(openPlace("stores/second"));
  await pulled.pull(there, "base");
  expect(Buffer.compare(await contentOf(await pulled.open("base")), content)).toBe(0);
  await there.remove("copies/one");
  const { removed } = await there.collect({ graceMs: 0, now: origin.now });
  expect(removed).toBeGreaterThan(2);
  expect(await there.check("base")).toEqual([]);
});

it("has every state of an image that was flushed, whichever call is the last before a kill", async () => {
  const size = 40_000;
  const work = async (flushed: (round: number) => void) => {
    const store = new ImageStore(openPlace());
    await store.create("disk", { size, chunkBytes: 4096 });
    const disk = await store.open("disk", { isWritable: true });
    flushed(0);
    for (let round = 1; round <= 3; round++) {
      await disk.write(round * 3000, [some(round, 9000)]);
      await disk.flush();
      flushed(round);
    }
    await disk.close();
  };
  const stateOf = (rounds: number) => {
    const bytes = new Uint8Array(size);
    for (let round = 1; round <= rounds; round++) bytes.fill(round, round * 3000, round * 3000 + 9000);
    return bytes;
  };
  await work(() => {});
  const calls = origin.calls.length;
  expect(calls).toBeGreaterThan(100);
  for (let last = 0; last < calls; last += 7) {
    origin = new FakeOrigin();
    tab = await origin.tab();
    tab.killedAfter = last;
    let flushed = -1;
    expect(await tab.run(() => work((round) => (flushed = round)))).toBe("killed");
    if (last % 2 === 0) origin.losePower();
    tab = await origin.tab();
    const store = new ImageStore(openPlace());
    if (flushed < 0 && !(await store.has("disk"))) continue;
    expect({ last, problems: await store.check("disk") }).toEqual({ last, problems: [] });
    const disk = await store.open("disk", { isWritable: true });
    const there = await contentOf(disk);
    const isOne = [Math.max(flushed, 0), flushed + 1].some(
      (round) => Buffer.compare(there, stateOf(round)) === 0,
    );
    expect({ last, flushed, isOne }).toEqual({ last, flushed, isOne: true });
    await disk.write(0, [some(9, 100)]);
    await disk.close();
    expect(origin.paths().filter((path) => path.includes(".new/"))).toEqual([]);
  }
});
