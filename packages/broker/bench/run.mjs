/**
 * Runs an experiment of this folder: `node packages/broker/bench/run.mjs NAME [ARGUMENT...]`, after `npm run setup`.
 * It is bundled from the packages' sources, so that what is measured is what stands there.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { build } from "tsup";

const [name, ...rest] = process.argv.slice(2);
if (name === undefined) {
  console.error("usage: node packages/broker/bench/run.mjs NAME [ARGUMENT...]");
  process.exit(2);
}
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { compilerOptions } = JSON.parse(readFileSync(here("../../../tsconfig.json"), "utf8"));
const sources = Object.entries(compilerOptions.paths).map(([name, [path]]) => [
  name,
  here(`../../../${path}`),
]);
/** The compressor of snapshots and disks, which loads a file beside itself, and which the broker knows nothing of. */
const compressor = "@bokuweb/zstd-wasm";
const placeOfCompressor = createRequire(here("../../devices/package.json")).resolve(compressor);
await build({
  entry: {
    [name]: here(`${name}.ts`),
    "guest-thread": here("guest-thread.ts"),
    "scheduler-thread": here("../src/cpu/node/scheduler-thread.ts"),
  },
  outDir: here("dist"),
  format: "esm",
  target: "es2022",
  platform: "node",
  silent: true,
  config: false,
  tsconfig: here("../../../tsconfig.json"),
  noExternal: [/^@hyperfile\//, "acorn"],
  external: ["ws", "yaml", "ajv"],
  esbuildOptions(options) {
    options.external = [...(options.external ?? []), placeOfCompressor];
    options.alias = { ...Object.fromEntries(sources), [compressor]: placeOfCompressor };
  },
});
const flags = ["--expose-gc", "--experimental-wasm-branch-hinting", "--no-wasm-stack-checks"];
const { status } = spawnSync(process.execPath, [...flags, here(`dist/${name}.js`), ...rest], {
  stdio: "inherit",
});
process.exit(status ?? 1);
