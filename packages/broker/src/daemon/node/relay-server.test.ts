/** Who may come in to the relay for pages, how many, and that those who have vanished go. */
import { request } from "node:http";
import { connect } from "node:net";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { type RelayEnd, type RelayPort, RelayServer } from "./relay-server.js";

const token = "right-token";
let server: RelayServer;
let ports: RelayPort[] = [];
let log: string[] = [];

const start = (options: Partial<Parameters<typeof RelayServer.start>[0]> = {}): Promise<RelayServer> => {
  // What an earlier test's clients do late is that test's.
  const own = log;
  return RelayServer.start({
    ...{ address: "127.0.0.1", port: 0, token, origins: ["https://example.org", "null"] },
    serve: (port, client): RelayEnd => {
      expect(client.address).toContain("127.0.0.1");
      expect(client.hasRoom()).toBe(true);
      ports.push(port);
      return {
        receive: (message) => own.push(Buffer.from(message).toString()),
        drained: () => own.push("drained"),
        close: () => own.push("close"),
      };
    },
    ...options,
  });
};

beforeEach(async () => {
  [ports, log] = [[], []];
  server = await start();
});
afterEach(() => server.close());

const at = (path: string): string => `ws://127.0.0.1:${server.port}${path}`;
const whole = `/wisp/?token=${token}&hyperfile=1`;

/** A client, or the status and the words with which it was refused. */
function come(path: string, origin?: string): Promise<WebSocket | string> {
  return new Promise((resolve) => {
    const client = new WebSocket(at(path), origin === undefined ? {} : { origin });
    client.on("open", () => resolve(client));
    client.on("unexpected-response", (_request, response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => {
        const { code, message } = JSON.parse(text) as { code: string; message: string };
        resolve(`${response.statusCode} ${code} ${message}`);
      });
    });
    client.on("error", () => {});
  });
}

test.each([
  ["/wisp/", undefined, "401 E_TOKEN the address has no token"],
  ["/wisp/?token=", undefined, "401 E_TOKEN the address has no token"],
  ["/wisp/?token=wrong", "http://localhost:8080", "401 E_TOKEN the address has a wrong token"],
  ["/wisp/wrong/", undefined, "401 E_TOKEN the address has a wrong token"],
  [`/wisp/?token=${token}x`, undefined, "401 E_TOKEN the address has a wrong token"],
  [
    whole,
    "https://evil.example",
    "403 E_ORIGIN pages of https://evil.example may not use this relay: start the daemon with --web-origin https://evil.example if they shall",
  ],
  [whole, "http://example.org", "403 E_ORIGIN"],
  [whole, "https://example.org:444", "403 E_ORIGIN"],
  [whole, "https://example.org.evil.example", "403 E_ORIGIN"],
  [whole, "http://localhost.evil.example", "403 E_ORIGIN"],
  [whole, "http://127.0.0.1.evil.example", "403 E_ORIGIN"],
  [whole, "http://evillocalhost", "403 E_ORIGIN"],
  [whole, "http://192.168.1.1", "403 E_ORIGIN"],
  ["/", undefined, "404 E_REQUEST the relay is at /wisp/"],
  ["/v1/vms/x/console", undefined, "404 E_REQUEST the relay is at /wisp/"],
])("%s from %s is refused before the upgrade: %s", async (path, origin, refusal) => {
  expect(await come(path, origin)).toContain(refusal);
  expect([ports.length, server.clients]).toEqual([0, 0]);
});

test.each([
  [whole, undefined],
  [`/wisp/${token}/`, undefined],
  [whole, "http://localhost"],
  [whole, "http://localhost:5173"],
  [whole, "https://127.0.0.1:8443"],
  [whole, "http://[::1]:3000"],
  [whole, "http://app.localhost:3000"],
  [whole, "https://example.org"],
  [whole, "null"],
])("%s from %s may come in", async (path, origin) => {
  const client = (await come(path, origin)) as WebSocket;
  expect(client).toBeInstanceOf(WebSocket);
  client.send(Buffer.from("a message"));
  await vi.waitFor(() => expect(log).toEqual(["a message"]));
  const got = new Promise((resolve) => client.once("message", resolve));
  ports[0]!.send(Uint8Array.from(Buffer.from("an answer")));
  expect(String(await got)).toBe("an answer");
  client.close();
  await vi.waitFor(() => expect(log).toEqual(["a message", "close"]));
});

test("what is no WebSocket is told what this is; what is no HTTP, and a proxy's request, too", async () => {
  const ask = (path: string, method = "GET"): Promise<string> =>
    new Promise((resolve, reject) => {
      const asked = request(
        { port: server.port, host: "127.0.0.1", path, method, agent: false },
        (response) => {
          let text = "";
          response.on("data", (part) => (text += part));
          response.on("end", () => resolve(`${response.statusCode} ${text}`));
        },
      );
      asked.on("error", reject);
      asked.end();
    });
  expect(await ask("/wisp/")).toMatch(/^426 This is a relay for web pages/);
  expect(await ask("/")).toBe("404 There is nothing here but a relay for web pages, at /wisp/.\n");
  expect(await ask("/wisp/", "HEAD")).toBe("426 ");
  const raw = (text: string): Promise<string> =>
    new Promise((resolve) => {
      let got = "";
      const socket = connect(server.port, "127.0.0.1", () => socket.write(text));
      socket.on("data", (part) => (got += part));
      socket.on("close", () => resolve(got));
      socket.on("error", () => resolve("error"));
    });
  expect(await raw("nonsense\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 .*that is no request of HTTP/s);
  expect(await raw("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")).toMatch(
    /^HTTP\/1\.1 405 .*this is no proxy/s,
  );
  expect(await raw("GET //[ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).toMatch(/^HTTP\/1\.1 404 /);
});

test("a text, a message that is too long, and what the relay finds wrong end the connection with a reason", async () => {
  const closed = async (act: (client: WebSocket) => void): Promise<string> => {
    const client = (await come(whole)) as WebSocket;
    const over = new Promise<string>((resolve) =>
      client.on("close", (code, reason) => resolve(`${code} ${reason}`)),
    );
    act(client);
    return over;
  };
  expect(await closed((client) => client.send("text"))).toBe("1008 a packet is a binary message");
  expect(await closed((client) => client.send(Buffer.alloc(2 ** 20 + 1)))).toMatch(/^1009 /);
  expect(await closed(() => ports.at(-1)!.close("it is wrong: ü"))).toBe("1008 it is wrong: ?");
  await vi.waitFor(() => expect(server.clients).toBe(0));
});

test("a client that does not read is told by what waits, and hears when it is gone", async () => {
  const client = (await come(whole)) as WebSocket;
  client.pause();
  const [port] = ports;
  for (let at = 0; at < 1000 && port!.waiting < 2 ** 23; at++) port!.send(new Uint8Array(65_536));
  expect(port!.waiting).toBeGreaterThan(2 ** 20);
  expect(log).toEqual([]);
  client.resume();
  await vi.waitFor(() => expect(log).toEqual(["drained"]), { timeout: 20_000 });
  expect(port!.waiting).toBeLessThanOrEqual(2 ** 17);
  client.close();
});

test("64 clients are served at a time; one more is told so, and has a place when another one goes", async () => {
  const clients = await Promise.all(Array.from({ length: 64 }, () => come(whole)));
  expect(clients.every((client) => client instanceof WebSocket)).toBe(true);
  expect(await come(whole)).toBe("503 E_BUSY 64 clients use this relay: close a page, or try again");
  (clients[0] as WebSocket).terminate();
  await vi.waitFor(() => expect(server.clients).toBe(63));
  expect(await come(whole)).toBeInstanceOf(WebSocket);
});

test("clients that have vanished without a word are ended; those that answer stay", async () => {
  await server.close();
  server = await start({ pingMs: 150 });
  const there = (await come(whole)) as WebSocket;
  const gone = (await come(whole)) as WebSocket;
  // Its answers to pings are made by the library: it does not read any more.
  gone.pause();
  await vi.waitFor(() => expect(log).toEqual(["close"]), { timeout: 20_000 });
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect([there.readyState, server.clients]).toEqual([WebSocket.OPEN, 1]);
});

test("a port that is taken, and an address that is not this computer's, are said", async () => {
  await expect(start({ port: server.port })).rejects.toMatchObject({
    code: "E_SOCKET",
    message: `port ${server.port} of 127.0.0.1 is taken: choose another one, or 0 for any`,
  });
  await expect(start({ address: "192.0.2.77" })).rejects.toMatchObject({
    message: "can't listen at port 0 of 192.0.2.77: EADDRNOTAVAIL",
  });
});

test("its end cuts everybody off", async () => {
  const client = (await come(whole)) as WebSocket;
  const over = new Promise((resolve) => client.on("close", resolve));
  await server.close();
  await over;
  await vi.waitFor(() => expect(log).toEqual(["close"]));
});
