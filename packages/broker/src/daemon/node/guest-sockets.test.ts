/** Streams to programs in guests, from a client of the daemon to the guest in its thread and back. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { startDaemon } from "../../../test/daemon-host.js";
import { type ApiError, DaemonClient } from "../../api/node/client.js";
import type { GuestStream } from "../../lifecycle/guest-port.js";
import type { Daemon } from "./daemon.js";

let folder: string;
let daemon: Daemon;
let client: DaemonClient;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-guest-sockets-"));
  daemon = await startDaemon(folder);
  client = new DaemonClient(join(folder, "run", "daemon.sock"));
  const text =
    "vms: { web: { kernel: embedded }, mute: { kernel: embedded }, polite: { kernel: embedded }, off: { kernel: embedded, autostart: false } }";
  await client.up({ text, file: "Hyperfile", folder: "/home/user/shop" });
});
afterAll(async () => {
  await daemon.close();
  await rm(folder, { recursive: true });
});

/** A stream, and a promise of how it ends. */
function opened(vm: string, port: number, data: (bytes: Uint8Array, stream: GuestStream) => void = () => {}) {
  const told: string[] = [];
  let drain = () => {};
  let refusal: ApiError | undefined;
  let stream!: GuestStream;
  const over = new Promise<string>((resolve) => {
    stream = client.connect(
      vm,
      port,
      {
        opened: () => told.push("opened"),
        failed: (why) => resolve(`failed: ${why}`),
        data: (bytes) => data(bytes, stream),
        ended: () => told.push("ended"),
        drained: () => drain(),
        closed: (isBroken) => resolve(isBroken ? "broken" : "closed"),
      },
      (error) => {
        refusal = error;
      },
    );
  });
  const drained = () =>
    new Promise<void>((resolve) => {
      drain = resolve;
    });
  return { stream, over, told, drained, refusal: () => refusal };
}

describe("streams to guests", () => {
  it("carry megabytes there and back without loss", async () => {
    const sent = createHash("sha256");
    const back = createHash("sha256");
    let bytes = 0;
    const size = 8 * 2 ** 20;
    const { stream, over, told, drained } = opened("web", 7, (part) => {
      back.update(part);
      bytes += part.length;
      if (bytes === size) stream.end();
    });
    for (let at = 0; at < size; at += 100_000) {
      const part = new Uint8Array(randomBytes(Math.min(100_000, size - at)));
      sent.update(part);
      if (!stream.write(part)) await drained();
    }
    expect(await over).toBe("closed");
    expect(told).toEqual(["opened"]);
    expect([bytes, back.digest("hex")]).toEqual([size, sent.digest("hex")]);
  });

  it("give what a program says before it ends", async () => {
    let text = "";
    const { over, told } = opened("web", 13, (part) => (text += Buffer.from(part)));
    expect(await over).toBe("closed");
    expect([text, told]).toEqual(["now", ["opened", "ended"]]);
  });

  it.each([
    ["web", 4242, "refused"],
    ["mute", 7, "no-driver"],
  ])("of %s to port %i fail: %s", async (vm, port, why) => {
    expect(await opened(vm, port).over).toBe(`failed: ${why}`);
  });

  it.each([
    ["nobody", 7, "E_VM_UNKNOWN"],
    ["off", 7, "E_VM_STATE"],
    ["web", 2 ** 32, "E_REQUEST"],
  ])("of %s to port %i are refused with %s", async (vm, port, code) => {
    const { over, refusal } = opened(vm, port);
    expect(await over).toMatch(/^failed: /);
    expect(refusal()?.code).toBe(code);
  });

  it("hold a guest whose client does not read, and a client whose guest does not", async () => {
    let bytes = 0;
    const flood = opened("web", 19, (part, stream) => {
      bytes += part.length;
      stream.setReading(false);
    });
    const deaf = opened("web", 9);
    let kept = 0;
    const part = new Uint8Array(65_536);
    for (let isFull = false; !isFull && kept < 2 ** 26; kept += part.length)
      isFull = !deaf.stream.write(part);
    // Other streams go on meanwhile, and the guest's console does.
    expect((await client.exec("web", "echo here", 10_000)).output).toBe("here\n");
    expect(await opened("web", 13).over).toBe("closed");
    const before = bytes;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(bytes).toBe(before);
    expect(bytes).toBeLessThan(2 ** 22);
    expect(kept).toBeLessThan(2 ** 26);
    for (let more = 0; more < 40; more++) {
      flood.stream.setReading(true);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(bytes).toBeGreaterThan(before);
    flood.stream.reset();
    deaf.stream.reset();
  });

  it("end with the VM, and with a reset", async () => {
    const one = opened("web", 7);
    const other = opened("web", 7);
    other.stream.reset();
    await expect.poll(() => one.told).toContain("opened");
    await client.stop("web", { force: true });
    expect(await one.over).toBe("broken");
    expect(other.told).not.toContain("closed");
    await client.start("web");
    expect(await opened("web", 13).over).toBe("closed");
  });

  it("of many kinds of text are refused", async () => {
    const socket = new WebSocket(`ws+unix:${client.socket}:/v1/vms/web/ports/7`);
    await new Promise((resolve) => socket.on("open", resolve));
    socket.send("[[[");
    const code = await new Promise((resolve) => socket.on("close", resolve));
    expect(code).toBe(1008);
  });
});

describe("a guest with a program that can end it", () => {
  it("is stopped by it, not by a command on its console", async () => {
    await client.stop("polite", { timeoutMs: 60_000 });
    expect((await client.vm("polite")).state).toBe("off");
    expect(new TextDecoder().decode(await client.logs("polite"))).not.toContain("poweroff");
    await client.stop("web", { timeoutMs: 60_000 });
    expect(new TextDecoder().decode(await client.logs("web"))).toContain("off");
  });
});
