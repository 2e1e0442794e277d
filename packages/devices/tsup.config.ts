import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    disk: "src/disk/index.ts",
    names: "src/names.ts",
    net: "src/net/index.ts",
    fdt: "src/fdt/index.ts",
    image: "src/image/index.ts",
    share: "src/share/index.ts",
    virtio: "src/virtio/index.ts",
    web: "src/web/index.ts",
    node: "src/node.ts",
  },
  format: "esm",
  target: "es2022",
  platform: "neutral",
  dts: true,
  clean: true,
  sourcemap: true,
});
