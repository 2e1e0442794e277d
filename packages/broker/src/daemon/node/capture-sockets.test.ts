/** Captures of networks, from a client of the daemon to what has the networks and back. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WebSocket } from "ws";
import { startDaemon } from "../../../test/daemon-host.js";
import { DaemonClient } from "../../api/node/client.js";
import type { CaptureListener, CaptureRequest } from "../../net/capture.js";
import { MOST_CAPTURES } from "./capture-sockets.js";
import type { Daemon } from "./daemon.js";

/** A capture that a client has begun. */
interface Begun {
  readonly request: CaptureRequest;
  readonly listener: CaptureListener;
  taken: number;
  isEnded: boolean;
  isClosed: boolean;
}
let folder: string;
let daemon: Daemon;
let client: DaemonClient;
const begun: Begun[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-capture-sockets-"));
  daemon = await startDaemon(folder, {
    capture: (request, listener) => {
      if (request.network === "off")
        throw Object.assign(new Error("no VM is up"), { code: "E_NETWORK_OPTION" });
      const capture: Begun = { request, listener, taken: 0, isEnded: false, isClosed: false };
      begun.push(capture);
      return {
        took: (bytes) => {
          capture.taken += bytes;
        },
        end: () => {
          capture.isEnded = true;
          listener.blocks(Uint8Array.of(9, 9, 9, 9), { frames: 8, dropped: 1 });
          listener.ended("asked");
        },
        close: () => {
          capture.isClosed = true;
        },
      };
    },
  });
  client = new DaemonClient(join(folder, "run", "daemon.sock"));
  const text = `networks: { lan: , back: , off: }
vms:
  web: { kernel: embedded, autostart: false, nics: [lan, back, off] }
  db: { kernel: embedded, autostart: false, nics: [back] }
  alone: { kernel: embedded, autostart: false }
`;
  await client.up({ text, file: "Hyperfile", folder: "/home/user/shop" });
});
afterAll(async () => {
  await daemon.close();
  await rm(folder, { recursive: true });
});
const last = async (): Promise<Begun> => vi.waitFor(() => begun.at(-1)!);

describe("captures of networks", () => {
  it("carry blocks and counts, say what was taken, and end when they are asked to", async () => {
    const connection = await client.capture("lan", { vm: "web", snaplen: 96, bytes: 5000, seconds: 1.5 });
    const capture = await last();
    expect(capture.request).toEqual({
      ...{ project: "shop", network: "lan", vm: "web" },
      ...{ snapLength: 96, mostBytes: 5000, seconds: 1.5 },
    });
    const parts: number[][] = [];
    const told: unknown[] = [];
    // Before somebody takes it, nothing is lost.
    capture.listener.blocks(Uint8Array.of(1, 2, 3, 4), { frames: 7, dropped: 0 });
    const over = connection.run(
      (bytes) => parts.push([...bytes]),
      (counts) => told.push(counts),
    );
    await vi.waitFor(() => expect(capture.taken).toBe(4));
    connection.end();
    expect(await over).toBe("asked");
    expect(parts).toEqual([
      [1, 2, 3, 4],
      [9, 9, 9, 9],
    ]);
    expect(told).toEqual([
      { frames: 7, dropped: 0 },
      { frames: 8, dropped: 1 },
    ]);
    await vi.waitFor(() => expect(capture.isClosed).toBe(true));
  });

  it("are cut off where the networks fail, and where the client goes or can't take them", async () => {
    const failing = await client.capture("shop/back");
    (await last()).listener.failed("the thread has failed");
    expect(await failing.run(() => {})).toBeUndefined();

    const full = await client.capture("back");
    const capture = await last();
    capture.listener.blocks(Uint8Array.of(1), { frames: 1, dropped: 0 });
    const disk = () => {
      throw new Error("the disk is full");
    };
    await expect(full.run(disk)).rejects.toThrow("the disk is full");
    await vi.waitFor(() => expect(capture.isClosed).toBe(true));
  });

  it("wait for a client that takes its time: what it has not read is not given back", async () => {
    const connection = await client.capture("back");
    const capture = await last();
    const part = new Uint8Array(1 << 20);
    let isLetIn = () => {};
    const over = connection.run(() => new Promise<void>((resolve) => (isLetIn = resolve)));
    for (let count = 1; count <= 16; count++) capture.listener.blocks(part, { frames: count, dropped: 0 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(capture.taken).toBeLessThan(12 << 20);
    connection.end();
    const timer = setInterval(() => isLetIn(), 1);
    expect(await over).toBe("asked");
    clearInterval(timer);
    expect(capture.taken).toBeGreaterThanOrEqual(16 << 20);
  });

  it.each([
    ["lann", {}, "E_NETWORK_UNKNOWN", "there is no network lann; did you mean lan?"],
    ["lan", { vm: "wbe" }, "E_VM_UNKNOWN", "there is no VM wbe; did you mean web?"],
    ["lan", { vm: "db" }, "E_SETTING", "VM db is not in network shop/lan: its cards are in back"],
    ["lan", { vm: "alone" }, "E_SETTING", "VM alone is not in network shop/lan: it has no network card"],
    ["lan", { bytes: 100 }, "E_REQUEST", "bytes=100 is impossible: give 1024 to 9007199254740991"],
    ["lan", { snaplen: 0 }, "E_REQUEST", "snaplen=0 is impossible: give 1 to 262144"],
    ["lan", { seconds: 1e12 }, "E_REQUEST", "seconds=1000000000000 is impossible: give 0.001 to 2147483"],
    ["off", {}, "E_NETWORK_OPTION", "no VM is up"],
  ] as const)("of %s with %o are refused", async (network, limits, code, message) => {
    await expect(client.capture(network, limits)).rejects.toMatchObject({ code, message });
  });

  it("are so many at a time, and send away a client that says something else", async () => {
    const open = [];
    for (let count = 0; count < MOST_CAPTURES; count++) open.push(await client.capture("lan"));
    await expect(client.capture("lan")).rejects.toMatchObject({
      ...{ code: "E_BUSY", message: `${MOST_CAPTURES} captures are open: end one` },
    });
    for (const connection of open) connection.close();
    await vi.waitFor(() => expect(begun.every(({ isClosed }) => isClosed)).toBe(true));

    const socket = new WebSocket(`ws+unix:${join(folder, "run", "daemon.sock")}:/v1/networks/lan/capture`);
    const code = await new Promise((resolve) => {
      socket.on("open", () => socket.send("hello")).on("close", resolve);
    });
    expect(code).toBe(1008);
  });
});
