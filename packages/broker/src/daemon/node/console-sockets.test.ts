/** How long a client is held whose input its guest takes slowly, or not at all. */
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { WebSocket } from "ws";
import { EventLog } from "../../lifecycle/events.js";
import type { ManagedVm } from "../../lifecycle/node/managed-vm.js";
import { ConsoleSockets } from "./console-sockets.js";

const HELD_MS = 300;
let server: Server;
let sockets: ConsoleSockets;
let path: string;
/** What the guest has taken, and what says that all of it is on its way. */
let guest: { inputTaken: number; typed: number; go: () => void };
let count = 0;

beforeEach(async () => {
  sockets = new ConsoleSockets(HELD_MS);
  const own = { inputTaken: 0, typed: 0, go: () => {} };
  guest = own;
  const vm = {
    name: "a",
    log: { tail: async () => ({ async *parts() {} }) },
    watch: () => () => {},
    get inputTaken() {
      return own.inputTaken;
    },
    type(bytes: Uint8Array) {
      own.typed += bytes.length;
      return new Promise<void>((resolve) => {
        own.go = resolve;
      });
    },
  };
  path = join(tmpdir(), `hf-${process.pid}-${count++}.sock`);
  server = createServer().on("upgrade", (request, socket, head) =>
    sockets.serve(request, socket as never, head, vm as unknown as ManagedVm, new EventLog(), 0),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
});
afterEach(() => {
  sockets.close();
  server.close();
});

async function connected(): Promise<WebSocket> {
  const socket = new WebSocket(`ws+unix:${path}:/`);
  socket.on("error", () => {});
  await new Promise((resolve) => socket.on("open", resolve));
  return socket;
}
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!isSo() && performance.now() < end) await wait(5);
  expect(isSo()).toBe(true);
}

it("a client whose input no guest takes is cut off after a time, and told why, if it reads", async () => {
  const deaf = await connected();
  deaf.pause();
  deaf.send(new Uint8Array(1000));
  const isGone = new Promise((resolve) => deaf.on("close", resolve));
  const socket = await connected();
  const ended = new Promise<[code: number, reason: string]>((resolve) =>
    socket.on("close", (code, reason) => resolve([code, reason.toString()])),
  );
  socket.send(new Uint8Array(1000));
  await until(() => guest.typed === 2000);
  socket.send(new Uint8Array(1000));
  const words = `the guest has taken no input for ${HELD_MS / 1000} s`;
  expect(await ended).toEqual([1008, words]);
  // One that reads nothing hears nothing, and stays no longer.
  const served = sockets as unknown as { server: { clients: Set<unknown> } };
  await until(() => served.server.clients.size === 0);
  deaf.terminate();
  await isGone;
});

it("a client stays while its guest takes some of its input, however slowly, and is read again when all is on its way", async () => {
  const socket = await connected();
  socket.send(new Uint8Array(1000));
  await until(() => guest.typed === 1000);
  const end = performance.now() + 5 * HELD_MS;
  while (performance.now() < end) {
    guest.inputTaken++;
    await wait(HELD_MS / 10);
  }
  expect(socket.readyState).toBe(WebSocket.OPEN);
  guest.go();
  socket.send(new Uint8Array(10));
  await until(() => guest.typed === 1010);
  guest.go();
  // Nothing is on its way: nobody is waited for.
  await wait(3 * HELD_MS);
  expect(socket.readyState).toBe(WebSocket.OPEN);
  socket.terminate();
});
