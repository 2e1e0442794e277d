import { defineConfig } from "tsup";

export default defineConfig({
  entry: ["src/main.ts", "src/v86-child.ts"],
  format: "esm",
  target: "node20",
  platform: "node",
  clean: true,
  sourcemap: true,
  external: ["v86"],
});
