/** What the daemon and the thread of its networks say to each other, and what VMs' threads are given. */
import type { MessagePort } from "node:worker_threads";
import type { CaptureRequest, ForwardSpec, NetCommand, NetPolicySpec, NetworkSpec } from "@hyperfile/broker";

/** Cards that a daemon's networks can have at once. */
export const MOST_CARDS = 4096;

/** What a VM's thread connects its cards with. */
export interface Cables {
  /** Memory of the bell of the networks' thread. */
  readonly bell: SharedArrayBuffer;
  /** The cards in their order; without a cable those that lead nowhere. */
  readonly cards: readonly {
    readonly mac: string;
    readonly cable: { readonly slot: number; readonly memory: SharedArrayBuffer } | undefined;
  }[];
}

/** What the thread is started with. */
export interface NetworkThreadData {
  readonly bell: SharedArrayBuffer;
}

/** A card that is to be connected. */
export interface CardRequest {
  readonly slot: number;
  readonly memory: SharedArrayBuffer;
  readonly project: string;
  readonly network: NetworkSpec;
  readonly vm: string;
  readonly mac: string;
  readonly address: string | undefined;
  readonly policy: NetPolicySpec;
}

/** Requests to the thread, each with one reply. */
export interface NetworkRequests {
  connect: { readonly args: CardRequest; readonly result: undefined };
  /** Takes a card out; its forwards end. */
  disconnect: { readonly args: { readonly slot: number }; readonly result: undefined };
  /** Lets a port of the host lead to a card; gives the port. */
  forward: {
    readonly args: { readonly slot: number; readonly forward: ForwardSpec };
    readonly result: number;
  };
  /** Follows a change of what VMs and pools may have of the bandwidth. */
  rates: { readonly args: { readonly commands: readonly NetCommand[] }; readonly result: undefined };
  /** Captures a network; what passes comes through a port of its own (`capture-port.ts`). */
  capture: {
    readonly args: { readonly request: CaptureRequest; readonly port: MessagePort };
    readonly result: undefined;
  };
  /** Ends a forward, by the port that it has. */
  unforward: {
    readonly args: { readonly slot: number; readonly forward: ForwardSpec };
    readonly result: undefined;
  };
}

/** A request on its way. */
export interface NetworkRequest<Method extends keyof NetworkRequests = keyof NetworkRequests> {
  readonly id: number;
  readonly method: Method;
  readonly args: NetworkRequests[Method]["args"];
}

/** What the thread says. */
export type NetworkNews =
  | { readonly kind: "reply"; readonly id: number; readonly result: unknown }
  | { readonly kind: "refusal"; readonly id: number; readonly message: string; readonly code: string }
  /** A VM's guest may not reach something. */
  | { readonly kind: "refused"; readonly vm: string; readonly what: string };

/** What the figures of a cable's memory are, in their order. */
export const cardFigures = [
  "frames.sent",
  "bytes.sent",
  "frames.received",
  "bytes.received",
  "frames.dropped",
  "refused",
] as const;
