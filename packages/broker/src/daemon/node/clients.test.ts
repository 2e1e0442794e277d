/** Clients that are slow, broken, malicious or gone: the daemon answers the others, and each costs a fixed amount. */

import { EventEmitter } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { startDaemon } from "../../../test/daemon-host.js";
import { DaemonClient } from "../../api/node/client.js";
import { type Operation, operations } from "../../api/operations.js";
import { Connections } from "./connections.js";
import type { Daemon } from "./daemon.js";

let folder: string;
let daemon: Daemon;
let client: DaemonClient;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-clients-"));
  daemon = await startDaemon(folder);
  client = new DaemonClient(join(folder, "run", "daemon.sock"));
  const text =
    "vms: { web: { kernel: embedded }, deaf: { kernel: embedded }, any: { kernel: embedded }, mute: { kernel: embedded } }";
  await client.up({ text, file: "Hyperfile", folder: "/home/user/shop" });
});
afterAll(async () => {
  await daemon.close();
  await rm(folder, { recursive: true });
});

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** One HTTP request as it stands. */
function raw(method: string, path: string, body = ""): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { "content-length": Buffer.byteLength(body) };
    const sent = request({ socketPath: client.socket, method, path, headers, agent: false }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode!, text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** A connection that asks for something and is then left to the test. */
function connected(text: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(client.socket, () => {
      socket.write(text);
      resolve(socket);
    });
    socket.on("error", reject);
  });
}
/** Connections that a daemon has. */
const connectionsOf = (of: Daemon): number =>
  (of as unknown as { connections: { count: number } }).connections.count;
const upgradeOf = (path: string) =>
  `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`;

describe("requests", () => {
  it.each([
    ["GET", "//", "", 404, "E_NOT_FOUND"],
    ["GET", "http://[", "", 404, "E_NOT_FOUND"],
    ["GET", "/v1/vms/%ZZ", "", 400, "E_REQUEST"],
    ["GET", "/v1/vms/__proto__", "", 404, "E_VM_UNKNOWN"],
    ["PATCH", "/v1/vms/web", '{"settings":["toString="]}', 400, "E_SETTING"],
    ["PATCH", "/v1/vms/web", '{"settings":["__proto__=1"]}', 400, "E_SETTING"],
    ["PATCH", "/v1/vms/web", '{"settings":["cpu.constructor=1"]}', 400, "E_SETTING"],
    ["PATCH", "/v1/vms/web", '{"settings":{"length":1}}', 400, "E_SETTING"],
    ["PATCH", "/v1/pools/constructor", '{"settings":["cpu.shares=1"]}', 404, "E_POOL_UNKNOWN"],
    ["POST", "/v1/projects/constructor/down", "", 404, "E_VM_UNKNOWN"],
    ["GET", "/v1/vms/web/logs?bytes=NaN", "", 400, "E_REQUEST"],
    ["GET", "/v1/vms/web/logs?bytes=-1", "", 400, "E_REQUEST"],
    ["GET", "/v1/history?seconds=1e999", "", 400, "E_REQUEST"],
    ["GET", "/v1/events?since=x", "", 400, "E_REQUEST"],
    ["POST", "/v1/vms/web/exec", '{"command":"echo","timeoutMs":1e300}', 400, "E_SETTING"],
    ["POST", "/v1/vms/web/stop", '{"timeoutMs":-1}', 400, "E_SETTING"],
    ["POST", "/v1/vms/web/start", '{"snapshot":"../../x"}', 404, "E_SNAPSHOT_UNKNOWN"],
  ])("%s %s %s are refused with what is wrong", async (method, path, body, status, code) => {
    const answer = await raw(method, path, body);
    expect(JSON.parse(answer.text)).toMatchObject({ code });
    expect(answer.status).toBe(status);
  });

  it("of any kind are answered, and never as an error of the daemon's", async () => {
    const places = (operations as readonly Operation[]).filter(
      // These two end what the others need, and the last does not end by itself.
      ({ id }) => id !== "shutdown" && id !== "removeVm" && id !== "events",
    );
    const word = fc.oneof(
      fc.constantFrom(
        "any",
        "nobody",
        "__proto__",
        "constructor",
        "toString",
        "other",
        "root",
        "..",
        "%",
        "%00",
        "%2F",
        "a//b",
      ),
      fc.string({ maxLength: 8 }).map(encodeURIComponent),
      fc.webPath(),
    );
    const place = fc.tuple(fc.constantFrom(...places), word, word).map(([operation, one, other]) => ({
      method: operation.method.toUpperCase(),
      path: operation.path.replace("{vm}", () => one).replace(/\{\w+\}/, () => other),
    }));
    const anywhere = fc.record({
      method: fc.constantFrom("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"),
      path: fc.oneof(
        fc.webPath().map((path) => `/${path}`),
        word.map((text) => `/v1/${text}`),
      ),
    });
    const query = fc.oneof(
      fc.constant(""),
      fc.webQueryParameters().map((text) => `?${text}`),
      fc.constantFrom("?bytes=9e9", "?seconds=-1", "?tail=x", "?since=1", "?seconds=999999999999999", "?%ZZ"),
    );
    const setting = fc.oneof(
      fc.constantFrom(
        "cpu.shares=1000",
        "toString=",
        "memory.limit=1G",
        "restart=never",
        "cpu.limit=none",
        "=",
        "a=b",
      ),
      fc.string(),
    );
    const body = fc.oneof(
      fc.constant(""),
      fc.json(),
      fc.string(),
      fc.record({ settings: fc.array(setting, { maxLength: 3 }) }).map((value) => JSON.stringify(value)),
      fc
        .record({
          text: fc.constantFrom(
            "vms: {}",
            "vms: { __proto__: { kernel: embedded } }",
            "pools: 1",
            "[",
            "vms: { web: 1 }",
          ),
          file: fc.string({ maxLength: 4 }),
          folder: fc.constantFrom("/home/user/other", "", "\0", "relative"),
          name: fc.string({ maxLength: 4 }),
          snapshot: fc.string({ maxLength: 4 }),
          timeoutMs: fc.constantFrom(1, 0, null, "1", 1e99),
          command: fc.constantFrom("echo", "\0", "nonsense"),
        })
        .map((value) => JSON.stringify(value)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(place, place, anywhere),
        query,
        body,
        async ({ method, path }, search, text) => {
          const sendable = path.replace(/[^!-~]/g, "").replace(/[?#].*/, "");
          const { status } = await raw(method, sendable + search, text);
          expect([sendable, status, status >= 200 && status !== 500]).toEqual([sendable, status, true]);
        },
      ),
      { numRuns: 150 },
    );
    expect((await raw("GET", "/v1/version")).status).toBe(200);
  }, 120_000);

  it("that are malformed, or half of one, are ended without an error", async () => {
    for (const text of [
      "nonsense\r\n\r\n",
      "GET / HTTP/1.1\r\nbad header\r\n\r\n",
      `GET /${"x".repeat(40_000)} HTTP/1.1\r\n\r\n`,
    ]) {
      const socket = await connected(text);
      await new Promise((resolve) => socket.on("close", resolve).resume());
    }
    for (let count = 0; count < 50; count++) {
      (await connected("POST /v1/up HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")).destroy();
      (await connected("CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n")).destroy();
    }
    expect((await raw("GET", "/v1/version")).status).toBe(200);
  });

  it("that ask slowly have a limited time, and a guest's slowness is none of theirs", async () => {
    const own = await mkdtemp(join(tmpdir(), "hyperfile-slow-"));
    const times = { headersTimeout: 200, requestTimeout: 400, connectionsCheckingInterval: 50 };
    const slow = await startDaemon(own, { times });
    try {
      const socketPath = join(own, "run", "daemon.sock");
      const answerTo = (text: string) =>
        new Promise<string>((resolve, reject) => {
          let answer = "";
          const socket = connect(socketPath, () => socket.write(text));
          socket.on("data", (part) => (answer += part));
          socket.on("error", reject);
          socket.on("close", () => resolve(answer));
        });
      for (const half of [
        "",
        "GET /v1/ver",
        "GET /v1/version HTTP/1.1\r\nhost: x\r\n",
        "POST /v1/up HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{",
      ])
        expect(await answerTo(half)).toMatch(/^(HTTP\/1\.1 4\d\d |$)/);
      // One that has asked in time waits as long as its guest takes.
      const patient = new DaemonClient(socketPath);
      await patient.up({
        text: "vms: { web: { kernel: embedded } }",
        file: "Hyperfile",
        folder: "/home/slow",
      });
      await patient.exec("web", "deaf", 30_000).catch(() => {});
      await expect(patient.exec("web", "echo", 1500)).rejects.toMatchObject({ code: "E_EXEC_TIMEOUT" });
    } finally {
      await slow.close();
      await rm(own, { recursive: true });
    }
  });

  it("whose answers nobody takes are cut off after a time, and one that is taken slowly is sent whole", async () => {
    const own = await mkdtemp(join(tmpdir(), "hyperfile-stall-"));
    const stalling = await startDaemon(own, { times: { stallMs: 300 } });
    try {
      const socketPath = join(own, "run", "daemon.sock");
      const patient = new DaemonClient(socketPath);
      await patient.up({
        text: "vms: { web: { kernel: embedded } }",
        file: "Hyperfile",
        folder: "/home/stall",
      });
      await patient.exec("web", "flood 8", 30_000);
      const BYTES = 4 * 2 ** 20;
      const ask = () => {
        const socket = connect(socketPath);
        socket.write(`GET /v1/vms/web/logs?bytes=${BYTES} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
        return socket;
      };
      const gone = (socket: Socket) => new Promise<void>((resolve) => socket.on("close", () => resolve()));
      const deaf = ask();
      deaf.on("error", () => {});
      deaf.pause();
      while (connectionsOf(stalling) > 0) await wait(20);
      let taken = 0;
      deaf.on("data", (part: Buffer) => (taken += part.length)).resume();
      await gone(deaf);
      expect(taken).toBeLessThan(BYTES);
      // 20 pauses of half the time are many times the whole of it.
      const slow = ask();
      let [got, end] = [0, ""];
      slow.on("data", (part: Buffer) => {
        end = (end + part.toString("latin1")).slice(-5);
        const pauses = Math.floor((20 * (got + part.length)) / BYTES) - Math.floor((20 * got) / BYTES);
        got += part.length;
        if (pauses === 0) return;
        slow.pause();
        setTimeout(() => slow.resume(), 150);
      });
      await gone(slow);
      expect(got).toBeGreaterThan(taken);
      // The last chunk (RFC 9112, 7.1) is there.
      expect(end).toBe("0\r\n\r\n");
    } finally {
      await stalling.close();
      await rm(own, { recursive: true });
    }
  }, 60_000);

  it("that take long are limited, and the others are answered meanwhile", async () => {
    await client.exec("mute", "deaf", 1000).catch(() => {});
    const waiting = Array.from({ length: 160 }, () =>
      client.exec("mute", "echo", 60_000).then(
        () => "done",
        ({ code }) => code as string,
      ),
    );
    while ((await raw("POST", "/v1/vms/web/exec", '{"command":"echo"}')).status !== 503) await wait(5);
    expect((await client.vms()).length).toBeGreaterThan(1);
    await client.stop("mute", { force: true });
    const results = await Promise.all(waiting);
    // None hangs, and none was done: those that were let in ended with their VM.
    for (const result of results) expect(["E_EXEC", "E_VM_STATE", "E_BUSY"]).toContain(result);
    expect(results.filter((result) => result === "E_BUSY").length).toBeLessThanOrEqual(40);
    expect((await client.exec("web", "echo well")).output).toBe("well\n");
  }, 60_000);
});

describe("connections", () => {
  it("that say nothing, or half of something, keep nobody out: the oldest of them make room", async () => {
    const own = await mkdtemp(join(tmpdir(), "hyperfile-silent-"));
    // No time limit takes them away.
    const times = { headersTimeout: 300_000, requestTimeout: 300_000 };
    const full = await startDaemon(own, { times });
    const socketPath = join(own, "run", "daemon.sock");
    const owner = new DaemonClient(socketPath);
    const held: Socket[] = [];
    const closed: number[] = [];
    let refusals = 0;
    const hold = (text: string) =>
      new Promise<void>((resolve) => {
        const at = held.length;
        const socket = connect(socketPath, () => {
          if (text !== "") socket.write(text);
          resolve();
        });
        held.push(socket);
        socket.on("error", () => resolve());
        socket.on("data", (part) => {
          if (part.includes("E_BUSY")) refusals++;
        });
        socket.on("close", () => closed.push(at));
      });
    try {
      await owner.up({ text: "vms: { web: { kernel: embedded } }", file: "Hyperfile", folder: "/home/full" });
      // One that waits for its guest is none of them, however long that takes.
      await owner.exec("web", "deaf", 30_000).catch(() => {});
      const patient = owner.exec("web", "echo", 120_000).catch(({ code }) => code);
      const half = "POST /v1/up HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{";
      for (let count = 0; count < 1456; count++) {
        await hold(["", "GET /v1/vers", half][count % 3]!);
        // Each time the owner comes with a connection of its own, beside all the others.
        if (count % 100 === 99) {
          await new Promise<void>((resolve, reject) => {
            const sent = request({ socketPath, path: "/v1/version", agent: false }, (response) => {
              response.resume().on("end", () => {
                expect(response.statusCode).toBe(200);
                resolve();
              });
            });
            sent.on("error", reject).end();
          });
        }
      }
      expect(connectionsOf(full)).toBeLessThanOrEqual(1024);
      while (closed.length < 432) await wait(5);
      while (refusals < closed.length) await wait(5);
      // Those that came first; neighbours may be told in another order.
      expect(Math.max(...closed)).toBeLessThan(closed.length + 20);
      await owner.stop("web", { force: true });
      expect(await patient).toBe("E_EXEC");
    } finally {
      for (const socket of held) socket.destroy();
      await full.close();
      await rm(own, { recursive: true });
    }
  }, 120_000);

  it("of which all are at work are told of as too many, in the client's words as well", async () => {
    let refused: Socket | undefined;
    const made: EventEmitter[] = [];
    const connections = new Connections(
      (socket) => {
        refused = socket;
      },
      () => {},
      3,
      () => true,
    );
    const add = (): Socket => {
      const socket = Object.assign(new EventEmitter(), { writableLength: 0 });
      made.push(socket);
      connections.add(socket as unknown as Socket);
      return socket as unknown as Socket;
    };
    const ask = (socket: Socket, headers = {}) => {
      const [request, response] = [
        Object.assign(new EventEmitter(), { socket, headers }),
        new EventEmitter(),
      ];
      connections.asked(request as unknown as IncomingMessage, response as unknown as ServerResponse);
      return { request, response };
    };
    const [one, two, three] = [add(), add(), add()];
    const [first] = [ask(one), ask(two), ask(three)];
    const four = add();
    expect([refused, connections.count]).toEqual([four, 3]);
    // One that does not take its answer makes room, and so does one that has had it, or has asked half of something.
    Object.assign(two, { writableLength: 1 });
    const five = add();
    expect([refused === two, connections.count]).toEqual([true, 3]);
    const slow = ask(five, { "content-length": "10" });
    first.response.emit("close");
    const six = add();
    expect(refused).toBe(five);
    slow.request.emit("end");
    add();
    expect(refused).toBe(one);
    connections.upgraded(six);
    const last = add();
    expect(refused).not.toBe(six);
    expect(refused).not.toBe(last);
    for (const socket of made) socket.emit("close");
    expect(connections.count).toBe(0);
  });

  it("that are ended without an answer are told of as what they are, and not as no daemon", async () => {
    const path = join(folder, "rude.sock");
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expect(new DaemonClient(path).version()).rejects.toMatchObject({
      code: "E_DAEMON_SILENT",
      message: expect.stringMatching(
        /has ended the connection without an answer .*: it has too many, or is ending; try again$/,
      ),
    });
    await new Promise((resolve) => server.close(resolve));
    await expect(new DaemonClient(path).version()).rejects.toMatchObject({ code: "E_DAEMON_UNREACHABLE" });
  });
});

describe("WebSockets", () => {
  it("that are refused and whose clients vanish end nothing", async () => {
    for (let round = 0; round < 10; round++) {
      const sockets = await Promise.all(
        Array.from({ length: 30 }, (_, at) =>
          connected(upgradeOf(at % 3 === 0 ? "/v1/vms/nobody/console" : at % 3 === 1 ? "/v1/vms" : "/%ZZ")),
        ),
      );
      for (const socket of sockets) socket.destroy();
    }
    expect((await raw("GET", "/v1/version")).status).toBe(200);
  });

  it("with messages too large, in too many parts, or without sense are closed", async () => {
    const open = (): Promise<WebSocket> =>
      new Promise((resolve) => {
        const socket = new WebSocket(`ws+unix:${client.socket}:/v1/vms/web/console`);
        socket.on("open", () => resolve(socket));
        socket.on("error", () => {});
      });
    const codeOf = async (act: (socket: WebSocket) => void) => {
      const socket = await open();
      const closed = new Promise<number>((resolve) => socket.on("close", resolve));
      act(socket);
      return closed;
    };
    expect(await codeOf((socket) => socket.send(new Uint8Array(2 ** 20)))).toBe(1009);
    const parts = (socket: WebSocket) => {
      for (let part = 0; part < 1000; part++) socket.send("", { fin: false });
    };
    expect(await codeOf(parts)).toBe(1008);
    for (const text of ["null", "[]", "{", '{"columns":0,"rows":1}', '{"columns":1e9,"rows":1}'])
      expect(await codeOf((socket) => socket.send(text))).toBe(1008);
  });

  it("that nobody reads lose output and are told how much; others get all of it", async () => {
    const MEBIBYTES = 24;
    const slow = new WebSocket(`ws+unix:${client.socket}:/v1/vms/web/console`);
    await new Promise((resolve) => slow.on("open", resolve));
    slow.pause();
    let fast = 0;
    const other = await client.console("web", (bytes) => {
      fast += bytes.length;
    });
    const before = fast;
    await client.exec("web", `flood ${MEBIBYTES}`);
    while (fast - before < MEBIBYTES * 2 ** 20) await wait(5);
    other.close();
    let [got, dropped] = [0, 0];
    slow.on("message", (data, isBinary) => {
      if (isBinary) got += (data as Buffer).length;
      else dropped += JSON.parse(data.toString()).dropped;
    });
    slow.resume();
    while (dropped === 0) await wait(5);
    expect(got).toBeLessThan(4 * 2 ** 20);
    expect(got + dropped).toBeGreaterThanOrEqual(MEBIBYTES * 2 ** 20);
    // What comes now is there again.
    const old = got;
    await client.exec("web", "echo again");
    while (got === old) await wait(5);
    slow.terminate();
  }, 60_000);

  it("that send to a VM that does not read are held, and the VM and its daemon are well", async () => {
    await client.exec("deaf", "echo;deaf").catch(() => {});
    const socket = new WebSocket(`ws+unix:${client.socket}:/v1/vms/deaf/console`);
    await new Promise((resolve) => socket.on("open", resolve));
    let sent = 0;
    for (let count = 0; count < 256; count++)
      socket.send(new Uint8Array(65_536), (error) => {
        if (error === undefined || error === null) sent++;
      });
    await wait(500);
    const held = sent;
    await wait(300);
    expect(sent).toBe(held);
    expect(held * 65_536).toBeLessThan(2 ** 20);
    socket.terminate();
    // A client is told that no more is taken, and keeps no more than that.
    const connection = await client.console("deaf", () => {});
    let taken = 0;
    for (let count = 0; count < 256; count++) {
      taken += connection.send(new Uint8Array(65_536));
      await wait(1);
    }
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(2 ** 22);
    expect(connection.send(Uint8Array.of(1))).toBe(0);
    await client.stop("deaf", { force: true });
    expect(await connection.closed).toMatchObject({ reason: "vm.off", isCut: false });
  }, 60_000);
});

describe("event streams", () => {
  it("that nobody reads cost nothing, and tell what was missed", async () => {
    const socket = await connected("GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
    socket.pause();
    await wait(100);
    const first = daemon.fleet.events.last + 1;
    const COUNT = 20_000;
    for (let count = 0; count < COUNT; count++) {
      daemon.fleet.events.add("vm.changed", "web", "x".repeat(100));
      if (count % 1000 === 0) await wait(1);
    }
    let text = "";
    socket.on("data", (part) => (text += part));
    socket.resume();
    const last = first + COUNT - 1;
    while (!text.includes(`id: ${last}\n`)) await wait(5);
    socket.destroy();
    const events = [...text.matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json!));
    const seen = events.filter(({ kind, id }) => kind === "vm.changed" && id >= first).length;
    const missed = events
      .filter(({ kind }) => kind === "events.dropped")
      .reduce((sum, { message }) => sum + Number(/^\d+/.exec(message)![0]), 0);
    expect(missed).toBeGreaterThan(COUNT / 2);
    expect(seen + missed).toBe(COUNT);
  });

  it("are limited in number, and clients that are gone make room", async () => {
    const open = () => connected("GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n");
    const sockets = await Promise.all(Array.from({ length: 128 }, open));
    await wait(200);
    expect(await raw("GET", "/v1/events")).toMatchObject({ status: 503 });
    for (const socket of sockets) socket.destroy();
    await wait(200);
    const again = await open();
    await new Promise((resolve) => again.once("data", resolve));
    again.destroy();
  });
});
