import { execFileSync } from "node:child_process";
import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  unlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { xxh32 } from "@hyperfile/jit/memory";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encodeDirectory, HEADER_BYTES, SNAPSHOT_VERSION } from "../directory.js";
import type { SnapshotMachine, SnapshotMemory } from "../machine.js";
import type { PlainRecord } from "../values.js";
import { restoreSnapshotFile, saveSnapshotFile } from "./snapshot-file.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-snapshot-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** A machine of one number and sixteen pages. */
function machineOf(number: number): SnapshotMachine & { number(): number; readonly ram: Uint8Array } {
  const ram = new Uint8Array(16 * 4096);
  let state = number;
  const memory: SnapshotMemory = {
    base: 0x80000000,
    bytes: ram.length,
    pages: 16,
    addressOfPage: (page) => 0x80000000 + page * 4096,
    isTouched: (page) => page % 2 === 0,
    isBallooned: () => false,
    readPage: (page, target) => target.set(ram.subarray(page * 4096, page * 4096 + 4096)),
    balloonPage: () => {},
    write(gpa, source) {
      ram.set(source, gpa - 0x80000000);
      return true;
    },
    clearTouched: () => ram.fill(0),
    mapPager: () => false,
    bringIn: () => 0,
  };
  return {
    config: { kind: "test" },
    memory,
    parts: {
      state: {
        save: () => ({ state }),
        restore: (saved: PlainRecord) => {
          state = saved.state as number;
        },
      },
    },
    number: () => state,
    ram,
  };
}

it("writes a machine to a file and reads it back", async () => {
  const path = join(folder, "vm.snapshot");
  const machine = machineOf(5);
  machine.ram.fill(7, 0, 4096);
  machine.ram.fill(9, 4 * 4096, 5 * 4096);
  const report = await saveSnapshotFile(path, machine);
  expect(report.memory).toBe(2 * 4096);
  expect(report.bytes).toBe((await readFile(path)).length);
  expect(await readdir(folder)).toEqual(["vm.snapshot"]);
  const other = machineOf(0);
  other.ram.fill(1);
  expect(await restoreSnapshotFile(path, other)).toEqual(report);
  expect(other.number()).toBe(5);
  expect(other.ram).toEqual(machine.ram);
});

it("is never in the way of what a thread left that was ended in the middle of one", async () => {
  const path = join(folder, "vm.snapshot");
  // As threads of one process do, each of these has a module of its own.
  for (let thread = 0; thread < 3; thread++) {
    vi.resetModules();
    const { saveSnapshotFile: save } = await import("./snapshot-file.js");
    const ended = new Error("the thread has ended");
    const files = {
      open,
      rename: () => Promise.reject(ended),
      unlink: () => Promise.reject(ended),
    };
    await expect(save(path, machineOf(1), files)).rejects.toThrow("the thread has ended");
  }
  expect((await readdir(folder)).length).toBe(3);
  await saveSnapshotFile(path, machineOf(2));
  expect((await readdir(folder)).length).toBe(4);
});

it("leaves the old file as it is, and none of its own, when the disk is full at any write", async () => {
  const path = join(folder, "vm.snapshot");
  await saveSnapshotFile(path, machineOf(1));
  const old = await readFile(path);
  let failing = 0;
  const fails = (what: string) => Object.assign(new Error(`${what}: no space left`), { code: "ENOSPC" });
  for (let at = 0; ; at++) {
    let operations = 0;
    const step = (what: string) => {
      if (operations++ === at) throw fails(what);
    };
    const files = {
      open: async (...args: Parameters<typeof open>) => {
        step("open");
        // Who finds it after a crash knows that it is not whole.
        expect(String(args[0]).startsWith(join(folder, "."))).toBe(true);
        const file = await open(...args);
        return new Proxy(file, {
          get(target, name) {
            if (name === "writeFile" || name === "sync") {
              return async (...rest: []) => {
                step(name);
                return (target[name] as () => Promise<void>).apply(target, rest);
              };
            }
            const value = Reflect.get(target, name, target) as unknown;
            return typeof value === "function" ? value.bind(target) : value;
          },
        });
      },
      rename: async (...args: Parameters<typeof rename>) => {
        step("rename");
        return rename(...args);
      },
      unlink,
    };
    try {
      await saveSnapshotFile(path, machineOf(2), files as Parameters<typeof saveSnapshotFile>[2]);
      break;
    } catch (error) {
      failing++;
      expect(error).toMatchObject({ code: "E_SNAPSHOT_FILE" });
      expect((error as Error).message).toBe(
        `can't write the snapshot ${path}: the disk is full: make room and try again`,
      );
      expect(await readFile(path)).toEqual(old);
      expect(await readdir(folder)).toEqual(["vm.snapshot"]);
    }
  }
  // Opening, each piece, making it durable, and the renaming.
  expect(failing).toBeGreaterThan(6);
  const after = machineOf(0);
  await restoreSnapshotFile(path, after);
  expect(after.number()).toBe(2);
});

it("says in one line what is wrong with a file", async () => {
  const path = join(folder, "missing");
  await expect(restoreSnapshotFile(path, machineOf(0))).rejects.toThrow(
    `can't read the snapshot ${path}: there is no such file or folder`,
  );
  await expect(saveSnapshotFile(join(path, "vm"), machineOf(0))).rejects.toThrow(
    `can't write the snapshot ${join(path, "vm")}: there is no such file or folder`,
  );
  await writeFile(path, "something else");
  await expect(restoreSnapshotFile(path, machineOf(0))).rejects.toMatchObject({ code: "E_SNAPSHOT_FORMAT" });
});

it.each([0o000, 0o022, 0o777])("is its owner's alone, whatever the umask says: %i", async (umask) => {
  const path = join(folder, "vm.snapshot");
  const before = process.umask(umask);
  try {
    await saveSnapshotFile(path, machineOf(1));
  } finally {
    process.umask(before);
  }
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  // Another machine's snapshot in its place is no more readable than the first.
  await chmod(path, 0o644);
  await saveSnapshotFile(path, machineOf(2));
  expect((await stat(path)).mode & 0o777).toBe(0o600);
});

it("is read from regular files only, and nobody waits for anything else", async () => {
  const fifo = join(folder, "fifo");
  execFileSync("mkfifo", [fifo]);
  await mkdir(join(folder, "folder"));
  for (const path of [fifo, join(folder, "folder"), "/dev/zero"]) {
    await expect(restoreSnapshotFile(path, machineOf(0))).rejects.toThrow(
      `can't read the snapshot ${path}: it is no regular file`,
    );
  }
  await writeFile(join(folder, "sparse"), "");
  const sparse = await open(join(folder, "sparse"), "r+");
  await sparse.truncate(2 ** 40);
  await sparse.close();
  await expect(restoreSnapshotFile(join(folder, "sparse"), machineOf(0))).rejects.toThrow(
    "it has more than 8 GiB",
  );
});

describe("a file of 3 GiB that takes none on the disk", () => {
  const SIZE = 3 * 2 ** 30;
  const entry = { name: "memory/0", codec: "zstd", length: 2 ** 20, sum: 0 } as const;
  /** The beginning of a file that has one section of so many bytes. */
  const begun = (stored: number): Uint8Array =>
    Buffer.concat(encodeDirectory([{ ...entry, stored }], SNAPSHOT_VERSION));
  /** The header of a file whose directory has so many bytes. */
  const headed = (directory: number): Uint8Array => {
    const [header] = encodeDirectory([], SNAPSHOT_VERSION);
    const view = new DataView(header.buffer);
    view.setUint32(12, directory, true);
    view.setUint32(20, xxh32(header.slice(0, 20)), true);
    return header;
  };

  it.each<[string, () => Uint8Array, string, RegExp]>([
    ["begins with nothing", () => new Uint8Array(0), "E_SNAPSHOT_FORMAT", /it does not begin with HYPERSNP$/],
    [
      "is all directory",
      () => headed(SIZE - HEADER_BYTES),
      "E_SNAPSHOT_DAMAGED",
      /section directory has 3221225448 bytes, more than the 16777216 that it can have/,
    ],
    [
      "has more in it than its directory says",
      () => begun(1),
      "E_SNAPSHOT_DAMAGED",
      /section end has 32212\d+ bytes after it/,
    ],
    [
      "has less in it than its directory says",
      () => begun(SIZE),
      "E_SNAPSHOT_DAMAGED",
      /section memory\/0 is cut off/,
    ],
    [
      "has just what its directory says, and more than such a machine",
      () => begun(SIZE - begun(SIZE).length),
      "E_SNAPSHOT_MACHINE",
      /^the snapshot is of another machine: it has 3221225472 bytes, and one of this machine at most \d+$/,
    ],
  ])("and %s is refused by its name, before anything of it is read", async (_, begin, code, message) => {
    const path = join(folder, "sparse");
    const file = await open(path, "w");
    await file.write(begin());
    await file.truncate(SIZE);
    await file.close();
    const machine = machineOf(5);
    const mostBefore = process.resourceUsage().maxRSS;
    const error = await restoreSnapshotFile(path, machine).catch((error: unknown) => error);
    expect(error).toMatchObject({ name: "SnapshotError", code, message: expect.stringMatching(message) });
    // In KiB.
    expect(process.resourceUsage().maxRSS - mostBefore).toBeLessThan(200 * 1024);
    expect(machine.number()).toBe(5);
  });
});
