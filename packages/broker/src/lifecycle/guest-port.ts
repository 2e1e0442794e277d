/**
 * A guest as the broker manages it, whatever it is made of. Programs that compose machines supply a {@link MakeGuest};
 * the broker knows nothing of harts and boards.
 */

import type { CpuGate } from "../cpu/cpu-gate.js";
import type { DiskGate } from "../disk/disk-gate.js";
import type { VmSpec } from "../hyperfile/types.js";
import type { BalloonPort, BrokeredFrames, BrokeredMemory, CommonFrames } from "../memory/ports.js";

/** How a guest's run ended. */
export interface GuestEnd {
  /** `off`: it turned its power off; `stopped`: it was told to; `error`: it can't go on. */
  readonly kind: "off" | "stopped" | "error";
  /** Exit status that the guest gave; 0 unless it said otherwise. */
  readonly status: number;
  /** One line for the user, where there is something to say. */
  readonly message?: string;
}

/** Bytes of a guest's memory by what became of them. */
export interface GuestMemoryUsage {
  /** RAM that the guest sees. */
  readonly granted: number;
  /** Frames that it has of its own. */
  readonly touched: number;
  readonly ballooned: number;
  /** Frames that it has in common with other VMs. */
  readonly shared: number;
  readonly swapped: number;
}

/** A guest's memory, for the broker to work on while the guest does not run. */
export interface GuestMemoryParts {
  /** The frames of its thread, the same for all guests there. */
  readonly frames: BrokeredFrames;
  /** The side of them that other threads are behind; undefined where none are. */
  readonly common?: CommonFrames;
  readonly memory: BrokeredMemory;
  readonly balloon: BalloonPort;
  /** The frame that must stay as it is now, because the hart holds a reservation in it; -1 if none must. */
  reservedFrame(): number;
}

/** What a guest is given. */
export interface GuestSurroundings {
  /** Takes what the guest prints; it may call the guest's `hold` meanwhile. */
  readonly console: { write(bytes: Uint8Array): void };
  /** Where it asks for a core; it counts the instructions that `retired` gives. */
  readonly gate: (retired: () => number) => CpuGate;
  /** Nanoseconds in which the guest wanted to run and did not. */
  readonly steal: () => number;
  /** Where requests to its disks wait for their turns. */
  readonly disk: DiskGate;
  /** What its network cards are connected with, as its program's daemon gave it; undefined if it has none. */
  readonly cables: unknown;
}

/** Where a disk is backed up to. */
export interface BackupTarget {
  /** Number of the disk, from 0. */
  readonly disk: number;
  /** Folder of an image store. */
  readonly store: string;
  /** Of the image there; there must be none yet. */
  readonly name: string;
}

/** What a backup did. */
export interface BackupReport {
  /** Bytes that were copied. */
  readonly bytes: number;
  /** Whether all of the disk was looked at, and not only what had changed since an earlier backup. */
  readonly isWhole: boolean;
}

/** A stream to a program in a guest, open or about to be; bytes both ways, in order, each way with its own back-pressure. */
export interface GuestStream {
  /** Sends bytes, which are the callee's from then on; false if it would rather have no more before `drained`. */
  write(data: Uint8Array): boolean;
  /** Nothing more will be written. */
  end(): void;
  /** Breaks it off. No event comes afterwards. */
  reset(): void;
  /** Whether it gives data: it does unless told not to. What comes meanwhile waits, and holds the guest back. */
  setReading(isReading: boolean): void;
}

/** What becomes of a stream. Who takes these may be in the middle of what the guest does: neither throws nor waits. */
export interface GuestStreamEvents {
  opened(): void;
  /** It was not opened: `refused` where nobody listens, `no-driver` where the guest has none at work, `too-many`, or a sentence. */
  failed(why: string): void;
  /** Bytes came; the array is the callee's. */
  data(data: Uint8Array): void;
  /** The guest sends nothing more. */
  ended(): void;
  /** There is room to write again. */
  drained(): void;
  /** It is over: in both directions, or broken off. */
  closed(isBroken: boolean): void;
}

/** A virtual machine in a thread of its own or with others. */
export interface Guest {
  readonly memory: GuestMemoryParts;
  /** Takes the state of a snapshot in place of booting, before its run. */
  restoreFrom(path: string): Promise<void>;
  /**
   * Powers it on, or goes on from the restored state, until it is off or stopped. Rejects with an error that has a
   * `code` where it alone can't go on; with any other where what it has in common with others can't be trusted.
   */
  run(): Promise<GuestEnd>;
  /** Offers console input; gives the number of bytes taken, from the front. */
  receive(bytes: Uint8Array): number;
  resize(columns: number, rows: number): void;
  /** Lets the guest and its clock stand still until all who asked have taken it back; the result does so once. */
  standStill(): () => void;
  /**
   * Waits until no device works for the guest, which stands still, and lets new work wait until the result is called.
   * Rejects with a one-line error that names the device, and lets nothing wait then, if that takes too long.
   */
  drain(): Promise<() => void>;
  /** What it printed has not been taken: it runs no further slice until it is released, or told to stop. */
  hold(): void;
  release(): void;
  /** Opens a stream to a program that listens in the guest; missing where the machine has no way there. */
  connect?(port: number, events: GuestStreamEvents): GuestStream;
  /**
   * Asks a program in the guest to end it by its own means; resolves when that begins. Rejects where there is none that
   * answers in time; missing where there never is.
   */
  powerOff?(timeoutMs: number): Promise<void>;
  /** Ends the run, whoever lets it stand still or holds it. */
  stop(reason: string): void;
  /** Power off and on. */
  reset(): void;
  retired(): number;
  memoryFigures(): GuestMemoryUsage;
  /** Counters of devices and engine by name, for reports. */
  counters(): Readonly<Record<string, number>>;
  /**
   * Writes a snapshot, for which it drains; the guest stands still. What is not whole yet is beside `path`, under a name that begins with a dot:
   * if the process ends before it is, the broker removes it.
   */
  saveTo(path: string): Promise<{ readonly bytes: number }>;
  /**
   * Copies a disk as it is at this moment; the guest goes on meanwhile. A backup that fails leaves no image of the name. It
   * fails by itself, with a one-line error, when the disk is closed below it: with this guest's run, unless a successor has
   * the same disk. `free` does not wait for it.
   */
  backup(target: BackupTarget): Promise<BackupReport>;
  /** A copy of the guest, which stands still and is drained for it, by copy-on-write in the same thread. */
  clone(name: string, surroundings: GuestSurroundings): Promise<Guest>;
  /**
   * A guest of the same make that can take this one's place: with the same disks, for the state of a snapshot, in the same
   * thread. This one stands still and is drained from now on, until the other one or this one runs; both may be freed.
   * Rejects with a one-line error, and leaves nothing then.
   */
  successor(surroundings: GuestSurroundings): Promise<Guest>;
  /** Gives back its memory, after its run has ended, or where it has never run. */
  free(): void;
}

/** Makes a guest. Rejects with a one-line error for files that can't be used, and leaves nothing then. */
export type MakeGuest = (
  spec: VmSpec,
  surroundings: GuestSurroundings,
  options: {
    /** Folder from which the files of the specification are named. */
    readonly folder: string;
    /** The thread's place in the machine memory, as the program's daemon made it. */
    readonly place: unknown;
  },
) => Promise<Guest>;
