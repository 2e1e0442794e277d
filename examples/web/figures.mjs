// Prints what the README says of the page: times to prompts, the speed of programs beside Node's, and sizes.
//   node examples/web/figures.mjs [PROGRAM.elf ...]
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { riscvVirt } from "@hyperfile/machine";
import { chromium } from "playwright-core";
import { addDebian } from "./debian.mjs";

const RUNS = 5;
const RAM_BYTES = 128 * 2 ** 20;
const dist = fileURLToPath(new URL("./dist", import.meta.url));
const programs = process.argv.slice(2);
const browsers = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = browsers.find((path) => existsSync(path));
if (executablePath === undefined) {
  console.error("figures: there is no Chromium: install Debian's package chromium");
  process.exit(1);
}
const median = (values) => values.sort((one, other) => one - other)[values.length >> 1];

const types = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".wasm": "application/wasm",
};
const folder = mkdtempSync(join(tmpdir(), "hf-figures-"));
cpSync(dist, folder, { recursive: true });
await addDebian(folder);
const server = createServer(({ url }, response) => {
  const file = join(folder, url === "/" ? "index.html" : new URL(url, "http://localhost").pathname);
  response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream");
  if (existsSync(file)) response.end(readFileSync(file));
  else response.writeHead(404).end();
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const browser = await chromium.launch({
  executablePath,
  chromiumSandbox: false,
  args: ["--disable-gpu", "--disable-background-networking"],
});
const open = async () => {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  return page;
};
/** Resolves with the page's time when its terminal shows a text. */
const shown = (page, text) =>
  page.evaluate(
    (wanted) =>
      new Promise((resolve) => {
        const look = () => {
          const rows = document.querySelector("#screen .xterm-rows")?.textContent ?? "";
          if (rows.includes(wanted)) resolve(performance.now());
          else setTimeout(look, 2);
        };
        look();
      }),
    text,
  );

const prompts = [];
const debians = [];
for (let run = 0; run < RUNS; run++) {
  const page = await open();
  prompts.push(await shown(page, "guest#"));
  await page.selectOption("#guest", "debian");
  const began = await page.evaluate(() => performance.now());
  await page.click("#new-vm button[type=submit]");
  await page.locator("#vm-list button", { hasText: "debian: running" }).waitFor();
  await page.click("#screen");
  await page.keyboard.type("echo a$((6*7))b\n");
  debians.push((await shown(page, "a42b")) - began);
  await page.close();
}
console.log(
  `embedded guest's prompt after the page was asked for: ${median(prompts).toFixed(0)} ms, median of ${RUNS}`,
);
console.log(
  `Debian answers a command after its start was clicked: ${median(debians).toFixed(0)} ms, median of ${RUNS}`,
);

if (programs.length > 0) console.log(`\n${"program".padEnd(24)} Chromium   Node ${process.version}   ratio`);
for (const path of programs) {
  const bytes = readFileSync(path);
  const [pageTimes, nodeTimes] = [[], []];
  // One page, as there is one process of Node: what a second run finds warm, both find warm.
  const page = await open();
  await shown(page, "guest#");
  await page.selectOption("#memory", "128");
  for (let run = 0; run < RUNS; run++) {
    await page.setInputFiles("#files", {
      name: "program.elf",
      mimeType: "application/octet-stream",
      buffer: bytes,
    });
    for (const state of ["running", "off"])
      await page.locator("#vm-list button", { hasText: `program: ${state}` }).waitFor({ timeout: 120_000 });
    // Until the figures of its end have come.
    await page.waitForTimeout(600);
    const time = page.locator("#fleet tbody tr:nth-child(2) td:nth-child(3)");
    pageTimes.push(1000 * Number.parseFloat(await time.getAttribute("title")));
    await page.click('#toolbar [data-action="remove"]');
    await page.locator("#vm-list button", { hasText: "program" }).waitFor({ state: "detached" });
    await page.waitForTimeout(600);
  }
  await page.close();
  for (let run = 0; run < RUNS; run++) {
    const machine = riscvVirt({ ramBytes: RAM_BYTES, boot: { program: { name: basename(path), bytes } } });
    const began = performance.now();
    await machine.run();
    nodeTimes.push(performance.now() - began);
    machine.free();
  }
  const [inPage, inNode] = [median(pageTimes), median(nodeTimes)];
  console.log(
    `${basename(path).padEnd(24)} ${inPage.toFixed(0).padStart(5)} ms ${inNode.toFixed(0).padStart(10)} ms ${(inNode / inPage).toFixed(2).padStart(9)}`,
  );
}

console.log("\nsizes, compressed with gzip:");
/** The files that the page loads: those that it names, and those that these name. */
const assets = readdirSync(join(dist, "assets"));
const loaded = new Set();
const follow = (text) => {
  for (const name of assets.filter((each) => text.includes(each) && !loaded.has(each))) {
    loaded.add(name);
    if (name.endsWith(".js")) follow(readFileSync(join(dist, "assets", name), "latin1"));
  }
};
follow(readFileSync(join(dist, "index.html"), "utf8"));
let all = 0;
for (const name of [...loaded].filter((each) => !each.endsWith(".elf"))) {
  const size = gzipSync(readFileSync(join(dist, "assets", name))).length;
  all += size;
  console.log(`${(size / 1000).toFixed(1).padStart(7)} kB  ${name.replace(/-[\w-]{8}\./, ".")}`);
}
console.log(`${(all / 1000).toFixed(1).padStart(7)} kB  the page without guests`);
await browser.close();
server.close();
rmSync(folder, { recursive: true, force: true });
