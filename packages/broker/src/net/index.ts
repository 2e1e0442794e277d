export * from "./allotment.js";
export * from "./capture.js";
export * from "./host-nets.js";
export * from "./net-scheduler.js";
export * from "./net-turns.js";
