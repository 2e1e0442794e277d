/** What a page and the worker that runs its machine say to each other. */
import type { MachineEnd } from "../machine.js";

/**
 * What a machine does: its files are being loaded or read, the guest runs, stands still, or its power is off.
 */
export type PageMachineState = "starting" | "running" | "paused" | "off";

/** A file: its address, or its bytes. */
export type FileSource = { readonly url: string } | { readonly bytes: Uint8Array };

/** Files that a machine can be made from. */
export type FileRole = "kernel" | "initrd" | "program" | "snapshot";

/** What the worker makes a machine from. */
export interface MachineRecipe {
  readonly files: { readonly [Role in FileRole]?: FileSource };
  readonly append?: string;
  /** Bytes of RAM. */
  readonly memory?: number;
}

/** What can be asked, by method. */
export interface WorkerRequests {
  start: { readonly args: MachineRecipe; readonly result: undefined };
  pause: { readonly args: undefined; readonly result: undefined };
  resume: { readonly args: undefined; readonly result: undefined };
  reset: { readonly args: undefined; readonly result: undefined };
  stop: { readonly args: undefined; readonly result: undefined };
  save: { readonly args: undefined; readonly result: Uint8Array };
  statistics: { readonly args: undefined; readonly result: Record<string, unknown> };
  type: { readonly args: Uint8Array; readonly result: undefined };
}

export type WorkerMethod = keyof WorkerRequests;

/** A question; its answer has the same number. */
export interface WorkerRequest<Method extends WorkerMethod = WorkerMethod> {
  readonly kind: "request";
  readonly id: number;
  readonly method: Method;
  readonly args: WorkerRequests[Method]["args"];
}

/** What needs no answer: so many bytes of output have been taken; the console has another size. */
export type WorkerInput =
  | { readonly kind: "heard"; readonly bytes: number }
  | { readonly kind: "resize"; readonly columns: number; readonly rows: number };

/** What the worker tells. */
export type WorkerNews =
  | { readonly kind: "reply"; readonly id: number; readonly result: unknown }
  | { readonly kind: "refusal"; readonly id: number; readonly code: string; readonly message: string }
  | { readonly kind: "state"; readonly state: PageMachineState }
  | { readonly kind: "output"; readonly bytes: Uint8Array }
  | { readonly kind: "end"; readonly end: MachineEnd };
