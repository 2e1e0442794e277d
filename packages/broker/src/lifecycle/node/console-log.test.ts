/** A VM's console log on disks that are well, full, in the way, and slow. */
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConsoleLog } from "./console-log.js";

let folder: string;
let path: string;
let told: string[];
const tell = (message: string) => void told.push(message);
const bytes = (text: string) => new TextEncoder().encode(text);
async function tailOf(log: ConsoleLog, most: number): Promise<string> {
  const tail = await log.tail(most);
  let text = "";
  for await (const part of tail.parts()) text += new TextDecoder().decode(part);
  expect(text).toHaveLength(tail.bytes);
  return text;
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-log-"));
  path = join(folder, "vm", "console.log");
  told = [];
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

describe("a console log", () => {
  it("keeps what was printed in order, in a file of its owner's, and gives its end", async () => {
    const log = new ConsoleLog(path, 1000, tell);
    expect(await tailOf(log, 100)).toBe("");
    void log.write(bytes("one "));
    void log.write(bytes("two "));
    const two = tailOf(log, 100);
    void log.write(bytes("three"));
    expect(await two).toBe("one two ");
    expect(await tailOf(log, 7)).toBe("o three");
    await log.close();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await log.write(bytes(" four"));
    expect(await tailOf(log, 1e9)).toBe("one two three four");
    await log.close();
    expect(told).toEqual([]);
  });

  it("turns when it has its size, and reaches back into the file before", async () => {
    const log = new ConsoleLog(path, 10, tell);
    for (const text of ["0123456789", "abcdefghij", "XYZ"]) await log.write(bytes(text));
    expect(await readdir(join(folder, "vm"))).toEqual(["console.log", "console.log.1"]);
    expect(await tailOf(log, 100)).toBe("abcdefghijXYZ");
    expect(await tailOf(log, 5)).toBe("ijXYZ");
    await log.close();
  });

  it("that can't be written is told once and tried again; the bytes between are counted", async () => {
    let now = 0;
    vi.spyOn(performance, "now").mockImplementation(() => now);
    await mkdir(path, { recursive: true });
    const log = new ConsoleLog(path, 1000, tell);
    for (let write = 0; write < 50; write++) await log.write(bytes("lost"));
    expect(told).toEqual([
      `can't write its console log ${path}: it is a folder; the VM goes on, and what it prints is not kept`,
    ]);
    await expect(log.tail(10)).rejects.toMatchObject({ code: "E_LOG", message: /no regular file/ });
    await rm(path, { recursive: true });
    await log.write(bytes("still lost"));
    now = 2000;
    await log.write(bytes("kept"));
    expect(told.slice(1)).toEqual(["its console log is written again: 210 bytes are missing in it"]);
    expect(await tailOf(log, 100)).toBe("kept");
    await log.close();
  });

  it("on a full disk loses what does not fit, and nothing else", async () => {
    let now = 0;
    let room = 6;
    vi.spyOn(performance, "now").mockImplementation(() => now);
    const files = {
      mkdir,
      rename,
      open: (async (...args: Parameters<typeof open>) => {
        const file = await open(...args);
        const write = file.write.bind(file) as (piece: Uint8Array, at: number) => Promise<unknown>;
        return Object.assign(file, {
          async write(piece: Uint8Array, at: number) {
            if (room === 0) throw Object.assign(new Error("ENOSPC: full"), { code: "ENOSPC" });
            const part = piece.subarray(0, at + room);
            room -= part.length - at;
            return write(part, at);
          },
        });
      }) as typeof open,
    };
    const log = new ConsoleLog(path, 1000, tell, files);
    await log.write(bytes("four"));
    await log.write(bytes("more than fits"));
    expect(told).toEqual([expect.stringContaining("no space left on the device")]);
    [room, now] = [100, 2000];
    await log.write(bytes("!"));
    expect(await tailOf(log, 100)).toBe("fourmo!");
    await log.close();
  });

  it("on a disk that does not answer can be closed all the same", async () => {
    vi.useFakeTimers();
    try {
      const never = () => new Promise<never>(() => {});
      const log = new ConsoleLog(path, 1000, tell, { mkdir: never as typeof mkdir, open, rename });
      void log.write(bytes("x"));
      const closed = log.close();
      await vi.advanceTimersByTimeAsync(3000);
      await closed;
    } finally {
      vi.useRealTimers();
    }
  });

  it("is not made again by what was still to be written when it was discarded", async () => {
    const log = new ConsoleLog(path, 1000, tell);
    await log.write(bytes("old"));
    log.discard();
    await rm(join(folder, "vm"), { recursive: true });
    await log.write(bytes("late"));
    expect(await readdir(folder)).toEqual([]);
    await mkdir(join(folder, "vm"));
    await writeFile(path, "of the next VM of this name");
    await log.write(bytes("later"));
    expect(await readFile(path, "utf8")).toBe("of the next VM of this name");
  });
});
