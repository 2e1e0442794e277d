/** Disks, image stores and snapshots in Chromium's private file system: killed, shared and out of room. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { build, loadConfigFromFile } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingBrowser, TestBrowser } from "./browser.js";
import { StaticServer } from "./static-server.js";

/** The page's side: calls of its worker by name, and how far they are. */
const page = `
const worker = new Worker("worker.js", { type: "module" });
const asked = new Map();
window.progress = 0;
worker.onmessage = ({ data: { id, ...rest } }) => {
  if ("progress" in rest) window.progress = rest.progress;
  else asked.get(id)(rest);
};
window.ask = (call, ...args) => {
  const id = asked.size;
  worker.postMessage({ id, call, args });
  return new Promise((resolve) => asked.set(id, resolve));
};
`;

/** The code in the README of the devices that is for browsers. */
async function readmeCode(): Promise<string> {
  const text = await readFile(new URL("../../../packages/devices/README.md", import.meta.url), "utf8");
  return /^### In a browser$.*?^```javascript\n(.*?)^```$/ms.exec(text)![1]!;
}

interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: each call has its own
  readonly result?: any;
  readonly failure?: { readonly code?: string; readonly message: string };
}
interface TestWindow {
  readonly progress: number;
  ask(call: string, ...args: unknown[]): Promise<Answer>;
}

describe.skipIf(missingBrowser !== undefined)("the private file system", () => {
  let folder: string;
  let server: StaticServer;
  let browser: TestBrowser;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "hf-opfs-"));
    const worker = fileURLToPath(new URL("opfs-worker.ts", import.meta.url));
    const readme = join(folder, "readme.ts");
    await writeFile(readme, `const console = { log: (text) => postMessage(text) };\n${await readmeCode()}`);
    const pages = await loadConfigFromFile(
      { command: "build", mode: "production" },
      fileURLToPath(new URL("../vite.config.ts", import.meta.url)),
    );
    await build({
      configFile: false,
      logLevel: "error",
      publicDir: false,
      resolve: pages!.config.resolve!,
      build: {
        target: "es2022",
        outDir: folder,
        emptyOutDir: false,
        lib: { entry: { worker, readme }, formats: ["es"], fileName: (_, name) => `${name}.js` },
      },
    });
    await writeFile(join(folder, "page.js"), page);
    await writeFile(
      join(folder, "index.html"),
      '<!doctype html><link rel="icon" href="data:,"><script src="page.js"></script>',
    );
    server = await StaticServer.start(folder, { policy: "script-src 'self' 'wasm-unsafe-eval'" });
    browser = await TestBrowser.start();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    if (folder !== undefined) await rm(folder, { recursive: true });
  });

  const open = () => browser.open(server.url);
  const ask = (tab: Page, call: string, ...args: unknown[]): Promise<Answer> =>
    tab.evaluate(([name, rest]) => (window as unknown as TestWindow).ask(name, ...rest), [
      call,
      args,
    ] as const);
  /** Begins a call that nobody waits for, and waits until it is so far. */
  const begin = async (tab: Page, until: number, call: string, ...args: unknown[]): Promise<void> => {
    await tab.evaluate(([name, rest]) => void (window as unknown as TestWindow).ask(name, ...rest), [
      call,
      args,
    ] as const);
    await tab.waitForFunction((least) => (window as unknown as TestWindow).progress >= least, until);
  };
  const progressOf = (tab: Page): Promise<number> =>
    tab.evaluate(() => (window as unknown as TestWindow).progress);
  const locked = (name: string) => ({
    failure: {
      code: "E_IMAGE_LOCKED",
      message: `${name}: the disk is in use by another tab or VM of this browser; close that tab or stop that VM, or use another disk`,
    },
  });

  it.each(["raw", "qcow2"] as const)(
    "keeps what a %s disk has flushed when all is killed",
    async (format) => {
      const name = `disks/${format}`;
      const tab = await open();
      await begin(tab, 50, "fill", name, format);
      const flushed = await progressOf(tab);
      await browser.crash();
      const again = await open();
      expect(flushed).toBeGreaterThanOrEqual(50);
      if (format === "qcow2") expect(await ask(again, "check", name)).toEqual({ result: [] });
      expect(await ask(again, "look", name, format, flushed)).toEqual({
        result: { missing: [], size: 24 << 20 },
      });
      if (format === "qcow2") expect(await ask(again, "check", name)).toEqual({ result: [] });
      await again.close();
    },
  );

  it("tells the second tab that the disk is in use, and gives it when the first has crashed or was left", async () => {
    const name = "disks/shared";
    const [one, two] = await Promise.all([open(), open()]);
    expect(await ask(one, "hold", name)).toEqual({});
    expect(await ask(two, "hold", name)).toEqual(locked(name));
    expect(await ask(two, "remove", name)).toEqual(locked(name));
    // It has it itself, too: another VM of the same tab is another user.
    expect(await ask(one, "hold", name)).toEqual(locked(name));
    await one.reload();
    expect(await ask(one, "hold", name)).toEqual({});
    const crashed = one.waitForEvent("crash");
    await one.goto("chrome://crash").catch(() => {});
    await crashed;
    expect(await ask(two, "hold", name)).toEqual({});
    await two.close();
    await one.close();
    const three = await open();
    expect(await ask(three, "remove", name)).toEqual({ result: true });
    await three.close();
  });

  it("keeps the old snapshot whole when one is killed that is half written, and removes the half", async () => {
    const name = "snapshots/mine";
    const tab = await open();
    expect(await ask(tab, "save", name, 1, 3)).toEqual({});
    await begin(tab, 2, "saveInPart", name, 2);
    await browser.crash();
    const again = await open();
    const left = (await ask(again, "names", "snapshots")).result as string[];
    expect(left).toEqual([expect.stringMatching(/^\..*\.in-progress$/), "mine"]);
    expect(await ask(again, "load", name)).toEqual({ result: { bytes: 3 << 20, marks: [1] } });
    expect((await ask(again, "list", "snapshots")).result).toEqual([
      { name, bytes: 3 << 20, at: expect.any(Number) },
    ]);
    expect(await ask(again, "save", name, 3, 3)).toEqual({});
    expect(await ask(again, "names", "snapshots")).toEqual({ result: ["mine"] });
    expect(await ask(again, "load", name)).toEqual({ result: { bytes: 3 << 20, marks: [3] } });
    await again.close();
  });

  it("leaves alone what another tab is writing", async () => {
    const [one, two] = await Promise.all([open(), open()]);
    await begin(one, 2, "saveInPart", "snapshots/one", 1);
    expect(await ask(two, "save", "snapshots/two", 2, 3)).toEqual({});
    const names = (await ask(two, "names", "snapshots")).result as string[];
    expect(names.filter((name) => name.endsWith(".in-progress"))).toHaveLength(1);
    await one.close();
    await two.close();
  });

  it("gives images of a store back after a kill", async () => {
    const tab = await open();
    await begin(tab, 30, "fillStore", "stores/main");
    const flushed = await progressOf(tab);
    await browser.crash();
    const again = await open();
    expect(await ask(again, "lookStore", "stores/main", flushed)).toEqual({
      result: { problems: [], missing: [], removed: expect.any(Number), after: [] },
    });
    await again.close();
  });

  it("says that there is no more room, and keeps what is there", async () => {
    const tab = await open();
    const session = await tab.context().newCDPSession(tab);
    const origin = new URL(server.url).origin;
    const { usage } = await session.send("Storage.getUsageAndQuota", { origin });
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: usage + (32 << 20) });
    const { result } = await ask(tab, "exhaust", "disks/full");
    expect(result).toEqual({
      written: expect.any(Number),
      failure: {
        code: "E_DISK_FULL",
        message:
          "disks/full: the browser gives this page no more room; remove disks or snapshots that are not needed, or make room on the computer",
      },
      isThere: true,
    });
    expect(result.written).toBeGreaterThan(7);
    expect(result.written).toBeLessThan(33);
    expect(await ask(tab, "save", "full/one", 1, 1)).toEqual({});
    expect(await ask(tab, "save", "full/one", 2, 64)).toMatchObject({ failure: { code: "E_DISK_FULL" } });
    expect(await ask(tab, "load", "full/one")).toEqual({ result: { bytes: 1 << 20, marks: [1] } });
    expect(await ask(tab, "names", "full")).toEqual({ result: ["one"] });
    expect(await ask(tab, "check", "disks/full")).toEqual({ result: [] });
    await tab.close();
  });

  it("does what the README says, with a disk that is made and with one that is there", async () => {
    const tab = await open();
    const run = () =>
      tab.evaluate(
        () =>
          new Promise((resolve, reject) => {
            const worker = new Worker("readme.js", { type: "module" });
            worker.onmessage = ({ data }) => resolve(data);
            worker.onerror = ({ message }) => reject(new Error(message));
          }),
      );
    for (let round = 0; round < 2; round++) {
      expect(await run()).toBe(3);
      expect(await ask(tab, "check", "disks/home.qcow2")).toEqual({ result: [] });
    }
    expect(await ask(tab, "load", "snapshots/evening")).toEqual({ result: { bytes: 3, marks: [1, 2, 3] } });
    await tab.close();
  });

  it("says nothing on the console", () => {
    expect(browser.complaints).toEqual([]);
  });
});
