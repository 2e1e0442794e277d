/**
 * A way to a guest's ports, as the client uses it: the streams of `VsockPorts` in `@hyperfile/devices/virtio` have this
 * shape, and what relays them does.
 */

/** A stream that is open, or about to be. */
export interface AgentStream {
  /** Sends bytes, which are the callee's from then on; false if it would rather have no more before `drained`. */
  write(data: Uint8Array): boolean;
  /** Breaks it off. No event comes afterwards. */
  reset(): void;
  /** Whether it gives data: it does unless told not to. */
  setReading(isReading: boolean): void;
}

/** What becomes of a stream. Who takes these may be in the middle of what the guest does: neither throws nor waits. */
export interface AgentStreamEvents {
  opened(): void;
  /** It was not opened: `refused`, `no-driver`, `too-many`, or a sentence. */
  failed(why: string): void;
  data(data: Uint8Array): void;
  /** The guest sends nothing more. */
  ended(): void;
  drained(): void;
  closed(isBroken: boolean): void;
}

/** Opens a stream to a program of the guest. */
export type ConnectAgent = (port: number, events: AgentStreamEvents) => AgentStream;
