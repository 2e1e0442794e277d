/** Pages of other people with machines in them, on a static server: what tests of the machine package's files share. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { HyperfileMachineElement } from "@hyperfile/machine/web-element";
import type { Page } from "playwright-core";
import { expect } from "vitest";
import { TestBrowser } from "./browser.js";
import { StaticServer } from "./static-server.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
/** The package as it is built. */
export const packaged = join(root, "packages/machine");
/** A kernel with a shell. */
export const guest = join(root, "examples/guest/bin/guest64.elf");
/** The page of documentation for embedders. */
export const guide = await readFile(join(root, "docs/guide/embedding.md"), "utf8");
/** A content policy without `unsafe-eval`. */
export const policy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; worker-src 'self'";
/** The beginning of a page. */
export const head =
  '<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title><link rel="icon" href="icon.svg">';
/** Milliseconds that a guest may take: hosts of tests are slow, and this is a guard. */
export const PATIENCE = 60_000;

/** What pages with `api.js` have. */
export type Api = Pick<typeof import("@hyperfile/machine/web"), "startMachine">;

/** Markup with an element that has attributes. */
export const element = (attributes: string): string =>
  `<script type="module" src="hyperfile/web-element.js"></script><hyperfile-machine ${attributes}></hyperfile-machine>`;

/** A static site with the package's files in its folder `hyperfile`, and a browser that looks at it. */
export class EmbedSite {
  private constructor(
    /** A folder for whatever tests make. */
    readonly folder: string,
    /** The folder that is served. */
    readonly files: string,
    readonly server: StaticServer,
    readonly browser: TestBrowser,
  ) {}

  static async start(): Promise<EmbedSite> {
    const folder = await mkdtemp(join(tmpdir(), "hf-embed-"));
    const files = join(folder, "site");
    await mkdir(join(files, "hyperfile"), { recursive: true });
    for (const name of ["web.js", "web-element.js", "web-worker.js", "zstd.wasm"])
      await cp(join(packaged, "dist", name), join(files, "hyperfile", name));
    await cp(guest, join(files, "guest64.elf"));
    await writeFile(
      join(files, "api.js"),
      'import { startMachine } from "./hyperfile/web.js"; Object.assign(window, { startMachine });',
    );
    await writeFile(join(files, "icon.svg"), '<svg xmlns="http://www.w3.org/2000/svg"/>');
    const server = await StaticServer.start(files, { policy, path: "/a/blog/" });
    return new EmbedSite(folder, files, server, await TestBrowser.start());
  }

  /** A page of the site with something in it. */
  async open(name: string, body: string): Promise<ElementPage> {
    await writeFile(join(this.files, `${name}.html`), head + body);
    return new ElementPage(await this.browser.open(`${this.server.url}${name}.html`));
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.server.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** The element as a user has it before him. */
export class ElementPage {
  constructor(
    readonly page: Page,
    readonly selector = "hyperfile-machine",
  ) {}

  rows(): Promise<string> {
    return this.page.evaluate(
      (selector) =>
        [...document.querySelector(selector)!.shadowRoot!.querySelectorAll(".xterm-rows > div")]
          .map((row) => row.textContent?.replaceAll("\u00a0", " ").trimEnd())
          .join("\n"),
      this.selector,
    );
  }

  async shows(what: RegExp): Promise<void> {
    await expect.poll(() => this.rows(), { timeout: PATIENCE, interval: 50 }).toMatch(what);
  }

  async is(state: string): Promise<void> {
    await this.page.locator(`${this.selector}[state="${state}"]`).waitFor({ timeout: PATIENCE });
  }

  async type(text: string): Promise<void> {
    await this.page.locator(`${this.selector} .screen`).click();
    await this.page.keyboard.type(text);
  }

  async press(name: string): Promise<void> {
    await this.page.locator(this.selector).getByRole("button", { name, exact: true }).click();
  }

  failure(): Promise<string | null> {
    return this.page.locator(`${this.selector} .failure`).textContent();
  }

  /** A snapshot of its machine. */
  async save(): Promise<Buffer> {
    const text = await this.page.evaluate(async (selector) => {
      const element = document.querySelector<HyperfileMachineElement>(selector as "hyperfile-machine")!;
      const bytes = await element.machine!.save();
      return new Promise<string>((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve((reader.result as string).replace(/^.*,/, ""));
        reader.readAsDataURL(new Blob([bytes as Uint8Array<ArrayBuffer>]));
      });
    }, this.selector);
    return Buffer.from(text, "base64");
  }
}
