import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    debian: "src/debian/index.ts",
    debug: "src/debug/index.ts",
    guests: "src/guests.ts",
    snapshot: "src/snapshot/index.ts",
    vm: "src/vm/index.ts",
    node: "src/node.ts",
  },
  format: "esm",
  target: "es2022",
  platform: "neutral",
  dts: true,
  clean: true,
  sourcemap: true,
});
