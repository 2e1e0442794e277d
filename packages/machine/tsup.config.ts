import { copyFile, mkdir, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { defineConfig, type Options } from "tsup";

const OUT = "dist";
const shared: Options = { outDir: OUT, format: "esm", target: "es2022", clean: false, sourcemap: true };

/** What programs and bundlers import. */
const library = {
  index: "src/index.ts",
  agent: "src/agent/index.ts",
  debian: "src/debian/index.ts",
  debug: "src/debug/index.ts",
  guests: "src/guests.ts",
  snapshot: "src/snapshot/index.ts",
  vm: "src/vm/index.ts",
  node: "src/node.ts",
};
/** What pages load as it is: each file has all that it needs, but for the decoder of snapshots beside the worker. */
const pages = { web: "src/web/index.ts", "web-element": "src/web/element.ts" };

/** What stands in the worker, and beside it, of others that do not say so in their own files. */
const OTHERS = `/*! With acorn (MIT licence, Copyright (C) 2012-2022 by various contributors, see its AUTHORS), @bokuweb/zstd-wasm
 * (MIT licence, Copyright (c) bokuweb) and, in zstd.wasm, Zstandard (BSD licence, Copyright (c) Meta Platforms, Inc. and
 * affiliates). */`;

/** WebAssembly of the snapshots' codec, which devices depend on. */
function zstdWasm(): string {
  const devices = createRequire(import.meta.url).resolve("@hyperfile/devices");
  return join(dirname(createRequire(devices).resolve("@bokuweb/zstd-wasm")), "zstd.wasm");
}

export default defineConfig(async () => {
  await rm(OUT, { recursive: true, force: true });
  await mkdir(OUT);
  await copyFile(zstdWasm(), join(OUT, "zstd.wasm"));
  const page: Options = {
    ...shared,
    platform: "browser",
    splitting: false,
    noExternal: [/./],
    minify: true,
    sourcemap: false,
    loader: { ".css": "text" },
    // Licences of what is in the files stay in them.
    esbuildOptions: (options) => {
      options.legalComments = "inline";
      // Our packages say that they have no side effects: what is left out is meant to be.
      options.logOverride = { "ignored-bare-import": "silent" };
    },
  };
  return [
    { ...shared, entry: library, platform: "neutral", dts: { entry: { ...library, ...pages } } },
    { ...page, entry: pages },
    { ...page, entry: { "web-worker": "src/web/worker.ts" }, banner: { js: OTHERS } },
  ];
});
