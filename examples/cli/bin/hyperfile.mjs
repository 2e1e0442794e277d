#!/usr/bin/env node
// Kept apart from the build output: package managers link a workspace's programs before anything is built.
import { existsSync } from "node:fs";

const program = new URL("../dist/main.js", import.meta.url);
if (existsSync(program)) await import(program.href);
else {
  console.error("hyperfile: the program is not built yet: run npm run setup in the checkout's folder first");
  process.exitCode = 1;
}
