/**
 * Streams to programs in guests, between the daemon and the threads that have the guests. Bytes under way in each direction
 * are bounded by a window that the taker opens again, so that whoever does not read holds the other end, and nothing
 * grows in between.
 */
import type { GuestStream, GuestStreamEvents } from "./guest-port.js";

/** Bytes under way in one direction above which a stream would rather have no more. */
const WINDOW = 262144;

/** What is said of a stream, in either direction but for the first three. */
export type StreamMessage =
  /** To the thread: opens it. */
  | { readonly kind: "connect"; readonly port: number }
  | { readonly kind: "opened" }
  | { readonly kind: "failed"; readonly why: string }
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  /** So many bytes of data have been taken. */
  | { readonly kind: "taken"; readonly bytes: number }
  | { readonly kind: "end" }
  | { readonly kind: "closed"; readonly isBroken: boolean };

/** One end of a stream; the other one is where its messages go. */
export class RelayedStream implements GuestStream {
  private underWay = 0;
  private isFull = false;
  private isReading = true;
  private isOver = false;
  /** What came and was not given on. */
  private readonly kept: (StreamMessage & { readonly kind: "data" | "end" | "closed" })[] = [];

  /**
   * @param send passes a message on to the other end
   * @param events takes what comes; not called after `failed`, `closed`, or a reset here
   */
  constructor(
    private readonly send: (message: StreamMessage) => void,
    private readonly events: GuestStreamEvents,
  ) {}

  write(data: Uint8Array): boolean {
    if (this.isOver || data.length === 0) return true;
    this.underWay += data.length;
    // A view is sent with all of its memory.
    const bytes = data.length === data.buffer.byteLength ? data : data.slice();
    this.send({ kind: "data", bytes });
    if (this.underWay >= WINDOW) this.isFull = true;
    return !this.isFull;
  }

  end(): void {
    if (!this.isOver) this.send({ kind: "end" });
  }

  reset(): void {
    this.close(true);
  }

  /** Nothing more comes from this end: the other one is told. */
  close(isBroken: boolean): void {
    if (this.isOver) return;
    this.isOver = true;
    this.kept.length = 0;
    this.send({ kind: "closed", isBroken });
  }

  setReading(isReading: boolean): void {
    this.isReading = isReading;
    this.give();
  }

  /** Takes a message of the other end. */
  hear(message: StreamMessage): void {
    if (this.isOver) return;
    switch (message.kind) {
      case "connect":
        return;
      case "opened":
        this.events.opened();
        return;
      case "failed":
        this.isOver = true;
        this.events.failed(message.why);
        return;
      case "taken":
        this.underWay = Math.max(0, this.underWay - message.bytes);
        if (!this.isFull || this.underWay > WINDOW / 2) return;
        this.isFull = false;
        this.events.drained();
        return;
      default:
        this.kept.push(message);
        this.give();
    }
  }

  /** Gives on what was kept, in order, for as long as it is taken. */
  private give(): void {
    while (this.isReading && !this.isOver) {
      const message = this.kept.shift();
      if (message === undefined) return;
      if (message.kind === "data") {
        this.send({ kind: "taken", bytes: message.bytes.length });
        this.events.data(message.bytes);
      } else if (message.kind === "end") this.events.ended();
      else {
        this.isOver = true;
        this.events.closed(message.isBroken);
      }
    }
  }
}

/** The streams of one VM, at the daemon's side. */
export class GuestStreams {
  private readonly streams = new Map<number, RelayedStream>();
  private next = 0;

  /** @param send passes a stream's message on to the VM's thread */
  constructor(private readonly send: (stream: number, message: StreamMessage) => void) {}

  /** Opens a stream. */
  connect(port: number, events: GuestStreamEvents): GuestStream {
    const id = ++this.next;
    const send = (message: StreamMessage) => {
      if (message.kind === "closed") this.streams.delete(id);
      this.send(id, message);
    };
    const stream = new RelayedStream(send, {
      ...boundEvents(events),
      failed: (why) => {
        this.streams.delete(id);
        events.failed(why);
      },
      closed: (isBroken) => {
        this.streams.delete(id);
        events.closed(isBroken);
      },
    });
    this.streams.set(id, stream);
    this.send(id, { kind: "connect", port });
    return stream;
  }

  /** The thread says something of a stream. */
  hear(stream: number, message: StreamMessage): void {
    this.streams.get(stream)?.hear(message);
  }

  /** The guest is gone. */
  close(): void {
    for (const stream of [...this.streams.values()]) {
      stream.setReading(true);
      stream.hear({ kind: "closed", isBroken: true });
    }
  }
}

/** The streams of one VM, at the thread's side. */
export class ServedStreams {
  private readonly streams = new Map<
    number,
    { readonly outer: RelayedStream; readonly inner: GuestStream }
  >();

  /** @param send passes a stream's message on to the daemon */
  constructor(private readonly send: (stream: number, message: StreamMessage) => void) {}

  /**
   * The daemon says something of a stream.
   * @param connect opens one to the guest; undefined where it has no way there
   */
  hear(
    connect: ((port: number, events: GuestStreamEvents) => GuestStream) | undefined,
    id: number,
    message: StreamMessage,
  ): void {
    if (message.kind !== "connect") {
      this.streams.get(id)?.outer.hear(message);
      return;
    }
    if (connect === undefined)
      this.send(id, { kind: "failed", why: "the machine has no virtio-vsock device" });
    else this.open(connect, id, message.port);
  }

  private open(
    connect: (port: number, events: GuestStreamEvents) => GuestStream,
    id: number,
    port: number,
  ): void {
    const outer = new RelayedStream((message) => this.send(id, message), {
      opened: () => {},
      failed: () => {},
      data: (bytes) => {
        if (!inner.write(bytes)) outer.setReading(false);
      },
      ended: () => inner.end(),
      drained: () => inner.setReading(true),
      closed: () => {
        this.streams.delete(id);
        inner.reset();
      },
    });
    const inner = connect(port, {
      opened: () => this.send(id, { kind: "opened" }),
      failed: (why) => {
        this.streams.delete(id);
        this.send(id, { kind: "failed", why });
      },
      data: (bytes) => {
        if (!outer.write(bytes)) inner.setReading(false);
      },
      ended: () => outer.end(),
      drained: () => outer.setReading(true),
      closed: (isBroken) => {
        this.streams.delete(id);
        outer.close(isBroken);
      },
    });
    this.streams.set(id, { outer, inner });
  }

  /** The guest is gone, or another one is in its place. */
  close(): void {
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const { outer, inner } of streams) {
      inner.reset();
      outer.close(true);
    }
  }
}

const boundEvents = (events: GuestStreamEvents): GuestStreamEvents => ({
  opened: () => events.opened(),
  failed: (why) => events.failed(why),
  data: (data) => events.data(data),
  ended: () => events.ended(),
  drained: () => events.drained(),
  closed: (isBroken) => events.closed(isBroken),
});
