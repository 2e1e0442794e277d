/**
 * Networks of pages in Chromium, with Debian: machines of one page and of two tabs, the gateway's way from tab to tab, and the
 * ways outside. Left out where Debian's files were never fetched (`npm start` does).
 */
import { createHash } from "node:crypto";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { debianWithAgent } from "../../../packages/machine/test/debian.js";
import { addDebian } from "../debian.mjs";
import { builtPages, missingBrowser, TestBrowser } from "./browser.js";
import { StaticServer } from "./static-server.js";
import { VmPage } from "./vm-page.js";

const policy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; worker-src 'self'; connect-src 'self' http: https: ws: wss:";
const isLeftOut = missingBrowser !== undefined || (await debianWithAgent()) === undefined;
/** A name by which the browser finds the test's own server, at the port of the web. */
const NAME = "page.example.org";
const PATIENCE = { timeout: 300_000, interval: 200 };
const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const zeros = (count: number): string => digestOf(new Uint8Array(count));

/** A port at which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A page with machines in a network. */
class NetPage extends VmPage {
  private commands = 0;

  /** Starts a Debian and waits until it has the name and the address that the page shows. */
  async debian(vm: string): Promise<{ readonly name: string; readonly address: string }> {
    await this.launch("debian");
    await this.is(vm, "running");
    return this.settled(vm);
  }

  async settled(vm: string): Promise<{ readonly name: string; readonly address: string }> {
    await this.choose(vm);
    await expect
      .poll(() => this.page.textContent("#vm-address"), PATIENCE)
      .toMatch(/^\S+, 10\.0\.2\.\d+, 52:54:/);
    const [name = "", address = "", mac = ""] = (await this.page.textContent("#vm-address"))!.split(", ");
    await expect
      .poll(
        () =>
          this.run(
            "hostname; ip -4 -o addr show dev eth0 | awk '{ print $4 }'; cat /sys/class/net/eth0/address",
          ),
        PATIENCE,
      )
      .toBe(`${name}\n${address}/24\n${mac}`);
    return { name, address };
  }

  /** Runs a command in the machine that is chosen; resolves with what it printed. */
  async run(command: string): Promise<string> {
    const mark = `done-${++this.commands}`;
    await this.type(`clear; { ${command}; }; echo done"-"${this.commands}\n`);
    await this.shows(new RegExp(`^${mark}$`, "m"));
    const rows = (await this.rows()).split("\n");
    return rows
      .slice(0, rows.indexOf(mark))
      .filter((row) => !row.includes("; echo done"))
      .join("\n");
  }

  /**
   * Takes what comes to a port, until the other side has ended. It reads a pipe that nobody writes to: of the console it
   * would be stopped, as a job in the background, when somebody types.
   */
  async listen(port: number): Promise<void> {
    const taking = `nc -l -p ${port} <> /tmp/never | sha256sum > /tmp/part; mv /tmp/part /tmp/sum`;
    await this.run(`rm -f /tmp/sum /tmp/never; mkfifo /tmp/never; (${taking}) > /dev/null 2>&1 & true`);
  }

  /** The digest of what came. */
  heard(): Promise<string> {
    return this.run("until [ -e /tmp/sum ]; do sleep 1; done; cut -c 1-64 /tmp/sum");
  }

  pings(place: string): Promise<string> {
    return this.run(`ping -c 3 -W 60 -q ${place} | grep -c ' [123] packets received'`);
  }

  /** Numbers of a machine's network, by their order in its cell's title: bytes and frames sent, bytes and frames received, drops. */
  async counts(vm: string): Promise<number[]> {
    const row = this.page.locator("#fleet tbody tr", {
      has: this.page.getByRole("button", { name: vm, exact: true }),
    });
    const title = (await row.locator("td:nth-child(13)").getAttribute("title")) ?? "";
    return [...title.matchAll(/\d+/g)].map(Number);
  }

  state(): Promise<string | null> {
    return this.page.textContent("#network-state");
  }

  async choosesWay(way: string, relay = ""): Promise<void> {
    await this.page.check(`#way [value=${way}]`);
    await this.page.fill("#way [name=relay]", relay);
    await this.page.getByRole("button", { name: "Use this way" }).click();
  }
}

describe.skipIf(isLeftOut)("the network of pages", () => {
  let folder: string;
  let server: StaticServer;
  let browser: TestBrowser;
  const file = new Uint8Array(300_000).map((_, at) => (at * 7919) >> 3);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "hf-network-page-"));
    await cp(builtPages, folder, { recursive: true });
    await addDebian(folder);
    await writeFile(join(folder, "file.bin"), file);
    server = await StaticServer.start(folder, { policy });
    const origin = `http://${NAME}`;
    browser = await TestBrowser.start([
      `--host-resolver-rules=MAP ${NAME}:80 127.0.0.1:${new URL(server.url).port}`,
      `--unsafely-treat-insecure-origin-as-secure=${origin}`,
    ]);
  }, 600_000);
  afterEach(async () => {
    await browser.closePages();
    expect(browser.complaints.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });
  const open = async (url = server.url): Promise<NetPage> => {
    const page = new NetPage(await browser.open(url));
    await page.shows(/guest#/);
    return page;
  };

  it("machines of a page reach each other by name, and what they send is counted; a limit holds, and a cable can be out", async () => {
    const page = await open();
    await expect.poll(() => page.state(), PATIENCE).toBe("No machine has a network card yet.");
    expect(await page.page.isDisabled("#vm-network")).toBe(true);
    const one = await page.debian("debian");
    const two = await page.debian("debian-2");
    expect([one.name, two.name]).toEqual(["debian", "debian-2"]);
    expect(one.address).not.toBe(two.address);
    await page.listen(7777);
    await page.choose("debian");
    expect(await page.pings("debian-2")).toBe("1");
    await page.run("dd if=/dev/zero bs=4096 count=500 2> /dev/null | nc debian-2 7777");
    await page.choose("debian-2");
    expect(await page.heard()).toBe(zeros(2_048_000));
    await expect.poll(async () => (await page.counts("debian-2"))[2], PATIENCE).toBeGreaterThan(2_048_000);
    expect((await page.counts("debian"))[0]).toBeGreaterThan(2_048_000);
    expect(await page.state()).toBe(
      "This tab is alone in it, this tab has the gateway. Nothing outside can be reached.",
    );

    // So many bytes a second, and not more, whatever time that takes.
    await page.choose("debian");
    await page.listen(7778);
    await page.page.getByLabel("Send limit of debian-2", { exact: true }).fill("1");
    await expect
      .poll(() =>
        page.page.getByLabel("Send limit of debian-2", { exact: true }).getAttribute("aria-valuetext"),
      )
      .toBe("64 KiB/s");
    await page.choose("debian-2");
    const [before = 0] = await page.counts("debian-2");
    const began = performance.now();
    await page.type("dd if=/dev/zero bs=4096 count=200 2> /dev/null | nc debian 7778\n");
    await expect
      .poll(async () => (await page.counts("debian-2"))[0], PATIENCE)
      .toBeGreaterThan(before + 65_536);
    const [held = 0] = await page.counts("debian-2");
    // A turn may be in hand, with a frame of 64 KiB that is longer than it.
    expect(held - before).toBeLessThanOrEqual(65_536 * ((performance.now() - began) / 1000 + 2));
    await page.page.getByLabel("Send limit of debian-2", { exact: true }).fill("10");
    await page.choose("debian");
    expect(await page.heard()).toBe(zeros(819_200));

    // The machine that was chosen last is meant, at once.
    await page.page.selectOption("#vm-network", "none");
    const isOut = () => page.run("ping -c 1 -W 3 -q 10.0.2.2 2>&1 | grep -c ' 1 packets received'");
    await expect.poll(isOut, PATIENCE).toBe("0");
    await page.page.selectOption("#vm-network", "page");
    await expect.poll(() => page.pings("10.0.2.2"), PATIENCE).toBe("1");

    // One that begins without a cable gets its address when that is put in.
    await page.launch("debian", { network: "none" });
    await page.is("debian-3", "running");
    await page.choose("debian-3");
    await page.shows(/root@/);
    await page.page.selectOption("#vm-network", "page");
    await page.settled("debian-3");
    expect(await page.pings("debian")).toBe("1");
    await page.page.close();
  }, 900_000);

  it("a clone has a name and an address of its own", async () => {
    const page = await open();
    const one = await page.debian("debian");
    await page.press("clone");
    await page.says(/^1 copy of debian, made in \d+\.\d ms$/);
    const two = await page.settled("debian-2");
    expect(two.address).not.toBe(one.address);
    expect(await page.pings("debian")).toBe("1");
    await page.choose("debian");
    expect(await page.pings("debian-2")).toBe("1");
    await page.page.close();
  }, 900_000);

  it("machines of two tabs reach each other, and go on when the tab with the gateway is closed", async () => {
    const first = await open();
    await first.debian("debian");
    const second = await open();
    const other = await second.debian("debian");
    // The name was taken.
    expect(other.name).toBe("debian-2");
    const third = await open();
    const last = await third.debian("debian");
    expect(last.name).toBe("debian-3");
    await expect
      .poll(async () => [await first.state(), await second.state()], PATIENCE)
      .toEqual([
        "2 other tabs are in it, this tab has the gateway. Nothing outside can be reached.",
        "2 other tabs are in it, another tab has the gateway. Nothing outside can be reached.",
      ]);
    await second.listen(7777);
    expect(await first.pings("debian-2")).toBe("1");
    await first.run("dd if=/dev/zero bs=4096 count=500 2> /dev/null | nc debian-2 7777");
    expect(await second.heard()).toBe(zeros(2_048_000));

    await first.page.close();
    await expect
      .poll(
        async () => [await second.state(), await third.state()].map((text) => text?.split(".")[0]).sort(),
        PATIENCE,
      )
      .toEqual([
        "1 other tab is in it, another tab has the gateway",
        "1 other tab is in it, this tab has the gateway",
      ]);
    // The new gateway knows names of both, and gives addresses.
    expect(await second.pings("debian-3.internal")).toBe("1");
    expect(await third.pings("debian-2.internal")).toBe("1");
    expect(await third.run("ping -c 1 debian 2>&1 | grep -c 'bad address'")).toBe("1");
    // The name that the closed tab had is free.
    const fourth = await open();
    expect((await fourth.debian("debian")).name).toBe("debian");
    expect(await fourth.pings("debian-3")).toBe("1");
    for (const page of [second, third, fourth]) await page.page.close();
  }, 1_200_000);

  it("web requests go out by the browser, and nothing else does; the choice is one of all tabs", async () => {
    const page = await open(`http://${NAME}/`);
    await page.debian("debian");
    const fetched =
      "wget -q -T 60 -O /tmp/file http://page.example.org/file.bin; sha256sum < /tmp/file | cut -c 1-64";
    expect(await page.run(fetched)).not.toContain(digestOf(file));
    await page.choosesWay("web");
    await expect.poll(() => page.state(), PATIENCE).toContain("Web requests go out by this browser.");
    expect(await page.run(fetched)).toContain(digestOf(file));
    expect(await page.run("nc -w 60 page.example.org 22 < /dev/null; echo status $?")).toContain("status 1");
    const other = await open(`http://${NAME}/`);
    expect(await other.page.isChecked("#way [value=web]")).toBe(true);
    await other.choosesWay("none");
    await expect.poll(() => page.state(), PATIENCE).toContain("Nothing outside can be reached.");
    expect(await page.page.isChecked("#way [value=none]")).toBe(true);
    for (const each of [page, other]) await each.page.close();
  }, 900_000);

  it("a relay that can't be is told in one line", async () => {
    const page = await open();
    await page.debian("debian");
    await page.choosesWay("relay");
    await page.says(
      /^a relay needs its address: paste what hyperfile daemon --web prints, or one like wss:\/\/relay\.example\/wisp\/$/,
    );
    await page.choosesWay("relay", "http//nowhere");
    await expect.poll(() => page.state(), PATIENCE).toMatch(/http\/\/nowhere/);
    const nobody = `127.0.0.1:${await freePort()}`;
    await page.choosesWay("relay", `ws://${nobody}/`);
    await expect.poll(() => page.state(), PATIENCE).toContain(nobody);
    expect((await page.state())!.split("\n")).toHaveLength(1);
    expect(await page.pings("10.0.2.2")).toBe("1");
    await page.choosesWay("none");
    await expect.poll(() => page.state(), PATIENCE).toContain("Nothing outside can be reached.");
    await page.page.close();
    // The browser itself says that it could not connect, and nobody else says anything.
    const others = browser.complaints
      .splice(0)
      .filter((text) => !text.includes(`WebSocket connection to 'ws://${nobody}/' failed`));
    expect(others).toEqual([]);
  }, 900_000);
});
