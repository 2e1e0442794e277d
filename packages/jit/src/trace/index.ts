export * from "./dump.js";
export * from "./dump-kinds.js";
export * from "./engine-trace.js";
export * from "./explain.js";
export * from "./profile.js";
export * from "./state-names.js";
export * from "./wasm-reader.js";
export * from "./wasm-text.js";
