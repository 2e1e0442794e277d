/** One daemon to a state folder: races, kills, and numbers of processes that are used again. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { holderOf, StateLock } from "./state-lock.js";

const program = fileURLToPath(new URL("../../../test/hold-state.mjs", import.meta.url));
let folder: string;
let children: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-lock-"));
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

/** Starts a process that takes the folder; gives what it says. */
async function holder(): Promise<{ child: ChildProcess; says: string }> {
  const child = spawn(process.execPath, [program, folder], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  const says = await new Promise<string>((resolve) => {
    child.stdout!.once("data", (part: Buffer) => resolve(part.toString().trim()));
  });
  return { child, says };
}
const killed = (child: ChildProcess) =>
  new Promise((resolve) => {
    child.once("exit", resolve);
    child.kill("SIGKILL");
  });

describe("a state folder", () => {
  it("has one holder, whom others learn of; it is free when that one ends, or is killed", async () => {
    const { child, says } = await holder();
    expect(says).toBe("holds");
    expect(holderOf(folder)).toEqual({ pid: child.pid, socket: `/nowhere/${child.pid}.sock` });
    expect(await StateLock.take(folder, "mine")).toEqual({
      pid: child.pid,
      socket: `/nowhere/${child.pid}.sock`,
    });
    await killed(child);
    expect(holderOf(folder)).toBeUndefined();
    const lock = await StateLock.take(folder, "mine");
    expect(lock).toBeInstanceOf(StateLock);
    expect(readdirSync(join(folder, "lock"))).toHaveLength(1);
    expect(holderOf(folder)?.socket).toBe("mine");
    (lock as StateLock).release();
    expect(holderOf(folder)).toBeUndefined();
    expect(await StateLock.take(folder, "mine")).toBeInstanceOf(StateLock);
  }, 60_000);

  it("is not held by another process of the same number, by one of another boot, or by what is no lock", async () => {
    const locks = join(folder, "lock");
    const first = (await StateLock.take(folder, "mine")) as StateLock;
    expect(await StateLock.take(folder, "mine")).toEqual({ pid: process.pid, socket: "mine" });
    const { identity, ...record } = JSON.parse(readlinkSync(join(locks, "holder"))) as { identity: string };
    first.release();
    const [pid, start, random, boot, ...place] = identity.split("-");
    const dead = [
      JSON.stringify({ ...record, identity: [pid, Number(start) - 1, random, boot, ...place].join("-") }),
      JSON.stringify({ ...record, identity: [pid, start, random, "otherboot", ...place].join("-") }),
      JSON.stringify({ ...record, identity: "../../elsewhere" }),
      "{",
    ];
    for (const target of dead) {
      symlinkSync(target, join(locks, "holder"));
      expect(holderOf(folder), target).toBeUndefined();
      const lock = (await StateLock.take(folder, "mine")) as StateLock;
      expect(lock, target).toBeInstanceOf(StateLock);
      expect(lock.isHeld, target).toBe(true);
      expect(readdirSync(locks), target).toEqual(["holder"]);
      lock.release();
      expect([lock.isHeld, readdirSync(locks)], target).toEqual([false, []]);
    }
    writeFileSync(join(locks, "holder"), "a file");
    writeFileSync(join(locks, "nonsense.lock"), "{");
    const last = (await StateLock.take(folder, "mine")) as StateLock;
    expect(last).toBeInstanceOf(StateLock);
    expect(readdirSync(locks)).toEqual(["holder"]);
    last.release();
  });

  it("is no longer held once it has been removed, and what a newer daemon has in its place stays", async () => {
    const first = (await StateLock.take(folder, "one")) as StateLock;
    rmSync(join(folder, "lock"), { recursive: true });
    expect(first.isHeld).toBe(false);
    const second = (await StateLock.take(folder, "two")) as StateLock;
    first.release();
    expect([second.isHeld, holderOf(folder)?.socket]).toEqual([true, "two"]);
    second.release();
  });

  /** Has four processes take one folder at the same moment, 20 times; gives how many had it each time. */
  async function race(prepare: (place: string) => void): Promise<number[]> {
    const racers = Array.from({ length: 4 }, () => {
      const child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
      children.push(child);
      return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
    });
    const won: number[] = [];
    for (let round = 0; round < 20; round++) {
      const place = join(folder, `${round}`);
      prepare(place);
      // The first round waits for the processes to be there.
      const time = Date.now() + (round === 0 ? 3000 : 30);
      for (const { child } of racers) child.stdin!.write(`${place} ${time}\n`);
      const said = await Promise.all(racers.map(async ({ lines }) => (await lines.next()).value as string));
      won.push(said.filter((what) => what === "holds").length);
      for (const { child } of racers) child.stdin!.write("free\n");
    }
    return won;
  }
  const once = new Array<number>(20).fill(1);

  it("that is free goes to exactly one of several that start at once", async () => {
    expect(await race((place) => mkdirSync(place))).toEqual(once);
  }, 120_000);

  it("whose holder was killed goes to exactly one of several that start at once", async () => {
    const { child } = await holder();
    await killed(child);
    const target = readlinkSync(join(folder, "lock", "holder"));
    const left = (place: string) => {
      mkdirSync(join(place, "lock"), { recursive: true });
      symlinkSync(target, join(place, "lock", "holder"));
    };
    expect(await race(left)).toEqual(once);
  }, 120_000);
});
