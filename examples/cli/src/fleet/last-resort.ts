/**
 * What keeps a daemon's process going, and what ends it for certain: errors that nobody has caught, and signals, which
 * work whatever hangs (a disk that does not answer can keep threads, and so the process, from an end in order).
 */
import { errorLine } from "../errors.js";

/** Milliseconds from a signal to the end by force. */
const END_MS = 8000;
/** Errors that nobody has caught, and milliseconds: with more within so long the daemon ends. */
export const [MOST_ERRORS, ERRORS_MS] = [100, 3_600_000];

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

/** Signals that end the daemon; the last one tells that its terminal has gone. */
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Why the daemon ends, as a line of its log. */
export const endLine = (reason: string): string =>
  `hyperfile: the daemon ends (${new Date().toISOString()}): ${reason}\n`;

/**
 * Ends the daemon at a signal: in order, or by force when that takes long or at a second signal.
 * @param close gets the reason
 * @param tell gets a line where it is ended by force
 */
export function endAtSignals(
  close: (reason: string) => void,
  tell: (line: string) => void,
  host: ProcessPort = thisProcess,
  endMs = END_MS,
): void {
  let isEnding = false;
  const force = (reason: string) => {
    tell(endLine(`by force, ${reason}`));
    host.endNow();
  };
  for (const signal of signals)
    host.on(signal, () => {
      if (isEnding) force(`at a second signal, ${signal}`);
      isEnding = true;
      setTimeout(() => force(`since it has not ended within ${endMs / 1000} s`), endMs).unref();
      close(`signal ${signal}`);
    });
}

/** What nobody has caught is told, and the VMs go on; too much of it ends the daemon in order. */
export function surviveErrors(
  daemon: { readonly note: (message: string) => void; readonly close: (reason: string) => void },
  tell: (text: string) => void,
  host: ProcessPort = thisProcess,
): void {
  let times: number[] = [];
  host.removeAllListeners("uncaughtException");
  host.on("uncaughtException", (error: Error) => {
    tell(`${errorLine(error)} (${new Date().toISOString()})\n${error.stack ?? ""}\n`);
    const now = performance.now();
    times = [...times.filter((time) => time > now - ERRORS_MS), now];
    if (times.length > MOST_ERRORS)
      daemon.close(`${times.length} errors that nobody caught within an hour, the last: ${error.message}`);
    else daemon.note(error.message);
  });
}
