/** The page in Chromium, under a policy without `unsafe-eval`, with and without isolation, below a path of its own. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { OwnDaemon } from "../../cli/test/own-daemon.js";
import { embeddedGuest } from "../../guest/src/index.js";
import { builtPages, missingBrowser, TestBrowser } from "./browser.js";
import { StaticServer } from "./static-server.js";
import { VmPage } from "./vm-page.js";

const policy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; worker-src 'self'";
const prompt = /guest# $|guest#$/m;

describe.skipIf(missingBrowser !== undefined)(
  `the page${missingBrowser === undefined ? "" : ` (skipped: ${missingBrowser})`}`,
  () => {
    let plain: StaticServer;
    let isolated: StaticServer;
    let browser: TestBrowser;
    let folder: string;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "hf-page-"));
      plain = await StaticServer.start(builtPages, { policy, path: "/some/where/" });
      isolated = await StaticServer.start(builtPages, { policy, isIsolated: true });
      browser = await TestBrowser.start();
    });
    afterEach(() => {
      expect(browser.complaints.splice(0)).toEqual([]);
    });
    afterAll(async () => {
      await browser?.close();
      await plain?.close();
      await isolated?.close();
      await rm(folder, { recursive: true, force: true });
    });
    const open = async (server: StaticServer): Promise<VmPage> => {
      const page = new VmPage(await browser.open(server.url));
      await page.shows(prompt);
      return page;
    };

    it("has a shell that answers, isolated or not, and says which it is", async () => {
      for (const [server, isIsolated] of [
        [plain, false],
        [isolated, true],
      ] as const) {
        const page = await open(server);
        expect(await page.page.textContent("#platform")).toContain(
          isIsolated
            ? "is cross-origin isolated"
            : "is not cross-origin isolated, which machines here do not need",
        );
        await page.type("echo answer\n");
        await page.shows(/^answer$/m);
        await page.page.close();
      }
    });

    it("pauses, resumes, resets, powers off and on, and removes", async () => {
      const page = await open(plain);
      await page.press("pause");
      await page.is("embedded", "paused");
      await page.type("echo later\n");
      await page.press("pause");
      await page.is("embedded", "running");
      await page.shows(/^later$/m);
      await page.press("reset");
      await page.shows(/later[\s\S]*Hyperfile guest[\s\S]*guest#/);
      await page.press("stop");
      await page.is("embedded", "off");
      await page.press("start");
      await page.is("embedded", "running");
      await page.shows(/(Hyperfile guest[\s\S]*){2}guest#/);
      await page.press("remove");
      await expect.poll(() => page.list()).toEqual([]);
      expect(await page.page.locator("#toolbar button:enabled").count()).toBe(0);
      await page.page.close();
    });

    it("keeps a machine in the browser over a reload, and gives it up when told to", async () => {
      const page = await open(plain);
      await page.type("echo before\n");
      await page.shows(/^before$/m);
      await page.press("keep");
      await page.says(/^embedded is kept in this browser as it is now: \d+\.\d MiB$/);
      await page.page.reload();
      await page.shows(prompt);
      await page.page.getByRole("button", { name: "Go on with embedded" }).click();
      await page.is("embedded-2", "running");
      // It goes on at its prompt: it does not greet.
      await page.type("echo after\n");
      await page.shows(/^after$/m);
      expect(await page.rows()).not.toContain("Hyperfile guest");
      await page.page.getByRole("button", { name: "Delete embedded" }).click();
      await page.page.locator("#kept").waitFor({ state: "hidden" });
      await page.page.close();
    });

    it("divides the core by shares, within 5 %, and moves it when a slider is moved", async () => {
      const page = await open(plain);
      await page.launch("embedded");
      await page.is("embedded-2", "running");
      await page.shows(prompt);
      const used = () => page.used();
      const set = async (name: string, shares: number) => {
        const slider = page.page.getByLabel(`Shares of ${name}`, { exact: true });
        await slider.fill(String(shares));
      };
      await set("embedded", 1000);
      await set("embedded-2", 3000);
      for (const vm of ["embedded", "embedded-2"]) {
        await page.choose(vm);
        for (let count = 0; count < 8; count++) await page.type("burn 4000 &\n");
      }
      const measured = async (): Promise<number> => {
        await page.page.waitForTimeout(1000);
        const before = await used();
        await page.page.waitForTimeout(4000);
        const [one = 0, two = 0] = (await used()).map((each, at) => each - before[at]!);
        expect(one + two).toBeGreaterThan(1000);
        return two / (one + two);
      };
      expect(Math.abs((await measured()) - 0.75)).toBeLessThan(0.05);
      await set("embedded", 3000);
      expect(Math.abs((await measured()) - 0.5)).toBeLessThan(0.05);
      await page.page.close();
    });

    it("has pools, whose shares divide before those of the machines in them", async () => {
      const page = await open(plain);
      const add = async (pool: string) => {
        await page.page.getByLabel("Name of a pool").fill(pool);
        await page.page.getByRole("button", { name: "Add pool" }).click();
      };
      await add("left");
      await page.page.getByRole("button", { name: "Remove pool left" }).waitFor();
      await page.page.selectOption("#pool", "left");
      for (const vm of ["embedded-2", "embedded-3"]) {
        await page.launch("embedded");
        await page.is(vm, "running");
        await page.shows(prompt);
      }
      // Alone with its two machines, the pool has as much as the machine beside it.
      await page.page.getByLabel("Shares of pool left", { exact: true }).fill("1000");
      for (const vm of ["embedded", "embedded-2", "embedded-3"]) {
        await page.choose(vm);
        for (let count = 0; count < 8; count++) await page.type("burn 4000 &\n");
      }
      const used = () => page.used();
      await page.page.waitForTimeout(1000);
      const before = await used();
      await page.page.waitForTimeout(4000);
      const [one = 0, two = 0, three = 0] = (await used()).map((each, at) => each - before[at]!);
      expect(Math.abs(one / (one + two + three) - 0.5)).toBeLessThan(0.05);
      expect(Math.abs(two / (two + three) - 0.5)).toBeLessThan(0.05);
      await add("left");
      await page.says(/^there is a pool left already$/);
      await page.page.getByRole("button", { name: "Remove pool left" }).click();
      await page.says(/^pool left still holds embedded-2: remove that first$/);
      for (const vm of ["embedded-2", "embedded-3"]) {
        await page.choose(vm);
        await page.press("remove");
      }
      await page.page.getByRole("button", { name: "Remove pool left" }).click();
      await expect.poll(() => page.page.locator("#pool option").allTextContents()).toEqual(["none"]);
      await page.page.close();
    });

    it("clones a machine, and twenty times; each goes on by itself", async () => {
      const page = await open(plain);
      await page.type("echo original\n");
      await page.shows(/^original$/m);
      await page.press("clone");
      await page.says(/^1 copy of embedded, made in \d+\.\d ms$/);
      await page.shows(/^original$/m);
      await page.type("echo copy\n");
      await page.shows(/^copy$/m);
      await page.choose("embedded");
      await page.shows(/^original$/m);
      expect(await page.rows()).not.toMatch(/^copy$/m);
      await page.press("clone20");
      await page.says(/^20 copies of embedded, made in \d+\.\d ms$/);
      expect(await page.list()).toEqual(
        Array.from({ length: 22 }, (_, at) => `embedded${at === 0 ? "" : `-${at + 1}`}: running`),
      );
      await page.choose("embedded-22");
      await page.type("echo last\n");
      await page.shows(/^last$/m);
      await page.page.close();
    });

    it("opens files by what they are, and tells in a line what is wrong with others", async () => {
      const page = await open(plain);
      const kernel = await embeddedGuest(64);
      await page.drop([{ name: "My Kernel.elf", bytes: kernel }]);
      await page.is("my-kernel", "running");
      await page.shows(prompt);
      await page.drop([{ name: "narrow.elf", bytes: await embeddedGuest(32) }]);
      await page.is("narrow", "running");
      await page.shows(/RV32/);
      const broken: readonly (readonly [name: string, bytes: Uint8Array, message: RegExp])[] = [
        ["empty.elf", new Uint8Array(), /^empty\.elf is empty$/],
        ["cut.elf", kernel.subarray(0, 3000), /^cut\.elf: /],
        ["notes.txt", Buffer.from("hello"), /^notes\.txt is no file that a machine can use: open a kernel/],
        ["packed.cpio.gz", Uint8Array.of(0x1f, 0x8b, 8, 0), /^packed\.cpio\.gz is compressed with gzip/],
        ["disk.img", new Uint8Array(1024), /^disk\.img can't be started: open it together with a kernel/],
        ["bad.snapshot", Buffer.from("HYPERSNP and no more"), /snapshot/],
        [
          "x86.elf",
          Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, ...new Array(11).fill(0), 62, 0),
          /number 62/,
        ],
      ];
      for (const [name, bytes, message] of broken) {
        await page.drop([{ name, bytes }]);
        await page.says(message);
        expect((await page.page.textContent("#message"))!.split("\n")).toHaveLength(1);
      }
      expect(await page.list()).toEqual(["embedded: running", "my-kernel: running", "narrow: running"]);
      await page.page.close();
    });

    it("goes on where a snapshot of the daemon's ends, and the daemon where the page's does", async () => {
      const daemon = await OwnDaemon.start(folder, join(folder, "state"));
      const page = await open(plain);
      try {
        await writeFile(
          join(folder, "Hyperfile"),
          "name: page\nvms: { a: { kernel: embedded, memory: 32M } }\n",
        );
        expect((await daemon.run("up")).errors).toBe("");
        expect((await daemon.run("exec", "a", "echo there")).output).toBe("there\n");
        expect((await daemon.run("snapshot", "a", "s")).errors).toBe("");
        const files = await readdir(join(folder, "state"), { recursive: true });
        const at = join(folder, "state", files.find((file) => file.endsWith("s.snapshot"))!);
        await page.drop([{ name: "from-daemon.snapshot", bytes: await readFile(at) }]);
        await page.is("from-daemon", "running");
        await page.type("echo here\n");
        await page.shows(/^here$/m);
        const [download] = await Promise.all([page.page.waitForEvent("download"), page.press("download")]);
        await download.saveAs(at);
        expect((await daemon.run("restore", "a", "s")).errors).toBe("");
        expect(await daemon.run("exec", "a", "echo back")).toMatchObject({ status: 0, output: "back\n" });
      } finally {
        await daemon.end();
        await page.page.close();
      }
    });

    it("can be used with the keyboard alone", async () => {
      const page = await open(plain);
      const press = (key: string) => page.page.keyboard.press(key);
      const focused = () => page.page.evaluate(() => document.activeElement?.textContent ?? "");
      const to = async (text: string) => {
        for (let count = 0; count < 60 && (await focused()) !== text; count++) await press("Tab");
        expect(await focused()).toBe(text);
      };
      await page.page.locator("body").focus();
      await to("embedded: running");
      await press("Enter");
      // The terminal has the keys now.
      await page.page.keyboard.type("echo typed\n");
      await page.shows(/^typed$/m);
      await page.page.reload();
      await page.shows(prompt);
      await to("Pause");
      await press("Enter");
      await page.is("embedded", "paused");
      await page.page.close();
    });

    it("has no fault that axe calls serious, light and dark", async () => {
      const page = await open(plain);
      const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
      for (const colorScheme of ["light", "dark"] as const) {
        await page.page.emulateMedia({ colorScheme });
        await page.page.evaluate(axe);
        const faults = await page.page.evaluate(async () => {
          const { axe: checker } = globalThis as unknown as {
            axe: {
              run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }>;
            };
          };
          return (await checker.run()).violations
            .filter(({ impact }) => impact === "serious" || impact === "critical")
            .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
        });
        expect(faults, colorScheme).toEqual([]);
      }
      await page.page.close();
    });
  },
);
