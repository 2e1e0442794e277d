/**
 * What a virtio device is, apart from how its driver reaches it: the transport owns status, features, rings and the
 * interrupt; the device owns its configuration space and serves its queues.
 */
import type { AccessSize, DeviceState } from "../ports.js";
import type { Virtqueue } from "./queue.js";

/** The transport, as its device sees it. */
export interface VirtioHost {
  /** The device's queues, as many as it asked for. One that the driver has not set up gives no chains. */
  readonly queues: readonly Virtqueue[];
  /** The driver is ready (DRIVER_OK) and the device not broken: queues may be served. */
  readonly live: boolean;
  /** Whether a feature bit was negotiated. */
  hasFeature(bit: number): boolean;
  /** Interrupts the driver for what was pushed to a queue, unless it asked not to be. */
  signal(queue: number): void;
  /** The configuration space changed: the driver is told to read it again. */
  configChanged(): void;
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
  /** Feature bits 0 to 23 that the device offers (section 2.2); the transport adds those of rings and transport. */
  readonly features: readonly number[];
  /** Most descriptors of each queue, in order; powers of two. */
  readonly queueSizes: readonly number[];
  /** Events since power-on by name. */
  readonly counters: Readonly<Record<string, number>>;
  /** Called once, before anything else, by the transport that the device is plugged into. */
  attach(host: VirtioHost): void;
  /** The driver became ready: features are settled. The transport notifies each queue afterwards. */
  activate(): void;
  /** Serves a queue: the driver made chains available. Only called while the host is live. */
  notify(queue: number): void;
  /** Reads `size` bytes of configuration space at `offset`, which is a multiple of `size`; unsigned. */
  readConfig(offset: number, size: AccessSize): number;
  /** Writes `size` bytes of configuration space at `offset`, which is a multiple of `size`. */
  writeConfig(offset: number, size: AccessSize, value: number): void;
  /** Back to the state before a driver came. After a driver's reset, what the host has sent may be kept. */
  reset(cause: VirtioResetCause): void;
  /** The device's own state. It holds no chains while it is saved. */
  save(): DeviceState;
  /** Replaces it; throws DeviceStateError on a state of another shape. */
  restore(state: DeviceState): void;
}

/** Reads `size` bytes at `offset` of a configuration space given as bytes; bytes past its end are zero. */
export function readConfigBytes(config: Uint8Array, offset: number, size: AccessSize): number {
  let value = 0;
  for (let byte = size - 1; byte >= 0; byte--) value = value * 256 + (config[offset + byte] ?? 0);
  return value;
}
