/** What makes files durable: which of the host's calls a flush makes. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { NodeFile } from "./node-file.js";

/** What has been written to the disk, in order; the path whose flush fails. */
const host = vi.hoisted(() => ({ synced: [] as string[], failing: "" }));

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  return {
    ...real,
    async open(...args: Parameters<typeof real.open>) {
      const handle = await real.open(...args);
      for (const name of ["sync", "datasync"] as const) {
        const call = handle[name].bind(handle);
        handle[name] = async () => {
          if (args[0] === host.failing) throw Object.assign(new Error("lost"), { code: "EIO" });
          await call();
          host.synced.push(String(args[0]));
        };
      }
      return handle;
    },
  };
});

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "hyperfile-file-"))));
afterAll(() => rm(folder, { recursive: true }));
beforeEach(() => {
  host.synced.length = 0;
  host.failing = "";
});

it("makes the name of a new file durable with its first flush, and the file alone from then on", async () => {
  const path = join(folder, "new");
  const file = await NodeFile.open(path, { create: true });
  await file.write(0, [Uint8Array.of(1)]);
  expect(host.synced).toEqual([]);
  await file.flush();
  expect(host.synced).toEqual([path, folder]);
  await file.flush();
  expect(host.synced).toEqual([path, folder, path]);
  await file.close();
  host.synced.length = 0;
  const again = await NodeFile.open(path);
  await again.flush();
  await again.close();
  expect(host.synced).toEqual([path]);
});

it("closes after what is under way, and refuses what comes then", async () => {
  const file = await NodeFile.open(join(folder, "closing"), { create: true });
  await file.write(0, [new Uint8Array(1 << 20).fill(7)]);
  const buffers = Array.from({ length: 8 }, () => new Uint8Array(1 << 20));
  const reads = buffers.map((buffer) => file.read(0, [buffer.subarray(0, 10), buffer.subarray(10)]));
  const order: string[] = [];
  const closing = file.close().then(() => order.push("closed"));
  await Promise.all(reads.map((read) => read.then(() => order.push("read"))));
  await closing;
  expect(order).toEqual([...Array(8).fill("read"), "closed"]);
  expect(buffers.every((buffer) => buffer.every((byte) => byte === 7))).toBe(true);
  const refused = { code: "E_DISK_CLOSED" };
  await expect(file.read(0, [new Uint8Array(1)])).rejects.toMatchObject(refused);
  await expect(file.write(0, [new Uint8Array(1)])).rejects.toMatchObject(refused);
});

it("fails for good where a flush of the file or of its folder has failed", async () => {
  for (const [name, failing] of [
    ["one", join(folder, "one")],
    ["two", folder],
  ] as const) {
    const file = await NodeFile.open(join(folder, name), { create: true });
    host.failing = failing;
    const failure = { code: "E_DISK_IO", message: expect.stringMatching(/can't flush .*reports an error$/) };
    await expect(file.flush()).rejects.toMatchObject(failure);
    host.failing = "";
    await expect(file.flush()).rejects.toMatchObject(failure);
    await expect(file.write(0, [Uint8Array.of(1)])).rejects.toMatchObject(failure);
    await file.close();
  }
});
