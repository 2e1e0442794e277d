/**
 * The networks of the daemon's VMs, in a thread of their own: whatever frames do, the daemon answers, and whatever the
 * daemon does, frames go on. Here are the switches, the gateways and the host's sockets.
 *
 * The thread sleeps until a card rings. Then each card that has sent something passes a part of it on, in turn, and what
 * the host's sockets have brought has its turn in between.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { type CaptureRequest, type NetDirection, NetTurns, type NetworkSpec } from "@hyperfile/broker";
import { type LanCard, NetworkError, type PolicyQuestion, SlotBell } from "@hyperfile/devices/net";
import { nodeOutside } from "@hyperfile/devices/node";
import { printableLine } from "../../printable.js";
import { Card, HostLan } from "./lan.js";
import type { CardRequest, NetworkNews, NetworkRequest, NetworkThreadData } from "./messages.js";

/** Milliseconds after which what was done is shown. */
const PUBLISH_MS = 250;

/** Serves the daemon that has started this thread. */
export function serveNetworks(): void {
  const server = new NetworkServer(workerData as NetworkThreadData, (news) => parentPort!.postMessage(news));
  parentPort!.on("message", (request: NetworkRequest) => void server.answer(request));
}

/** Serves a daemon. */
export class NetworkServer {
  private readonly lans = new Map<string, HostLan>();
  private readonly cards = new Map<number, Card>();
  private readonly byPlace = new Map<LanCard, Card>();
  /** Cards that have done something which is not shown yet. */
  private readonly unpublished = new Set<Card>();
  private publishing: NodeJS.Timeout | undefined;
  private readonly bell: SlotBell;
  private readonly turns = new NetTurns();
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
          this.turns.scheduler.obey(command, performance.now());
        // What was held may be free now.
        for (const card of this.cards.values()) this.bell.ring(card.request.slot);
        return undefined;
      case "forward": {
        const { slot, forward } = (request as NetworkRequest<"forward">).args;
        const card = this.card(slot);
        return card.network.lan.forward(card.place, forward);
      }
      case "capture": {
        const { request: wanted, port } = (request as NetworkRequest<"capture">).args;
        this.capture(wanted, port);
        return undefined;
      }
      case "unforward": {
        const { slot, forward } = (request as NetworkRequest<"unforward">).args;
        const card = this.card(slot);
        return card.network.lan.unforward(card.place, forward);
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
    const { project, network, slot, vm } = request;
    const host = this.lanFor(project, network);
    try {
      const card = new Card(request, host, {
        isFree: () => this.turns.scheduler.isFree(vm, "receive"),
        wait: (bytes) => this.wait(card, "receive", bytes),
      });
      this.cards.set(slot, card);
      this.byPlace.set(card.place, card);
    } finally {
      this.dropIfEmpty(project, host);
    }
  }

  private disconnect(slot: number): undefined {
    const card = this.cards.get(slot);
    if (card === undefined) return;
    this.cards.delete(slot);
    this.byPlace.delete(card.place);
    this.turns.forget(card);
    this.unpublished.delete(card);
    card.disconnect();
    this.dropIfEmpty(card.request.project, card.network);
  }

  private lanFor(project: string, spec: NetworkSpec): HostLan {
    const key = lanKey(project, spec.name);
    const known = this.lans.get(key);
    if (known !== undefined) {
      if (JSON.stringify(known.lan.spec) === JSON.stringify(spec)) return known;
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `network ${spec.name} was changed while VMs are in it: stop those, or start them again with hyperfile up --restart`,
      );
    }
    const host = new HostLan(spec, {
      outside: this.outside,
      refused: (card, question) => this.note(card, question),
    });
    this.lans.set(key, host);
    return host;
  }

  private dropIfEmpty(project: string, host: HostLan): void {
    if (!host.lan.isEmpty) return;
    this.lans.delete(lanKey(project, host.lan.spec.name));
    host.close();
  }

  private note(place: LanCard, question: PolicyQuestion): void {
    const what = place.tellOnce(question);
    if (what !== undefined) this.tell({ kind: "refused", vm: place.options.vm, what: printableLine(what) });
    const card = this.byPlace.get(place);
    if (card !== undefined) this.publishSoon(card);
  }

  private async serve(): Promise<void> {
    for (;;) {
      const { rings } = this.bell;
      this.bell.take((slot) => {
        const card = this.cards.get(slot);
        if (card === undefined) return;
        if (card.end.look(card.place.port)) this.wait(card, "send", card.end.waiting);
        this.publishSoon(card);
      });
      const bytes = this.takeTurns();
      if (bytes === 0) await this.bell.untilRung(rings);
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** A card has something to go; its VM asks for a turn. */
  private wait(card: Card, direction: NetDirection, bytes: number): void {
    // The turn may be due at once, and the thread asleep: frames come by the host's sockets as well.
    if (this.turns.wait(card, direction, bytes)) this.bell.wake();
  }

  /** Lets frames go whose turns have come, for a while, and wakes the thread for the next one; gives how many bytes went. */
  private takeTurns(): number {
    const { bytes, due } = this.turns.take();
    clearTimeout(this.timer);
    this.timer = undefined;
    if (due !== Infinity)
      this.timer = setTimeout(() => this.bell.wake(), Math.max(0, due - performance.now()));
    return bytes;
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

const lanKey = (project: string, network: string): string => `${project}/${network}`;
