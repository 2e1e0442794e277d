/**
 * Which front ends are the library's own. An engine checks all that comes from others before it runs; what comes from
 * these, the library's tests have checked, and a sample is checked again. An object is one of them or it is not: a
 * copy with a method changed is somebody else's.
 */
import type { FrontEnd } from "./front-end.js";

const builtIn = new WeakSet<FrontEnd>();

/** Marks a front end that this library has made, and keeps it as it is. */
export function markBuiltIn(frontEnd: FrontEnd): FrontEnd {
  const frozen = Object.freeze(frontEnd);
  builtIn.add(frozen);
  return frozen;
}

/** Whether this library has made the front end. */
export const isBuiltIn = (frontEnd: FrontEnd): boolean => builtIn.has(frontEnd);
