/**
 * Frames as they travel between devices, switches and stacks inside one host, and the cable between two of them.
 *
 * What hardware would do to a frame on its way out may be left undone between ends that are on one host: a checksum that
 * nobody has computed yet, TCP data that nobody has cut to segments yet. An end says what it takes; what it does not take
 * is done for it before it gets the frame (`offload.ts`).
 */

/** Bytes of an Ethernet header without tags. */
export const ETHERNET_BYTES = 14;
/** Largest payload of a frame with segments to be cut: that of an IP packet. */
export const MOST_PACKET_BYTES = 65535;

/** A frame. Its bytes are never changed: whoever changes something makes another one. */
export interface Frame {
  /** From the destination's address to the end of the payload, without padding and check sequence. */
  readonly bytes: Uint8Array;
  /**
   * The checksum is to be computed: over the bytes from `start` to the end, to be stored at `start + offset`, where the
   * sum of the pseudo-header is now. Both lie in the frame.
   */
  readonly checksum?: { readonly start: number; readonly offset: number };
  /** It is TCP over IP of this family, to be cut to segments of at most `size` bytes of data. It has `checksum`, too. */
  readonly segments?: { readonly family: 4 | 6; readonly size: number };
}

/** What is left undone in frames that an end takes. */
export interface FrameSupport {
  /** Frames with `checksum`. */
  readonly checksum: boolean;
  /** Frames with `segments` of IPv4. Implies `checksum`. */
  readonly segments4: boolean;
  /** Frames with `segments` of IPv6. Implies `checksum`. */
  readonly segments6: boolean;
}

/** Of an end that takes finished frames only. */
export const finishedFrames: FrameSupport = { checksum: false, segments4: false, segments6: false };
/** Of an end that takes everything. */
export const allFrames: FrameSupport = { checksum: true, segments4: true, segments6: true };

/** One end of a cable: what gets frames. */
export interface LinkEnd {
  /** May change at any time. */
  readonly takes: FrameSupport;
  /** Takes a frame, or says by false that it has no room: it is offered again after the next `ready()` of its link. */
  receive(frame: Frame): boolean;
  /** The cable is connected, or not any more. Never called before `connect` has returned. */
  linkChanged?(isUp: boolean): void;
  /** The link, which was full, takes frames again. Never called inside `send`. */
  drained?(): void;
}

/** The cable, as its end sees it. */
export interface Link {
  /** Whether it leads somewhere. */
  readonly isUp: boolean;
  /** Whether a frame might be dropped for want of room, so that who can wait does, for `drained`. False unless given. */
  readonly isFull?: boolean;
  /** Sends a frame; it is counted and dropped where it can't go on. */
  send(frame: Frame): void;
  /** The end has room again. */
  ready(): void;
  /** Takes the cable out, for good; what waits for the end is dropped. */
  disconnect(): void;
}

/** Something that ends can be connected to. */
export interface Network {
  connect(end: LinkEnd): Link;
}

/** A cable that leads nowhere. */
export const noNetwork: Network = {
  connect: () => ({ isUp: false, send: () => {}, ready: () => {}, disconnect: () => {} }),
};
