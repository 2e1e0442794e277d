/**
 * What keeps a daemon's process going, and what ends it for certain: errors that nobody has caught, and signals, which
 * work whatever hangs (a disk that does not answer can keep threads, and so the process, from an end in order).
 */
import { errorLine } from "../errors.js";

/** Milliseconds from a signal to the end by force. */
const END_MS = 8000;
/** Errors that nobody has caught, after which the daemon ends. */
export const MOST_ERRORS = 100;

/** The daemon's process; tests have one of their own. */
export interface ProcessPort {
  on(event: string, listener: (error: Error) => void): unknown;
  removeAllListeners(event: string): unknown;
  /** Ends it at once, whatever it does. */
  endNow(): void;
}

/** This process. */
export const thisProcess: ProcessPort = {
  on: (event, listener) => process.on(event as "uncaughtException", listener),
  removeAllListeners: (event) => process.removeAllListeners(event),
  endNow: () => process.kill(process.pid, "SIGKILL"),
};

/** Ends the daemon at a signal: in order, or by force when that takes long or at a second signal. */
export function endAtSignals(close: () => void, host: ProcessPort = thisProcess, endMs = END_MS): void {
  let isEnding = false;
  const end = () => {
    if (isEnding) host.endNow();
    isEnding = true;
    setTimeout(() => host.endNow(), endMs).unref();
    close();
  };
  host.on("SIGINT", end);
  host.on("SIGTERM", end);
}

/** What nobody has caught is told, and the VMs go on; too much of it ends the daemon in order. */
export function surviveErrors(
  daemon: { readonly note: (message: string) => void; readonly close: () => void },
  tell: (text: string) => void,
  host: ProcessPort = thisProcess,
): void {
  let errors = 0;
  host.removeAllListeners("uncaughtException");
  host.on("uncaughtException", (error: Error) => {
    tell(`${errorLine(error)} (${new Date().toISOString()})\n${error.stack ?? ""}\n`);
    if (++errors > MOST_ERRORS) daemon.close();
    else daemon.note(error.message);
  });
}
