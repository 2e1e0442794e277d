import { defineConfig } from "tsup";

export default defineConfig({
  // An entry for each subpath: a bundler, which may leave out whole files (`sideEffects: false`), leaves RISC-V out of a
  // program that has another CPU.
  entry: {
    index: "src/index.ts",
    engine: "src/engine/index.ts",
    memory: "src/memory/index.ts",
    names: "src/names.ts",
    riscv: "src/arch/riscv/index.ts",
    trace: "src/trace/index.ts",
  },
  format: "esm",
  target: "es2022",
  platform: "neutral",
  dts: true,
  clean: true,
  sourcemap: true,
});
