/** What the broker asks of a guest: for programs that compose machines of their own. */
export * from "./lifecycle/guest-port.js";
export * from "./lifecycle/guest-shell.js";
