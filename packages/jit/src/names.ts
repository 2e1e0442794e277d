/** Names that programs list in their options: without the translator, which takes most of the time to load. */
export * from "./engine/tiers.js";
export * from "./trace/dump-kinds.js";
