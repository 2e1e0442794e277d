/** Files of the private file system: what is read and written, who may, and what each failure says. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { generator, inPieces, randomBytes } from "../../test/disk-model.js";
import { FakeOrigin, type FakeTab } from "../../test/private-files.js";
import { MemoryFile } from "../disk/index.js";

let origin: FakeOrigin;
let tab: FakeTab;
beforeEach(async () => {
  origin = new FakeOrigin();
  tab = await origin.tab();
});
afterEach(() => vi.unstubAllGlobals());

const open = (name: string, options = {}) => tab.web.OpfsFile.open(name, options);
const callsOf = (call: string) => origin.calls.filter((each) => each === call).length;
const oneLine = (text: RegExp) => expect.stringMatching(new RegExp(`^(?!.*\\n).*${text.source}`));

it("does what a file in memory does", async () => {
  const random = generator(5);
  const file = await open("folder/below/file", { create: true });
  const model = new MemoryFile();
  let bytes = 0;
  for (let round = 0; round < 400; round++) {
    const offset = random(90_000);
    const data = randomBytes(random, random(20) === 0 ? 400_000 : random(3000));
    const kind = random(10);
    if (kind < 5) {
      const pieces = inPieces(random, data);
      await Promise.all([file.write(offset, pieces), model.write(offset, pieces)]);
      bytes += data.length;
    } else if (kind === 5) await Promise.all([file.truncate(offset), model.truncate(offset)]);
    else {
      const [got, wanted] = [data.slice(), data.slice()];
      await Promise.all([file.read(offset, inPieces(generator(round), got)), model.read(offset, [wanted])]);
      expect(Buffer.compare(got, wanted)).toBe(0);
    }
    expect(file.size).toBe(model.size);
  }
  expect(bytes).toBeGreaterThan(200_000);
  await file.close();
  expect(origin.paths()).toEqual(["folder/below/file"]);
  const again = await open("folder/below/file");
  expect(again.size).toBe(model.size);
  await again.close();
});

it("writes small buffers together, a megabyte at once, and large ones as they are", async () => {
  const file = await open("file", { create: true });
  const pages = (count: number) =>
    Array.from({ length: count }, (_, index) => new Uint8Array(4096).fill(index));
  await file.write(0, pages(256));
  expect(callsOf("write")).toBe(1);
  await file.write(0, pages(257));
  expect(callsOf("write")).toBe(3);
  await file.write(0, [...pages(2), new Uint8Array(65536).fill(9), ...pages(3)]);
  expect(callsOf("write")).toBe(6);
  const bytes = new Uint8Array(4096 * 257);
  await file.read(0, [bytes]);
  const marks = [0, 4096, 8192, 73728, 77824, 81920, 86016].map((at) => bytes[at]);
  expect(marks).toEqual([0, 1, 9, 0, 1, 2, 21]);
});

it("makes no file in the place of another, and finds none where there is none", async () => {
  await (await open("disks/one", { create: true })).close();
  await expect(open("disks/one", { create: true })).rejects.toMatchObject({
    code: "E_DISK_IO",
    message: oneLine(/^disks\/one: .*there already/),
  });
  for (const name of ["disks/two", "none/one", "disks", "disks/one/below"])
    await expect(open(name)).rejects.toMatchObject({
      code: "E_DISK_IO",
      message: oneLine(/: can't open the file: /),
    });
  expect(origin.paths()).toEqual(["disks/one"]);
});

describe("refuses names", () => {
  it.each([
    ["", "it is empty"],
    ["/", "a part of it is empty"],
    ["a//b", "a part of it is empty"],
    ["a/", "a part of it is empty"],
    ["..", "a part of it begins with a dot"],
    ["a/../b", "a part of it begins with a dot"],
    [".hidden", "a part of it begins with a dot"],
    ["a\\b", "it has a backslash or a control character"],
    ["a\nb", "it has a backslash or a control character"],
    ["x".repeat(256), "it is too long"],
    ["é".repeat(128), "it is too long"],
    ["x/".repeat(600) + "x", "it is too long"],
  ])("%j", async (name, how) => {
    await expect(open(name)).rejects.toMatchObject({ code: "E_IMAGE_FORMAT", message: oneLine(RegExp(how)) });
    await expect(open(name)).rejects.toThrow(/^.{1,300}$/);
    expect(origin.calls).toEqual([]);
  });

  it("but not these", async () => {
    for (const name of ["x".repeat(255), "a b", "ä/ö.raw", "a..b", "x/".repeat(511) + "x"])
      await (await open(name, { create: true })).close();
    expect(origin.paths()).toHaveLength(5);
  });
});

describe("is one tab's", () => {
  it("until it is closed", async () => {
    const file = await open("disk", { create: true });
    await origin.tab().then((other) => (tab = other));
    await expect(open("disk")).rejects.toMatchObject({
      code: "E_IMAGE_LOCKED",
      details: { image: "disk" },
      message: oneLine(/^disk: the disk is in use by another tab or VM of this browser; close that tab or /),
    });
    await file.close();
    await (await open("disk")).close();
  });

  it("until it is killed", async () => {
    const killed = tab;
    await open("disk", { create: true });
    killed.kill();
    tab = await origin.tab();
    await (await open("disk")).close();
  });

  it("and one that is being left is waited for", async () => {
    const left = tab;
    await open("disk", { create: true });
    tab = await origin.tab();
    const opening = open("disk");
    await vi.waitUntil(() => callsOf("createSyncAccessHandle") > 2);
    left.kill();
    await (await opening).close();
  });

  it("or that of any number of readers", async () => {
    await (await open("disk", { create: true })).close();
    const readers = await Promise.all([1, 2].map(() => open("disk", { isReadOnly: true })));
    await expect(open("disk")).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
    const refused = { code: "E_DISK_READ_ONLY" };
    await expect(readers[0]!.write(0, [new Uint8Array(1)])).rejects.toMatchObject(refused);
    await expect(readers[0]!.truncate(0)).rejects.toMatchObject(refused);
    await readers[0]!.flush();
    for (const reader of readers) await reader.close();
    await (await open("disk")).close();
  });

  it("or of one reader, in a browser that has no others", async () => {
    origin.hasModes = false;
    await (await open("disk", { create: true })).close();
    const reader = await open("disk", { isReadOnly: true });
    await expect(open("disk", { isReadOnly: true })).rejects.toMatchObject({ code: "E_IMAGE_LOCKED" });
    await expect(reader.write(0, [new Uint8Array(1)])).rejects.toMatchObject({ code: "E_DISK_READ_ONLY" });
  });
});

it("says that there is no more room, and keeps what is there", async () => {
  const file = await open("disk", { create: true });
  await file.write(0, [new Uint8Array(1000).fill(1)]);
  origin.quota = 1500;
  const full = {
    code: "E_DISK_FULL",
    message: oneLine(/^disk: the browser gives this page no more room; remove/),
  };
  await expect(file.write(900, [new Uint8Array(1000).fill(2)])).rejects.toMatchObject(full);
  await expect(file.truncate(2000)).rejects.toMatchObject(full);
  expect(file.size).toBe(1000);
  await file.write(0, [new Uint8Array(10).fill(3)]);
  await file.flush();
  const bytes = new Uint8Array(1000);
  await file.read(0, [bytes]);
  expect([...new Set(bytes)]).toEqual([3, 1]);
  expect(bytes.lastIndexOf(3)).toBe(9);
});

it("goes on with a write that was done in part, and ends where none is done", async () => {
  const file = await open("disk", { create: true });
  origin.mostWritten = 100;
  await file.write(0, [new Uint8Array(1000).fill(1)]);
  expect(callsOf("write")).toBe(10);
  const bytes = new Uint8Array(1000);
  await file.read(0, [bytes]);
  expect(bytes.every((byte) => byte === 1)).toBe(true);
  origin.mostWritten = 0;
  await expect(file.write(0, [bytes])).rejects.toMatchObject({ code: "E_DISK_FULL" });
});

it("fails for good where a flush has failed", async () => {
  const file = await open("disk", { create: true });
  origin.fails = (call) => (call === "flush" ? "InvalidStateError" : undefined);
  const failure = { code: "E_DISK_IO", message: oneLine(/^disk: can't flush the file: /) };
  await expect(file.flush()).rejects.toMatchObject(failure);
  origin.fails = () => undefined;
  await expect(file.flush()).rejects.toMatchObject(failure);
  await expect(file.write(0, [new Uint8Array(1)])).rejects.toMatchObject(failure);
  await expect(file.truncate(0)).rejects.toMatchObject(failure);
  await file.read(0, [new Uint8Array(1)]);
  await file.close();
});

it("does nothing after its close, which may be repeated", async () => {
  const file = await open("disk", { create: true });
  await file.close();
  await file.close();
  expect(callsOf("close")).toBe(1);
  const refused = { code: "E_DISK_CLOSED" };
  await expect(file.read(0, [new Uint8Array(1)])).rejects.toMatchObject(refused);
  await expect(file.write(0, [new Uint8Array(1)])).rejects.toMatchObject(refused);
  await expect(file.truncate(1)).rejects.toMatchObject(refused);
  await expect(file.flush()).rejects.toMatchObject(refused);
});

it("says what is missing: a worker, a file system, leave to use it", async () => {
  origin.isWorker = false;
  await expect(open("disk", { create: true })).rejects.toThrow(
    /^disk: only workers .*; open it in the worker/,
  );
  origin.fails = (call) => (call === "getDirectory" ? "SecurityError" : undefined);
  await expect(open("disk")).rejects.toThrow(/^the browser lets this page keep no files; let it/);
  vi.stubGlobal("navigator", {});
  await expect(open("disk")).rejects.toThrow(/^this page has no private file system: open it by https/);
});

it("gives a DiskError, whichever call fails", async () => {
  const job = async () => {
    const file = await open(`disk${origin.calls.length}`, { create: true });
    try {
      await file.write(0, [new Uint8Array(10)]);
      await file.truncate(5);
      await file.read(0, [new Uint8Array(5)]);
      await file.flush();
    } finally {
      await file.close();
    }
  };
  await job();
  const calls = origin.calls.length;
  expect(calls).toBeGreaterThan(8);
  for (let failing = 1; failing <= calls; failing++) {
    const before = origin.calls.length;
    const missing = "getFileHandle";
    origin.fails = (call, count) =>
      count === before + failing ? (call === missing ? "UnknownError" : "NotReadableError") : undefined;
    await expect(job()).rejects.toMatchObject({
      name: "DiskError",
      message: oneLine(/: can't \w+ the file: /),
    });
  }
});
