/** One daemon to a state folder: races, kills, and numbers of processes that are used again. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

  it("is not held by another process of the same number, by one of another boot, or by a damaged file", async () => {
    const locks = join(folder, "lock");
    const first = (await StateLock.take(folder, "mine")) as StateLock;
    expect(await StateLock.take(folder, "mine")).toEqual({ pid: process.pid, socket: "mine" });
    const [name = ""] = readdirSync(locks);
    const [pid, start, ...place] = name.split("-");
    first.release();
    const record = JSON.stringify({ pid: process.pid, socket: "/nowhere.sock" });
    writeFileSync(join(locks, `${pid}-${Number(start) - 1}-${place.join("-")}`), record);
    writeFileSync(join(locks, `${pid}-${start}-0-other-boot.lock`), record);
    writeFileSync(join(locks, "nonsense.lock"), "{");
    expect(holderOf(folder)).toBeUndefined();
    const second = (await StateLock.take(folder, "mine")) as StateLock;
    expect(second).toBeInstanceOf(StateLock);
    expect(readdirSync(locks)).toHaveLength(1);
    second.release();
  });

  it("goes to at most one of several that start at once, whatever lies there", async () => {
    for (let round = 0; round < 3; round++) {
      const all = await Promise.all([holder(), holder(), holder()]);
      const holding = all.filter(({ says }) => says === "holds");
      expect(holding.length).toBeLessThanOrEqual(1);
      for (const { child } of all) if (child.exitCode === null) await killed(child);
    }
    expect((await holder()).says).toBe("holds");
  }, 120_000);
});
