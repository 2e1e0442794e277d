/**
 * The program of docs/guide/embedding.md as its readers run it: from a static folder, and through bundlers that find the
 * package where it is installed.
 */
import { cp, mkdir, readdir, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build, createServer } from "vite";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { missingBrowser } from "./browser.js";
import { ElementPage, EmbedSite, guide, head, PATIENCE, packaged, policy } from "./embed-site.js";
import { StaticServer } from "./static-server.js";

/** Blocks of the guide that print something, as one module, and all that they print. */
const blocks = [...guide.matchAll(/^```js\n(.*?)^```\n\n```text\n(.*?)^```$/gms)];
const program = `const console = { log: (...values) => { window.lines ??= []; window.lines.push(values.join(" ") + "\\n"); } };
${blocks.map(([, code]) => code).join("\n")}
window.isDone = true;
`;
const expected = blocks.map(([, , printed]) => printed).join("");

interface GuideWindow {
  readonly lines: readonly string[];
  readonly isDone?: boolean;
}

/** Folder of a package as it is when it is installed, with what its entries for pages are made of. */
async function installed(project: string): Promise<void> {
  const target = join(project, "node_modules/@hyperfile/machine");
  await mkdir(join(target, "dist"), { recursive: true });
  await cp(join(packaged, "package.json"), join(target, "package.json"));
  for (const name of await readdir(join(packaged, "dist")))
    if (/^(web.*|zstd)\.(js|wasm)$/.test(name))
      await cp(join(packaged, "dist", name), join(target, "dist", name));
}

describe.skipIf(missingBrowser !== undefined)(
  `the guide's program${missingBrowser === undefined ? "" : ` (skipped: ${missingBrowser})`}`,
  () => {
    let site: EmbedSite;

    beforeAll(async () => {
      site = await EmbedSite.start();
    });
    afterEach(() => {
      expect(site.browser.complaints.splice(0)).toEqual([]);
    });
    afterAll(async () => {
      await site?.close();
    });

    /** The program of the guide on a page of a server. */
    const runsGuide = async (address: string) => {
      const page = await site.browser.open(address);
      await page.waitForFunction(() => (window as unknown as GuideWindow).isDone, undefined, {
        timeout: PATIENCE,
      });
      expect(await page.evaluate(() => (window as unknown as GuideWindow).lines.join(""))).toBe(expected);
      await page.close();
    };

    it("runs from a static folder", async () => {
      expect(blocks.length).toBeGreaterThanOrEqual(4);
      await writeFile(
        join(site.files, "guide.js"),
        program.replace('"@hyperfile/machine/web"', '"./hyperfile/web.js"'),
      );
      await site
        .open("guide", '<script type="module" src="guide.js"></script>')
        .then(({ page }) => page.close());
      await runsGuide(`${site.server.url}guide.html`);
    });

    it("runs when vite has bundled it", async () => {
      const project = join(site.folder, "vite");
      await installed(project);
      await writeFile(join(project, "main.js"), program);
      await writeFile(join(project, "index.html"), `${head}<script type="module" src="main.js"></script>`);
      await mkdir(join(project, "public"));
      for (const name of ["guest64.elf", "icon.svg"])
        await cp(join(site.files, name), join(project, "public", name));
      await build({ root: project, base: "./", configFile: false, logLevel: "error" });
      const bundled = await StaticServer.start(join(project, "dist"), { policy, path: "/sub/" });
      try {
        await runsGuide(bundled.url);
      } finally {
        await bundled.close();
      }
    });

    it("runs on vite's development server with the configuration that the guide gives", async () => {
      const project = join(site.folder, "development");
      await installed(project);
      await writeFile(join(project, "vite.config.ts"), /^```ts\n(.*?)^```$/ms.exec(guide)![1]!);
      await writeFile(join(project, "main.js"), program);
      await writeFile(join(project, "index.html"), `${head}<script type="module" src="main.js"></script>`);
      for (const name of ["guest64.elf", "icon.svg"]) await cp(join(site.files, name), join(project, name));
      const development = await createServer({
        root: project,
        cacheDir: join(site.folder, "cache"),
        logLevel: "error",
        server: { host: "127.0.0.1", port: 0, watch: null },
      });
      try {
        await development.listen();
        await runsGuide(development.resolvedUrls!.local[0]!);
      } finally {
        await development.close();
      }
      // It tells of itself.
      expect(site.browser.complaints.splice(0).filter((line) => !line.startsWith("debug: [vite]"))).toEqual(
        [],
      );
    });

    it("runs when esbuild has bundled it, with the worker beside it or elsewhere", async () => {
      const project = join(site.folder, "esbuild");
      await installed(project);
      const { build: esbuild } = createRequire(createRequire(import.meta.url).resolve("vite"))("esbuild") as {
        build(options: Readonly<Record<string, unknown>>): Promise<unknown>;
      };
      const bundle = async (contents: string, outfile: string) => {
        await esbuild({
          stdin: { contents, resolveDir: project },
          ...{ bundle: true, minify: true, format: "esm", target: "es2022", outfile, logLevel: "silent" },
        });
      };
      const out = join(project, "out");
      await bundle(program, join(out, "beside/main.js"));
      const elsewhere = /^```javascript\n(.*?)^```$/ms.exec(guide)![1]!;
      const given = `import { startMachine } from "@hyperfile/machine/web";\nimport "@hyperfile/machine/web-element";
${elsewhere}
await machine.waitFor("guest# ");
const twin = await startMachine({ snapshot: await machine.save(), worker: () => new Worker("static/web-worker.js", { type: "module" }) });
await twin.type("echo twin\\n");
window.lines = [await twin.waitFor("twin\\r\\n" + "guest# ")];
window.isDone = true;`;
      await bundle(given, join(out, "elsewhere/js/main.js"));
      for (const [name, script, files] of [
        ["beside", "main.js", ""],
        ["elsewhere", "js/main.js", "static"],
      ] as const) {
        for (const file of ["guest64.elf", "icon.svg"])
          await cp(join(site.files, file), join(out, name, file));
        for (const file of ["web-worker.js", "zstd.wasm"])
          await cp(join(packaged, "dist", file), join(out, name, files, file));
        await writeFile(
          join(out, name, "index.html"),
          `${head}<script type="module" src="${script}"></script><hyperfile-machine kernel="guest64.elf" worker="static/web-worker.js"></hyperfile-machine>`,
        );
      }
      const bundled = await StaticServer.start(out, { policy });
      try {
        await runsGuide(`${bundled.url}beside/index.html`);
        const page = await site.browser.open(`${bundled.url}elsewhere/index.html`);
        await page.waitForFunction(() => (window as unknown as GuideWindow).isDone, undefined, {
          timeout: PATIENCE,
        });
        const element = new ElementPage(page);
        await element.press("Start");
        await element.shows(/guest#$/m);
        await page.close();
      } finally {
        await bundled.close();
      }
    });
  },
);
