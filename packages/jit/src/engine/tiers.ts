/**
 * Which tiers the engine may use:
 * - `interpreter`: the JavaScript interpreter alone;
 * - `js`: it, and JavaScript regions of hot code;
 * - `wasm-interpreter`: the WebAssembly interpreter alone;
 * - `wasm`: it, and WebAssembly regions of hot code;
 * - `auto`: what measured best on this platform (docs/decisions/0004-tiers.md).
 */
export type Tier = "auto" | "interpreter" | "js" | "wasm-interpreter" | "wasm";

/** All tiers, the default first. */
export const tiers: readonly Tier[] = ["auto", "interpreter", "js", "wasm-interpreter", "wasm"];
