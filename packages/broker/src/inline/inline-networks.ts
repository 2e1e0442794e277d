/**
 * The networks of a fleet of one thread: what they are, whose cards are in them, and who of their VMs may have how much of
 * the bandwidth. Admission and turns are those of the daemon (`net/host-nets.ts`, `net/net-turns.ts`).
 *
 * VMs of one thread send while they have the core: where nothing is limited, frames go through at once, and shares of the
 * core are shares of what is sent. Limits hold frames back, which then go in turns.
 */
import {
  formatIp4,
  macOf,
  overlap,
  parseIp4,
  parseMac,
  parseRange4,
  sizeOfRange,
} from "../hyperfile/net-text.js";
import type { NetPolicySpec, NetworkSpec, NicSpec } from "../hyperfile/types.js";
import { LifecycleError } from "../lifecycle/errors.js";
import {
  changeNet,
  DEFAULT_NET,
  type NetAllotment,
  type NetChange,
  type NetPoolAllotment,
} from "../net/allotment.js";
import { HostNets } from "../net/host-nets.js";
import { type NetLine, NetTurns } from "../net/net-turns.js";
import {
  addressOf,
  freeRange,
  GATEWAY,
  NAME_SERVER,
  NO_POLICY,
  nicsOfClone,
  subnet6Of,
} from "../net/network-plan.js";
import type { InlineCable, InlineCard, InlineLan, OpenInlineLan } from "./inline-lan.js";

/** What a network is to be. */
export interface InlineNetworkOptions {
  /** `nat`, which leads outside, unless given; `isolated`: among its VMs only. */
  readonly kind?: NetworkSpec["kind"];
  /** Its IPv4 range, such as `10.0.2.0/24`; one that no other network has unless given. */
  readonly subnet?: string;
  /** Whether it gives addresses; it does unless told not to. */
  readonly dhcp?: boolean;
  /** What its VMs may reach; what is public unless given. */
  readonly policy?: NetPolicySpec;
}

/** A network card of a VM. */
export interface InlineNic {
  /** Its network by name; without one its cable leads nowhere. */
  readonly network?: string;
  /** The VM's name in the network; that of the VM unless given. */
  readonly hostName?: string;
  /** Made of the name unless given. */
  readonly mac?: string;
  /** Chosen by the name unless given. */
  readonly address?: string;
  /** Beside that of its network: what either denies is denied. */
  readonly policy?: NetPolicySpec;
}

/** A network card as reports show it. */
export interface InlineNicFigures {
  /** Undefined for a cable that leads nowhere. */
  readonly network: string | undefined;
  readonly hostName: string;
  readonly mac: string;
  /** The address that it is given; undefined where nobody knows. */
  readonly address: string | undefined;
  /** Whether its cable is in. */
  readonly isPlugged: boolean;
  /** Frames, bytes, drops and milliseconds of waiting by name, since its VM was powered on; nothing while it is off. */
  readonly counters: Readonly<Record<string, number>>;
}

/** A card as it is planned, whether its VM is on or not. */
interface PlannedNic extends NicSpec {
  readonly hostName: string;
}

/** The cards of a VM. */
export interface VmNics {
  readonly planned: readonly PlannedNic[];
  /** Whether each one's cable is in. */
  readonly isPlugged: boolean[];
  /** Those that are connected, while the VM is on. */
  cards: readonly (InlineCard | undefined)[];
}

/** The networks. Methods throw a LifecycleError for names that are unknown or taken. */
export class InlineNetworks {
  private readonly networks = new Map<string, { readonly spec: NetworkSpec; readonly lan: InlineLan }>();
  private readonly vms = new Map<string, VmNics>();
  private readonly rates = new HostNets();
  private readonly turns = new NetTurns();
  private readonly lines = new Map<InlineCard, NetLine>();
  /** The next look for turns, and when it is. */
  private timer: ReturnType<typeof setTimeout> | undefined;
  private due = Infinity;

  /** @param open makes networks; without it there can be none */
  constructor(private readonly open: OpenInlineLan | undefined) {
    this.rates.send = (command) => {
      this.turns.scheduler.obey(command, performance.now());
      for (const { cards } of this.vms.values()) for (const card of cards) card?.look();
      this.arm(0);
    };
  }

  /**
   * Makes a network.
   * @throws LifecycleError `E_NAME_TAKEN`, and `E_SETTING` for a range that can't be, or where the fleet makes no networks;
   *   what makes it
   */
  add(name: string, options: InlineNetworkOptions = {}): void {
    const { kind = "nat", dhcp = true, policy = NO_POLICY } = options;
    if (this.open === undefined)
      throw refusal(`network ${name} can't be made: give the fleet openNetwork, which makes networks`);
    if (this.networks.has(name))
      throw new LifecycleError("E_NAME_TAKEN", `there is a network ${name} already: use another name`);
    const spec = {
      ...{ name, kind, dhcp, policy },
      subnet: this.subnet(name, options.subnet),
      subnet6: subnet6Of(name),
    };
    this.networks.set(name, { spec, lan: this.open(spec) });
  }

  /** Ends a network in which no VM has a card. @throws LifecycleError `E_SETTING` where one has */
  remove(name: string): void {
    const network = this.network(name);
    const user = [...this.vms].find(([, { planned }]) => planned.some((nic) => nic.network?.name === name));
    if (user !== undefined)
      throw refusal(`network ${name} still has a card of VM ${user[0]}: remove that first`);
    this.networks.delete(name);
    network.lan.close();
  }

  /** All networks. */
  list(): NetworkSpec[] {
    return [...this.networks.values()].map(({ spec }) => spec);
  }

  /**
   * The address that a network would give a VM by its name.
   * @param isTaken whether somebody else has an address whom the fleet does not know
   * @returns undefined if none is free
   */
  addressFor(name: string, hostName: string, isTaken: (address: string) => boolean): string | undefined {
    const { spec } = this.network(name);
    const others = this.planned();
    const chosen = addressOf(hostName, spec, (address) => {
      const text = formatIp4(address);
      return isTaken(text) || hasAddress(others, name, text);
    });
    return chosen === undefined ? undefined : formatIp4(chosen);
  }

  /** Changes what a pool may have of the bandwidth. @throws ResourceError */
  configurePool(name: string, change: NetChange): void {
    this.rates.configure(name, change, "pool");
  }

  /** What a pool may have of the bandwidth. */
  poolAllotment(name: string): NetPoolAllotment | undefined {
    return this.rates.pools().get(name);
  }

  /** Puts a card's cable in or takes it out, now if its VM is on, and for its later lives. @throws LifecycleError `E_SETTING` */
  plug(vm: string, card: number, isPlugged: boolean): void {
    const nics = this.vms.get(vm);
    if (nics?.planned[card]?.network === undefined)
      throw refusal(`VM ${vm} has no card ${card} in a network`);
    nics.isPlugged[card] = isPlugged;
    nics.cards[card]?.setUp(isPlugged);
  }

  // -- for the fleet

  addPool(name: string, parent: string): void {
    this.rates.addPool(name, {}, parent);
  }

  removePool(name: string): void {
    this.rates.removePool(name);
  }

  /** Plans the cards of a VM that comes. @throws LifecycleError `E_SETTING`, and plans none then */
  enlist(vm: string, nics: readonly InlineNic[]): void {
    const planned: PlannedNic[] = [];
    for (const [at, nic] of nics.entries()) planned.push(this.plan(vm, at, nic, planned));
    this.vms.set(vm, { planned, isPlugged: planned.map(() => true), cards: [] });
  }

  /** Plans the cards of a clone: in the original's networks, with names and addresses of its own. */
  enlistClone(vm: string, original: string): void {
    const { planned: given, isPlugged } = this.vms.get(original)!;
    const planned = nicsOfClone(given, vm, this.planned()).map((nic) => ({ ...nic, hostName: vm }));
    for (const { network, address } of planned)
      if (network?.dhcp === true && address === undefined) throw noAddress(network);
    this.vms.set(vm, { planned, isPlugged: [...isPlugged], cards: [] });
  }

  forget(vm: string): void {
    this.vms.delete(vm);
  }

  /**
   * A VM is powered on: its cards are connected.
   * @returns what its guest is given; undefined if it has none
   * @throws ResourceError for bandwidth that can't be promised, what a network throws; nothing is connected then
   */
  connect(vm: string, pool: string, change: NetChange): readonly InlineCable[] | undefined {
    const nics = this.vms.get(vm)!;
    this.rates.admit(vm, pool, change);
    const cards: (InlineCard | undefined)[] = [];
    try {
      for (const [at, nic] of nics.planned.entries()) {
        const card = this.connectOne(vm, nic);
        cards.push(card);
        if (!nics.isPlugged[at]) card?.setUp(false);
      }
    } catch (error) {
      for (const card of cards) this.takeOut(card);
      this.rates.retire(vm);
      throw error;
    }
    nics.cards = cards;
    if (cards.length === 0) return undefined;
    return nics.planned.map(({ mac, hostName }, at) => ({ mac, hostName, cable: cards[at] }));
  }

  /** A VM is off. */
  disconnect(vm: string): void {
    const nics = this.vms.get(vm);
    for (const card of nics?.cards ?? []) this.takeOut(card);
    if (nics !== undefined) nics.cards = [];
    this.rates.retire(vm);
  }

  /** Changes what a VM that is on may have. @throws ResourceError; nothing changes then */
  configure(vm: string, change: NetChange): void {
    this.rates.configure(vm, change, "client");
  }

  figures(vm: string): InlineNicFigures[] {
    const { planned, isPlugged, cards } = this.vms.get(vm)!;
    return planned.map(({ network, hostName, mac, address }, at) => ({
      ...{ network: network?.name, hostName, mac, address },
      isPlugged: isPlugged[at]! && network !== undefined,
      counters: cards[at]?.figures() ?? {},
    }));
  }

  // -- inside

  private connectOne(
    vm: string,
    { network, hostName, mac, address, policy }: PlannedNic,
  ): InlineCard | undefined {
    if (network === undefined) return undefined;
    const card = this.network(network.name).lan.plug(
      { vm: hostName, mac, address, policy },
      {
        isFree: (direction) => this.turns.scheduler.isFree(vm, direction),
        wait: (direction, bytes) => {
          // Before the card is there nothing can wait.
          if (this.turns.wait(line, direction, bytes)) this.arm(0);
        },
      },
    );
    const line: NetLine = {
      vm,
      waiting: (direction) => card.waiting(direction),
      let: (direction, bytes) => card.let(direction, bytes),
    };
    this.lines.set(card, line);
    return card;
  }

  private takeOut(card: InlineCard | undefined): void {
    if (card === undefined) return;
    this.turns.forget(this.lines.get(card)!);
    this.lines.delete(card);
    card.disconnect();
  }

  /** Looks for turns at a time, in so many milliseconds. */
  private arm(delay: number): void {
    const due = performance.now() + delay;
    if (due >= this.due) return;
    this.due = due;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.due = Infinity;
      const { bytes, due: next } = this.turns.take();
      if (bytes > 0) this.arm(0);
      else if (next !== Infinity) this.arm(Math.max(0, next - performance.now()));
    }, delay);
  }

  private plan(vm: string, at: number, nic: InlineNic, own: readonly PlannedNic[]): PlannedNic {
    const network = nic.network === undefined ? undefined : this.network(nic.network).spec;
    const { hostName = vm, policy = NO_POLICY } = nic;
    const others = [...this.planned(), ...own];
    const isTaken = (mac: string) => others.some((other) => other.mac === mac);
    const mac = nic.mac === undefined ? macOf(hostName, at, isTaken) : parseMac(nic.mac);
    if (mac === undefined)
      throw refusal(`VM ${vm}: ${nic.mac} is no address of a card: use one like 52:54:00:12:34:56`);
    if (isTaken(mac)) throw refusal(`VM ${vm}: another card has the address ${mac}: give each its own`);
    return { network, hostName, mac, address: this.address(vm, network, nic, others), forwards: [], policy };
  }

  private address(
    vm: string,
    network: NetworkSpec | undefined,
    { address, hostName = vm }: InlineNic,
    others: readonly NicSpec[],
  ): string | undefined {
    if (network === undefined) return undefined;
    if (address === undefined) {
      if (!network.dhcp) return undefined;
      const chosen = this.addressFor(network.name, hostName, (each) =>
        hasAddress(others, network.name, each),
      );
      if (chosen === undefined) throw noAddress(network);
      return chosen;
    }
    const parsed = parseIp4(address);
    const range = parseRange4(network.subnet)!;
    if (parsed === undefined || parsed <= range.first || parsed >= range.first + sizeOfRange(range) - 1)
      throw refusal(`VM ${vm}: ${address} is no address of network ${network.name}, ${network.subnet}`);
    if (parsed - range.first === GATEWAY || parsed - range.first === NAME_SERVER)
      throw refusal(`VM ${vm}: ${address} is the gateway's or the name server's in network ${network.name}`);
    if (hasAddress(others, network.name, formatIp4(parsed)))
      throw refusal(`VM ${vm}: another card has the address ${address}: give each its own`);
    return formatIp4(parsed);
  }

  private subnet(name: string, text: string | undefined): string {
    const taken = this.list().map(({ subnet }) => parseRange4(subnet)!);
    const range = text === undefined ? freeRange(taken) : parseRange4(text);
    if (range === undefined || taken.some((each) => overlap(each, range)))
      throw refusal(
        `network ${name}: ${text} ${range === undefined ? "is no range: write it like 10.0.2.0/24" : "is of another network already: use another range"}`,
      );
    return `${formatIp4(range.first)}/${range.bits}`;
  }

  private planned(): PlannedNic[] {
    return [...this.vms.values()].flatMap(({ planned }) => planned);
  }

  private network(name: string): { readonly spec: NetworkSpec; readonly lan: InlineLan } {
    const network = this.networks.get(name);
    if (network === undefined)
      throw refusal(
        `there is no network ${name}: there ${this.networks.size === 0 ? "is none at all" : `are ${[...this.networks.keys()].join(", ")}`}`,
      );
    return network;
  }
}

/** What a VM may have, with a change applied to what is usual. */
export const netAllotment = (change: NetChange): NetAllotment => changeNet(DEFAULT_NET, change);

const refusal = (what: string): LifecycleError => new LifecycleError("E_SETTING", what);

const noAddress = ({ name }: NetworkSpec): LifecycleError =>
  refusal(`network ${name} has no address left: give it a larger subnet`);

const hasAddress = (nics: readonly NicSpec[], network: string, address: string): boolean =>
  nics.some((nic) => nic.network?.name === network && nic.address === address);
