/**
 * File descriptors for what is about to be started. A thread that finds none left fails in whatever it opens first, and
 * Node may call that a missing package: so there is a look before.
 */
import { closeSync, openSync } from "node:fs";
import { devNull } from "node:os";
import { LifecycleError } from "../errors.js";

/** Descriptors for a guest's thread: it takes nine, but Node opens the files of its program all at once. */
export const THREAD_DESCRIPTORS = 48;

/** @throws LifecycleError `E_FILES` if this process can't have so many more */
export function requireDescriptors(count: number): void {
  const cause = attempt(count);
  if (cause === undefined) return;
  throw new LifecycleError(
    "E_FILES",
    "too many files are open to start another VM: let the daemon have more (ulimit -n), or stop some",
    { cause },
  );
}

/** Whether this process can have so many more. */
export const hasDescriptors = (count: number): boolean => attempt(count) === undefined;

/** Opens so many files and closes them again; gives what the host refused it with. */
function attempt(count: number): unknown {
  const opened: number[] = [];
  try {
    while (opened.length < count) opened.push(openSync(devNull, "r"));
    return undefined;
  } catch (error) {
    return error;
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
}
