/**
 * The guests that are known here, for programs that run commands in them: kernels by name, and what reads commands on
 * their consoles. It loads nothing of the machine itself.
 */
import { embeddedShell } from "./guests/embedded-shell.js";
import { posixShell } from "./guests/posix-shell.js";

export type { CommandEnd, CommandOutput } from "./guests/command-output.js";
export { embeddedShell, posixShell };

/** All of them, as the broker takes them. */
export const guestKinds = {
  kernels: { embedded: { shell: "embedded" }, debian: { shell: "posix" } },
  shells: { posix: posixShell, embedded: embeddedShell },
  usualShell: "posix",
} as const;
