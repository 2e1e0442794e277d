/** Chromium for tests, and the pages built once a test run. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  existsSync,
);
/** Why tests in a browser can't run here; undefined if they can. */
export const missingBrowser =
  executablePath === undefined ? "Chromium is not installed (Debian's package chromium)" : undefined;
if (missingBrowser !== undefined && process.env.HYPERFILE_TEST_NO_SKIP === "1")
  throw new Error(`${missingBrowser}, and HYPERFILE_TEST_NO_SKIP=1 lets no test be skipped`);

/** Where the pages are built. */
export const builtPages = fileURLToPath(new URL("../dist", import.meta.url));

const args = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  // Pages in the background are tests' pages, too.
  "--disable-background-timer-throttling",
  "--disable-renderer-backgrounding",
];

/** A browser with a profile of its own, which keeps what pages keep until it is closed for good. */
export class TestBrowser {
  /** What pages said that they should not have: messages of the console, exceptions. */
  readonly complaints: string[] = [];

  private constructor(
    private readonly profile: string,
    private readonly more: readonly string[],
    private context: BrowserContext,
  ) {
    this.listen(context);
  }

  /** @param more arguments of its own */
  static async start(more: readonly string[] = []): Promise<TestBrowser> {
    const profile = await mkdtemp(join(tmpdir(), "hf-chromium-"));
    return new TestBrowser(profile, more, await launch(profile, more));
  }

  get browser(): Browser | null {
    return this.context.browser();
  }

  /** A page that has loaded. */
  async open(url: string): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(url);
    return page;
  }

  /** Closes what tests that failed have left open: their machines would be in the next one's way. */
  async closePages(): Promise<void> {
    const [, ...opened] = this.context.pages();
    await Promise.all(opened.map((page) => page.close()));
  }

  /** Ends all its processes at once, and starts it again with the same profile. */
  async restart(): Promise<void> {
    await this.context.close();
    this.context = await launch(this.profile, this.more);
    this.listen(this.context);
  }

  /** Kills all its processes without a word, and starts it again with the same profile. */
  async crash(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.context.once("close", () => resolve()));
    // It leads a group of processes.
    process.kill(-(await processOf(this.profile)), "SIGKILL");
    await closed;
    this.context = await launch(this.profile, this.more);
    this.listen(this.context);
  }

  async close(): Promise<void> {
    await this.context.close();
    await rm(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }

  private listen(context: BrowserContext): void {
    context.on("console", (message) => this.complaints.push(`${message.type()}: ${message.text()}`));
    context.on("weberror", (error) => this.complaints.push(`exception: ${error.error().message}`));
  }
}

/** The first process of the browser that has a profile. */
async function processOf(profile: string): Promise<number> {
  for (const name of await readdir("/proc")) {
    const words = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    if (words.includes(`--user-data-dir=${profile}\0`) && !words.includes("\0--type=")) return Number(name);
  }
  throw new Error(`no browser runs with the profile ${profile}`);
}

const launch = (profile: string, more: readonly string[]): Promise<BrowserContext> =>
  chromium.launchPersistentContext(profile, {
    headless: true,
    chromiumSandbox: false,
    ...(executablePath === undefined ? {} : { executablePath }),
    args: [...args, ...more],
    viewport: { width: 1280, height: 800 },
  });
