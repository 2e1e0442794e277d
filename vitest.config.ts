import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

/** Packages are taken from their sources, by the paths of tsconfig.json: the longest first, since a name is also a prefix. */
const { compilerOptions } = JSON.parse(
  readFileSync(fileURLToPath(new URL("./tsconfig.json", import.meta.url)), "utf8"),
) as { compilerOptions: { paths: Record<string, [string]> } };
const alias = Object.fromEntries(
  Object.entries(compilerOptions.paths)
    .sort(([one], [other]) => other.length - one.length)
    .map(([name, [path]]) => [name, fileURLToPath(new URL(path, import.meta.url))]),
);

export default defineConfig({
  resolve: {
    alias,
  },
  test: {
    include: ["packages/*/{src,test}/**/*.test.ts", "examples/*/{src,test}/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    minWorkers: 1,
  },
});
