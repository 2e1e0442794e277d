/** Captures of networks, as the daemon asks for them of what has the networks. */

/** What is to be captured. */
export interface CaptureRequest {
  readonly project: string;
  /** Name of the network in its project. */
  readonly network: string;
  /** Name of a VM, of whose card alone it is. */
  readonly vm?: string;
  /** Bytes that are kept of a frame; all unless given. */
  readonly snapLength?: number;
  /** Size of the capture and seconds at which it ends; no limit unless given. */
  readonly mostBytes?: number;
  readonly seconds?: number;
}

/** Why a capture has ended: it was asked to, has its size or time, or no VM of its network is up any more. */
export type CaptureEnd = "asked" | "size" | "time" | "network";

/** What a capture has so far. */
export interface CaptureCounts {
  /** Frames in it, and those that are missing since nobody took them in time. */
  readonly frames: number;
  readonly dropped: number;
}

/** Who takes a capture. After `ended` or `failed` nothing comes. */
export interface CaptureListener {
  /** Whole blocks of a pcapng file. */
  blocks(bytes: Uint8Array, counts: CaptureCounts): void;
  ended(reason: CaptureEnd): void;
  /** It was cut off; what came until then is whole. */
  failed(message: string): void;
}

/** A capture that is going on. */
export interface CaptureHandle {
  /** So many bytes need no room any more: what is taken too slowly is dropped. */
  took(bytes: number): void;
  /** Ends it: what is left comes, and then `ended`. */
  end(): void;
  /** Cuts it off; the listener hears nothing more. */
  close(): void;
}

/**
 * Begins a capture. Nothing comes before this turn of the event loop is over.
 * @throws an error of one line where no VM of the network is up
 */
export type OpenCapture = (request: CaptureRequest, listener: CaptureListener) => CaptureHandle;
