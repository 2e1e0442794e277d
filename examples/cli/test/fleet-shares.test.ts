/** Folders of VMs under a daemon: they are opened when a VM starts, once more for its clone, and given back with each. */
import { mkdir, mkdtemp, readdir, readlink, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { elfOf } from "./elf-file.js";
import { OwnDaemon } from "./own-daemon.js";

let folder: string;
let daemon: OwnDaemon;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "hf-shares-")));
  // It runs round and round.
  await writeFile(at("guest.elf"), elfOf({ gpa: 0x80000000, words: [0x6f] }));
  await mkdir(at("state"));
  await mkdir(at("work"));
  daemon = await OwnDaemon.start(folder, at("state"));
});
afterAll(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** Handles of all processes on the folder. */
async function handles(): Promise<number> {
  let count = 0;
  for (const process of (await readdir("/proc")).filter((name) => /^\d+$/.test(name)))
    for (const fd of await readdir(`/proc/${process}/fd`).catch(() => []))
      if ((await readlink(`/proc/${process}/fd/${fd}`).catch(() => "")) === at("work")) count++;
  return count;
}

it("VMs and their clones have handles of their own, until they are off", async () => {
  const vm = (name: string, share: string) =>
    `  ${name}: { program: ./guest.elf, memory: 4M, autostart: false, shares: [${share}] }\n`;
  await writeFile(
    at("Hyperfile"),
    `name: shares\nvms:\n${vm("a", "{ folder: work, tag: work }")}${vm("b", "{ folder: ./none, tag: t }")}`,
  );
  expect(await daemon.run("up")).toMatchObject({ status: 0, errors: "" });
  expect((await daemon.run("start", "b")).errors).toContain(
    `can't share ${at("none")}: there is no such folder: make it, or name another`,
  );
  expect(await handles()).toBe(0);
  expect((await daemon.run("start", "a")).errors).toBe("");
  expect(await handles()).toBe(1);
  expect((await daemon.run("clone", "a", "twin")).errors).toBe("");
  expect(await handles()).toBe(2);
  expect((await daemon.run("stop", "a", "--force")).errors).toBe("");
  expect(await handles()).toBe(1);
  expect((await daemon.run("stop", "twin", "--force")).errors).toBe("");
  expect(await handles()).toBe(0);
}, 300_000);
