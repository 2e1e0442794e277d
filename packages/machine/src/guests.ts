/**
 * The guests that are known here, for programs that run commands in them: kernels by name, and what reads commands on
 * their consoles. It loads nothing of the machine itself.
 */
import { embeddedShell } from "./guests/embedded-shell.js";
import { posixShell } from "./guests/posix-shell.js";

export type { CommandEnd, CommandOutput } from "./guests/command-output.js";
export { embeddedShell, posixShell };

/** The instruction sets that machines have, by the names that users give them, with their register width in bits. */
export const isaWidths = { rv64gc: 64, rv32gc: 32 } as const;

/** All of them, as the broker takes them. */
export const guestKinds = {
  isas: Object.keys(isaWidths),
  kernels: { embedded: { shell: "embedded" }, debian: { shell: "posix" } },
  shells: { posix: posixShell, embedded: embeddedShell },
  usualShell: "posix",
} as const;
