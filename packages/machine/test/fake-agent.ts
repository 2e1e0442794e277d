/** A guest's agent whose every byte a test decides: streams that end in arrays, and frames that are sent by hand. */

import type { AgentStreamEvents, ConnectAgent } from "../src/agent/index.js";
import { encodeFrame, type Frame, FrameReader } from "../src/agent/protocol.js";

/** One connection, from the agent's side. */
export class FakePeer {
  /** What the host has sent. */
  readonly frames: Frame[] = [];
  isReset = false;
  isReading = true;
  /** Whether the stream says that it would rather have no more. */
  isFull = false;
  /** Bytes that were given, and those of them while the host did not read. */
  given = 0;
  givenUnread = 0;
  private readonly reader = new FrameReader();

  constructor(
    readonly port: number,
    readonly events: AgentStreamEvents,
    private readonly hear: (frame: Frame, peer: FakePeer) => void,
  ) {}

  take(bytes: Uint8Array): void {
    this.reader.push(bytes);
    for (let frame = this.reader.next(); frame !== undefined; frame = this.reader.next()) {
      this.frames.push(frame);
      const heard = frame;
      queueMicrotask(() => this.isReset || this.hear(heard, this));
    }
  }

  /** Gives the host bytes. */
  give(bytes: Uint8Array): void {
    if (this.isReset) return;
    this.given += bytes.length;
    if (!this.isReading) this.givenUnread += bytes.length;
    this.events.data(bytes);
  }

  send(type: number, ...parts: readonly Uint8Array[]): void {
    this.give(encodeFrame(type, ...parts));
  }
}

/** Connections to an agent that answers as `hear` does. */
export function fakeAgent(hear: (frame: Frame, peer: FakePeer) => void): {
  readonly connect: ConnectAgent;
  readonly peers: FakePeer[];
} {
  const peers: FakePeer[] = [];
  const connect: ConnectAgent = (port, events) => {
    const peer = new FakePeer(port, events, hear);
    peers.push(peer);
    return {
      write: (data) => {
        peer.take(data);
        return !peer.isFull;
      },
      reset: () => {
        peer.isReset = true;
      },
      setReading: (isReading) => {
        peer.isReading = isReading;
      },
    };
  };
  return { connect, peers };
}
