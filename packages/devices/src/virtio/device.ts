/**
 * What a virtio device is, apart from how its driver reaches it. Three things make one, each with a narrow view of the
 * next:
 *
 * - the **device** (here) has a configuration space and serves its queues;
 * - the **core** (`core.ts`) owns what is the same for all devices: status, features, queues, requests in flight,
 *   resets, and the device that needs one;
 * - the **transport** (`mmio-transport.ts`) gives the core's registers addresses, and its interrupts a line or messages.
 */
import type { AccessSize, DeviceState } from "../ports.js";
import type { DescriptorChain } from "./descriptor-chain.js";
import type { Virtqueue } from "./queue.js";

/** A request that a device has taken and answers later, after any number of turns of the host's event loop. */
export interface VirtioRequest {
  /** Its buffers; they reach nothing once the driver has reset the device or stopped the queue. */
  readonly chain: DescriptorChain;
  /**
   * It is done: gives the chain back to the driver, with `written` bytes of data, and interrupts it. Every request that
   * was taken must be completed, once, however its work ended and whatever became of the driver: one from before a
   * reset is only counted off, whoever has its descriptors by now.
   */
  complete(written?: number): void;
}

/** The core, as its device sees it. */
export interface VirtioHost {
  /** The device's queues, as many as it asked for. One that the driver has not set up gives no chains. */
  readonly queues: readonly Virtqueue[];
  /** The driver is ready (DRIVER_OK) and the device not broken: queues may be served. */
  readonly live: boolean;
  /** Whether a feature bit was negotiated. */
  hasFeature(bit: number): boolean;
  /**
   * Takes the next request of a queue to answer it later; undefined if none waits. It is in flight until it is
   * complete. What is answered at once takes chains from the queue itself.
   */
  take(queue: number): VirtioRequest | undefined;
  /** Interrupts the driver for what was pushed to a queue, unless it asked not to be. */
  signal(queue: number): void;
  /** The configuration space changed: the driver is told to read it again. */
  configChanged(): void;
  /** Has the VM look at its devices soon, also if it sleeps. An interrupt does that by itself. */
  wake(): void;
}

/** Why a device is reset: the driver asked, or the machine is switched on. */
export type VirtioResetCause = "driver" | "power";

/**
 * A virtio device. Nothing that a guest does makes a method throw; a request that can't be understood rejects its
 * queue with `"request"`.
 */
export interface VirtioDevice {
  /** Name for messages, dumps and snapshots, for instance `"rng"`. */
  readonly name: string;
  /** Device type (virtio 1.2, chapter 5). */
  readonly id: number;
  /** Feature bits 0 to 23 that the device offers (section 2.2); the core adds those of rings and transport. */
  readonly features: readonly number[];
  /** Most descriptors of each queue, in order; powers of two. */
  readonly queueSizes: readonly number[];
  /** Events since power-on by name. */
  readonly counters: Readonly<Record<string, number>>;
  /** Called once, before anything else, by the core that the device is plugged into. */
  attach(host: VirtioHost): void;
  /** The driver became ready: features are settled. The core notifies each queue afterwards. */
  activate(): void;
  /** Serves a queue: the driver made chains available, or they waited. Only called while the host is live. */
  notify(queue: number): void;
  /** Reads `size` bytes of configuration space at `offset`, which is a multiple of `size`; unsigned. */
  readConfig(offset: number, size: AccessSize): number;
  /** Writes `size` bytes of configuration space at `offset`, which is a multiple of `size`. */
  writeConfig(offset: number, size: AccessSize, value: number): void;
  /** Back to the state before a driver came. After a driver's reset, what the host has sent may be kept. */
  reset(cause: VirtioResetCause): void;
  /** Somebody waits for its requests in flight: they are not to wait for more than they must, until the result is called. */
  hasten?(): () => void;
  /** The device's own state. It holds no chains while it is saved. */
  save(): DeviceState;
  /** Replaces it; throws DeviceStateError on a state of another shape. */
  restore(state: DeviceState): void;
  /** The machine is gone: lets go of what the host gave. */
  dispose?(): void;
}

/** How a core interrupts its driver: its transport makes a level or messages of it. */
export interface VirtioInterrupts {
  /** Chains of a queue were used. */
  used(queue: number): void;
  /** The configuration changed, or the device needs a reset. */
  config(): void;
  /** The device was reset: what was raised is withdrawn. */
  reset(): void;
}

/** Reads `size` bytes at `offset` of a configuration space given as bytes; bytes past its end are zero. */
export function readConfigBytes(config: Uint8Array, offset: number, size: AccessSize): number {
  let value = 0;
  for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + (config[offset + byte] ?? 0);
  return value;
}
