import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    cpu: "src/cpu/index.ts",
    disk: "src/disk/index.ts",
    memory: "src/memory/index.ts",
    guest: "src/guest.ts",
    host: "src/host.ts",
    inline: "src/inline/index.ts",
    node: "src/node.ts",
    client: "src/client.ts",
    "scheduler-thread": "src/cpu/node/scheduler-thread.ts",
  },
  format: "esm",
  target: "es2022",
  platform: "neutral",
  dts: true,
  clean: true,
  sourcemap: true,
});
