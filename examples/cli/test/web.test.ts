/** `hyperfile daemon --web`: pages' way out through the shipped daemon, with clients of ours and of others. */
import { readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Outside } from "@hyperfile/devices/net";
import { wispOutside } from "@hyperfile/devices/web";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { WebSocket } from "../../../packages/broker/test/web-socket.js";
import { areFrom, bytesFrom } from "../../../packages/devices/test/steady-peer.js";
import { Noting } from "../../../packages/devices/test/wisp-world.js";
import { OwnDaemon, program, runToEnd } from "./own-daemon.js";

let folder: string;
let daemon: OwnDaemon;
let url: string;
/** Somebody on this computer's loopback: sends back what it gets. */
let echo: Server;
let echoPort: number;
const sockets = new Set<Socket>();

beforeAll(async () => {
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  echoPort = (echo.address() as AddressInfo).port;
  folder = await mkdtemp(join(tmpdir(), "hf-web-"));
  daemon = await OwnDaemon.start(folder, join(folder, "state"), {
    args: [
      ...[
        "--web=127.0.0.1:0",
        "--web-origin",
        "https://example.org",
        "--web-origin",
        "https://pages.example",
      ],
      ...["--web-allow", `127.0.0.1:${echoPort}`],
    ],
  });
  url = urlIn(daemon.told);
  vi.stubGlobal("WebSocket", WebSocket);
});
afterAll(async () => {
  vi.unstubAllGlobals();
  await daemon.end();
  echo.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});
const outsides: { close(): void }[] = [];
afterEach(() => {
  for (const outside of outsides.splice(0)) outside.close();
});

const urlIn = (told: string): string => /^hyperfile: pages get out through (ws:\S+)$/m.exec(told)![1]!;

/** A client as a page has it. */
function page(address = url, options: { nameServer?: string } = {}) {
  const told: string[] = [];
  const outside = wispOutside({ url: address, state: (text) => told.push(text), ...options });
  outsides.push(outside);
  return { outside, told };
}

async function opened(outside: Outside, port = echoPort): Promise<Noting> {
  const guest = new Noting(outside, "127.0.0.1", port);
  await vi.waitFor(() => expect(guest.log).toEqual(["opened"]), { timeout: 60_000 });
  return guest;
}

/** The status of an upgrade. */
const status = (address: string, origin?: string): Promise<number> =>
  new Promise((resolve) => {
    const client = new WebSocket(address, origin === undefined ? {} : { origin });
    client.on("open", () => {
      client.close();
      resolve(101);
    });
    client.on("unexpected-response", (_request, response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    client.on("error", () => {});
  });

const openFiles = (): number => readdirSync(`/proc/${daemon.pid}/fd`).length;

it("says where pages get out, and lets in who has the token and comes from a page that may", async () => {
  expect(new URL(url).searchParams.get("token")).toMatch(/^[\w-]{32}$/);
  const wrong = new URL(url);
  wrong.searchParams.set("token", "A".repeat(32));
  const none = new URL(url);
  none.searchParams.delete("token");
  expect([await status(wrong.href), await status(none.href)]).toEqual([401, 401]);
  expect(await status(url, "https://evil.example")).toBe(403);
  for (const origin of ["https://example.org", "https://pages.example", "http://localhost:4173", undefined])
    expect(await status(url, origin)).toBe(101);
});

it("leads a page's guests out: bytes both ways, the ends of directions, refusals", async () => {
  const { outside, told } = page();
  const guest = await opened(outside);
  expect(told).toEqual([`connected to the relay ${new URL(url).host}`]);
  const size = 16 << 20;
  let [place, sent, isRight, isHeld] = [0, 0, true, false];
  guest.onData = (data) => {
    isRight &&= areFrom(place, data);
    place += data.length;
    guest.received.length = 0;
    // It reads slowly at first.
    if (place > 1 << 20) return;
    guest.tcp.setReading(false);
    setTimeout(() => guest.tcp.setReading(true), 1);
  };
  const send = (): void => {
    while (!isHeld && sent < size) {
      isHeld = !guest.tcp.write(bytesFrom(sent, 65_536));
      sent += 65_536;
    }
    if (sent === size) guest.tcp.end();
  };
  guest.onDrained = () => {
    isHeld = false;
    send();
  };
  send();
  await vi.waitFor(() => expect(guest.log).toEqual(["opened", "ended", "closed"]), { timeout: 100_000 });
  expect([place, isRight]).toEqual([size, true]);

  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address() as AddressInfo;
  closed.close();
  const nobody = new Noting(outside, "127.0.0.1", port);
  await vi.waitFor(() => expect(nobody.log).toEqual(["failed: unreachable"]), { timeout: 60_000 });
});

it("refuses this computer and private networks, and says by which option they can be reached", async () => {
  const server = createHttpServer((_request, response) => response.end("secret"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const { outside } = page();
  for (const address of [
    "127.0.0.1",
    "::1",
    "::ffff:127.0.0.1",
    "localhost",
    "10.0.0.1",
    "169.254.169.254",
    "192.168.1.1",
  ]) {
    const guest = new Noting(outside, address, port);
    await vi.waitFor(() => expect(guest.log).toEqual(["failed: unreachable"]), { timeout: 60_000 });
  }
  await vi.waitFor(() =>
    expect(daemon.told).toContain(
      `hyperfile: pages may not reach tcp 127.0.0.1:${port}: --web-allow 127.0.0.1:${port} lets them\n`,
    ),
  );
  server.close();
});

it("cuts off who does not speak WISP, and goes on for others", async () => {
  const { outside } = page();
  const guest = await opened(outside);
  const ends = await Promise.all(
    ["", "09", "0900000000", "0301000000", "01000000000150006161", "ff".repeat(4000)].map(
      (hex) =>
        new Promise<string>((resolve) => {
          const client = new WebSocket(url);
          client.on("open", () => client.send(Buffer.from(hex, "hex")));
          client.on("close", (code, reason) => resolve(`${code} ${reason}`));
          client.on("error", () => {});
        }),
    ),
  );
  expect(ends).toEqual([
    "1008 a packet of 0 bytes",
    "1008 a packet of 1 bytes",
    "1008 a packet of type 9",
    "1008 CONTINUE of 5 bytes",
    "1008 CONNECT for stream 0",
    "1008 a packet of type 255",
  ]);
  guest.tcp.write(bytesFrom(0, 5));
  await vi.waitFor(() => expect(guest.bytes).toBe(5), { timeout: 60_000 });
});

it("keeps nothing of clients that vanish, and of 200 that come and go with connections of theirs", async () => {
  await vi.waitFor(() => expect(sockets.size).toBe(0), { timeout: 60_000 });
  const before = openFiles();
  for (let round = 0; round < 10; round++)
    await Promise.all(
      Array.from({ length: 20 }, async (_, at) => {
        const { outside } = page();
        const guest = await opened(outside);
        guest.tcp.write(bytesFrom(0, 100));
        await vi.waitFor(() => expect(guest.bytes).toBe(100), { timeout: 60_000 });
        // Half of them leave in the middle of it.
        if (at % 2 === 0) guest.tcp.reset();
        (outside as unknown as { close(): void }).close();
      }),
    );
  // Who vanishes without a word, with much under way that nobody reads.
  const client = new WebSocket(url);
  await new Promise((resolve) => client.on("open", resolve));
  const connectPacket = Buffer.concat([
    Buffer.from([1, 1, 0, 0, 0, 1, echoPort & 255, echoPort >> 8]),
    Buffer.from("127.0.0.1"),
  ]);
  client.send(connectPacket);
  for (let at = 0; at < 30; at++)
    client.send(Buffer.concat([Buffer.from([2, 1, 0, 0, 0]), Buffer.alloc(60_000)]));
  await vi.waitFor(() => expect(sockets.size).toBe(1), { timeout: 60_000 });
  client.terminate();
  await vi.waitFor(() => expect(sockets.size).toBe(0), { timeout: 60_000 });
  await vi.waitFor(() => expect(openFiles()).toBeLessThanOrEqual(before + 2), { timeout: 60_000 });
});

it("answers names from this computer's resolver, or says that there is no answer", async () => {
  const { outside } = page();
  const query = Uint8Array.from(
    Buffer.from("1234010000010000000000000769" + "6e76616c6964" + "07696e76616c696400" + "00010001", "hex"),
  );
  const answer = await outside.query(query);
  // Whether this computer has a resolver is its matter; it is no name either way.
  if (answer !== undefined) expect([answer[3]! & 15, answer[7]]).toEqual([expect.any(Number), 0]);
});

it("a daemon that ends cuts its pages off, and they are told", async () => {
  const own = await mkdtemp(join(tmpdir(), "hf-web-end-"));
  const other = await OwnDaemon.start(own, join(own, "state"), {
    args: ["--web=127.0.0.1:0", "--idle-exit", "1"],
  });
  const { outside, told } = page(urlIn(other.told));
  await vi.waitFor(() => expect(told.length).toBe(1), { timeout: 60_000 });
  const guest = new Noting(outside, "127.0.0.1", 9);
  await vi.waitFor(() => expect(guest.log).toEqual(["failed: unreachable"]), { timeout: 60_000 });
  // A page that is there keeps it from ending for want of anybody.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  expect(await Promise.race([other.ended, "runs"])).toBe("runs");
  (outside as unknown as { close(): void }).close();
  expect(await other.ended).toBe(0);
  expect(other.told).toContain("no VM was up and no client there for 1 s");
  await rm(own, { recursive: true, force: true, maxRetries: 5 });
});

it("says what to do where a daemon runs already, a port is taken, or options can't be", async () => {
  const run = (variables: Record<string, string | undefined>, ...args: string[]) =>
    runToEnd([process.execPath, program, "daemon", ...args], { cwd: folder, variables });
  const second = await run(daemon.variables as Record<string, string>, "--web");
  expect(second).toMatchObject({ status: 1, output: "" });
  expect(second.errors).toMatch(
    /^hyperfile: a daemon (has|answers) .*; a daemon leads pages out from its start on: end that one \(hyperfile down --daemon\), and start it with --web\n$/,
  );
  const elsewhere = {
    HYPERFILE_STATE: join(folder, "other"),
    HYPERFILE_SOCKET: join(folder, "other.sock"),
    XDG_RUNTIME_DIR: undefined,
  };
  const { port } = new URL(url);
  const taken = await run(elsewhere, `--web=127.0.0.1:${port}`);
  expect(taken.status).toBe(1);
  expect(taken.errors).toContain(
    `hyperfile: --web: port ${port} of 127.0.0.1 is taken: choose another one, or 0 for any\n`,
  );
  for (const [args, line] of [
    [["--web=nowhere"], "Write ADDRESS:PORT, such as 127.0.0.1:7380 or [::1]:7380"],
    [["--web=127.0.0.1:99999"], "Write ADDRESS:PORT"],
    [["--web=::1:80"], "Write ADDRESS:PORT"],
    [["--web", "--web-origin", "example.org"], "Write the beginning of the page's address"],
    [["--web", "--web-origin", "https://example.org/"], "Write the beginning of the page's address"],
    [["--web", "--web-allow", "10.0.0.1:x"], '"x" are no ports'],
    [["--web", "--web-allow", "10.0.0.0/99"], "--web-allow: "],
    [["--web-origin", "https://example.org"], "--web-origin and --web-allow are for --web: give that, too"],
  ] as const) {
    const { status: code, errors } = await run(elsewhere, ...args);
    expect([code === 0, errors.split("\n").length]).toEqual([
      false,
      errors.includes("the daemon ends") ? 3 : 2,
    ]);
    expect(errors).toContain(line);
  }
  const { output } = await runToEnd([process.execPath, program, "daemon", "--help"], {
    cwd: folder,
    variables: {},
  });
  for (const word of ["--web [place]", "--web-origin", "--web-allow", "WISP 1, at 127.0.0.1:7380"])
    expect(output).toContain(word);
}, 400_000);
