export * from "./errors.js";
export * from "./events.js";
export * from "./guest-port.js";
export * from "./guest-shell.js";
export * from "./settings.js";
export * from "./vm-states.js";
export * from "./waiting.js";
