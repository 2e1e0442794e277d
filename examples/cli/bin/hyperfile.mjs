#!/usr/bin/env node
// Kept apart from the build output: package managers link a workspace's programs before anything is built.
import { existsSync, mkdirSync } from "node:fs";
import module from "node:module";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

// What V8 makes of the modules is kept by Node 22.8 and newer, for threads and the daemon, too: a tenth of a short run.
if (module.enableCompileCache !== undefined && process.env.NODE_COMPILE_CACHE === undefined) {
  const { XDG_CACHE_HOME: cache = "" } = process.env;
  const base = isAbsolute(cache) ? cache : join(homedir(), ".cache");
  const folder = join(base, "hyperfile");
  // Made one by one: where none can be made, as below /proc, Node's own tries for ever.
  for (const each of [base, folder]) if (!existsSync(each)) makeFolder(each);
  if (existsSync(folder)) {
    process.env.NODE_COMPILE_CACHE = join(folder, "compiled");
    module.enableCompileCache(process.env.NODE_COMPILE_CACHE);
  }
}

const program = new URL("../dist/main.js", import.meta.url);
if (existsSync(program)) await import(program.href);
else {
  console.error("hyperfile: the program is not built yet: run npm run setup in the checkout's folder first");
  process.exitCode = 1;
}

/** A folder that can't be made is done without. */
function makeFolder(path) {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch {
    // The run is slower by what would have been kept.
  }
}
