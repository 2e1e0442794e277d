import { defineConfig } from "tsup";

export default defineConfig({
  entry: {
    main: "src/main.ts",
    "vm-thread": "src/vm-thread.ts",
    "net-thread": "src/net-thread.ts",
    "web-thread": "src/web-thread.ts",
    // The broker looks for it beside the file that its code is in.
    "scheduler-thread": "../../packages/broker/src/cpu/node/scheduler-thread.ts",
  },
  format: "esm",
  target: "node20",
  platform: "node",
  // Each module that is looked for and each byte that is parsed delays every command, VM and thread
  // (docs/decisions/0038-program-as-bundle.md). Other people's packages stay what they are.
  noExternal: [/^@hyperfile\//],
  external: [/^(@bokuweb\/zstd-wasm|acorn|ajv|tar-stream|ws|xz-decompress|yaml)/],
  // From their sources, file by file: a chunk of the program has then only what its users need.
  tsconfig: "../../tsconfig.json",
  clean: true,
  sourcemap: true,
  esbuildOptions(options) {
    options.minifyWhitespace = true;
    options.minifySyntax = true;
  },
});
