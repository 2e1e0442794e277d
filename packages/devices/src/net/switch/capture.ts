/**
 * A capture of a network: what its switch mirrors, as blocks of pcapng.
 *
 * It never holds the network. What it has made and nobody has taken yet is bounded by a window; frames that do not fit are
 * dropped, counted, and told of in the next packet of the same interface and in the statistics at the end. Blocks go out
 * whole and in order, so that wherever a capture is cut off between two of them, it can be read.
 *
 * Of a whole network each frame is there once, where it has entered the switch: were it there where it leaves as well, readers
 * would take it for sent again. Of one port there is what enters and what leaves by it.
 */
import { hostTimers, type Timer, type Timers } from "../timers.js";
import {
  DEFAULT_SNAP_LENGTH,
  enhancedPacket,
  interfaceDescription,
  interfaceStatistics,
  MOST_PACKET_OVERHEAD,
  STATISTICS_BYTES,
  sectionHeader,
} from "./pcapng.js";
import type { MirroredFrame, Switch } from "./switch.js";

/** Bytes that may wait to be taken, unless told otherwise. */
const WINDOW_BYTES = 4 << 20;
/** Bytes that are given out at once, and milliseconds after which fewer are. */
const [BATCH_BYTES, BATCH_MS] = [1 << 16, 20];

/** Why a capture has ended: it was asked to, has its size or time, or its network is no more. */
export type CaptureEnd = "asked" | "size" | "time" | "network";

/** What is captured; all unless given. */
export interface CaptureOptions {
  /** Name of the only port. */
  readonly port?: string;
  /** Bytes that are kept of a frame; 262,144 unless given. */
  readonly snapLength?: number;
  /** Bytes of the whole capture, those at its end among them. */
  readonly mostBytes?: number;
  readonly seconds?: number;
  /** Bytes that may wait to be taken; 4 MiB unless given. */
  readonly windowBytes?: number;
  /** The host's clock unless given. */
  readonly timers?: Timers;
  /** Milliseconds since 1970, when it begins; the host's unless given. */
  readonly date?: number;
}

/** What a capture has so far. */
export interface CaptureCounts {
  /** Frames in it, and those that are missing since nobody took them in time. */
  readonly frames: number;
  readonly dropped: number;
}

/** Where a capture goes. */
export interface CaptureSink {
  /** Takes whole blocks; {@link Capture.took} says when there is room for as many bytes again. */
  blocks(bytes: Uint8Array<ArrayBuffer>, counts: CaptureCounts): void;
  /** Nothing more comes. */
  ended(reason: CaptureEnd): void;
}

interface Interface {
  readonly interfaceId: number;
  received: number;
  dropped: number;
  /** Dropped since its last packet. */
  missing: number;
}

/** A capture, which begins when it is made. */
export class Capture {
  private readonly interfaces = new Map<string, Interface>();
  private readonly timers: Timers;
  private readonly snapLength: number;
  private readonly mostBytes: number;
  private readonly windowBytes: number;
  /** The host's date less its timers' time, in milliseconds. */
  private readonly epoch: number;
  private readonly began: bigint;
  private parts: Uint8Array[] = [];
  /** Bytes that are not given out, given out and not taken, and of all blocks. */
  private waiting = 0;
  private given = 0;
  private size = 0;
  private frames = 0;
  private dropped = 0;
  private isOver = false;
  private batch: Timer | undefined;
  private readonly limit: Timer | undefined;
  private readonly unmirror: () => void;

  constructor(
    network: Switch,
    private readonly options: CaptureOptions,
    private readonly sink: CaptureSink,
  ) {
    const { seconds, timers = hostTimers, date = Date.now() } = options;
    this.timers = timers;
    this.snapLength = options.snapLength ?? DEFAULT_SNAP_LENGTH;
    this.mostBytes = options.mostBytes ?? Infinity;
    this.windowBytes = options.windowBytes ?? WINDOW_BYTES;
    this.epoch = date - timers.now();
    this.began = this.now();
    this.add(sectionHeader());
    this.unmirror = network.mirror((mirrored) => this.see(mirrored));
    if (seconds !== undefined) this.limit = timers.after(seconds * 1000, () => this.end("time"));
  }

  /** So many bytes that were given out need no room any more. */
  took(bytes: number): void {
    this.given -= bytes;
  }

  /** Ends it: gives out what is left, and statistics. Without effect when it is over. */
  end(reason: CaptureEnd): void {
    if (this.isOver) return;
    this.isOver = true;
    this.unmirror();
    this.limit?.cancel();
    const ended = this.now();
    for (const { missing: _, ...counts } of this.interfaces.values())
      this.add(interfaceStatistics({ ...counts, began: this.began, ended }));
    this.giveOut();
    this.sink.ended(reason);
  }

  /** Ends it when nobody takes it any more: nothing more is given out. */
  abandon(): void {
    this.isOver = true;
    this.unmirror();
    this.limit?.cancel();
    this.batch?.cancel();
    this.parts = [];
  }

  private see({ port, direction, frame: { bytes } }: MirroredFrame): void {
    const { port: only } = this.options;
    if (only === undefined ? direction === "out" : port !== only) return;
    const seen = this.interfaces.get(port) ?? this.describe(port);
    if (seen === undefined) return;
    const kept = Math.min(bytes.length, this.snapLength);
    if (this.given + this.waiting + kept + MOST_PACKET_OVERHEAD > this.windowBytes) {
      seen.received++;
      seen.dropped++;
      seen.missing++;
      this.dropped++;
      return;
    }
    const { interfaceId, missing } = seen;
    const packet = { interfaceId, direction, bytes, time: this.now(), dropped: missing };
    const block = enhancedPacket(packet, this.snapLength);
    if (!this.hasRoom(block.length)) return this.end("size");
    seen.received++;
    seen.missing = 0;
    this.frames++;
    this.add(block);
  }

  /** Describes a port that is new; undefined where that does not fit any more. */
  private describe(port: string): Interface | undefined {
    const block = interfaceDescription(port, this.snapLength);
    if (!this.hasRoom(block.length + STATISTICS_BYTES)) {
      this.end("size");
      return undefined;
    }
    const added: Interface = { interfaceId: this.interfaces.size, received: 0, dropped: 0, missing: 0 };
    this.interfaces.set(port, added);
    this.add(block);
    return added;
  }

  /** Whether so many bytes and the statistics of all interfaces fit into the capture. */
  private hasRoom(bytes: number): boolean {
    return this.size + bytes + this.interfaces.size * STATISTICS_BYTES <= this.mostBytes;
  }

  private add(block: Uint8Array): void {
    this.parts.push(block);
    this.waiting += block.length;
    this.size += block.length;
    if (this.waiting >= BATCH_BYTES) this.giveOut();
    else this.batch ??= this.timers.after(BATCH_MS, () => this.giveOut());
  }

  private giveOut(): void {
    this.batch?.cancel();
    this.batch = undefined;
    if (this.waiting === 0) return;
    const bytes = new Uint8Array(this.waiting);
    let at = 0;
    for (const part of this.parts) {
      bytes.set(part, at);
      at += part.length;
    }
    this.parts = [];
    this.given += this.waiting;
    this.waiting = 0;
    this.sink.blocks(bytes, { frames: this.frames, dropped: this.dropped });
  }

  /** Nanoseconds since 1970, by the clock that never goes back. */
  private now(): bigint {
    const milliseconds = this.epoch + this.timers.now();
    const whole = Math.floor(milliseconds);
    return BigInt(whole) * 1_000_000n + BigInt(Math.floor((milliseconds - whole) * 1e6));
  }
}
