/**
 * The networks of a Hyperfile and the cards of its VMs. A card names the network that it is in; what the network is comes
 * with it, so that a VM knows by itself what it is connected to.
 */
import { addressOf, freeRange, GATEWAY, NAME_SERVER, NO_POLICY, subnet6Of } from "../net/network-plan.js";
import type { FieldPath, HyperfileDocument } from "./document.js";
import { shortened } from "./message-text.js";
import {
  type ForwardSpec,
  formatIp4,
  forwardUsage,
  macOf,
  type NetRuleSpec,
  overlap,
  parseForward,
  parseIp4,
  parseMac,
  parseRange4,
  parseRule,
  type Range4,
  ruleUsage,
  sizeOfRange,
} from "./net-text.js";
import { hint } from "./suggest.js";
import type { NetPolicySpec, NetworkSpec, NicSpec } from "./types.js";

/** The word for a card whose cable leads nowhere. */
const NONE = "none";
/** Bits of the ranges that networks can have. */
const [FEWEST_BITS, MOST_BITS] = [8, 28];

type Fields = Readonly<Record<string, unknown>>;
const none: Fields = Object.freeze(Object.create(null));
const fieldsOf = (value: unknown): Fields => (value ?? none) as Fields;

/** Reads the networks of a file, and then the cards of its VMs, one after another. */
export class NetworkReader {
  private readonly networks = new Map<string, NetworkSpec>();
  /** Whose a forward, an address or a MAC address is. */
  private readonly owners = new Map<string, string>();

  /** @param vms of the file, as they are written */
  constructor(
    private readonly document: HyperfileDocument,
    networks: Fields,
    vms: Fields,
  ) {
    const ranges: Range4[] = [];
    for (const [name, value] of Object.entries(networks)) {
      const range = this.range(fieldsOf(value).subnet, ["networks", name, "subnet"]);
      if (range !== undefined) ranges.push(range);
    }
    for (const [name, value] of Object.entries(networks))
      this.networks.set(name, this.network(name, fieldsOf(value), ranges));
    // What is given is not chosen for another, whichever VM is first.
    for (const [vm, value] of Object.entries(vms)) this.reserve(vm, fieldsOf(value).nics);
  }

  /** The cards of one VM. */
  nics(vm: string, values: readonly unknown[], path: FieldPath): NicSpec[] {
    const nics = values.map((value, at) => this.nic(vm, at, value, [...path, at]));
    nics.forEach(({ network }, at) => {
      const other = nics.findIndex(
        (each) => each.network !== undefined && network !== undefined && sharesRange(each.network, network),
      );
      if (network !== undefined && other < at)
        this.document.add(
          [...path, at],
          `it is in ${network.subnet}, and so is the card before it in ${nics[other]!.network!.name}: give one of the networks another subnet`,
        );
    });
    return nics;
  }

  private network(name: string, fields: Fields, ranges: Range4[]): NetworkSpec {
    const path = ["networks", name];
    if (name === NONE)
      this.document.add(path, "this name stands for a cable that leads nowhere: choose another", "name");
    const kind = (fields.kind as string | undefined) ?? "nat";
    if (kind === "bridged")
      this.document.add(
        [...path, "kind"],
        "a bridged network needs a tap device of the host, which this program can't open: use nat, and forwards for what others are to reach",
      );
    const given = parseRange4((fields.subnet as string | undefined) ?? "");
    const range = given ?? freeRange(ranges);
    if (given === undefined) ranges.push(range);
    return {
      name,
      kind: kind as NetworkSpec["kind"],
      subnet: `${formatIp4(range.first)}/${range.bits}`,
      subnet6: subnet6Of(name),
      dhcp: (fields.dhcp as boolean | undefined) ?? true,
      policy: this.policy(fields.policy, [...path, "policy"]),
    };
  }

  /** The range that is given; undefined if none is, or it is impossible. */
  private range(value: unknown, path: FieldPath): Range4 | undefined {
    if (value === undefined) return undefined;
    const text = value as string;
    const range = parseRange4(text);
    const first = range === undefined ? 0 : range.first - (range.first % sizeOfRange(range));
    if (range === undefined || range.bits < FEWEST_BITS || range.bits > MOST_BITS)
      this.document.add(
        path,
        `${shortened(text)} is no range for a network: write it like 10.0.2.0/24, with ${FEWEST_BITS} to ${MOST_BITS} bits`,
      );
    else if (first !== range.first)
      this.document.add(
        path,
        `${shortened(text)} begins in the middle of a range: write ${formatIp4(first)}/${range.bits}`,
      );
    else return range;
    return undefined;
  }

  private reserve(vm: string, nics: unknown): void {
    if (!Array.isArray(nics)) return;
    nics.forEach((nic: unknown, at) => {
      if (typeof nic !== "object" || nic === null) return;
      const { network, mac, address } = nic as Readonly<Record<string, string | undefined>>;
      const keys = [parseMac(mac ?? ""), addressKey(network, parseIp4(address ?? ""))];
      for (const key of keys)
        if (key !== undefined && !this.owners.has(key)) this.owners.set(key, cardName(vm, at));
    });
  }

  private nic(vm: string, at: number, value: unknown, path: FieldPath): NicSpec {
    const { document } = this;
    const fields: Fields = typeof value === "string" ? { network: value } : fieldsOf(value);
    const name = fields.network as string;
    const network = this.networks.get(name);
    if (network === undefined && name !== NONE)
      document.add(
        typeof value === "string" ? path : [...path, "network"],
        () =>
          `there is no network ${shortened(name)}; ${hint(name, [...this.networks.keys(), NONE], "networks")}`,
      );
    const nic = {
      network,
      mac: this.mac(vm, at, fields.mac as string | undefined, [...path, "mac"]),
      address: this.address(vm, at, network, fields.address as string | undefined, [...path, "address"]),
      forwards: ((fields.forwards as string[] | undefined) ?? []).flatMap(
        (text, place) => this.forward(vm, text, [...path, "forwards", place]) ?? [],
      ),
      policy: this.policy(fields.policy, [...path, "policy"]),
    };
    const refusal = forwardRefusal(nic);
    if (nic.forwards.length > 0 && refusal !== undefined) document.add([...path, "forwards"], refusal);
    return nic;
  }

  private mac(vm: string, at: number, text: string | undefined, path: FieldPath): string {
    const own = cardName(vm, at);
    if (text === undefined) {
      const mac = macOf(vm, at, (each) => this.owners.has(each));
      this.owners.set(mac, own);
      return mac;
    }
    const mac = parseMac(text);
    const owner = mac === undefined ? undefined : this.owners.get(mac);
    if (mac === undefined)
      this.document.add(path, `${shortened(text)} is no address of a card: write it like 52:54:00:12:34:56`);
    else if (owner !== undefined && owner !== own)
      this.document.add(
        path,
        `${owner} has the address ${mac}: give each card its own, or none to have one chosen`,
      );
    return mac ?? "";
  }

  private address(
    vm: string,
    at: number,
    network: NetworkSpec | undefined,
    text: string | undefined,
    path: FieldPath,
  ): string | undefined {
    const { document } = this;
    const own = cardName(vm, at);
    if (text === undefined) {
      if (network?.dhcp !== true) return undefined;
      const isTaken = (address: number) => this.owners.has(addressKey(network.name, address)!);
      const chosen = addressOf(vm, network, isTaken);
      if (chosen === undefined)
        document.add(
          path.slice(0, -1),
          `network ${network.name} has no address left: give it a larger subnet`,
        );
      else this.owners.set(addressKey(network.name, chosen)!, own);
      return chosen === undefined ? undefined : formatIp4(chosen);
    }
    const address = parseIp4(text);
    if (network === undefined) {
      document.add(path, "a cable that leads nowhere has no addresses: leave it out");
      return undefined;
    }
    const range = parseRange4(network.subnet)!;
    const place = (address ?? -1) - range.first;
    if (address === undefined || place < 1 || place > sizeOfRange(range) - 2)
      document.add(path, `${shortened(text)} is no address of network ${network.name}, ${network.subnet}`);
    else if (place === GATEWAY || place === NAME_SERVER)
      document.add(
        path,
        `${text} is the ${place === GATEWAY ? "gateway" : "name server"} of network ${network.name}: use another`,
      );
    else {
      const owner = this.owners.get(addressKey(network.name, address)!);
      if (owner !== own) document.add(path, `${owner} has the address ${text}: give each card its own`);
      return formatIp4(address);
    }
    return undefined;
  }

  private forward(vm: string, text: string, path: FieldPath): ForwardSpec | undefined {
    const forward = parseForward(text);
    if (forward === undefined) {
      this.document.add(path, `${shortened(text)} leads nowhere: write it like ${forwardUsage}`);
      return undefined;
    }
    const { protocol, hostAddress, hostPort } = forward;
    const key = `${protocol} ${hostAddress} ${hostPort}`;
    const owner = hostPort === 0 ? undefined : this.owners.get(key);
    if (owner !== undefined)
      this.document.add(
        path,
        `${protocol} port ${hostPort} of ${hostAddress} leads to ${owner} already: choose another, or 0 for any`,
      );
    this.owners.set(key, owner ?? vm);
    return forward;
  }

  private policy(value: unknown, path: FieldPath): NetPolicySpec {
    if (value === undefined) return NO_POLICY;
    const {
      allow = [],
      deny = [],
      restrict = false,
    } = fieldsOf(value) as {
      readonly allow?: readonly string[];
      readonly deny?: readonly string[];
      readonly restrict?: boolean;
    };
    const rules = (texts: readonly string[], field: string): NetRuleSpec[] =>
      texts.flatMap((text, at) => {
        const rule = parseRule(text);
        if (rule === undefined)
          this.document.add(
            [...path, field, at],
            `${shortened(text)} is no place that rules can name: write it like ${ruleUsage}`,
          );
        return rule ?? [];
      });
    return { allow: rules(allow, "allow"), deny: rules(deny, "deny"), restrict };
  }
}

/** Why a card can have no forwards; undefined if it can. */
export function forwardRefusal({
  network,
  address,
}: Pick<NicSpec, "network" | "address">): string | undefined {
  if (network === undefined) return "its cable leads nowhere: connect the card with a nat network";
  if (network.kind !== "nat")
    return `network ${network.name} is isolated: nothing leads into it; use a nat network`;
  if (!network.dhcp && address === undefined)
    return `network ${network.name} gives no addresses: say by address which one the guest has`;
  return undefined;
}

const addressKey = (network: string | undefined, address: number | undefined): string | undefined =>
  address === undefined ? undefined : `${network} ${address}`;
const cardName = (vm: string, at: number): string => `card ${at} of ${vm}`;

const sharesRange = (one: NetworkSpec, other: NetworkSpec): boolean =>
  overlap(parseRange4(one.subnet)!, parseRange4(other.subnet)!);
