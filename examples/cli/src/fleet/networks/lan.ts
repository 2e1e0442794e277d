/** One network of the daemon's VMs: cards whose cables lead to VMs' threads, and the captures of it. */
import type { MessagePort } from "node:worker_threads";
import type { NetDirection, NetLine } from "@hyperfile/broker";
import {
  CableMemory,
  CableToCard,
  type Capture,
  type CaptureOptions,
  Lan,
  type LanCard,
  type LanOptions,
  type LanSpec,
  ReceiveCredit,
  type ReceiveGate,
} from "@hyperfile/devices/net";
import { serveCapture } from "./capture-port.js";
import { type CardRequest, cardFigures } from "./messages.js";

/** A card that is connected. */
export class Card implements NetLine {
  readonly end: CableToCard;
  readonly place: LanCard;
  private readonly memory: CableMemory;
  private readonly credit: ReceiveCredit;

  /** @throws NetworkError for an address that another card has */
  constructor(
    readonly request: CardRequest,
    readonly network: HostLan,
    gate: ReceiveGate,
  ) {
    this.memory = new CableMemory(request.memory);
    this.credit = new ReceiveCredit(gate);
    const { lan } = network;
    this.end = new CableToCard(
      this.memory,
      () => lan.abandon(this.place),
      (bytes) => this.credit.take(bytes),
    );
    this.place = lan.connect(request, this.end);
    this.memory.setUp(true);
  }

  get vm(): string {
    return this.request.vm;
  }

  /** Bytes that wait to go. */
  waiting(direction: NetDirection): number {
    return direction === "send" ? this.end.waiting : this.place.port.counters.waitingBytes;
  }

  /** Lets frames go, so many bytes; gives how many went. */
  let(direction: NetDirection, bytes: number): number {
    if (direction === "send") return this.end.pass(this.place.port, bytes);
    const before = this.place.port.counters.bytesSent;
    this.credit.spend(bytes, () => this.place.port.ready());
    return this.place.port.counters.bytesSent - before;
  }

  /** Writes what it has done where the daemon sees it. */
  publish(): void {
    const figures = this.place.figures();
    cardFigures.forEach((name, at) => {
      this.memory.figures[at] = figures[name];
    });
  }

  disconnect(): void {
    this.memory.setUp(false);
    this.network.lan.disconnect(this.place);
  }
}

/** A network, and who captures it. */
export class HostLan {
  readonly lan: Lan;
  private readonly captures = new Set<Capture>();

  constructor(spec: LanSpec, options: LanOptions) {
    this.lan = new Lan(spec, options);
  }

  /** Shows what passes to who has the other end of a port. */
  capture(options: CaptureOptions, port: MessagePort): void {
    const capture = serveCapture(this.lan.switch, options, port);
    this.captures.add(capture);
    port.on("close", () => this.captures.delete(capture));
  }

  close(): void {
    for (const capture of this.captures) capture.end("network");
    this.lan.close();
  }
}
