/** Both ends of WISP in virtual time, with a line between them that can be slow, full and cut. */
import type { Outside, OutsideFailure, OutsideTcp } from "../src/net/nat/outside.js";
import type { Policy } from "../src/net/nat/policy.js";
import { WispOutside, type WispOutsideOptions } from "../src/net/wisp/outside.js";
import { parseWisp } from "../src/net/wisp/packet.js";
import type { WispPort, WispPortEvents } from "../src/net/wisp/port.js";
import { WispRelay } from "../src/net/wisp/relay.js";
import { VirtualTimers } from "./virtual-timers.js";

/** One direction of a line: messages arrive in their order, so many bytes a millisecond. */
class Direction {
  waiting = 0;
  most = 0;
  private freeAt = 0;
  isCut = false;

  constructor(
    private readonly timers: VirtualTimers,
    private readonly bytesPerMs: number,
    private readonly arrive: (bytes: Uint8Array) => void,
    private readonly drained: () => void,
  ) {}

  send(bytes: Uint8Array): void {
    if (this.isCut) return;
    const now = this.timers.now();
    this.waiting += bytes.length;
    this.most = Math.max(this.most, this.waiting);
    this.freeAt = Math.max(now, this.freeAt) + bytes.length / this.bytesPerMs;
    this.timers.after(this.freeAt - now, () => {
      this.waiting -= bytes.length;
      if (!this.isCut) this.drained();
    });
    this.timers.after(this.freeAt - now + 1, () => {
      if (!this.isCut) this.arrive(bytes);
    });
  }
}

/** A connection between a client and what answers it. */
export class Line {
  readonly up: Direction;
  readonly down: Direction;
  /** Why an end has closed it. */
  closedBy: string | undefined;
  relay: WispRelay | undefined;

  constructor(
    timers: VirtualTimers,
    bytesPerMs: number,
    readonly events: WispPortEvents,
    receive: (bytes: Uint8Array, line: Line) => void,
  ) {
    this.up = new Direction(
      timers,
      bytesPerMs,
      (bytes) => receive(bytes, this),
      () => events.drained(),
    );
    this.down = new Direction(
      timers,
      bytesPerMs,
      (bytes) => events.message(bytes),
      () => this.relay?.drained(),
    );
  }

  /** Cuts it: both ends hear so. */
  cut(why = "the connection broke off"): void {
    if (this.up.isCut) return;
    this.up.isCut = this.down.isCut = true;
    this.relay?.close();
    this.events.closed(why);
  }

  port(direction: Direction, other: (why: string) => void): WispPort {
    return {
      send: (bytes) => direction.send(bytes),
      get waiting() {
        return direction.waiting;
      },
      close: (why) => {
        this.closedBy = why;
        this.up.isCut = this.down.isCut = true;
        other(why);
      },
    };
  }
}

/** What is different from two ends of ours on a fast line. */
export interface WorldOptions {
  readonly outside: Outside;
  readonly policy?: Policy;
  readonly bytesPerMs?: number;
  readonly hasRoom?: () => boolean;
  readonly client?: Partial<WispOutsideOptions>;
  /** Whether the relay is there; asked at each attempt. */
  readonly isThere?: () => boolean;
  /** Answers instead of a relay. */
  readonly answer?: (line: Line, packet: ReturnType<typeof parseWisp> | undefined) => void;
}

/** A client with a relay behind it. */
export function wispWorld(options: WorldOptions) {
  const timers = new VirtualTimers();
  const lines: Line[] = [];
  const told: string[] = [];
  const refused: string[] = [];
  const connect = (events: WispPortEvents): WispPort => {
    const line = new Line(timers, options.bytesPerMs ?? 1e6, events, (bytes) => {
      if (options.answer !== undefined) options.answer(line, parseWisp(bytes));
      else line.relay?.receive(bytes);
    });
    lines.push(line);
    timers.after(1, () => {
      if (line.up.isCut) return;
      if (options.isThere?.() === false) return line.cut("it does not answer");
      if (options.answer !== undefined) return options.answer(line, undefined);
      line.relay = new WispRelay({
        port: line.port(line.down, (why) => events.closed(why)),
        ...{ timers, outside: options.outside, client: "192.0.2.1", policy: options.policy ?? (() => true) },
        ...(options.hasRoom === undefined ? {} : { hasRoom: options.hasRoom }),
        onRefused: ({ protocol, address, port }) => refused.push(`${protocol} ${address} ${port}`),
      });
    });
    return line.port(line.up, () => timers.after(1, () => line.relay?.close()));
  };
  const client = new WispOutside({
    ...{ connect, name: "relay.test", isOurs: true, timers },
    state: (text) => told.push(text),
    ...options.client,
  });
  return { timers, lines, told, refused, client, relay: () => lines.at(-1)!.relay! };
}

/** A connection of somebody's who notes what becomes of it. */
export class Noting {
  readonly log: string[] = [];
  readonly received: Uint8Array[] = [];
  bytes = 0;
  readonly tcp: OutsideTcp;
  /** Is called for data, after it was noted. */
  onData: (data: Uint8Array) => void = () => {};
  onDrained: () => void = () => {};

  constructor(outside: Pick<Outside, "connectTcp">, address: string, port: number) {
    this.tcp = outside.connectTcp(address, port, {
      opened: () => this.log.push("opened"),
      failed: (why: OutsideFailure) => this.log.push(`failed: ${why}`),
      data: (data) => {
        this.bytes += data.length;
        this.received.push(data);
        this.onData(data);
      },
      ended: () => this.log.push("ended"),
      drained: () => this.onDrained(),
      closed: (isBroken) => this.log.push(isBroken ? "broken" : "closed"),
    });
  }

  get text(): string {
    return Buffer.concat(this.received).toString("latin1");
  }
}
