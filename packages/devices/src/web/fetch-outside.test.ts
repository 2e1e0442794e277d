/** HTTP of guests by `fetch`, against a server of Node's. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, expect, test } from "vitest";
import { dnsQuery } from "../../test/dns-messages.js";
import { startedTcp } from "../../test/tcp-guest.js";
import { Noting } from "../../test/wisp-world.js";
import { addressesIn } from "../net/nat/dns/message.js";
import type { Outside } from "../net/nat/outside.js";
import { type FetchOutsideOptions, fetchOutside } from "./fetch-outside.js";

let server: Server;
let handle: (request: IncomingMessage, response: ServerResponse, body: string) => void;
const asked: string[] = [];
let outside: Outside & { close(): void };

beforeEach(async () => {
  asked.length = 0;
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      asked.push(`${request.method} ${request.url}`);
      handle(request, response, Buffer.concat(parts).toString("latin1"));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  outside = fetchOutside({ fetch: toServer() });
});
afterEach(async () => {
  outside.close();
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
});

/** A `fetch` for which names of .test are the server, as a page's would find them. */
function toServer(seen: RequestInit[] = []): typeof fetch {
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return async (url, init) => {
    seen.push(init!);
    const { protocol, host } = new URL(String(url));
    if (!host.endsWith(".test")) throw new TypeError(`Failed to fetch ${host}`);
    const response = await fetch(String(url).replace(`${protocol}//${host}`, `http://${at}`), init);
    const own = response.url.replace(`http://${at}`, `${protocol}//${host}`);
    const place = own.replace(/http:\/\/elsewhere\.test/, "http://elsewhere.test");
    return new Proxy(response, {
      get: (target, key) => {
        if (key === "url") return response.headers.get("x-place") ?? place;
        const found: unknown = Reflect.get(target, key, target);
        return typeof found === "function" ? found.bind(target) : found;
      },
    });
  };
}

async function addressOf(name: string, from: Outside = outside): Promise<string> {
  return addressesIn((await from.query(dnsQuery(name, 1)))!)[0]!;
}

async function until(isSo: () => boolean): Promise<void> {
  for (let wait = 0; wait < 2000; wait++) {
    if (isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error("it did not come to that");
}

/** A guest's connection to a name. */
async function connected(name = "site.test", from: Outside = outside): Promise<Noting> {
  const guest = new Noting(from, await addressOf(name, from), 80);
  await until(() => guest.log.length > 0);
  expect(guest.log).toEqual(["opened"]);
  return guest;
}

const send = (guest: Noting, text: string): boolean =>
  guest.tcp.write(Uint8Array.from(Buffer.from(text, "latin1")));

/** The answers that came, taken apart. */
function answers(text: string): { head: string; body: string }[] {
  const found: { head: string; body: string }[] = [];
  for (let rest = text; rest !== ""; ) {
    const end = rest.indexOf("\r\n\r\n");
    const head = rest.slice(0, end);
    rest = rest.slice(end + 4);
    const length = /^content-length: (\d+)$/im.exec(head)?.[1];
    let body = "";
    if (/^transfer-encoding: chunked$/im.test(head))
      for (;;) {
        const [line, size] = /^([0-9a-f]+)\r\n/.exec(rest)!;
        const start = line.length;
        const bytes = Number.parseInt(size!, 16);
        body += rest.slice(start, start + bytes);
        expect(rest.slice(start + bytes, start + bytes + 2)).toBe("\r\n");
        rest = rest.slice(start + bytes + 2);
        if (bytes === 0) break;
      }
    else {
      body = rest.slice(0, Number(length ?? 0));
      rest = rest.slice(body.length);
    }
    found.push({ head, body });
  }
  return found;
}

test("requests on one connection are answered one after the other, by parts, without fields that are not true any more", async () => {
  handle = (request, response, body) => {
    response.writeHead(200, "Fine", {
      "content-type": "text/plain",
      "content-encoding": "gzip",
      "x-own": "kept",
      "alt-svc": 'h3=":443"',
      "strict-transport-security": "max-age=1",
      "keep-alive": "timeout=3",
    });
    response.end(gzipSync(`${request.method} ${request.url} ${request.headers["x-mine"]} ${body}`));
  };
  const guest = await connected();
  send(
    guest,
    "GET /a?b=c HTTP/1.1\r\nHost: Site.test:80\r\nX-Mine: 1\r\nUser-Agent: apt\r\nRange: bytes=5-\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 2\r\n\r\n" +
      "POST http://site.test/form HTTP/1.1\r\nHost: site.test\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc" +
      "PUT /file HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n",
  );
  await until(() => guest.log.includes("ended"));
  const got = answers(guest.text);
  expect(got.map(({ body }) => body)).toEqual([
    "GET /a?b=c 1 ",
    "POST /form undefined abc",
    "PUT /file undefined def",
  ]);
  for (const { head } of got) {
    expect(head).toMatch(/^HTTP\/1\.1 200 Fine\r\n/);
    expect(head).toContain("x-own: kept");
    expect(head).not.toMatch(
      /^(content-encoding|content-length|alt-svc|strict-transport-security):|timeout=3/im,
    );
  }
  expect(got.map(({ head }) => /^connection: (.*)$/m.exec(head)?.[1]?.trim())).toEqual([
    ...["keep-alive", "keep-alive", "close"],
  ]);
  guest.tcp.end();
  await until(() => guest.log.includes("closed"));
  expect(guest.log).toEqual(["opened", "ended", "closed"]);
});

test("a page's fetch is asked without credentials, cache, referrer, and fields that are not the guest's to say", async () => {
  handle = (request, response) => response.end(JSON.stringify(request.headers));
  const seen: RequestInit[] = [];
  const own = fetchOutside({ fetch: toServer(seen) });
  const guest = await connected("site.test", own);
  send(
    guest,
    "GET / HTTP/1.1\r\nHost: site.test\r\nCookie: a=b\r\nReferer: http://x/\r\nUser-Agent: apt\r\nIf-None-Match: x\r\nSec-Fetch-Mode: x\r\nAuthorization: Basic eA==\r\nAccept: text/*\r\nAccept: */*\r\n\r\n",
  );
  await until(() => guest.text.endsWith("0\r\n\r\n"));
  expect(seen[0]).toMatchObject({
    credentials: "omit",
    cache: "no-store",
    referrerPolicy: "no-referrer",
    mode: "cors",
  });
  expect(seen[0]!.headers).toEqual([
    ["authorization", "Basic eA=="],
    ["accept", "text/*"],
    ["accept", "*/*"],
  ]);
  own.close();
  expect(guest.log).toEqual(["opened", "broken"]);
});

test("HEAD has no body, 204 neither, and a guest of HTTP/1.0 has the end of the connection", async () => {
  handle = (request, response) => {
    if (request.url === "/none") response.writeHead(204).end();
    else response.end("text of it");
  };
  const guest = await connected();
  send(
    guest,
    "HEAD / HTTP/1.1\r\nHost: site.test\r\n\r\nGET /none HTTP/1.1\r\nHost: site.test\r\n\r\nGET / HTTP/1.1\r\nHost: site.test\r\n\r\n",
  );
  await until(() => guest.text.endsWith("0\r\n\r\n"));
  const heads = guest.text.split("\r\n\r\n");
  expect(heads[0]).toMatch(/^HTTP\/1\.1 200 OK/);
  expect(heads[0]).not.toContain("transfer-encoding");
  expect(heads[1]).toMatch(/^HTTP\/1\.1 204 No Content/);
  expect(heads[1]).not.toContain("transfer-encoding");
  expect(answers(heads.slice(2).join("\r\n\r\n"))[0]!.body).toBe("text of it");
  const old = await connected();
  send(old, "GET / HTTP/1.0\r\n\r\n");
  await until(() => old.log.includes("ended"));
  expect(old.text).toMatch(/^HTTP\/1\.1 200 OK\r\n(?:.*\r\n)*connection: close\r\n\r\ntext of it$/);
  expect(old.text).not.toContain("transfer-encoding");
});

test("a guest that asks whether its body is wanted is told so, and no body is larger than 16 MiB", async () => {
  handle = (_request, response, body) => response.end(String(body.length));
  const guest = await connected();
  send(guest, "POST / HTTP/1.1\r\nHost: site.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  expect(guest.text).toBe("HTTP/1.1 100 Continue\r\n\r\n");
  guest.received.length = 0;
  send(guest, "12345");
  await until(() => guest.text.endsWith("0\r\n\r\n"));
  expect(answers(guest.text)[0]!.body).toBe("5");
  guest.received.length = 0;
  send(
    guest,
    "POST / HTTP/1.1\r\nHost: site.test\r\nExpect: 100-continue\r\nContent-Length: 16777217\r\n\r\n",
  );
  expect(guest.text).toMatch(/^HTTP\/1\.1 413 Content Too Large\r\n/);
  expect(guest.log).toEqual(["opened", "ended"]);
  const other = await connected();
  send(other, "POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n");
  const part = Buffer.alloc(65_536, "x").toString();
  for (let at = 0; at <= 256 && other.log.length === 1; at++) send(other, `10000\r\n${part}\r\n`);
  expect(other.text).toMatch(/^HTTP\/1\.1 413 /);
  expect(asked).toEqual(["POST /"]);
});

test("a long answer waits for a guest that does not read, and is given up with its connection", async () => {
  const size = 40 << 20;
  let [isGone, sent] = [false, 0];
  handle = (_request, response) => {
    const piece = Buffer.alloc(1 << 16, "z");
    const more = (): void => {
      while (sent < size) {
        sent += piece.length;
        if (!response.write(piece)) return void response.once("drain", more);
      }
      response.end();
    };
    response.on("close", () => {
      isGone = !response.writableFinished;
    });
    more();
  };
  const guest = await connected();
  guest.onData = () => {
    guest.received.length = 0;
    if (guest.bytes < 1 << 20) guest.tcp.setReading(false);
    setImmediate(() => guest.tcp.setReading(true));
  };
  send(guest, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
  await until(() => guest.bytes > size);
  const rest = await connected();
  sent = 0;
  rest.onData = () => rest.tcp.setReading(false);
  send(rest, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
  await until(() => rest.bytes > 0);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(rest.bytes).toBeLessThan(300_000);
  expect(sent).toBeLessThan(size);
  rest.tcp.reset();
  await until(() => isGone);
  expect(rest.log).toEqual(["opened"]);
});

test("an answer that breaks off breaks the connection: nobody takes it for whole", async () => {
  handle = (_request, response) => {
    response.writeHead(200, { "content-length": 1000 });
    response.write("half");
    setTimeout(() => response.destroy(), 20);
  };
  const guest = await connected();
  send(guest, "GET / HTTP/1.1\r\nHost: site.test\r\n\r\n");
  await until(() => guest.log.includes("broken"));
  expect(guest.text).toContain("half");
  expect(guest.text).not.toContain("0\r\n\r\n");
});

test("what the page may not read is 502, with what to do about it", async () => {
  const guest = await connected("cors.example");
  send(guest, "GET /x HTTP/1.1\r\nHost: cors.example\r\n\r\n");
  await until(() => guest.text.includes("other sites.\n"));
  const [{ head, body } = { head: "", body: "" }] = answers(guest.text);
  expect(head).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
  expect(body).toMatch(
    /^The page could not fetch http:\/\/cors\.example\/x: Failed to fetch cors\.example\n/,
  );
  expect(body).toContain("CORS: a field Access-Control-Allow-Origin");
  expect(body).toContain('start "hyperfile daemon --web" on a computer of yours');
  // The connection goes on.
  send(guest, "HEAD / HTTP/1.1\r\nHost: cors.example\r\n\r\n");
  await until(() => guest.text.endsWith("\r\n\r\n"));
  expect(guest.log).toEqual(["opened"]);
});

test.each([
  [
    "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n",
    421,
    "This connection is to site.test, and the request is for other.test",
  ],
  ["GET http://other.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n", 421, "the request is for other.test"],
  ["GET http://site.test@evil.test/ HTTP/1.1\r\nHost: site.test\r\n\r\n", 421, "is for site.test@evil.test"],
  ["GET / HTTP/1.1\r\nHost: site.test:8080\r\n\r\n", 421, "the request is for site.test:8080"],
  ["OPTIONS * HTTP/1.1\r\nHost: site.test\r\n\r\n", 400, "can't be fetched: *"],
  ["GET /a#b HTTP/1.1\r\nHost: site.test\r\n\r\n", 400, "can't be fetched: /a#b"],
  ["CONNECT site.test:443 HTTP/1.1\r\nHost: site.test\r\n\r\n", 501, "A page can't do CONNECT."],
  ["TRACE / HTTP/1.1\r\nHost: site.test\r\n\r\n", 501, "A page can't do TRACE."],
  [
    "GET / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1\r\n\r\nx",
    502,
    "a GET with a body can't be fetched",
  ],
  ["nonsense\r\n\r\n", 400, "the first line is not one of HTTP/1.1"],
])("%j is answered by %i", async (request, status, why) => {
  handle = (_request, response) => response.end();
  const guest = await connected();
  send(guest, request);
  await until(() => guest.text.includes("\n", guest.text.indexOf("\r\n\r\n") + 4));
  const [{ head, body } = { head: "", body: "" }] = answers(guest.text);
  expect(head.startsWith(`HTTP/1.1 ${status} `)).toBe(true);
  expect(body).toContain(why);
  expect(asked).toEqual([]);
});

test("a guest that sends requests and takes no answers is read no further", async () => {
  const guest = await connected();
  guest.onData = () => guest.tcp.setReading(false);
  const request = "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n";
  let isTaken = true;
  let writes = 0;
  for (; isTaken && writes < 100; writes++) isTaken = send(guest, request.repeat(300));
  expect([writes < 100, guest.received.length]).toEqual([true, 1]);
  let drained = 0;
  guest.onDrained = () => drained++;
  for (let at = 1; at < writes * 300; at++) {
    expect(guest.received.length).toBe(at);
    guest.tcp.setReading(true);
  }
  guest.tcp.setReading(true);
  expect([guest.received.length, drained, guest.log]).toEqual([writes * 300, 1, ["opened"]]);
});

test("a path that looks like another host stays a path", async () => {
  handle = (request, response) => response.end(request.url);
  const guest = await connected();
  send(guest, "GET //evil.test/x HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n");
  await until(() => guest.log.includes("ended"));
  expect(answers(guest.text)[0]!.body).toBe("//evil.test/x");
});

test("an answer from another host is a redirect for the guest to follow itself", async () => {
  handle = (request, response) => {
    if (request.url === "/go") response.writeHead(302, { location: "/there" }).end();
    else if (request.url === "/near") response.writeHead(302, { location: "/here" }).end();
    else if (request.url === "/there")
      response.writeHead(200, { "x-place": "https://elsewhere.test/there?x=1" }).end("secret");
    else response.end("here");
  };
  const guest = await connected();
  send(guest, "GET /go HTTP/1.1\r\nHost: site.test\r\n\r\n");
  await until(() => guest.text.includes("is at"));
  expect(guest.text).toMatch(/^HTTP\/1\.1 302 Found\r\nlocation: http:\/\/elsewhere\.test\/there\?x=1\r\n/);
  expect(guest.text).not.toContain("secret");
  guest.received.length = 0;
  send(guest, "POST /go HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1\r\n\r\nx");
  await until(() => guest.text.includes("repeated there"));
  expect(guest.text).toMatch(/^HTTP\/1\.1 502 /);
  guest.received.length = 0;
  send(guest, "GET /near HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n");
  await until(() => guest.log.includes("ended"));
  expect(answers(guest.text)[0]).toMatchObject({ body: "here" });
});

test("only port 80 of names that were asked for, and of addresses, is there; nothing listens", async () => {
  const address = await addressOf("site.test");
  const refused = [443, 22, 8080, 81].map((port) => new Noting(outside, address, port));
  const unknown = new Noting(outside, "198.19.5.5", 80);
  await until(() => [...refused, unknown].every(({ log }) => log.length > 0));
  for (const { log } of refused) expect(log).toEqual(["failed: refused"]);
  expect(unknown.log).toEqual(["failed: unreachable"]);
  const failed = await new Promise<boolean>((resolve) => {
    const events = { data: () => {}, failed: () => resolve(true) };
    outside.openUdp(4, events).send(Uint8Array.of(1), "9.9.9.9", 123);
  });
  expect(failed).toBe(true);
  await expect(outside.listenTcp("127.0.0.1", 80, () => {})).rejects.toThrow("port 80 can't lead to a guest");
  await expect(outside.listenUdp("127.0.0.1", 80, () => {})).rejects.toMatchObject({
    code: "E_NETWORK_HOST",
  });
});

test.each([
  [undefined, "http:"],
  [true, "https:"],
  [false, "http:"],
])("https: %s asks by %s, whatever the guest sees", async (https, protocol) => {
  const urls: string[] = [];
  const options: FetchOutsideOptions = {
    ...(https === undefined ? {} : { https }),
    fetch: async (url) => {
      urls.push(String(url));
      return new Response("ok");
    },
  };
  const own = fetchOutside(options);
  const guest = await connected("site.test", own);
  send(guest, "GET /x HTTP/1.1\r\nHost: site.test\r\n\r\n");
  await until(() => guest.text.endsWith("0\r\n\r\n"));
  expect(urls).toEqual([`${protocol}//site.test/x`]);
  const direct = new Noting(own, "2001:4860::8888", 80);
  await until(() => direct.log.length > 0);
  send(direct, "GET / HTTP/1.1\r\nHost: [2001:4860::8888]\r\n\r\n");
  await until(() => direct.text.endsWith("0\r\n\r\n"));
  expect(urls[1]).toBe(`${protocol}//[2001:4860::8888]/`);
  own.close();
});

test("a guest that says nothing, or half, is not waited for without an end; connections are bounded", async () => {
  const { VirtualTimers } = await import("../../test/virtual-timers.js");
  const timers = new VirtualTimers();
  const own = fetchOutside({ timers, fetch: async () => new Response("ok") });
  const address = await addressOf("site.test", own);
  const silent = new Noting(own, address, 80);
  const half = new Noting(own, address, 80);
  const ended = new Noting(own, address, 80);
  timers.advance(1);
  send(half, "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 9\r\n\r\nabc");
  send(ended, "GET / HT");
  ended.tcp.end();
  expect(ended.log).toEqual(["opened", "broken"]);
  timers.advance(60_000);
  expect([silent.log, half.log]).toEqual([
    ["opened", "ended"],
    ["opened", "ended"],
  ]);
  silent.tcp.end();
  timers.advance(10_000);
  expect([silent.log.at(-1), half.log.at(-1)]).toEqual(["closed", "broken"]);
  const many = Array.from({ length: 520 }, () => new Noting(own, address, 80));
  timers.advance(1);
  expect(many.map(({ log }) => log[0]).filter((each) => each === "failed: refused").length).toBe(8);
  own.close();
  expect(many.filter(({ log }) => log.at(-1) === "broken").length).toBe(512);
  timers.advance(1e6);
  expect(timers.pending).toBe(0);
});

test("a guest behind the gateway finds a name, connects and gets its answer, under the usual policy", async () => {
  handle = (_request, response) => response.end("hello guest ".repeat(10_000));
  const { timers, guest, open, net } = startedTcp({ outside });
  guest.announce();
  timers.advance(10);
  const settle = async (isSo: () => boolean): Promise<void> => {
    for (let wait = 0; wait < 4000 && !isSo(); wait++) {
      timers.advance(2);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(isSo()).toBe(true);
  };
  const { onFrame } = guest.end;
  let answer: Uint8Array | undefined;
  guest.end.onFrame = () => {
    const [came] = guest.take();
    answer = came?.udp?.data;
  };
  guest.udp(net.addresses.nameServer4, 53, dnsQuery("site.test", 1));
  await settle(() => answer !== undefined);
  guest.end.onFrame = onFrame;
  const [address] = addressesIn(answer!);
  const { tcp } = open(address!, 80);
  tcp.connect();
  await settle(() => tcp.isOpen);
  tcp.write(Buffer.from("GET / HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"));
  await settle(() => tcp.hasEnded);
  const [{ head, body } = { head: "", body: "" }] = answers(Buffer.concat(tcp.received).toString("latin1"));
  expect(head).toMatch(/^HTTP\/1\.1 200 OK/);
  expect(body).toBe("hello guest ".repeat(10_000));
  tcp.end();
  await settle(() => tcp.isFinished);
  net.close();
});
