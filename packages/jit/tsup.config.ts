import { defineConfig } from "tsup";

export default defineConfig({
  // Two entry points are published. The others make files of their own of the parts, so that a bundler, which may leave out
  // whole files (`sideEffects: false`), leaves RISC-V out of a program that has another CPU.
  entry: [
    "src/index.ts",
    "src/names.ts",
    "src/arch/riscv/index.ts",
    "src/engine/flat-cpu.ts",
    "src/trace/index.ts",
  ],
  format: "esm",
  target: "es2022",
  platform: "neutral",
  dts: { entry: { index: "src/index.ts", names: "src/names.ts" } },
  clean: true,
  sourcemap: true,
});
