import { defineConfig } from "tsup";

export default defineConfig({
  // One entry point is published. The others make files of their own of the parts, so that a bundler, which may leave out
  // whole files (`sideEffects: false`), leaves RISC-V out of a program that has another CPU.
  entry: ["src/index.ts", "src/built-in.ts", "src/ir/index.ts", "src/riscv/index.ts", "src/table/index.ts"],
  format: "esm",
  target: "es2022",
  platform: "neutral",
  dts: { entry: { index: "src/index.ts" } },
  clean: true,
  sourcemap: true,
});
