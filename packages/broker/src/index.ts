export * from "./api/index.js";
export * from "./daemon/metrics.js";
export * from "./hyperfile/index.js";
export * from "./lifecycle/index.js";
export * from "./net/index.js";
