/** What a page and the worker that runs its VMs say to each other. */
import type { Allotment, PoolAllotment } from "@hyperfile/broker/cpu";
import type {
  GuestEnd,
  InlineVmFigures,
  NetChange,
  NetPoolAllotment,
  VmState,
} from "@hyperfile/broker/inline";
import type { MemorySettings } from "@hyperfile/broker/memory";
import type { BootImages } from "@hyperfile/machine";
import type { DiskRecipe } from "./disks.js";

/** What a VM of the page is made from. */
export interface VmRecipe {
  /** What it boots; without it, it can only go on from a snapshot. */
  readonly boot?: BootImages;
  /** Bytes of RAM, a multiple of 4096. */
  readonly ramBytes: number;
  /** Width of the registers in bits; that of its images unless given. */
  readonly xlen?: 32 | 64;
  readonly disks?: readonly DiskRecipe[];
  /** Whether it has a device for sockets, as Debian's machines under a daemon have: a snapshot of those needs it. */
  readonly hasSockets?: boolean;
  /** Network cards; none unless given. The first is in the page's network, others lead nowhere. */
  readonly nics?: number;
  /** Whether the first card's cable is in; it is unless told not to. */
  readonly isPlugged?: boolean;
  readonly pool?: string;
  readonly cpu?: Partial<Allotment>;
  readonly memory?: MemorySettings;
}

/** Name of the network of all VMs of a page, and of all tabs of its origin. */
export const PAGE_NETWORK = "page";

/** Where the network of the page leads. */
export type OutsideChoice =
  /** Nowhere. */
  | { readonly kind: "none" }
  /** To what the page's browser may fetch. */
  | { readonly kind: "web" }
  /** Where a relay connects, that speaks WISP at an address. */
  | { readonly kind: "relay"; readonly url: string };

/** The network as it is now. */
export interface NetworkFigures {
  /** Tabs that are in it, this one among them. */
  readonly tabs: number;
  /** Whether this tab has the gateway; undefined while it is not known who has. */
  readonly isLeading: boolean | undefined;
  /** What the gateway leads to, or why tabs are not connected: one line. */
  readonly text: string;
  /** Messages of other tabs that could not be used. */
  readonly malformed: number;
}

/** What can be asked, by method. */
export interface HostRequests {
  add: { readonly args: { readonly vm: string; readonly recipe: VmRecipe }; readonly result: undefined };
  /** Powers it on; with the bytes of a snapshot it goes on from there. */
  start: {
    readonly args: { readonly vm: string; readonly snapshot?: Uint8Array };
    readonly result: undefined;
  };
  pause: { readonly args: { readonly vm: string }; readonly result: undefined };
  resume: { readonly args: { readonly vm: string }; readonly result: undefined };
  reset: { readonly args: { readonly vm: string }; readonly result: undefined };
  stop: { readonly args: { readonly vm: string }; readonly result: undefined };
  remove: { readonly args: { readonly vm: string }; readonly result: undefined };
  /** The VM as a snapshot. */
  save: { readonly args: { readonly vm: string }; readonly result: Uint8Array };
  restore: {
    readonly args: { readonly vm: string; readonly snapshot: Uint8Array };
    readonly result: undefined;
  };
  /** Milliseconds that the copy took. */
  clone: { readonly args: { readonly vm: string; readonly name: string }; readonly result: number };
  configure: {
    readonly args: {
      readonly vm: string;
      readonly cpu?: Partial<Allotment>;
      readonly memory?: MemorySettings;
      readonly net?: NetChange;
    };
    readonly result: undefined;
  };
  /** Puts the cable of a VM's first card in, or takes it out. */
  plug: { readonly args: { readonly vm: string; readonly isPlugged: boolean }; readonly result: undefined };
  /** Chooses where the network leads while this tab has the gateway. */
  lead: { readonly args: { readonly outside: OutsideChoice }; readonly result: undefined };
  addPool: {
    readonly args: { readonly pool: string; readonly cpu: Partial<PoolAllotment> };
    readonly result: undefined;
  };
  removePool: { readonly args: { readonly pool: string }; readonly result: undefined };
  configurePool: {
    readonly args: {
      readonly pool: string;
      readonly cpu?: Partial<PoolAllotment>;
      readonly net?: NetChange;
    };
    readonly result: undefined;
  };
  /** Keeps a VM's snapshot in the browser, by name, in place of one of that name; gives its bytes. */
  keep: { readonly args: { readonly vm: string; readonly name: string }; readonly result: number };
  /** The snapshots that are kept. */
  kept: {
    readonly args: Record<never, never>;
    readonly result: readonly { readonly name: string; readonly bytes: number }[];
  };
  /** A snapshot that is kept. */
  take: { readonly args: { readonly name: string }; readonly result: Uint8Array };
  dropKept: { readonly args: { readonly name: string }; readonly result: undefined };
  /** What a VM has to be to go on from a snapshot. */
  describe: { readonly args: { readonly snapshot: Uint8Array }; readonly result: VmRecipe };
}

export type HostMethod = keyof HostRequests;

/** A question; its answer has the same number. */
export interface HostRequest<Method extends HostMethod = HostMethod> {
  readonly kind: "request";
  readonly id: number;
  readonly method: Method;
  readonly args: HostRequests[Method]["args"];
}

/** What needs no answer. */
export type HostInput =
  | { readonly kind: "type"; readonly vm: string; readonly bytes: Uint8Array }
  | { readonly kind: "heard"; readonly vm: string; readonly bytes: number }
  | { readonly kind: "resize"; readonly vm: string; readonly columns: number; readonly rows: number };

/** Figures of all VMs, as they are told a few times a second. */
export interface HostFigures {
  readonly vms: readonly InlineVmFigures[];
  readonly pools: readonly {
    readonly name: string;
    readonly parent: string | undefined;
    readonly cpu: PoolAllotment;
    readonly net: NetPoolAllotment;
  }[];
  /** Undefined while no VM has had a card. */
  readonly network: NetworkFigures | undefined;
  /** Milliseconds of the worker's clock. */
  readonly at: number;
  /** Bytes that all VMs share, and those of them that nobody has. */
  readonly memory: { readonly all: number; readonly free: number };
}

/** What the worker tells. */
export type HostNews =
  | { readonly kind: "ready"; readonly isIsolated: boolean; readonly memoryBytes: number }
  | { readonly kind: "reply"; readonly id: number; readonly result: unknown }
  | { readonly kind: "refusal"; readonly id: number; readonly message: string; readonly code: string }
  | { readonly kind: "state"; readonly vm: string; readonly state: VmState; readonly end?: GuestEnd }
  | { readonly kind: "console"; readonly vm: string; readonly bytes: Uint8Array }
  /** What was typed was refused: one line. */
  | { readonly kind: "problem"; readonly message: string }
  | { readonly kind: "figures"; readonly figures: HostFigures };
