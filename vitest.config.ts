import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Packages are taken from their sources, by the paths of tsconfig.json: the longest first, since a name is also a prefix. */
const { compilerOptions } = JSON.parse(
  readFileSync(fileURLToPath(new URL("./tsconfig.json", import.meta.url)), "utf8"),
) as { compilerOptions: { paths: Record<string, [string]> } };
const alias = Object.fromEntries(
  Object.entries(compilerOptions.paths)
    .sort(([one], [other]) => other.length - one.length)
    .map(([name, [path]]) => [name, fileURLToPath(new URL(path, import.meta.url))]),
);

/** Files that take longest. They begin first: one that begins last is waited for with the other cores idle. */
const longest = [
  "web/test/network-page",
  "cli/test/fleet-nets",
  "cli/test/environment",
  "cli/test/fleet-disks",
  "bench/test/guest-programs",
  "web/test/debian-page",
  "web/test/page",
  "web/test/fleet-networks",
  "lifecycle/node/fleet",
  "cli/test/agent",
  "daemon/node/daemon",
  "cli/test/qemu-differential",
  "web/test/translator",
  "soak/test/soak",
  "cli/test/overload",
  "cli/test/readme",
  "test/debian",
  "web/test/fleet",
  "cli/test/restore",
  "cli/test/bad-input",
  "own-cpu/src/pack-check",
  "test/debian-vsock",
  "test/debian-disk",
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = longest.findIndex((part) => moduleId.endsWith(`${part}.test.ts`));
      return at < 0 ? longest.length : at;
    };
    return (await super.sort(files)).sort((one, other) => rank(one) - rank(other));
  }
}

export default defineConfig({
  resolve: {
    alias,
  },
  test: {
    include: ["packages/*/{src,test}/**/*.test.ts", "examples/*/{src,test}/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    globalSetup: "packages/machine/test/fetch-debian.ts",
    sequence: { sequencer: LongestFirst },
    maxWorkers: 2,
    minWorkers: 1,
  },
});
