import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (name: string) => fileURLToPath(new URL(`./packages/${name}/src/index.ts`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: {
      "@hyperfile/decoder": source("decoder"),
      "@hyperfile/jit/names": fileURLToPath(new URL("./packages/jit/src/names.ts", import.meta.url)),
      "@hyperfile/jit": source("jit"),
      "@hyperfile/devices/disk": fileURLToPath(
        new URL("./packages/devices/src/disk/index.ts", import.meta.url),
      ),
      "@hyperfile/devices/node": fileURLToPath(new URL("./packages/devices/src/node.ts", import.meta.url)),
      "@hyperfile/devices": source("devices"),
      "@hyperfile/broker/client": fileURLToPath(new URL("./packages/broker/src/client.ts", import.meta.url)),
      "@hyperfile/broker/node": fileURLToPath(new URL("./packages/broker/src/node.ts", import.meta.url)),
      "@hyperfile/broker": source("broker"),
      "@hyperfile/machine/guests": fileURLToPath(
        new URL("./packages/machine/src/guests.ts", import.meta.url),
      ),
      "@hyperfile/machine/node": fileURLToPath(new URL("./packages/machine/src/node.ts", import.meta.url)),
      "@hyperfile/machine": source("machine"),
    },
  },
  test: {
    include: ["packages/*/{src,test}/**/*.test.ts", "examples/*/{src,test}/**/*.test.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    minWorkers: 1,
  },
});
