/**
 * Debian in the page: from the snapshot that the build has made, and booted with a disk that the browser keeps. Left out
 * where Debian's files were never fetched (`npm start` does).
 */
import { createHash } from "node:crypto";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { debianWithAgent } from "../../../packages/machine/test/debian.js";
import { addDebian } from "../debian.mjs";
import { builtPages, missingBrowser, TestBrowser } from "./browser.js";
import { StaticServer } from "./static-server.js";
import { VmPage } from "./vm-page.js";

const policy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; worker-src 'self'";
const isLeftOut = missingBrowser !== undefined || (await debianWithAgent()) === undefined;

describe.skipIf(isLeftOut)("Debian in the page", () => {
  let folder: string;
  let server: StaticServer;
  let browser: TestBrowser;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "hf-debian-page-"));
    await cp(builtPages, folder, { recursive: true });
    await addDebian(folder);
    server = await StaticServer.start(folder, { policy });
    browser = await TestBrowser.start();
  });
  afterEach(() => {
    expect(browser.complaints.splice(0)).toEqual([]);
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });
  const open = async (): Promise<VmPage> => {
    const page = new VmPage(await browser.open(server.url));
    await page.shows(/guest#/);
    return page;
  };

  it("is at its shell from a snapshot, computes a digest, and is cloned", async () => {
    const page = await open();
    await page.launch("debian");
    await page.is("debian", "running");
    await page.type("dd if=/dev/zero bs=4096 count=1000 2>/dev/null | sha256sum\n");
    await page.shows(new RegExp(createHash("sha256").update(new Uint8Array(4_096_000)).digest("hex")));
    // It has not booted: nothing of the kernel's beginning was printed.
    expect(await page.rows()).not.toContain("Linux version");
    await page.press("clone");
    await page.says(/^1 copy of debian, made in \d+\.\d ms$/);
    await page.type("echo copy $((6 * 7))\n");
    await page.shows(/^copy 42$/m);
    await page.choose("debian");
    await page.type("echo original $((6 * 8))\n");
    await page.shows(/^original 48$/m);
    expect(await page.rows()).not.toMatch(/^copy 42$/m);
    await page.page.close();
  });

  it("boots, and finds what it wrote to its disk after the tab was killed; another tab is told who has it", async () => {
    const page = await open();
    await page.launch("debian", { hasDisk: true });
    await page.shows(/root@hyperfile:~#/);
    await page.type(
      "echo kept-by-the-browser | dd of=/dev/vda seek=9 conv=fsync 2>/dev/null; echo written $((6 * 7))\n",
    );
    await page.shows(/^written 42$/m);
    const other = await open();
    await other.launch("debian", { hasDisk: true });
    await other.says(/debian\.qcow2.*(in use|another tab)/);
    expect(await other.list()).toEqual(["embedded: running"]);
    await browser.crash();
    const again = await open();
    await again.launch("debian", { hasDisk: true });
    await again.shows(/root@hyperfile:~#/);
    await again.type("dd if=/dev/vda skip=9 count=1 2>/dev/null | head -n 1\n");
    await again.shows(/^kept-by-the-browser$/m);
    await again.page.close();
  });
});
