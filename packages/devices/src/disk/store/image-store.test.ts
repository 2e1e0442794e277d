/** Image stores: what images share, what a kill leaves, what is refused, and where objects lie. */
import { mkdtemp, readdir, readFile, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { CrashPlace } from "../../../test/crash-place.js";
import { contentOf, generator, randomBytes, randomRequests } from "../../../test/disk-model.js";
import { FolderPlace, nodeCodecs } from "../../node.js";
import { copyDisk } from "../copy.js";
import { DiskError, HttpPlace, ImageStore, MemoryBackend, MemoryPlace, type ObjectPlace } from "../index.js";
import { newIdentity } from "../node/process-identity.js";

const SIZE = 3_000_832;
const CHUNK = 65_536;

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "hyperfile-store-"))));
afterAll(() => rm(folder, { recursive: true }));

/** Keys of all chunks and pages of a place. */
async function chunksOf(place: ObjectPlace): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of place.list("chunks/")) keys.push(key);
  return keys;
}

/** The names of a store's images. */
async function namesOf(store: ImageStore): Promise<string[]> {
  const names: string[] = [];
  for await (const name of store.names()) names.push(name);
  return names;
}

/** A store with an image of random bytes, which are given too. */
async function filled(place: ObjectPlace, name = "disk") {
  const store = new ImageStore(place, nodeCodecs);
  await store.create(name, { size: SIZE, chunkBytes: CHUNK });
  const content = new Uint8Array(SIZE);
  const random = generator(5);
  for (let at = 0; at < SIZE; at += CHUNK)
    if (random(3) > 0) content.set(randomBytes(random, Math.min(CHUNK, SIZE - at)), at);
  const disk = await store.open(name, { isWritable: true });
  await disk.write(0, [content]);
  await disk.close();
  return { store, content };
}

describe("images of a store", () => {
  it("share equal chunks; a clone is one manifest, and each goes its own way", async () => {
    const place = new MemoryPlace();
    const { store, content } = await filled(place);
    const before = await chunksOf(place);
    await store.clone("disk", "copy");
    expect(await chunksOf(place)).toEqual(before);
    const copy = await store.open("copy", { isWritable: true });
    await copy.write(100_000, [new Uint8Array(10).fill(77)]);
    await copy.close();
    // The chunk that was written, and the page that names it.
    expect(await chunksOf(place)).toHaveLength(before.length + 2);
    expect(Buffer.compare(await contentOf(await store.open("disk")), content)).toBe(0);
    content.fill(77, 100_000, 100_010);
    expect(Buffer.compare(await contentOf(await store.open("copy")), content)).toBe(0);
    expect(await namesOf(store)).toEqual(["disk", "copy"]);
  });

  it("change with a flush, and not before", async () => {
    const { store, content } = await filled(new MemoryPlace());
    const disk = await store.open("disk", { isWritable: true });
    await disk.write(0, [new Uint8Array(SIZE).fill(1)]);
    expect(Buffer.compare(await contentOf(await store.open("disk")), content)).toBe(0);
    await disk.flush();
    expect(new Set(await contentOf(await store.open("disk")))).toEqual(new Set([1]));
    const { createdAt } = disk.manifest;
    await disk.flush();
    expect(disk.manifest.createdAt).toBe(createdAt);
  });

  it("take no room for zeros, however large the disk is", async () => {
    const place = new MemoryPlace();
    const store = new ImageStore(place, nodeCodecs);
    await store.create("large", { size: 2 ** 40 });
    const disk = await store.open("large", { isWritable: true });
    await disk.write(2 ** 39 + 5, [new Uint8Array(10).fill(1)]);
    await disk.writeZeroes(0, 1 << 20);
    await disk.flush();
    expect(await chunksOf(place)).toHaveLength(2);
    expect(await disk.extent(2 ** 39, 2 ** 20)).toMatchObject({ kind: "data", length: 262_144 });
    await disk.discard(2 ** 39, 2 ** 20);
    await disk.close();
    expect((await store.manifest("large")).pages.every((page) => page === "")).toBe(true);
  });

  it("are pulled from another store without what is there already, and not where a chunk is damaged", async () => {
    const [source, target] = [new MemoryPlace("source"), new MemoryPlace("target")];
    const { store: from, content } = await filled(source);
    const to = new ImageStore(target, nodeCodecs);
    let share = 0;
    const all = await to.pull(from, "disk", { onProgress: (now) => (share = now) });
    let held = 0;
    for await (const { bytes } of source.list("chunks/")) held += bytes;
    expect([all, share]).toEqual([held, 1]);
    await from.clone("disk", "later");
    const later = await from.open("later", { isWritable: true });
    await later.write(5, [new Uint8Array(10).fill(200)]);
    await later.close();
    // The chunk that has changed, and the page that names it.
    expect(await to.pull(from, "later", { as: "new" })).toBeLessThan(2 * (CHUNK + 100));
    expect(Buffer.compare(await contentOf(await to.open("disk")), content)).toBe(0);
    content.fill(200, 5, 15);
    expect(Buffer.compare(await contentOf(await to.open("new")), content)).toBe(0);
    await expect(to.pull(from, "later", { as: "new" })).rejects.toThrow(
      /target\/images\/new: there is such an image/,
    );
    const [key] = await chunksOf(source);
    await source.replace(key!, new Uint8Array([0, 1, 2, 3]));
    const empty = new ImageStore(new MemoryPlace("empty"), nodeCodecs);
    await expect(empty.pull(from, "disk")).rejects.toMatchObject({ code: "E_IMAGE_DAMAGED" });
    expect(await namesOf(empty)).toEqual([]);
  });

  it("keep bytes and digests of a copy, packed or not", async () => {
    const random = generator(11);
    const source = new MemoryBackend(SIZE);
    const model = new Uint8Array(SIZE);
    await randomRequests(source, model, random, 40, 200_000);
    const [packed, plain] = [new MemoryPlace(), new MemoryPlace()];
    for (const [place, codecs] of [
      [packed, nodeCodecs],
      [plain, undefined],
    ] as const) {
      const store = new ImageStore(place, codecs);
      await store.create("disk", { size: SIZE, chunkBytes: CHUNK, labels: { from: "a test" } });
      const disk = await store.open("disk", { isWritable: true });
      await copyDisk(source, disk);
      await disk.close();
      expect(Buffer.compare(await contentOf(await store.open("disk")), model)).toBe(0);
      expect((await store.manifest("disk")).labels).toEqual({ from: "a test" });
    }
    expect((await chunksOf(packed)).sort()).toEqual((await chunksOf(plain)).sort());
    await expect(contentOf(await new ImageStore(packed).open("disk"))).rejects.toMatchObject({
      code: "E_IMAGE_UNSUPPORTED",
    });
  });

  it("are what the last flush has left, whenever a kill comes", async () => {
    let crashes = 0;
    for (let seed = 1; seed <= 4; seed++) {
      const random = generator(seed);
      const place = new CrashPlace(random);
      const store = new ImageStore(place);
      const size = 20 * 4096 - 512;
      await store.create("disk", { size, chunkBytes: 4096 });
      // Room for few chunks, so that many are added before a flush.
      const disk = await store.open("disk", { isWritable: true, cacheBytes: 0 });
      const model = new Uint8Array(size);
      const states = [{ end: place.log.length, content: model.slice() }];
      for (let round = 0; round < 12; round++) {
        await randomRequests(disk, model, (end) => (end === 6 ? 3 : random(end)), 3, 4096);
        await disk.flush();
        states.push({ end: place.log.length, content: model.slice() });
      }
      for (let end = states[0]!.end; end <= place.log.length; end += 1 + random(9)) {
        const crashed = new ImageStore(await place.crash(end, random));
        expect(await crashed.check("disk")).toEqual([]);
        const content = await contentOf(await crashed.open("disk"));
        const last = states.findLastIndex((state) => state.end <= end);
        expect(Buffer.compare(content, states[last]!.content)).toBe(0);
        crashes++;
      }
    }
    expect(crashes).toBeGreaterThan(60);
  }, 120_000);

  it("stay whole where an object can't be added, and are written by the next flush", async () => {
    const place = new MemoryPlace();
    const { store, content } = await filled(place);
    const disk = await store.open("disk", { isWritable: true });
    const add = place.add.bind(place);
    let left = 3;
    place.add = async (key, bytes) => {
      if (left-- <= 0) throw new DiskError("E_DISK_FULL", "no room");
      await add(key, bytes);
    };
    const random = generator(3);
    const changed = randomBytes(random, SIZE).map((byte, at) => byte ^ (at >> 16));
    await disk.write(0, [changed]);
    await expect(disk.flush()).rejects.toMatchObject({ code: "E_DISK_FULL" });
    expect(Buffer.compare(await contentOf(await store.open("disk")), content)).toBe(0);
    left = Infinity;
    await disk.flush();
    expect(Buffer.compare(await contentOf(await store.open("disk")), changed)).toBe(0);
  });
});

describe("a collection of garbage", () => {
  it("removes what nobody names and is older than the time of grace", async () => {
    let now = 1000;
    const place = new MemoryPlace("memory", () => now);
    const { store, content } = await filled(place);
    await store.clone("disk", "copy");
    const disk = await store.open("copy", { isWritable: true });
    await disk.write(0, [new Uint8Array(SIZE).fill(9)]);
    await disk.close();
    const all = (await chunksOf(place)).length;
    await store.remove("copy");
    now = 5000;
    expect(await store.collect({ graceMs: 10_000, now })).toMatchObject({ kept: all, removed: 0 });
    const { removed, kept } = await store.collect({ graceMs: 1000, now });
    expect([removed > 0, kept + removed]).toEqual([true, all]);
    expect(await store.check("disk")).toEqual([]);
    expect(Buffer.compare(await contentOf(await store.open("disk")), content)).toBe(0);
    await store.remove("disk");
    expect(await store.collect({ graceMs: 0, now })).toMatchObject({ kept: 0 });
    expect(await chunksOf(place)).toEqual([]);
  });

  it("leaves an old chunk that a writer uses anew before it is named", async () => {
    const place = new FolderPlace(join(folder, "renewed"));
    const store = new ImageStore(place, nodeCodecs);
    await store.create("one", { size: CHUNK, chunkBytes: CHUNK });
    const one = await store.open("one", { isWritable: true });
    await one.write(0, [new Uint8Array(CHUNK).fill(4)]);
    await one.close();
    await store.remove("one");
    const long = new Date(Date.now() - 1e7);
    for (const key of await chunksOf(place)) await utimes(join(place.name, key), long, long);
    await store.create("two", { size: CHUNK, chunkBytes: CHUNK });
    const two = await store.open("two", { isWritable: true });
    await two.write(0, [new Uint8Array(CHUNK).fill(4)]);
    const replace = place.replace.bind(place);
    place.replace = async (key, bytes) => {
      expect(await store.collect()).toMatchObject({ removed: 0, kept: 2 });
      await replace(key, bytes);
    };
    await two.close();
    expect(await store.check("two")).toEqual([]);
  });

  it("removes nothing where an image can't be read", async () => {
    const place = new MemoryPlace();
    const { store } = await filled(place);
    await place.replace("images/other", new TextEncoder().encode("hyperfile-image 1 00\n{}"));
    const before = await chunksOf(place);
    await store.remove("disk");
    await expect(store.collect({ graceMs: -1e9 })).rejects.toMatchObject({ code: "E_IMAGE_DAMAGED" });
    expect(await chunksOf(place)).toEqual(before);
  });
});

describe("what is damaged", () => {
  it("is said of every changed byte of a manifest", async () => {
    const place = new MemoryPlace();
    const { store } = await filled(place);
    const manifest = (await place.read("images/disk", 1 << 20))!;
    const random = generator(1);
    for (let at = 0; at < manifest.length; at++) {
      const changed = random(20) === 0 ? manifest.slice(0, at) : manifest.slice();
      if (changed.length === manifest.length) changed[at]! ^= 1 << random(8);
      await place.replace("images/disk", changed);
      const error = await store.open("disk").catch((reason) => reason);
      expect(error).toBeInstanceOf(DiskError);
      expect(error.message).toMatch(/^memory\/images\/disk: /);
    }
  });

  it("is said of manifests that lie with a right checksum", async () => {
    const { printManifest } = await import("./manifest.js");
    const place = new MemoryPlace();
    const { store } = await filled(place);
    const good = await store.manifest("disk");
    const lies: Record<string, unknown>[] = [
      { size: -1 },
      { size: 2 ** 60 },
      { size: 1.5 },
      { size: SIZE * 1000 },
      { chunkBytes: 0 },
      { chunkBytes: 5000 },
      { chunkBytes: 2 ** 30 },
      { pages: {} },
      { pages: [] },
      { pages: ["../../etc/passwd"] },
      { pages: [`${"0".repeat(63)}G`] },
      { createdAt: 5 },
      ...["", "now", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00Z\x1b[2J", "\n2026-01-01T00:00:00Z"].map(
        (createdAt) => ({ createdAt }),
      ),
      { labels: null },
      { labels: { a: 1 } },
      { labels: Object.fromEntries(Array.from({ length: 1000 }, (_, at) => [`l${at}`, ""])) },
    ];
    for (const lie of lies) {
      await place.replace("images/disk", await printManifest({ ...good, ...lie } as typeof good));
      await expect(store.open("disk")).rejects.toMatchObject({ code: "E_IMAGE_DAMAGED" });
    }
    expect(lies).toHaveLength(20);
  });

  it("is said of every chunk and page that is gone, cut, other or a bomb", async () => {
    const place = new MemoryPlace();
    const { store } = await filled(place);
    const keys = await chunksOf(place);
    const zstd = await nodeCodecs("zstd");
    const bomb = new Uint8Array([1, ...(await zstd.compress(new Uint8Array(64 << 20)))!]);
    const random = generator(2);
    let said = 0;
    for (const key of keys) {
      const bytes = (await place.read(key, 1 << 20))!;
      const other = bytes.slice();
      other[random(other.length)]! ^= 1 + random(255);
      for (const now of [
        undefined,
        new Uint8Array(),
        bytes.slice(0, -1),
        other,
        bomb,
        new Uint8Array([7, 1, 2]),
      ]) {
        if (now === undefined) await place.remove(key);
        else await place.replace(key, now);
        const problems = await store.check("disk");
        expect(problems.length).toBeGreaterThan(0);
        for (const { message } of problems) expect(message).toContain(key);
        said += problems.length;
        await expect(contentOf(await store.open("disk"))).rejects.toMatchObject({ code: "E_IMAGE_DAMAGED" });
      }
      await place.replace(key, bytes);
    }
    expect(said).toBeGreaterThanOrEqual(keys.length * 6);
    expect(await store.check("disk")).toEqual([]);
  });

  it("is refused as a name, a size or an image that is there already or not", async () => {
    const store = new ImageStore(new MemoryPlace());
    for (const name of [
      "",
      ".",
      "..",
      "../x",
      "a//b",
      "/a",
      "a/",
      ".hidden",
      "a\0b",
      "a b",
      "x".repeat(2000),
    ])
      await expect(store.create(name, { size: 1 })).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
    for (const image of [{ size: -1 }, { size: 2 ** 50 }, { size: 1, chunkBytes: 3000 }, { size: NaN }])
      await expect(store.create("a", image)).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
    await store.create("a/b-c.d", { size: 0 });
    await expect(store.create("a/b-c.d", { size: 0 })).rejects.toThrow(/there is such an image already/);
    for (const act of [store.open("z"), store.remove("z"), store.clone("z", "y")])
      await expect(act).rejects.toThrow("memory/images/z: there is no such image in the store");
  });
});

describe("a folder", () => {
  it("has one writer of an image, and readers beside it", async () => {
    const { store, content } = await filled(new FolderPlace(join(folder, "locked")));
    const writer = await store.open("disk", { isWritable: true });
    await expect(store.open("disk", { isWritable: true })).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
    await expect(store.remove("disk")).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
    expect(Buffer.compare(await contentOf(await store.open("disk")), content)).toBe(0);
    await Promise.all([writer.close(), writer.close()]);
    await (await store.open("disk", { isWritable: true })).close();
  });

  it("has no object in part, and loses what killed writers left", async () => {
    const place = new FolderPlace(join(folder, "parts"));
    const { store } = await filled(place);
    const unfinished = () => readdir(join(place.name, ".new"));
    expect(await unfinished()).toEqual([]);
    const [dead, unseen] = [newIdentity().replace(/^(\d+)-\d+/, "$1-1"), "1-1-1-elsewhere-0-other-1"];
    for (const name of [dead, unseen]) await writeFile(join(place.name, ".new", name), "half a chunk");
    expect(await store.check("disk")).toEqual([]);
    // The next writer removes what a dead one has left; of others it can't be known until it is old.
    await new ImageStore(new FolderPlace(place.name)).create("next", { size: 512 });
    expect(await unfinished()).toEqual([unseen]);
    await store.collect({ graceMs: 3_600_000 });
    expect(await unfinished()).toEqual([unseen]);
    await store.collect({ graceMs: -1000 });
    expect(await unfinished()).toEqual([]);
    expect(await store.check("disk")).toEqual([]);
  });

  it("keeps nothing of an image that could not be made whole, and its own of what is made besides", async () => {
    const place = new FolderPlace(join(folder, "drafts"));
    const store = new ImageStore(place, nodeCodecs);
    const files = async () =>
      (await readdir(place.name, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
        .length;
    const content = randomBytes(generator(3), SIZE);
    const failing = store.make("bad", { size: SIZE, chunkBytes: 4096 }, async (disk) => {
      await disk.write(0, [content]);
      // As is done with what has no room in memory.
      await place.add("chunks/00/added", content);
      throw new Error("no more");
    });
    await expect(failing).rejects.toThrow("no more");
    expect(await files()).toBe(1);
    await store.close();
    expect(await files()).toBe(0);
    await store.make("good", { size: SIZE, chunkBytes: 4096 }, async (disk) => {
      await disk.write(0, [content]);
      // A flush names nothing either: the image is not whole.
      await disk.flush();
      expect(await store.has("good")).toBe(false);
      await disk.write(0, [new Uint8Array(512).fill(1)]);
    });
    await expect(store.make("good", { size: 512 }, async () => {})).rejects.toThrow(/such an image already/);
    await store.close();
    content.fill(1, 0, 512);
    expect(Buffer.compare(await contentOf(await store.open("good")), content)).toBe(0);
    expect(await readdir(join(place.name, ".new"))).toEqual([]);
  });

  it("counts an image whose manifest is a link, and refuses folders that are links", async () => {
    const place = new FolderPlace(join(folder, "linked"));
    const { store, content } = await filled(place);
    await rename(join(place.name, "images/disk"), join(folder, "elsewhere"));
    await symlink(join(folder, "elsewhere"), join(place.name, "images/disk"));
    expect(await namesOf(store)).toEqual(["disk"]);
    expect(await store.collect({ graceMs: -1000 })).toMatchObject({ removed: 0 });
    expect(Buffer.compare(await contentOf(await store.open("disk")), content)).toBe(0);
    await symlink(folder, join(place.name, "images/more"));
    await expect(store.collect({ graceMs: -1000 })).rejects.toThrow(
      /images\/more: a link to a folder can't be/,
    );
    expect(Buffer.compare(await contentOf(await store.open("disk")), content)).toBe(0);
  });

  it("says what is wrong with it in one line", async () => {
    await writeFile(join(folder, "a-file"), "");
    const store = new ImageStore(new FolderPlace(join(folder, "a-file")));
    await expect(store.create("disk", { size: 1 })).rejects.toThrow(/a-file\/images: can't make the file: /);
    await expect(store.open("disk")).rejects.toThrow(
      /can't open the file: a part of the path is not a folder/,
    );
  });
});

describe("a web server", () => {
  let server: Server;
  /** What the server does before it gives a file: a status, a cut connection, or nothing. */
  let trouble: (number | "cut" | undefined)[] = [];
  let asked: string[] = [];
  let address: string;
  let root: string;
  let content: Uint8Array;

  beforeAll(async () => {
    root = join(folder, "served");
    ({ content } = await filled(new FolderPlace(root)));
    server = createServer(async (request, response) => {
      asked.push(request.url!);
      const now = trouble.shift();
      if (now === "cut") return void request.socket.destroy();
      if (now !== undefined) return void response.writeHead(now).end("no");
      const bytes = await readFile(join(root, request.url!)).catch(() => undefined);
      if (bytes === undefined) response.writeHead(404).end("not here");
      else response.end(bytes);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());
  afterEach(() => {
    trouble = [];
    asked = [];
  });

  const remote = () => new ImageStore(new HttpPlace(`${address}/`, { pauseMs: 1 }), nodeCodecs);

  it("gives an image chunk by chunk, each once", async () => {
    const disk = await remote().open("disk");
    const part = new Uint8Array(1000);
    await disk.read(CHUNK * 3 + 10, [part]);
    expect(asked.length).toBeLessThanOrEqual(3);
    expect(Buffer.compare(await contentOf(disk), content)).toBe(0);
    expect(new Set(asked).size).toBe(asked.length);
    expect(disk.isReadOnly).toBe(true);
    await expect(disk.write(0, [part])).rejects.toMatchObject({ code: "E_DISK_READ_ONLY" });
    await disk.flush();
    await disk.close();
  });

  it("is asked again where that may help, and blamed by name where it does not", async () => {
    trouble = [503, "cut", 429];
    expect((await remote().manifest("disk")).size).toBe(SIZE);
    trouble = [403];
    await expect(remote().manifest("disk")).rejects.toThrow(
      `${address}/images/disk: the server answers with status 403`,
    );
    expect(asked).toHaveLength(5);
    trouble = ["cut", "cut", "cut", "cut"];
    await expect(remote().manifest("disk")).rejects.toThrow(/images\/disk: can't be fetched: /);
    await expect(remote().manifest("none")).rejects.toThrow(/there is no such image in the store/);
    await expect(namesOf(remote())).rejects.toThrow(/tells of no image/);
    await expect(remote().create("a", { size: 1 })).rejects.toMatchObject({ code: "E_DISK_READ_ONLY" });
    expect(() => new HttpPlace("ftp://a")).toThrow("ftp://a: this is no address of a web server");
  });

  it("can't make anybody read more than an object may have", async () => {
    await writeFile(join(root, "images", "huge"), new Uint8Array(65 << 20));
    await expect(remote().manifest("huge")).rejects.toMatchObject({ code: "E_IMAGE_LIMIT" });
  });
});
