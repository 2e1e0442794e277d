/** Ends of cables for tests. */
import {
  ETHERNET_BYTES,
  type Frame,
  type FrameSupport,
  finishedFrames,
  type LinkEnd,
} from "../src/net/frame.js";
import { writeEthernet } from "../src/net/frames/ethernet.js";

/** Keeps what it gets, as long as it has room. */
export class RecordingEnd implements LinkEnd {
  readonly got: Frame[] = [];
  readonly states: boolean[] = [];
  room = Infinity;
  /** Called with each frame. */
  onFrame: (frame: Frame) => void = () => {};

  constructor(readonly takes: FrameSupport = finishedFrames) {}

  receive(frame: Frame): boolean {
    if (this.got.length >= this.room) return false;
    this.got.push(frame);
    this.onFrame(frame);
    return true;
  }

  linkChanged(isUp: boolean): void {
    this.states.push(isUp);
  }

  /** What it has got since this was last called. */
  take(): Uint8Array[] {
    return this.got.splice(0).map(({ bytes }) => bytes);
  }
}

/** A frame of some other protocol. */
export function plainFrame(
  destination: number,
  source: number,
  payload: Uint8Array = new Uint8Array(46),
): Frame {
  const bytes = new Uint8Array(ETHERNET_BYTES + payload.length);
  writeEthernet(bytes, destination, source, 0x88b5);
  bytes.set(payload, ETHERNET_BYTES);
  return { bytes };
}

/** Bytes from hexadecimal digits; spaces are passed over. */
export const hexBytes = (digits: string): Uint8Array =>
  Uint8Array.from(digits.replace(/\s/g, "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
