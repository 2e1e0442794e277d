/** One network of VMs: a switch, and the gateway that gives addresses and names, and leads out where it may. */
import type { MessagePort } from "node:worker_threads";
import type { ForwardSpec, NetPolicySpec, NetRuleSpec, NetworkSpec } from "@hyperfile/broker";
import {
  CableMemory,
  CableToCard,
  type Capture,
  type CaptureOptions,
  type Forward,
  noOutside,
  type Outside,
  type Policy,
  type PolicyQuestion,
  type PolicyRule,
  parseMac,
  policyOf,
  Switch,
  type SwitchPort,
  UserNetwork,
} from "@hyperfile/devices/net";
import { printableLine } from "../../printable.js";
import { serveCapture } from "./capture-port.js";
import { type CardRequest, cardFigures } from "./messages.js";

/** Places that are told of one card, at most: a guest may try every address there is. */
const MOST_TOLD = 10;
/** Name of the gateway's port, which no VM can have. */
const GATEWAY = "(gateway)";

/** What holds frames to a card back. */
export interface ReceiveGate {
  /** Whether nothing does. */
  isFree(): boolean;
  /** A frame of so many bytes waits for {@link Card.receive}. */
  wait(bytes: number): void;
}

/** A card that is connected. */
export class Card {
  readonly end: CableToCard;
  readonly port: SwitchPort;
  readonly mac: number;
  readonly forwards = new Map<string, Forward>();
  readonly judge: Policy;
  /** Connections and datagrams that the policy refused. */
  refused = 0;
  private readonly memory: CableMemory;
  private readonly told = new Set<string>();
  /** Bytes that may go to it now, where there is a limit. */
  private credit = 0;

  constructor(
    readonly request: CardRequest,
    readonly lan: Lan,
    hostRanges: () => readonly string[],
    private readonly gate: ReceiveGate,
  ) {
    this.memory = new CableMemory(request.memory);
    this.mac = parseMac(request.mac)!;
    this.judge = policyOf(rulesOf(request.policy, request.network.policy), hostRanges);
    this.end = new CableToCard(
      this.memory,
      () => lan.gateway.abandon(this.mac),
      (bytes) => this.mayReceive(bytes),
    );
    this.port = lan.switch.connect(this.end, { name: request.vm, mac: this.mac });
    this.memory.setUp(true);
  }

  /** Says once of each place that it may not be reached; what is told, if anything. */
  tellOnce({ protocol, direction, address, port }: PolicyQuestion): string | undefined {
    const host = address.includes(":") ? `[${address}]` : address;
    const place = direction === "in" ? `in:${host}` : `${host}:${port}`;
    if (this.told.has(place) || this.told.size === MOST_TOLD) return undefined;
    this.told.add(place);
    const last = this.told.size === MOST_TOLD ? "; more of these are not told" : "";
    const what =
      direction === "in"
        ? `${address} may not use the forward to ${protocol} port ${port}`
        : `it may not reach ${protocol} ${place}`;
    return printableLine(`${what}: policy: { allow: ["${place}"] } of its card lets it${last}`);
  }

  /** Lets frames go to it that wait, so many bytes; gives how many went. */
  receive(bytes: number): number {
    this.credit = bytes;
    const before = this.port.counters.bytesSent;
    this.port.ready();
    this.credit = 0;
    return this.port.counters.bytesSent - before;
  }

  private mayReceive(bytes: number): boolean {
    if (this.gate.isFree()) return true;
    if (this.credit > 0) {
      this.credit -= bytes;
      return true;
    }
    this.gate.wait(bytes);
    return false;
  }

  /** Writes what it has done where the daemon sees it. */
  publish(): void {
    const { received, bytesReceived, sent, bytesSent, drops } = this.port.counters;
    const dropped = Object.values(drops).reduce((sum, count) => sum + count, 0);
    const values: Record<(typeof cardFigures)[number], number> = {
      "frames.sent": received,
      "bytes.sent": bytesReceived,
      "frames.received": sent,
      "bytes.received": bytesSent,
      "frames.dropped": dropped,
      refused: this.refused,
    };
    cardFigures.forEach((name, at) => {
      this.memory.figures[at] = values[name];
    });
  }

  disconnect(): void {
    for (const forward of this.forwards.values()) forward.close();
    this.forwards.clear();
    this.memory.setUp(false);
    this.port.disconnect();
  }
}

/** What a card's policy and its network's mean together: what either denies is denied. */
export function rulesOf(card: NetPolicySpec, network: NetPolicySpec): PolicyRule[] {
  const both = [card, network];
  const rules = (which: "allow" | "deny"): PolicyRule[] =>
    both.flatMap((policy) => policy[which].map((rule) => ruleOf(which === "allow", rule)));
  const isRestricted = both.some(({ restrict }) => restrict);
  const hasCallers = both.some(({ allow }) => allow.some(({ direction }) => direction === "in"));
  return [
    ...rules("deny"),
    ...rules("allow"),
    ...(isRestricted ? [{ allow: false }] : []),
    ...(hasCallers ? [{ allow: false, direction: "in" } as const] : []),
  ];
}

const ruleOf = (allow: boolean, { direction, protocol, range, name, ports }: NetRuleSpec): PolicyRule => ({
  allow,
  direction,
  ...(protocol === undefined ? {} : { protocol }),
  ...(range === undefined ? {} : { range }),
  ...(name === undefined ? {} : { name }),
  ...(ports === undefined ? {} : { ports }),
});

/** A network. */
export class Lan {
  readonly switch = new Switch();
  readonly gateway: UserNetwork;
  private readonly cards = new Map<number, Card>();
  private readonly captures = new Set<Capture>();

  constructor(
    readonly spec: NetworkSpec,
    private readonly outside: Outside,
    private readonly refused: (card: Card, question: PolicyQuestion) => void,
  ) {
    const isRouter = spec.kind === "nat";
    this.gateway = new UserNetwork({
      network: { connect: (end) => this.switch.connect(end, { name: GATEWAY }) },
      outside: isRouter ? outside : noOutside,
      isRouter,
      subnet4: spec.subnet,
      subnet6: spec.subnet6,
      ...(spec.dhcp ? {} : { dhcp: false }),
      policy: (question) => this.judge(question),
      onRefused: (question) => this.note({ ...question, names: [] }),
    });
  }

  get isEmpty(): boolean {
    return this.cards.size === 0;
  }

  /** @throws NetworkError for an address that another card has */
  connect(request: CardRequest, gate: ReceiveGate): Card {
    const { address, vm } = request;
    if (address !== undefined) this.gateway.reserve(parseMac(request.mac)!, address);
    const card = new Card(request, this, () => this.outside.hostRanges(), gate);
    this.cards.set(card.mac, card);
    if (address !== undefined) this.gateway.setName(vm, [address]);
    return card;
  }

  disconnect(card: Card): void {
    card.disconnect();
    this.cards.delete(card.mac);
    this.gateway.release(card.mac);
    this.gateway.setName(card.request.vm, []);
  }

  /** @throws NetworkError (the promise rejects) for a port that can't be had */
  async forward(card: Card, forward: ForwardSpec): Promise<number> {
    const made = await this.gateway.forward({ ...forward, guest: card.request.address! });
    if (this.cards.get(card.mac) !== card) made.close();
    else card.forwards.set(keyOf({ ...forward, hostPort: made.port }), made);
    return made.port;
  }

  unforward(card: Card, forward: ForwardSpec): void {
    card.forwards.get(keyOf(forward))?.close();
    card.forwards.delete(keyOf(forward));
  }

  /** Shows what passes to who has the other end of a port. */
  capture(options: CaptureOptions, port: MessagePort): void {
    const capture = serveCapture(this.switch, options, port);
    this.captures.add(capture);
    port.on("close", () => this.captures.delete(capture));
  }

  close(): void {
    for (const capture of this.captures) capture.end("network");
    for (const card of this.cards.values()) card.disconnect();
    this.gateway.close();
  }

  /** The card that a question is about: its port lets no other address through. A caller's is that of the forward's address. */
  private cardOf({ mac, guest }: Pick<PolicyQuestion, "mac" | "guest">): Card | undefined {
    if (mac !== undefined) return this.cards.get(mac);
    return [...this.cards.values()].find(({ request }) => request.address === guest);
  }

  private judge(question: PolicyQuestion): boolean {
    return this.cardOf(question)?.judge(question) === true;
  }

  private note(question: PolicyQuestion): void {
    const card = this.cardOf(question);
    if (card === undefined) return;
    card.refused++;
    this.refused(card, question);
  }
}

const keyOf = ({ protocol, hostAddress, hostPort }: ForwardSpec): string =>
  `${protocol} ${hostAddress} ${hostPort}`;
