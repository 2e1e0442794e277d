/**
 * The name server by TCP (RFC 7766): messages behind their lengths, several on a connection, answered as the answers come.
 * A client that asks more than is answered, or does not take the answers, is not read meanwhile.
 *
 * Bounded: connections as a whole and per guest, where the one that was silent longest makes room; queries under way on
 * one, the length of a query, and answers that wait for a client that does not take them. A connection on which nothing
 * whole comes or goes ends. What is no query breaks its connection off.
 */
import { ByteQueue } from "../../byte-queue.js";
import { read16, write16 } from "../../frames/ip.js";
import type { Timer, Timers } from "../../timers.js";
import type { OutsideTcp, OutsideTcpEvents } from "../outside.js";
import { type DnsQuestion, dnsAnswer, dnsCodes, HEADER_BYTES, isTruncated } from "./message.js";
import type { NameServer } from "./name-server.js";

const MOST_STREAMS = 256;
const MOST_PER_GUEST = 16;
/** Queries under way on one connection. */
const MOST_UNDER_WAY = 16;
const LENGTH_BYTES = 2;
/** A query has one name and some options; this is more than any needs. */
const MOST_QUERY_BYTES = 4096;
const MOST_ANSWER_BYTES = 65_535;
/** Bytes of answers that may wait beyond what the connection takes. */
const MOST_WAITING_BYTES = 128 << 10;
/** Milliseconds without a whole message in either direction after which a connection ends (RFC 7766, section 6.2.3). */
const IDLE_MS = 30_000;
/** Milliseconds for the client to take what is left, and to end its side, when the server has ended. */
const LINGER_MS = 10_000;

/** The connections of a network's guests to its name server. */
export class DnsStreams {
  readonly counters = { opened: 0, brokenOff: 0 };
  /** In the order of their last use. */
  private readonly streams = new Set<DnsStream>();

  constructor(
    private readonly names: Pick<NameServer, "ask">,
    private readonly timers: Timers,
  ) {}

  /** Connections that there are. */
  get size(): number {
    return this.streams.size;
  }

  /** A guest's connection; it is accepted when this has returned. */
  open(guest: string, events: OutsideTcpEvents): OutsideTcp {
    const own = [...this.streams].filter((stream) => stream.guest === guest);
    if (own.length >= MOST_PER_GUEST) own[0]!.breakOff();
    else if (this.streams.size >= MOST_STREAMS) firstOf(this.streams)?.breakOff();
    this.counters.opened++;
    const stream: DnsStream = new DnsStream(guest, events, this.timers, {
      ask: (message, reply) => this.names.ask(guest, message, reply),
      used: () => {
        this.streams.delete(stream);
        this.streams.add(stream);
      },
      gone: () => {
        this.streams.delete(stream);
      },
      brokenOff: () => {
        this.counters.brokenOff++;
      },
    });
    this.streams.add(stream);
    queueMicrotask(() => stream.accept());
    return stream;
  }
}

/** What a connection needs. */
interface StreamHost {
  ask(message: Uint8Array, reply: (answer: Uint8Array, question: DnsQuestion) => void): boolean;
  /** A whole message came or went. */
  used(): void;
  /** Nothing is served on it any more. */
  gone(): void;
  /** It ended otherwise than by the client's end or silence. */
  brokenOff(): void;
}

/** One connection, from the name server's side. */
class DnsStream implements OutsideTcp {
  private readonly input = new ByteQueue();
  private underWay = 0;
  private waitingBytes = 0;
  private isRead = true;
  private isTaking = false;
  /** Whether the client was told to wait. */
  private isHeldBack = false;
  /** The client sends nothing more. */
  private hasEnded = false;
  private state: "open" | "ending" | "over" = "open";
  private endAt: number;
  private timer: Timer;

  constructor(
    readonly guest: string,
    private readonly events: OutsideTcpEvents,
    private readonly timers: Timers,
    private readonly host: StreamHost,
  ) {
    this.endAt = timers.now() + IDLE_MS;
    this.timer = timers.after(IDLE_MS, () => this.due());
  }

  accept(): void {
    if (this.state !== "over") this.events.opened();
  }

  // -- what the client does

  write(data: Uint8Array): boolean {
    if (this.state !== "open") return this.state === "ending";
    this.input.push(data);
    this.take();
    this.isHeldBack = !this.isReady;
    return !this.isHeldBack;
  }

  end(): void {
    this.hasEnded = true;
    this.take();
  }

  reset(): void {
    this.state = "over";
    this.input.clear();
    this.timer.cancel();
    this.host.gone();
  }

  setReading(isReading: boolean): void {
    this.isRead = isReading;
    if (!isReading) return;
    this.waitingBytes = 0;
    this.proceed();
  }

  // -- queries and answers

  /** Whether another query would be taken. */
  private get isReady(): boolean {
    return this.isRead && this.underWay < MOST_UNDER_WAY;
  }

  private proceed(): void {
    if (this.isTaking) return;
    this.take();
    if (this.state === "over" || !this.isHeldBack || !this.isReady) return;
    this.isHeldBack = false;
    this.events.drained();
  }

  /** Takes the queries that are there whole. */
  private take(): void {
    this.isTaking = true;
    while (this.state === "open" && this.isReady && this.takeOne());
    this.isTaking = false;
    // What is left then is half a message at most, and nothing will make it whole.
    if (this.state === "open" && this.hasEnded && this.isReady && this.underWay === 0) this.finish();
  }

  /** Whether there was a message. */
  private takeOne(): boolean {
    const { input } = this;
    if (input.length < LENGTH_BYTES) return false;
    const length = read16(input.bytes(0, LENGTH_BYTES), 0);
    if (length < HEADER_BYTES || length > MOST_QUERY_BYTES) {
      this.breakOff();
      return false;
    }
    if (input.length < LENGTH_BYTES + length) return false;
    const message = input.bytes(LENGTH_BYTES, length);
    input.drop(LENGTH_BYTES + length);
    this.used();
    this.underWay++;
    const isQuery = this.host.ask(message, (answer, question) => {
      this.underWay--;
      // There is nothing beyond TCP to come by: the rest is not to be had.
      const isWhole = answer.length <= MOST_ANSWER_BYTES && !isTruncated(answer);
      this.send(isWhole ? answer : dnsAnswer(message, question, dnsCodes.failure));
    });
    if (!isQuery) this.breakOff();
    return isQuery;
  }

  private send(answer: Uint8Array): void {
    if (this.state !== "open") return;
    const framed = new Uint8Array(LENGTH_BYTES + answer.length);
    write16(framed, 0, answer.length);
    framed.set(answer, LENGTH_BYTES);
    if (!this.isRead) this.waitingBytes += framed.length;
    if (this.waitingBytes > MOST_WAITING_BYTES) return this.breakOff();
    this.used();
    this.events.data(framed);
    this.proceed();
  }

  // -- the end

  private used(): void {
    this.endAt = this.timers.now() + IDLE_MS;
    this.host.used();
  }

  private due(): void {
    const left = this.endAt - this.timers.now();
    if (left > 0) this.timer = this.timers.after(left, () => this.due());
    else if (this.state === "open") this.finish();
    else {
      this.reset();
      this.events.closed(true);
    }
  }

  /** Ends it for the client, who has some time for its part; meanwhile it is a connection like any other. */
  private finish(): void {
    this.state = "ending";
    this.input.clear();
    this.host.gone();
    this.timer.cancel();
    this.endAt = this.timers.now() + LINGER_MS;
    this.timer = this.timers.after(LINGER_MS, () => this.due());
    this.events.ended();
  }

  /** Ends it at once. */
  breakOff(): void {
    this.reset();
    this.host.brokenOff();
    this.events.closed(true);
  }
}

function firstOf<Item>(set: ReadonlySet<Item>): Item | undefined {
  for (const item of set) return item;
  return undefined;
}
