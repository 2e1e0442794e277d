/** Threads that are ended in the middle of something, in a daemon with real ones. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startDaemon } from "../../../test/daemon-host.js";
import { DaemonClient } from "../../api/node/client.js";
import type { Daemon } from "../../daemon/node/daemon.js";

let folder: string;
let daemon: Daemon;
let client: DaemonClient;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-threads-"));
  daemon = await startDaemon(folder);
  client = new DaemonClient(join(folder, "run", "daemon.sock"));
});
afterEach(async () => {
  await daemon.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Times that this process has a file open. */
const opened = (path: string) =>
  readdirSync("/proc/self/fd").filter((number) => {
    try {
      return readlinkSync(`/proc/self/fd/${number}`) === path;
    } catch {
      return false;
    }
  }).length;
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

it("a VM that is stopped by force while it reads its boot files leaves none of them open", async () => {
  const program = join(folder, "reading.elf");
  writeFileSync(program, new Uint8Array(1 << 20));
  const text = "vms: { reading: { program: ./reading.elf } }";
  const starting = client.up({ text, file: "Hyperfile", folder });
  let seen = 0;
  for (let times = 0; times < 12; times++) {
    const start = times === 0 ? starting : client.start("reading");
    const ended = start.catch(() => {});
    while (opened(program) === 0) await wait(1);
    await wait(times);
    seen += Math.sign(opened(program));
    await client.stop("reading", { force: true });
    await ended;
  }
  // Most of them were ended in the middle.
  expect(seen).toBeGreaterThan(6);
  expect(opened(program)).toBe(0);
});
