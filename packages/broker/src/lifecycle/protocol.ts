/** What the daemon and the threads that run VMs say to each other. */
import type { VmSpec } from "../hyperfile/types.js";
import type { MemoryTarget } from "../memory/division.js";
import type { MemoryFigures } from "../memory/host-memory-broker.js";
import type { BackupReport, BackupTarget, GuestEnd, GuestMemoryUsage } from "./guest-port.js";
import type { StreamMessage } from "./guest-streams.js";
import type { VmState } from "./vm-states.js";

/** What a thread is started with. */
export interface GuestThreadData {
  /** Memory of the scheduler's table. */
  readonly table: SharedArrayBuffer;
  /** Memory of the disks' table, whose slots are those of the scheduler's. */
  readonly disks: SharedArrayBuffer;
  /** Folder for its swap file. */
  readonly swapFolder: string;
}

/** What is known of a guest that is there. */
export interface GuestFigures {
  readonly memory: GuestMemoryUsage;
  readonly counters: Readonly<Record<string, number>>;
  readonly retired: number;
}

/** Requests to a thread; each gets one reply, after the news of what it has changed. */
export interface GuestRequests {
  /** Makes a VM, from its boot files or a snapshot, and lets it run. */
  start: {
    readonly args: {
      readonly spec: VmSpec;
      readonly folder: string;
      readonly slot: number;
      /** What its network cards are connected with. */
      readonly cables: unknown;
      readonly restore?: string;
    };
    readonly result: undefined;
  };
  /** Makes a copy of a VM of the thread, and lets it run. */
  clone: {
    readonly args: { readonly name: string; readonly slot: number; readonly cables: unknown };
    readonly result: { readonly milliseconds: number };
  };
  /** Puts a machine with the state of a snapshot in the place of the VM's, with a console of this size; see `VmLife.restore`. */
  restore: {
    readonly args: { readonly path: string; readonly columns: number; readonly rows: number };
    readonly result: undefined;
  };
  pause: { readonly args: undefined; readonly result: undefined };
  resume: { readonly args: undefined; readonly result: undefined };
  reset: { readonly args: undefined; readonly result: undefined };
  /** The guest is about to be asked to end. */
  shutdown: { readonly args: undefined; readonly result: undefined };
  /** Asks a program in the guest to end it; whether one answered in time. */
  powerOff: { readonly args: { readonly timeoutMs: number }; readonly result: boolean };
  /** Ends a VM; the reply comes when it is over. `patience`: milliseconds for a snapshot that is under way. */
  stop: {
    readonly args: { readonly reason: string; readonly patience: number };
    readonly result: undefined;
  };
  snapshot: { readonly args: { readonly path: string }; readonly result: { readonly bytes: number } };
  /** Copies a disk of a VM, which goes on; other requests are answered meanwhile. */
  backup: { readonly args: BackupTarget; readonly result: BackupReport };
  figures: { readonly args: undefined; readonly result: GuestFigures };
  /** Whether the thread answers at all; for no VM in particular. */
  ping: { readonly args: undefined; readonly result: undefined };
  /** The thread is about to be ended, and answers when it has no file in hand; for no VM in particular. */
  farewell: { readonly args: undefined; readonly result: undefined };
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
 * Console input, how much console output has been taken, what a VM's memory may be, streams to its guest, and before the
 * first VM the thread's place, without a reply.
 */
export type GuestInput =
  | { readonly kind: "place"; readonly place: unknown }
  | { readonly kind: "input"; readonly vm: string; readonly bytes: Uint8Array }
  | { readonly kind: "heard"; readonly vm: string; readonly bytes: number }
  | { readonly kind: "resize"; readonly vm: string; readonly columns: number; readonly rows: number }
  | { readonly kind: "memory"; readonly vm: string; readonly target: MemoryTarget }
  | StreamNews;

/** What is said of a stream to a program in a VM's guest, both ways. */
export interface StreamNews {
  readonly kind: "stream";
  readonly vm: string;
  /** Number that the daemon has given it. */
  readonly stream: number;
  readonly message: StreamMessage;
}

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
  | StreamNews
  | { readonly kind: "state"; readonly vm: string; readonly state: VmState }
  /** A VM's life is over; the last that is said of it. */
  | { readonly kind: "ended"; readonly vm: string; readonly state: VmState; readonly end: GuestEnd };
