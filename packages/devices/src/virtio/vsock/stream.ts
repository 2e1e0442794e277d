/**
 * Streams between the host and the programs of a guest, as the host sees them: what a device for sockets gives, and all
 * that its users know of it.
 *
 * A stream carries bytes both ways, in order and without loss while it lasts. Each direction has its own back-pressure and
 * its own end. Events come in the middle of what the guest does, inside its store to a register: who takes them keeps what
 * it needs, may call the methods of streams, and neither throws nor waits. No event of a stream comes before the call
 * that made it has returned, and none after `closed` or `failed`.
 *
 * Nothing here knows of time: who does not want to wait for a guest any longer resets the stream.
 *
 * Streams end with the guest's driver: when it is reset, when the machine is powered on, restored or disposed of. A clone
 * has none of its original's. Programs of the guest that listen go on listening after a restore, and listeners of the host
 * stay as long as the machine.
 */

/** The host's address (VMADDR_CID_HOST). */
export const HOST_CID = 2;
/** The highest port; the number above it stands for any (VMADDR_PORT_ANY). */
export const HIGHEST_VSOCK_PORT = 0xffff_fffe;

/** A stream that is open, or about to be. */
export interface VsockStream {
  readonly hostPort: number;
  readonly guestPort: number;
  /**
   * Sends bytes, which are the callee's from then on; false if it would rather have no more before `drained`. All that is
   * given is kept, and what is written before the stream is open is sent then. Without effect after `end`, and where
   * the guest takes no more.
   */
  write(data: Uint8Array): boolean;
  /** Nothing more will be written: the guest reads the end behind what was. The other direction goes on. */
  end(): void;
  /** Breaks it off, whatever is on its way. No event comes afterwards. */
  reset(): void;
  /** Whether it gives data: a stream does unless told not to. What the guest sends meanwhile waits, and holds it back. */
  setReading(isReading: boolean): void;
}

/**
 * Why a stream was not opened: nobody listens at that port, the guest has no driver (yet), or there are as many streams as
 * there may be.
 */
export type VsockFailure = "refused" | "no-driver" | "too-many";

/** What a stream tells that is open. */
export interface VsockStreamEvents {
  /** Bytes came, at most 256 KiB at once; the array is the callee's to keep. */
  data(data: Uint8Array): void;
  /** The guest sends nothing more. All that it had sent has come. */
  ended(): void;
  /** There is room to write again. */
  drained(): void;
  /** It is over: in both directions, or broken off, where bytes may be lost. What the guest had sent comes before. */
  closed(isBroken: boolean): void;
}

/** What a stream tells that the host opens. */
export interface VsockConnectEvents extends VsockStreamEvents {
  /** The guest has accepted. */
  opened(): void;
  /** It was not opened. */
  failed(why: VsockFailure): void;
}

/** A program of the guest that has connected to a port of the host's. */
export interface VsockCaller {
  readonly guestPort: number;
  readonly hostPort: number;
  /** Takes the stream; one that is not taken before `accept` returns is refused. */
  take(events: VsockStreamEvents): VsockStream;
}

/** Something that listens at the host. */
export interface VsockListener {
  readonly port: number;
  /** Takes no more callers; streams go on. */
  close(): void;
}

/** The way to a guest's programs and back. */
export interface VsockPorts {
  /** The guest's address. */
  readonly guestCid: number;
  /** Whether the guest has a driver at work. */
  readonly live: boolean;
  /**
   * Opens a stream to a program of the guest that listens at `port`, an integer from 0 to {@link HIGHEST_VSOCK_PORT}.
   * @throws VsockError `E_VSOCK_PORT` for what is no port
   */
  connect(port: number, events: VsockConnectEvents): VsockStream;
  /**
   * Takes the guest's programs that connect to `port`, an integer from 0 to {@link HIGHEST_VSOCK_PORT}.
   * @throws VsockError `E_VSOCK_PORT` for a port that somebody listens at, or none
   */
  listen(port: number, accept: (caller: VsockCaller) => void): VsockListener;
}
