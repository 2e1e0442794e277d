/**
 * The networks of the daemon's VMs, in a thread of their own: whatever frames do, the daemon answers, and whatever the
 * daemon does, frames go on. Here are the switches, the gateways and the host's sockets.
 *
 * The thread sleeps until a card rings. Then each card that has sent something passes a part of it on, in turn, and what
 * the host's sockets have brought has its turn in between.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import {
  type CaptureRequest,
  type NetDirection,
  NetScheduler,
  type NetworkSpec,
  netDirections,
} from "@hyperfile/broker";
import { NetworkError, type PolicyQuestion, SlotBell } from "@hyperfile/devices/net";
import { nodeOutside } from "@hyperfile/devices/node";
import { type Card, Lan } from "./lan.js";
import type { CardRequest, NetworkNews, NetworkRequest, NetworkThreadData } from "./messages.js";

/** Bytes that go before the host's sockets have their turn. */
const ROUND_BYTES = 1 << 20;
/** Milliseconds after which what was done is shown. */
const PUBLISH_MS = 250;

/** Serves the daemon that has started this thread. */
export function serveNetworks(): void {
  const server = new NetworkServer(workerData as NetworkThreadData, (news) => parentPort!.postMessage(news));
  parentPort!.on("message", (request: NetworkRequest) => void server.answer(request));
}

/** Serves a daemon. */
export class NetworkServer {
  private readonly lans = new Map<string, Lan>();
  private readonly cards = new Map<number, Card>();
  /** Cards that have done something which is not shown yet. */
  private readonly unpublished = new Set<Card>();
  private publishing: NodeJS.Timeout | undefined;
  private readonly bell: SlotBell;
  private readonly scheduler = new NetScheduler();
  /** Cards that wait for a turn of their VM, in the order of their coming. */
  private readonly waiting: { readonly [Direction in NetDirection]: Map<string, Card[]> } = {
    send: new Map(),
    receive: new Map(),
  };
  private timer: NodeJS.Timeout | undefined;
  private readonly outside = nodeOutside();

  constructor(
    { bell }: NetworkThreadData,
    private readonly tell: (news: NetworkNews) => void,
  ) {
    this.bell = new SlotBell(bell);
    void this.serve();
  }

  async answer(request: NetworkRequest): Promise<void> {
    const { id } = request;
    try {
      this.tell({ kind: "reply", id, result: await this.obey(request) });
    } catch (error) {
      const { message, code } = error as { message?: string; code?: string };
      this.tell({ kind: "refusal", id, message: message ?? String(error), code: code ?? "E_NETWORK" });
    }
  }

  private async obey(request: NetworkRequest): Promise<unknown> {
    switch (request.method) {
      case "connect":
        return this.connect((request as NetworkRequest<"connect">).args);
      case "disconnect":
        return this.disconnect((request as NetworkRequest<"disconnect">).args.slot);
      case "rates":
        for (const command of (request as NetworkRequest<"rates">).args.commands)
          this.scheduler.obey(command, performance.now());
        // What was held may be free now.
        for (const card of this.cards.values()) this.bell.ring(card.request.slot);
        return undefined;
      case "forward": {
        const { slot, forward } = (request as NetworkRequest<"forward">).args;
        const card = this.card(slot);
        return card.lan.forward(card, forward);
      }
      case "capture": {
        const { request: wanted, port } = (request as NetworkRequest<"capture">).args;
        this.capture(wanted, port);
        return undefined;
      }
      case "unforward": {
        const { slot, forward } = (request as NetworkRequest<"unforward">).args;
        const card = this.card(slot);
        return card.lan.unforward(card, forward);
      }
    }
  }

  private capture(wanted: CaptureRequest, port: MessagePort): void {
    const { project, network, vm, ...limits } = wanted;
    const lan = this.lans.get(lanKey(project, network));
    if (lan === undefined) {
      port.close();
      throw new NetworkError("E_NETWORK_OPTION", `no VM of network ${network} is up any more`);
    }
    lan.capture({ ...limits, ...(vm === undefined ? {} : { port: vm }) }, port);
  }

  private card(slot: number): Card {
    const card = this.cards.get(slot);
    if (card === undefined)
      throw new NetworkError("E_NETWORK_OPTION", "the card has been taken out meanwhile");
    return card;
  }

  private connect(request: CardRequest): undefined {
    const { project, network, slot } = request;
    const lan = this.lanFor(project, network);
    try {
      const card = lan.connect(request, {
        isFree: () => this.scheduler.isFree(request.vm, "receive"),
        wait: (bytes) => this.wait(card, "receive", bytes),
      });
      this.cards.set(slot, card);
    } finally {
      this.dropIfEmpty(project, lan);
    }
  }

  private disconnect(slot: number): undefined {
    const card = this.cards.get(slot);
    if (card === undefined) return;
    this.cards.delete(slot);
    for (const direction of netDirections) {
      const cards = this.waiting[direction].get(card.request.vm);
      if (cards?.includes(card)) cards.splice(cards.indexOf(card), 1);
    }
    this.unpublished.delete(card);
    card.lan.disconnect(card);
    this.dropIfEmpty(card.request.project, card.lan);
  }

  private lanFor(project: string, spec: NetworkSpec): Lan {
    const key = lanKey(project, spec.name);
    const known = this.lans.get(key);
    if (known !== undefined) {
      if (JSON.stringify(known.spec) === JSON.stringify(spec)) return known;
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `network ${spec.name} was changed while VMs are in it: stop those, or start them again with hyperfile up --restart`,
      );
    }
    const lan = new Lan(spec, this.outside, (card, question) => this.note(card, question));
    this.lans.set(key, lan);
    return lan;
  }

  private dropIfEmpty(project: string, lan: Lan): void {
    if (!lan.isEmpty) return;
    this.lans.delete(lanKey(project, lan.spec.name));
    lan.close();
  }

  private note(card: Card, question: PolicyQuestion): void {
    const what = card.tellOnce(question);
    if (what !== undefined) this.tell({ kind: "refused", vm: card.request.vm, what });
    this.publishSoon(card);
  }

  private async serve(): Promise<void> {
    for (;;) {
      const { rings } = this.bell;
      this.bell.take((slot) => {
        const card = this.cards.get(slot);
        if (card === undefined) return;
        if (card.end.look(card.port)) this.wait(card, "send", card.end.waiting);
        this.publishSoon(card);
      });
      const bytes = this.takeTurns();
      if (bytes === 0) await this.bell.untilRung(rings);
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** A card has something to go; its VM asks for a turn. */
  private wait(card: Card, direction: NetDirection, bytes: number): void {
    const { vm } = card.request;
    const cards = this.waiting[direction].get(vm) ?? [];
    this.waiting[direction].set(vm, cards);
    if (!cards.includes(card)) cards.push(card);
    // The turn may be due at once, and the thread asleep: frames come by the host's sockets as well.
    if (this.scheduler.ask(vm, direction, bytes, performance.now())) this.bell.wake();
  }

  /** Lets frames go whose turns have come, for a while; gives how many bytes that were. */
  private takeTurns(): number {
    let all = 0;
    const now = performance.now();
    for (const direction of netDirections) {
      for (let round = 0; round < ROUND_BYTES; ) {
        const turn = this.scheduler.next(direction, now);
        if (turn === undefined) break;
        const [card] = this.waiting[direction].get(turn.vm) ?? [];
        const gone = card === undefined ? 0 : this.let(card, direction, turn.bytes);
        this.scheduler.went(turn, direction, gone);
        round += Math.max(1, gone);
        all += Math.max(1, gone);
        // Who has had a turn and has no room asks when there is some.
        this.askAgain(turn.vm, direction, card, gone > 0 || turn.bytes <= 0);
      }
    }
    this.watch(now);
    return all;
  }

  private let(card: Card, direction: NetDirection, bytes: number): number {
    if (bytes <= 0) return 0;
    return direction === "send" ? card.end.pass(card.port, bytes) : card.receive(bytes);
  }

  /** After a turn of a card: the next card of its VM, or the same again if it has more. */
  private askAgain(vm: string, direction: NetDirection, card: Card | undefined, mayHaveMore: boolean): void {
    const cards = this.waiting[direction].get(vm) ?? [];
    if (card !== undefined) {
      cards.shift();
      if (mayHaveMore && bytesOf(card, direction) > 0) cards.push(card);
    }
    const [next] = cards;
    if (next === undefined) this.waiting[direction].delete(vm);
    else this.scheduler.ask(vm, direction, bytesOf(next, direction), performance.now());
  }

  /** Wakes the thread when the next turn is due. @param now when there was none: one that has become due since counts */
  private watch(now: number): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const due = this.scheduler.nextTime(now);
    if (due !== Infinity)
      this.timer = setTimeout(() => this.bell.wake(), Math.max(0, due - performance.now()));
  }

  private publishSoon(card: Card): void {
    this.unpublished.add(card);
    this.publishing ??= setTimeout(() => {
      this.publishing = undefined;
      for (const each of this.unpublished) each.publish();
      this.unpublished.clear();
    }, PUBLISH_MS);
  }
}

/** Bytes of a card that wait to go. */
const bytesOf = (card: Card, direction: NetDirection): number =>
  direction === "send" ? card.end.waiting : card.port.counters.waitingBytes;

const lanKey = (project: string, network: string): string => `${project}/${network}`;
