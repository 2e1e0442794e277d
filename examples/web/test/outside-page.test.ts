/** A page's ways out in a browser: the daemon's relay by the browser's WebSocket, and the browser's fetch with its CORS. */
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { build } from "vite";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { OwnDaemon } from "../../cli/test/own-daemon.js";
import { missingBrowser, TestBrowser } from "./browser.js";

/** What a page asks of an outside, in one go. */
interface Asked {
  /** The relay; by fetch unless given. */
  readonly relay?: string;
  readonly name: string;
  readonly port: number;
  readonly text: string;
  /** Bytes that are sent beside the text. */
  readonly bytes?: number;
}
/** What became of it. */
interface Became {
  readonly log: readonly string[];
  readonly states: readonly string[];
  readonly text: string;
  readonly bytes: number;
}

const portOf = (server: Server | HttpServer): number => (server.address() as AddressInfo).port;
const listen = (server: Server | HttpServer, address = "127.0.0.1"): Promise<void> =>
  new Promise((resolve) => server.listen(0, address, resolve));

describe.skipIf(missingBrowser !== undefined)("a page's ways out", () => {
  let folder: string;
  let daemon: OwnDaemon;
  let relay: string;
  let browser: TestBrowser;
  let pages: HttpServer;
  let strangers: HttpServer;
  let sites: HttpServer;
  let echo: Server;

  beforeAll(async () => {
    const entry = fileURLToPath(new URL("../../../packages/devices/src/web/index.ts", import.meta.url));
    const output = await build({
      ...{ configFile: false, logLevel: "silent" },
      build: { write: false, target: "es2022", lib: { entry, formats: ["es"], fileName: "web" } },
    });
    const [built] = Array.isArray(output) ? output : [];
    const code = built?.output[0].code ?? "";
    const page = createHttpServer((request, response) => {
      const isCode = request.url === "/web.js";
      response.setHeader("content-type", isCode ? "text/javascript" : "text/html");
      response.end(
        isCode
          ? code
          : "<!doctype html><link rel=icon href=data:,><title>ways out</title>" +
              '<script type=module>import * as web from "/web.js"; globalThis.web = web;</script>',
      );
    });
    pages = page;
    strangers = createHttpServer((request, response) => page.emit("request", request, response));
    sites = createHttpServer((request, response) => {
      const host = request.headers.host!;
      if (host !== "closed.test") response.setHeader("access-control-allow-origin", "*");
      if (request.url === "/go") response.writeHead(302, { location: "http://other.test/there" }).end();
      else {
        response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" });
        response.end(gzipSync(`${request.method} ${host}${request.url} ${"long ".repeat(1000)}`));
      }
    });
    echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      socket.pipe(socket);
    });
    await Promise.all([listen(pages), listen(strangers, "127.0.0.2"), listen(sites), listen(echo)]);
    folder = await mkdtemp(join(tmpdir(), "hf-ways-"));
    daemon = await OwnDaemon.start(folder, join(folder, "state"), {
      args: ["--web=127.0.0.1:0", "--web-allow", `127.0.0.1:${portOf(echo)}`],
    });
    relay = /ws:\S+/.exec(daemon.told)![0];
    browser = await TestBrowser.start([`--host-resolver-rules=MAP *.test:80 127.0.0.1:${portOf(sites)}`]);
  });
  afterAll(async () => {
    await browser.close();
    await daemon.end();
    for (const server of [pages, strangers, sites, echo]) server.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  afterEach(() => {
    browser.complaints.length = 0;
  });

  /** A guest's connection in the page: says its text, ends its side, and reads slowly until the end. */
  const ask = (page: Page, asked: Asked): Promise<Became> =>
    page.evaluate(async ({ relay: url, name, port, text, bytes = 0 }) => {
      const { web } = globalThis as unknown as { web: typeof import("@hyperfile/devices/web") };
      const states: string[] = [];
      const log: string[] = [];
      const outside =
        url === undefined ? web.fetchOutside() : web.wispOutside({ url, state: (each) => states.push(each) });
      let address = name;
      if (url === undefined) {
        const labels = name.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
        const query = Uint8Array.of(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1);
        address = (await outside.query(query))!.slice(-4).join(".");
      }
      let [got, count, left, isHeld] = ["", 0, bytes, false];
      await new Promise<void>((resolve) => {
        const over = (what: string): void => {
          log.push(what);
          resolve();
        };
        const send = (): void => {
          for (; left > 0 && !isHeld; left -= 65_536) isHeld = !tcp.write(new Uint8Array(65_536));
          if (left === 0) tcp.end();
        };
        const tcp = outside.connectTcp(address, port, {
          opened: () => {
            log.push("opened");
            tcp.write(new TextEncoder().encode(text));
            send();
          },
          failed: (why) => over(`failed: ${why}`),
          data: (data) => {
            count += data.length;
            if (got.length < 100_000) got += new TextDecoder("latin1").decode(data);
            if (count > 1 << 20) return;
            tcp.setReading(false);
            setTimeout(() => tcp.setReading(true));
          },
          ended: () => log.push("ended"),
          drained: () => {
            isHeld = false;
            send();
          },
          closed: (isBroken) => over(isBroken ? "broken" : "closed"),
        });
      });
      outside.close();
      return { log, states, text: got, bytes: count };
    }, asked);

  const at = (server: HttpServer, host = "localhost"): string => `http://${host}:${portOf(server)}/`;

  it("through the daemon's relay: megabytes both ways, both ends, refusals, and not a word in the console", async () => {
    const page = await browser.open(at(pages));
    const size = 8 << 20;
    const there = await ask(page, {
      relay,
      name: "127.0.0.1",
      port: portOf(echo),
      text: "hello",
      bytes: size,
    });
    expect([there.log, there.bytes, there.text.slice(0, 5)]).toEqual([
      ["opened", "ended", "closed"],
      size + 5,
      "hello",
    ]);
    expect(there.states).toEqual([`connected to the relay ${new URL(relay).host}`]);
    const closed = await ask(page, { relay, name: "127.0.0.1", port: portOf(pages), text: "" });
    expect(closed.log).toEqual(["failed: unreachable"]);
    expect(browser.complaints).toEqual([]);
    await page.close();
  });

  it("with a wrong token, and from a page of another site, the relay does not answer, and a line says what to look at", async () => {
    const wrong = new URL(relay);
    wrong.searchParams.set("token", "wrong");
    for (const [url, origin] of [
      [wrong.href, at(pages)],
      [relay, at(strangers, "127.0.0.2")],
    ] as const) {
      const page = await browser.open(origin);
      const { log, states } = await ask(page, {
        relay: url,
        name: "127.0.0.1",
        port: portOf(echo),
        text: "",
      });
      expect(log).toEqual(["failed: unreachable"]);
      const own = new URL(origin).origin;
      expect(states).toEqual([
        `no connection to the relay ${wrong.host}: it does not answer, or refuses: see whether it runs, whether the address is whole with its token, and whether it lets pages of ${own} in (--web-origin ${own}); the next attempt is in 1 s`,
      ]);
      expect(states[0]).not.toContain("wrong&");
      await page.close();
    }
  });

  it("by fetch: what a server lets other sites read, whole and decoded; what it does not is 502; redirects are the guest's", async () => {
    const page = await browser.open(at(pages));
    const get = (name: string, path: string) =>
      ask(page, { name, port: 80, text: `GET ${path} HTTP/1.0\r\nHost: ${name}\r\nUser-Agent: apt\r\n\r\n` });
    const open = await get("open.test", "/x");
    expect(open.log).toEqual(["opened", "ended", "closed"]);
    expect(open.text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(open.text).not.toContain("content-encoding");
    expect(open.text.endsWith(`\r\n\r\nGET open.test/x ${"long ".repeat(1000)}`)).toBe(true);
    expect((await get("open.test", "/go")).text).toMatch(
      /^HTTP\/1\.1 302 Found\r\nlocation: http:\/\/other\.test\/there\r\n/,
    );
    expect(browser.complaints).toEqual([]);
    const closed = await get("closed.test", "/");
    expect(closed.text).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
    expect(closed.text).toContain("The page could not fetch http://closed.test/: Failed to fetch");
    expect(closed.text).toContain(`it for ${new URL(at(pages)).origin}`);
    const secure = await ask(page, { name: "open.test", port: 443, text: "" });
    expect(secure.log).toEqual(["failed: refused"]);
    await page.close();
  });
});
