// Builds the pages and serves them, with the headers that let VMs share memory between workers (cross-origin isolation).
import { createServer } from "node:net";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build, preview } from "vite";
import { addDebian } from "./debian.mjs";

const usage = "usage: npm run web -- [--port PORT] [--host HOST] [--out FOLDER]";
/** `out` is named from the folder of this file. */
const options = { port: 8080, host: "127.0.0.1", out: "dist" };

function fail(status, message) {
  console.error(`web: ${message}`);
  process.exit(status);
}

for (let at = 2; at < process.argv.length; at += 2) {
  const [flag, value] = process.argv.slice(at);
  const name = flag.slice(2);
  if (!flag.startsWith("--") || !(name in options)) fail(2, `${flag}: unknown option; ${usage}`);
  if (name === "port") {
    options.port = Number(value);
    if (!Number.isInteger(options.port) || options.port < 1 || options.port > 65_535)
      fail(2, `--port${value === undefined ? "" : ` ${value}`}: use a number from 1 to 65535`);
  } else if (value === undefined) fail(2, `${flag}: give a value; ${usage}`);
  else options[name] = value;
}

/** A taken port is told before anything is built. */
async function checkPort() {
  const probe = createServer();
  await new Promise((done, reject) => {
    probe.once("error", reject);
    probe.listen(options.port, options.host, () => probe.close(done));
  });
}

const { port, host, out } = options;
try {
  await checkPort();
} catch (error) {
  fail(1, `can't serve at port ${port}: ${error.code ?? error.message}; choose another one with --port`);
}
const configFile = fileURLToPath(new URL("./vite.config.ts", import.meta.url));
const folder = resolve(dirname(configFile), out);
console.log("web: building the pages ...");
await build({ configFile, logLevel: "warn", build: { outDir: folder, emptyOutDir: true } });
console.log("web: booting Debian once, so that pages go on from there ...");
try {
  await addDebian(folder);
} catch (error) {
  console.error(`web: the page has no Debian: ${error.message}`);
}
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const server = await preview({
  configFile,
  logLevel: "warn",
  build: { outDir: folder },
  preview: { port, host, headers, strictPort: true },
});
console.log(`web: open ${server.resolvedUrls?.local[0] ?? `http://${host}:${port}/`} (Ctrl-C ends it)`);
