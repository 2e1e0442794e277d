/**
 * One network of machines: a switch, and the gateway that gives addresses and names, and leads out where it may. Whoever has
 * the machines connects their cards, and says what each may reach.
 *
 * The gateway may be somewhere else: another switch of the same network, to which a port leads, has it then. The cards of
 * such other switches are {@link LanNeighbour}s, so that whoever has the gateway knows all addresses and names.
 */
import { ipBytes, parseMac } from "../addresses.js";
import { NetworkError } from "../errors.js";
import type { LinkEnd } from "../frame.js";
import { noOutside, type Outside } from "../nat/outside.js";
import { type Policy, type PolicyQuestion, policyOf } from "../nat/policy.js";
import { Subnet } from "../nat/subnet.js";
import { UserNetwork } from "../nat/user-network.js";
import { AddressClaims, AddressGuard } from "../switch/address-guard.js";
import { type PortOptions, Switch } from "../switch/switch.js";
import { hostTimers, type Timers } from "../timers.js";
import { LanCard, type LanCardOptions } from "./lan-card.js";
import { type PlacePolicy, rulesOf, usualPolicy } from "./place-policy.js";
import { type LanGate, PluggedCard } from "./plugged-card.js";

/** Name of the gateway's port, which no machine can have. */
const GATEWAY = "(gateway)";

/** What a network is. */
export interface LanSpec {
  readonly name: string;
  /** `nat`: with a way out; `isolated`: among its machines only. */
  readonly kind: "nat" | "isolated";
  /** Its IPv4 range; the gateway has its second address, the name server its third. */
  readonly subnet: string;
  /** Its IPv6 range. */
  readonly subnet6: string;
  /** Whether it gives addresses. */
  readonly dhcp: boolean;
  readonly policy: PlacePolicy;
}

/** What a network works with. */
export interface LanOptions {
  /** Where its gateway leads; without it there is no gateway until {@link Lan.setOutside}. */
  readonly outside?: Outside;
  /** Is told of what a card's guest may not do. */
  readonly refused?: (card: LanCard, question: PolicyQuestion) => void;
  /** The host's clock unless given. */
  readonly timers?: Timers;
}

/** A port of the host that leads to a card. */
export interface LanForward {
  readonly protocol: "tcp" | "udp";
  readonly hostAddress: string;
  /** 0 for any. */
  readonly hostPort: number;
  readonly guestPort: number;
}

/** A card at another switch of the network. */
export interface LanNeighbour {
  readonly vm: string;
  readonly mac: string;
  readonly address: string | undefined;
}

/** A network. */
export class Lan {
  readonly switch: Switch;
  private readonly timers: Timers;
  private readonly cards = new Map<number, LanCard>();
  /** By the switch at which they are. */
  private readonly neighbours = new Map<string, readonly LanNeighbour[]>();
  private readonly neighbourJudge: Policy;
  private readonly claims: AddressClaims;
  private outside: Outside | undefined;
  private router: UserNetwork | undefined;

  /** @throws NetworkError (`E_NETWORK_OPTION`) for ranges that can't be */
  constructor(
    readonly spec: LanSpec,
    private readonly options: LanOptions = {},
  ) {
    this.timers = options.timers ?? hostTimers;
    this.switch = new Switch({ timers: this.timers });
    this.neighbourJudge = this.judgeOf(usualPolicy);
    const { gateway, nameServer } = Subnet.of(spec.subnet6, 6);
    this.claims = new AddressClaims([ipBytes(gateway), ipBytes(nameServer)]);
    this.setOutside(options.outside);
  }

  /** The gateway, where it is here. */
  get gateway(): UserNetwork | undefined {
    return this.router;
  }

  get isEmpty(): boolean {
    return this.cards.size === 0;
  }

  /**
   * Has the gateway lead somewhere else from now on, or be somewhere else for undefined. What was connected through the one
   * that was here is broken off, and its forwards end; addresses and names stay.
   */
  setOutside(outside: Outside | undefined): void {
    for (const card of this.cards.values()) card.closeForwards();
    this.router?.close();
    this.router = undefined;
    this.outside = outside;
    if (outside === undefined) return;
    const { kind, subnet, subnet6, dhcp } = this.spec;
    const isRouter = kind === "nat";
    this.router = new UserNetwork({
      network: { connect: (end) => this.switch.connect(end, { name: GATEWAY }) },
      outside: isRouter ? outside : noOutside,
      timers: this.timers,
      isRouter,
      subnet4: subnet,
      subnet6,
      ...(dhcp ? {} : { dhcp: false }),
      policy: (question) => this.judge(question),
      onRefused: (question) => this.note({ ...question, names: [] }),
    });
    for (const { options } of this.cards.values()) this.introduce(options);
    for (const all of this.neighbours.values()) for (const each of all) this.introduceNeighbour(each);
  }

  /**
   * Connects a card.
   * @throws NetworkError (`E_NETWORK_OPTION`) for an address or a name that another card has
   */
  connect(options: LanCardOptions, end: LinkEnd): LanCard {
    const { vm, policy, address } = options;
    const mac = parseMac(options.mac);
    if (mac === undefined || this.cards.has(mac))
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `card ${options.mac} of ${vm} can't be in network ${this.spec.name}: ${mac === undefined ? "that is no MAC address" : "another card there has its address"}`,
      );
    const port = this.switch.connect(end, { name: vm, mac, ...this.guardOf(mac, address) });
    try {
      this.introduce(options);
    } catch (error) {
      port.disconnect();
      throw error;
    }
    const card = new LanCard(options, mac, port, this.judgeOf(policy));
    this.cards.set(mac, card);
    return card;
  }

  /**
   * Connects a card of this thread, whose frames wait for turns that somebody gives.
   * @throws NetworkError as {@link Lan.connect}
   */
  plug(options: LanCardOptions, gate: LanGate): PluggedCard {
    const place = {
      connect: (end: LinkEnd) => this.connect(options, end),
      disconnect: (card: LanCard) => this.disconnect(card),
      abandon: (card: LanCard) => this.abandon(card),
    };
    return new PluggedCard(place, gate, this.timers);
  }

  disconnect(card: LanCard): void {
    if (this.cards.get(card.mac) !== card) return;
    card.closeForwards();
    card.port.disconnect();
    this.cards.delete(card.mac);
    this.router?.release(card.mac);
    this.router?.setName(card.options.vm, []);
  }

  /** Another machine goes on behind a card, or the same from another moment: what was open is void. */
  abandon(card: LanCard): void {
    this.router?.abandon(card.mac);
  }

  /** Says which cards are at another switch of this network now; none for one that is gone. */
  setNeighbours(at: string, cards: readonly LanNeighbour[]): void {
    for (const { vm, mac } of this.neighbours.get(at) ?? []) {
      if (!this.cards.has(parseMac(mac)!)) this.router?.release(parseMac(mac)!);
      if (!this.hasName(vm)) this.router?.setName(vm, []);
    }
    this.neighbours.delete(at);
    const known = cards.filter(({ mac }) => parseMac(mac) !== undefined);
    if (known.length > 0) this.neighbours.set(at, known);
    for (const each of known) this.introduceNeighbour(each);
  }

  /** @throws NetworkError (the promise rejects) for a port that can't be had */
  async forward(card: LanCard, forward: LanForward): Promise<number> {
    const { address, vm } = card.options;
    if (this.router === undefined || address === undefined)
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `nothing can lead to ${vm} in network ${this.spec.name}: ${address === undefined ? "its address is not known" : "the gateway is not here"}`,
      );
    const made = await this.router.forward({ ...forward, guest: address });
    if (this.cards.get(card.mac) !== card) made.close();
    else card.forwards.set(keyOf({ ...forward, hostPort: made.port }), made);
    return made.port;
  }

  unforward(card: LanCard, forward: LanForward): void {
    card.forwards.get(keyOf(forward))?.close();
    card.forwards.delete(keyOf(forward));
  }

  close(): void {
    for (const card of [...this.cards.values()]) this.disconnect(card);
    this.router?.close();
    this.router = undefined;
  }

  /** Where addresses are given here, a card may have no other than its own. Where guests see to that themselves, it may. */
  private guardOf(mac: number, address: string | undefined): Pick<PortOptions, "guard"> {
    if (!this.spec.dhcp || address === undefined) return {};
    return { guard: new AddressGuard(mac, ipBytes(address), this.claims) };
  }

  /** What a card of a policy may reach. */
  private judgeOf(policy: PlacePolicy): Policy {
    return policyOf(rulesOf(policy, this.spec.policy), () => this.outside?.hostRanges() ?? []);
  }

  /** @throws NetworkError for an address that another card has */
  private introduce({ vm, mac, address }: LanNeighbour): void {
    if (address === undefined) return;
    this.router?.reserve(parseMac(mac)!, address);
    this.router?.setName(vm, [address]);
  }

  /** What another switch says is believed as far as it takes nothing from the cards here. */
  private introduceNeighbour(card: LanNeighbour): void {
    if (this.hasName(card.vm) || this.cards.has(parseMac(card.mac)!)) return;
    try {
      this.introduce(card);
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
    }
  }

  private hasName(vm: string): boolean {
    return [...this.cards.values()].some(({ options }) => options.vm === vm);
  }

  /** The card that a question is about: its port lets no other address through. A caller's is that of the forward's address. */
  private cardOf({ mac, guest }: Pick<PolicyQuestion, "mac" | "guest">): LanCard | undefined {
    if (mac !== undefined) return this.cards.get(mac);
    return [...this.cards.values()].find(({ options }) => options.address === guest);
  }

  private judge(question: PolicyQuestion): boolean {
    const card = this.cardOf(question);
    if (card !== undefined) return card.judge(question);
    return this.neighbours.size > 0 && question.mac !== undefined && this.neighbourJudge(question);
  }

  private note(question: PolicyQuestion): void {
    const card = this.cardOf(question);
    if (card === undefined) return;
    card.refused++;
    this.options.refused?.(card, question);
  }
}

const keyOf = ({ protocol, hostAddress, hostPort }: LanForward): string =>
  `${protocol} ${hostAddress} ${hostPort}`;
