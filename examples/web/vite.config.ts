/** Builds the pages into a folder of relative paths: it works from any place of any static server. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** Packages are taken from their sources, by the paths of tsconfig.json: the longest first, since a name is also a prefix. */
const { compilerOptions } = JSON.parse(readFileSync(`${root}tsconfig.json`, "utf8")) as {
  compilerOptions: { paths: Record<string, [string]> };
};
const alias = Object.entries(compilerOptions.paths)
  .sort(([one], [other]) => other.length - one.length)
  .map(([find, [path]]) => ({ find, replacement: `${root}${path}` }));

const page = (name: string): string => fileURLToPath(new URL(`./${name}.html`, import.meta.url));

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  resolve: { alias },
  worker: { format: "es" },
  build: {
    target: "es2022",
    // A policy of content may forbid data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: { index: page("index"), translator: page("translator") } },
  },
});
