/** Daemons whose socket or state folder vanishes under them, in this process. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDaemon } from "../../../test/daemon-host.js";
import type { Daemon } from "./daemon.js";
import { holderOf } from "./state-lock.js";

let folder: string;
let daemon: Daemon;
const socket = () => join(folder, "run", "daemon.sock");

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-presence-"));
  daemon = await startDaemon(folder);
});
afterEach(async () => {
  await daemon.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The version that a daemon answers with; the error's code if none does. */
function ask(path = socket()): Promise<string> {
  return new Promise((resolve) => {
    request({ socketPath: path, path: "/v1/version" }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve((JSON.parse(text) as { version: string }).version));
    })
      .on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      .end();
  });
}
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!(await isSo()) && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await isSo()).toBe(true);
}
const events = (kind: string) => daemon.fleet.events.since(0).filter((event) => event.kind === kind);

describe("a daemon without VMs", () => {
  it("answers again where its socket's file, its folder, or both folders have been removed", async () => {
    expect(await ask()).toBe("1.2.3");
    const removed = [socket(), join(folder, "run"), join(folder, "state"), folder];
    // A connection that is there stays.
    const old = connect(socket());
    let isClosed = false;
    old.on("close", () => (isClosed = true));
    await new Promise((resolve) => old.once("connect", resolve));
    for (const [at, path] of removed.entries()) {
      rmSync(path, { recursive: true });
      // Nothing tells it of another folder than its socket's before it looks.
      if (path === join(folder, "state"))
        (daemon as unknown as { presence: { look(): void } }).presence.look();
      await until(async () => events("daemon.restored").length === at + 1 && (await ask()) === "1.2.3");
      expect(statSync(socket()).mode & 0o777).toBe(0o600);
      expect(statSync(join(folder, "run")).mode & 0o777).toBe(0o700);
      expect(readdirSync(join(folder, "run"))).toEqual(["daemon.sock"]);
      expect(holderOf(join(folder, "state"))?.pid).toBe(process.pid);
    }
    expect(events("daemon.failed")).toEqual([]);
    expect(isClosed).toBe(false);
    old.destroy();
  }, 60_000);

  it("ends, and says why, where they can't be made again, or another daemon has them by then", async () => {
    rmSync(folder, { recursive: true });
    writeFileSync(folder, "in the way");
    await daemon.closed;
    expect(daemon.problem).toMatch(
      /^the state folder \S+state has gone: can't use the state folder .*: a part of the path is not a folder; mend that/,
    );
    rmSync(folder);
    mkdirSync(folder);
    daemon = await startDaemon(folder);
    rmSync(folder, { recursive: true });
    const second = await startDaemon(folder);
    await daemon.closed;
    expect(daemon.problem).toMatch(
      new RegExp(`has gone: a daemon has the state folder .* already: process ${process.pid}`),
    );
    // The end of the one has not taken the other's socket.
    expect(await ask()).toBe("1.2.3");
    expect(second.problem).toBeUndefined();
    daemon = second;
  }, 60_000);
});

it("a daemon with a VM goes on without them, tries again, and ends with its last VM", async () => {
  const source = {
    text: "name: p\nvms: { a: { kernel: embedded, memory: 16M } }",
    file: "Hyperfile",
    folder: "/p",
  };
  await daemon.fleet.up(source);
  rmSync(folder, { recursive: true });
  writeFileSync(folder, "in the way");
  await until(() => daemon.problem !== undefined);
  expect((await daemon.fleet.vm("a").exec("echo well", 10_000)).output).toBe("well\n");
  // It is told once, however often it is tried.
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(events("daemon.failed").filter(({ message }) => /has gone/.test(message ?? ""))).toHaveLength(1);
  rmSync(folder);
  await until(async () => (await ask()) === "1.2.3");
  expect(daemon.problem).toBeUndefined();
  rmSync(folder, { recursive: true });
  writeFileSync(folder, "in the way");
  await until(() => daemon.problem !== undefined);
  await daemon.fleet.vm("a").stop(true);
  await daemon.closed;
  expect(existsSync(socket())).toBe(false);
}, 60_000);
