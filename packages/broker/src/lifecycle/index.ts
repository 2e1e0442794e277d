export * from "./activities.js";
export * from "./errors.js";
export * from "./events.js";
export * from "./guest-command.js";
export * from "./host-claim.js";
export * from "./settings.js";
export * from "./vm-states.js";
export * from "./waiting.js";
