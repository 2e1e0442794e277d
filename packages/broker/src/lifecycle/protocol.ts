/** What the daemon and the threads that run VMs say to each other. */
import type { VmSpec } from "../hyperfile/types.js";
import type { MemoryTarget } from "../memory/division.js";
import type { MemoryFigures } from "../memory/host-memory-broker.js";
import type { GuestEnd, GuestMemoryUsage } from "./guest-port.js";

/** What a thread is started with. */
export interface GuestThreadData {
  /** Memory of the scheduler's table. */
  readonly table: SharedArrayBuffer;
  /** Folder for its swap file. */
  readonly swapFolder: string;
}

/** Requests to a thread; each gets one reply. */
export interface GuestRequests {
  create: {
    readonly args: {
      readonly spec: VmSpec;
      readonly folder: string;
      readonly slot: number;
      readonly restore?: string;
    };
    readonly result: undefined;
  };
  /** Copies a VM of the thread; both stand still until they are run or resumed. */
  clone: {
    readonly args: { readonly name: string; readonly slot: number };
    readonly result: { readonly milliseconds: number };
  };
  /** Begins to run; the reply comes at once, and {@link GuestNews} at the end. */
  run: { readonly args: undefined; readonly result: undefined };
  pause: { readonly args: undefined; readonly result: undefined };
  resume: { readonly args: undefined; readonly result: undefined };
  reset: { readonly args: undefined; readonly result: undefined };
  stop: { readonly args: { readonly reason: string }; readonly result: undefined };
  snapshot: { readonly args: { readonly path: string }; readonly result: { readonly bytes: number } };
  figures: {
    readonly args: undefined;
    readonly result: {
      readonly memory: GuestMemoryUsage;
      readonly counters: Readonly<Record<string, number>>;
      readonly retired: number;
    };
  };
}

/** A request on its way. */
export interface GuestRequest<Method extends keyof GuestRequests = keyof GuestRequests> {
  readonly kind: "request";
  readonly id: number;
  readonly method: Method;
  readonly vm: string;
  readonly args: GuestRequests[Method]["args"];
}

/**
 * Console input, how much console output has been taken, what a VM's memory may be, and before the first VM the
 * thread's place, without a reply.
 */
export type GuestInput =
  | { readonly kind: "place"; readonly place: unknown }
  | { readonly kind: "input"; readonly vm: string; readonly bytes: Uint8Array }
  | { readonly kind: "heard"; readonly vm: string; readonly bytes: number }
  | { readonly kind: "resize"; readonly vm: string; readonly columns: number; readonly rows: number }
  | { readonly kind: "memory"; readonly vm: string; readonly target: MemoryTarget };

/** What a thread says. */
export type GuestNews =
  | { readonly kind: "reply"; readonly id: number; readonly result: unknown }
  | {
      readonly kind: "refusal";
      readonly id: number;
      readonly message: string;
      readonly code: string;
    }
  | { readonly kind: "console"; readonly vm: string; readonly bytes: Uint8Array }
  /** So much of the console input has been taken by the guest. */
  | { readonly kind: "taken"; readonly vm: string; readonly bytes: number }
  | { readonly kind: "memory"; readonly vm: string; readonly figures: MemoryFigures }
  | { readonly kind: "ended"; readonly vm: string; readonly end: GuestEnd };
