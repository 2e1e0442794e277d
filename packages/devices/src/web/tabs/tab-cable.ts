/**
 * The cable from one tab's switch to that of another: a port's end whose frames go by messages. Messages wait without a
 * bound in a tab that does not look at them, so that here is one: a tab has so many bytes under way to another, and goes on
 * when that has taken them. What does not go stays in the port's queue, which is bounded and drops.
 */
import { MOST_FRAME_BYTES } from "../../net/cable/frame-ring.js";
import { allFrames, ETHERNET_BYTES, type Frame, type Link, type LinkEnd } from "../../net/frame.js";
import { frameOf, headerOf, NET_HEADER_BYTES } from "../../virtio/net/header.js";
import { costOf, MOST_FRAMES, type TabFrame } from "./messages.js";

/** Bytes of frames that are under way to a tab, as they count there. */
const WINDOW_BYTES = 1 << 20;

/** One end of a cable. */
export class TabCable implements LinkEnd {
  readonly takes = allFrames;
  /** The port of the switch; there before anything comes. */
  link: Link | undefined;
  private pending: TabFrame[] = [];
  private underWay = 0;
  private isHeld = false;

  /** @param post sends frames to the other tab */
  constructor(private readonly post: (frames: readonly TabFrame[]) => void) {}

  receive(frame: Frame): boolean {
    if (this.underWay >= WINDOW_BYTES) {
      this.isHeld = true;
      return false;
    }
    const { bytes } = frame;
    this.underWay += costOf(frame);
    // What is posted is copied, and with a view all that it is a view of.
    const own = bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
    this.pending.push({ header: headerOf(frame), bytes: own });
    if (this.pending.length === 1) queueMicrotask(() => this.flush());
    else if (this.pending.length === MOST_FRAMES) this.flush();
    return true;
  }

  /** The other tab has taken so many bytes. */
  took(bytes: number): void {
    this.underWay = Math.max(0, this.underWay - bytes);
    if (!this.isHeld || this.underWay >= WINDOW_BYTES) return;
    this.isHeld = false;
    this.link?.ready();
  }

  /**
   * Frames have come, which are judged before they go on.
   * @returns how many were none
   */
  arrive(frames: readonly TabFrame[]): number {
    let malformed = 0;
    for (const { header, bytes } of frames) {
      const frame = judged(header, bytes);
      if (frame === undefined) malformed++;
      else this.link?.send(frame);
    }
    return malformed;
  }

  /** Nothing goes any more: the other tab is gone. */
  close(): void {
    this.link?.disconnect();
    this.link = undefined;
    this.pending = [];
  }

  private flush(): void {
    const { pending } = this;
    if (pending.length === 0) return;
    this.pending = [];
    this.post(pending);
  }
}

function judged(header: Uint8Array, bytes: Uint8Array): Frame | undefined {
  const { length } = bytes;
  if (header.length !== NET_HEADER_BYTES || length < ETHERNET_BYTES || length > MOST_FRAME_BYTES)
    return undefined;
  return frameOf(new DataView(header.buffer, header.byteOffset, header.length), bytes, allFrames);
}
