/** Disks by name: made once and whole, whatever call fails or is the last one, and what was flushed stays. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { contentOf, generator, randomBytes } from "../../test/disk-model.js";
import { FakeOrigin, type FakeTab } from "../../test/private-files.js";
import { type BlockBackend, checkQcow2, MemoryBackend, MemoryFile, Qcow2Image } from "../disk/index.js";
import type { OpfsDiskOptions } from "./index.js";

const NAME = "disks/home";
const formats = ["raw", "qcow2"] as const;

let origin: FakeOrigin;
let tab: FakeTab;
beforeEach(async () => {
  origin = new FakeOrigin();
  tab = await origin.tab();
});
afterEach(() => vi.unstubAllGlobals());

const open = (options: OpfsDiskOptions, name = NAME) => tab.web.openOpfsDisk(name, options);

/** What the file of a disk has, as the formats see it. */
async function fileOf(name = NAME): Promise<MemoryFile> {
  const file = new MemoryFile(name);
  await file.write(0, [await tab.web.readOpfs(name)]);
  return file;
}

async function expectClean(name = NAME): Promise<void> {
  const { corruptions, leaks } = await checkQcow2(await fileOf(name));
  expect({ corruptions: corruptions.first, leaks: leaks.first }).toEqual({ corruptions: [], leaks: [] });
}

describe.each(formats)("%s", (format) => {
  it("is made if there is none, and opened as it is from then on", async () => {
    await expect(open({ format })).rejects.toThrow(
      /^disks\/home: there is no such disk in this browser; give its size/,
    );
    await expect(open({ format, size: 4096, isReadOnly: true })).rejects.toMatchObject({ code: "E_DISK_IO" });
    expect(origin.paths()).toEqual([]);
    const disk = await open({ format, size: 1 << 20 });
    expect(disk.size).toBe(1 << 20);
    await disk.write(70_000, [new TextEncoder().encode("kept")]);
    await expect(open({ format })).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
    await disk.close();
    expect(origin.paths()).toEqual([NAME]);
    if (format === "qcow2") await expectClean();
    const again = await open({ format, size: 1 << 30, isReadOnly: true });
    expect(again.size).toBe(1 << 20);
    expect(new TextDecoder().decode((await contentOf(again)).subarray(70_000, 70_004))).toBe("kept");
    await expect(again.write(0, [new Uint8Array(1)])).rejects.toMatchObject({ code: "E_DISK_READ_ONLY" });
    await again.close();
  });

  it("is made whole or not at all, whichever call fails", async () => {
    const make = async () => (await open({ format, size: 1 << 18 })).close();
    await make();
    const calls = origin.calls.length;
    for (let failing = 1; failing <= calls; failing++) {
      origin = new FakeOrigin();
      tab = await origin.tab();
      origin.fails = (_, count) => (count === failing ? "QuotaExceededError" : undefined);
      await make().then(
        () => {},
        (error) =>
          expect(error).toMatchObject({ code: "E_DISK_FULL", message: expect.not.stringContaining("\n") }),
      );
      origin.fails = () => undefined;
      const disk = await open({ format, size: 1 << 18 });
      await disk.close();
      expect(origin.paths()).toEqual([NAME]);
      expect(origin.calls.length).toBeGreaterThan(failing);
    }
  });

  it("is made whole or not at all, whichever call is the last", async () => {
    const make = async () => (await open({ format, size: 1 << 18 })).close();
    await make();
    const calls = origin.calls.length;
    let made = 0;
    for (let last = 0; last < calls; last++) {
      origin = new FakeOrigin();
      tab = await origin.tab();
      tab.killedAfter = last;
      expect(await tab.run(make)).toBe("killed");
      origin.losePower();
      const wasMade = origin.paths().includes(NAME);
      if (wasMade) made++;
      tab = await origin.tab();
      const disk = await open({ format, size: 1 << 19 });
      expect(disk.size).toBe(wasMade ? 1 << 18 : 1 << 19);
      await disk.close();
      if (format === "qcow2") await expectClean();
      // Where it was not made, who makes it removes what was left.
      expect(origin.paths().filter((path) => !path.endsWith(".in-progress") || !wasMade)).toEqual([NAME]);
    }
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThan(calls);
  });

  it("has what was flushed after a kill before any call, and of the rest what it has", async () => {
    const size = 1 << 18;
    const random = generator(9);
    const writes = Array.from({ length: 12 }, () => ({
      at: random(size - 9000),
      bytes: randomBytes(random, 1 + random(9000)),
    }));
    /** Writes all, flushing every third; gives what was flushed to `flushed`. */
    const work = async (disk: BlockBackend, flushed: (model: Uint8Array, later: number) => void) => {
      const model = new Uint8Array(size);
      for (const [index, { at, bytes }] of writes.entries()) {
        await disk.write(at, [bytes]);
        model.set(bytes, at);
        if (index % 3 !== 2) continue;
        await disk.flush();
        flushed(model.slice(), index + 1);
      }
    };
    const first = await open({ format, size });
    const before = origin.calls.length;
    await work(first, () => {});
    const calls = origin.calls.length - before;
    let lost = 0;
    for (let last = 0; last < calls; last += format === "raw" ? 1 : 3) {
      for (const losesPower of [false, true]) {
        origin = new FakeOrigin();
        tab = await origin.tab();
        const disk = await open({ format, size });
        tab.killedAfter = origin.calls.length + last;
        let [model, later]: [Uint8Array, number] = [new Uint8Array(size), 0];
        expect(await tab.run(() => work(disk, (...done) => ([model, later] = done)))).toBe("killed");
        if (losesPower) origin.losePower();
        tab = await origin.tab();
        const again = await open({ format });
        const there = await contentOf(again);
        await again.close();
        if (format === "qcow2") expect((await checkQcow2(await fileOf())).corruptions.first).toEqual([]);
        // What was written since may be there or not.
        for (const { at, bytes } of writes.slice(later, later + 3)) {
          if (Buffer.compare(there.subarray(at, at + bytes.length), bytes) !== 0) lost++;
          model.set(there.subarray(at, at + bytes.length), at);
        }
        expect({ last, losesPower, differs: Buffer.compare(there, model) }).toEqual({
          last,
          losesPower,
          differs: 0,
        });
      }
    }
    expect(lost).toBeGreaterThan(0);
  });

  it("is not made in the place of one that another tab has made meanwhile", async () => {
    const other = await origin.tab();
    const [one, two] = [tab, other];
    let isBusy = false;
    origin.before = async (call) => {
      // The first tab has written its own, and is about to give it its name.
      if (isBusy || call !== "request" || !origin.calls.includes("close")) return;
      isBusy = true;
      two.enter();
      const disk = await two.web.openOpfsDisk(NAME, { format, size: 8192 });
      await disk.write(0, [Uint8Array.of(7)]);
      await disk.close();
      one.enter();
    };
    one.enter();
    const disk = await one.web.openOpfsDisk(NAME, { format, size: 4096 });
    expect(isBusy).toBe(true);
    expect([disk.size, (await contentOf(disk))[0]]).toEqual([8192, 7]);
    await disk.close();
    expect(origin.paths()).toEqual([NAME]);
  });
});

it("has no room for all of a raw disk, and for a qcow2 disk until it is written", async () => {
  origin.quota = 1 << 20;
  const size = 4 << 20;
  await expect(open({ format: "raw", size })).rejects.toMatchObject({ code: "E_DISK_FULL" });
  expect(origin.paths()).toEqual([]);
  const disk = await open({ format: "qcow2", size });
  const written = new Map<number, number>();
  const write = async (at: number) => {
    await disk.write(at, [new Uint8Array(65536).fill(1 + at / 65536)]);
    written.set(at, 1 + at / 65536);
  };
  const fill = async () => {
    for (let at = 0; at < size; at += 65536) await write(at);
  };
  await expect(fill()).rejects.toMatchObject({ code: "E_DISK_FULL" });
  expect(written.size).toBeGreaterThan(4);
  await disk.flush();
  await disk.close();
  const again = await open({ format: "qcow2", isReadOnly: true });
  const there = await contentOf(again);
  for (const [at, mark] of written)
    expect(there.subarray(at, at + 65536).every((byte) => byte === mark)).toBe(true);
  await again.close();
});

it("keeps the changes of a disk below, and is opened on that one only", async () => {
  const below = async (byte: number) => {
    const disk = new MemoryBackend(300_000);
    await disk.write(0, [new Uint8Array(300_000).fill(byte)]);
    return { name: "https://example.org/debian.raw", format: "raw", disk } as const;
  };
  const disk = await open({ format: "qcow2", backing: await below(5) });
  expect(disk.size).toBe(Math.ceil(300_000 / 512) * 512);
  await disk.write(1000, [Uint8Array.of(1)]);
  await disk.close();
  const again = await open({ format: "qcow2", backing: await below(6) });
  const content = await contentOf(again);
  // The cluster that was written has been copied up.
  expect([999, 1000, 1001, 65_535, 65_536].map((at) => content[at])).toEqual([5, 1, 5, 5, 6]);
  await again.close();

  const other = { ...(await below(7)), name: "https://example.org/other.raw" };
  await expect(open({ format: "qcow2", backing: other })).rejects.toMatchObject({
    code: "E_IMAGE_CHAIN",
    message:
      'disks/home: the image lies on "https://example.org/debian.raw", and is opened on "https://example.org/other.raw"; open it as it was made',
  });
  await expect(other.disk.flush()).rejects.toMatchObject({ code: "E_DISK_CLOSED" });
  await expect(open({ format: "qcow2" })).rejects.toThrow(
    /is opened on no other disk; open it as it was made$/,
  );
  // A refused open has let go of it.
  await (await open({ format: "qcow2", backing: await below(8) })).close();
});

it("refuses what is no disk, and sizes and formats that can't be", async () => {
  await tab.web.writeOpfs("disks/text", [new TextEncoder().encode("no image".repeat(100))]);
  await expect(open({ format: "qcow2" }, "disks/text")).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
  // It is not held on to.
  await (await open({ format: "raw" }, "disks/text")).close();
  for (const size of [0, -1, 1.5, Number.NaN, 2 ** 60])
    await expect(open({ format: "raw", size })).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
  const backing = { name: "below", format: "raw", disk: new MemoryBackend(512) } as const;
  await expect(open({ format: "raw", backing })).rejects.toThrow(
    /^disks\/home: a raw disk lies on no other; use qcow2$/,
  );
  await expect(open({ format: "vmdk" as "raw", size: 512 })).rejects.toThrow(
    /: vmdk is no format of disks in a browser/,
  );
  await expect(open({ format: "raw", size: 512 }, "../home")).rejects.toMatchObject({
    code: "E_IMAGE_FORMAT",
  });
  expect(origin.paths()).toEqual(["disks/text"]);
});

it("opens an image that another program has written", async () => {
  const { createQcow2 } = await import("../disk/index.js");
  const file = new MemoryFile("made elsewhere");
  await createQcow2(file, { size: 100_000, clusterSize: 4096 });
  const image = await Qcow2Image.open(file);
  await image.write(50_000, [new Uint8Array(5000).fill(3)]);
  await image.close();
  const bytes = new Uint8Array(file.size);
  await file.read(0, [bytes]);
  await tab.web.writeOpfs(NAME, [bytes]);
  const disk = await open({ format: "qcow2" });
  expect((await contentOf(disk)).subarray(49_999, 50_001)).toEqual(Uint8Array.of(0, 3));
  await disk.close();
});
