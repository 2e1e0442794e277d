/**
 * What guests may reach. Every connection, and every first datagram to somewhere, is asked for with the address that it
 * will really go to: names play no part after they were resolved, so that a name which changes its address gains nothing.
 *
 * Unless told otherwise, guests reach what is public. Refused are the host (loopback, its own addresses and the networks
 * it is on), private and shared networks, link-local addresses (where clouds keep credentials), groups, and what is
 * reserved; addresses that carry an IPv4 address inside are judged by that, too.
 */
import { formatIp, type IpRange, inRange, ipBytes, parseRange } from "../addresses.js";
import { NetworkError } from "../errors.js";

/** What is asked for. */
export interface PolicyQuestion {
  readonly protocol: "tcp" | "udp";
  /** `out`: from a guest; `in`: to a guest, by a forward. */
  readonly direction: "out" | "in";
  /** The guest's address. */
  readonly guest: string;
  /** Its MAC address, where the question is of a frame of its own; what a switch lets through of a card can be trusted. */
  readonly mac?: number;
  /** The address outside, canonical. */
  readonly address: string;
  /** The port that is connected to. */
  readonly port: number;
  /** Names whose resolution gave the guest this address lately. They prove nothing. */
  readonly names: readonly string[];
  /** Whether the address is nowhere, and only stands for a name; no unless given. */
  readonly isStandIn?: boolean;
}

/** Decides. */
export type Policy = (question: PolicyQuestion) => boolean;

/** An exception from what is usual, or a rule of its own. */
export interface PolicyRule {
  readonly allow: boolean;
  /** An address or a range, as `10.1.0.0/16`; all unless given. */
  readonly range?: string;
  /** Ports, both ends among them; all unless given. */
  readonly ports?: readonly [number, number];
  /** A name, or `*.` and the end of names, that has led the guest to the address; any unless given. */
  readonly name?: string;
  /** Both unless given. */
  readonly protocol?: "tcp" | "udp";
  /** `out` unless given. */
  readonly direction?: "out" | "in";
}

/** What is not public (IANA's special-purpose registries; RFC 6890). */
const closedRanges = [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"],
  ...["192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"],
  ...["198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"],
  ...["::/96", "::ffff:0:0:0/96", "100::/64", "64:ff9b:1::/48", "2001::/23", "2001:db8::/32"],
  ...["3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"],
].map((range) => parseRange(range)!);

/** IPv6 ranges whose addresses carry an IPv4 address, and from which byte on. */
const carriers = [
  { range: parseRange("::ffff:0:0/96")!, at: 12 },
  { range: parseRange("64:ff9b::/96")!, at: 12 },
  { range: parseRange("2002::/16")!, at: 2 },
] as const;

/** An address and those that it carries. */
function meant(address: string): readonly Uint8Array[] {
  const bytes = ipBytes(address);
  const carrier = carriers.find(({ range }) => inRange(bytes, range));
  return carrier === undefined ? [bytes] : [bytes, bytes.slice(carrier.at, carrier.at + 4)];
}

/** Whether an address is public, and none of the host's. */
export function isPublic(address: string, hostRanges: readonly string[]): boolean {
  const closed: IpRange[] = [...closedRanges, ...hostRanges.flatMap((range) => parseRange(range) ?? [])];
  return meant(address).every((bytes) => !closed.some((range) => inRange(bytes, range)));
}

/**
 * A policy of rules: the first one that fits decides, and what is usual where none does (outwards to what is public,
 * inwards for every forward that somebody made). Addresses that stand for names count as public.
 * @param hostRanges the host's addresses and networks, asked for each time
 * @throws NetworkError (`E_NETWORK_OPTION`) for a rule with a range, ports or a name that can't be
 */
export function policyOf(rules: readonly PolicyRule[], hostRanges: () => readonly string[]): Policy {
  const judged = rules.map((rule) => fitting(rule));
  return (question) => {
    const bytes = meant(question.address);
    const rule = judged.find(({ fits }) => fits(question, bytes));
    if (rule !== undefined) return rule.allow;
    const isOpen = question.direction === "in" || question.isStandIn === true;
    return isOpen || isPublic(question.address, hostRanges());
  };
}

function fitting(rule: PolicyRule): {
  allow: boolean;
  fits(question: PolicyQuestion, bytes: readonly Uint8Array[]): boolean;
} {
  const { allow, ports, protocol, direction = "out" } = rule;
  const range = rule.range === undefined ? undefined : parseRange(rule.range);
  const refuse = (what: string): never => {
    throw new NetworkError("E_NETWORK_OPTION", what);
  };
  if (rule.range !== undefined && range === undefined)
    return refuse(`${JSON.stringify(rule.range)} is no range of addresses: write it like 10.0.0.0/8`);
  if (ports !== undefined && !(isPort(ports[0]) && isPort(ports[1]) && ports[0] <= ports[1]))
    return refuse(`ports ${ports.join("-")}: use 0 to 65535, the smaller one first`);
  const name = rule.name?.toLowerCase().replace(/\.$/, "");
  if (name !== undefined && !/^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name))
    return refuse(`${JSON.stringify(rule.name)} is no name: write it like example.org or *.example.org`);
  const suffix = name?.startsWith("*.") === true ? name.slice(1) : undefined;
  return {
    allow,
    fits: (question, bytes) =>
      question.direction === direction &&
      (protocol === undefined || question.protocol === protocol) &&
      (ports === undefined || (question.port >= ports[0] && question.port <= ports[1])) &&
      // What allows has to hold for the address itself, what denies for any that it carries.
      (range === undefined ||
        (allow ? inRange(bytes[0]!, range) : bytes.some((each) => inRange(each, range)))) &&
      (name === undefined ||
        question.names.some((each) => (suffix === undefined ? each === name : each.endsWith(suffix)))),
  };
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 65535;

/** The IPv4 address that an IPv6 one carries by being mapped, or the address itself: what is connected to is judged so. */
export function unmapped(address: string): string {
  const bytes = ipBytes(address);
  return bytes.length === 16 && inRange(bytes, carriers[0].range) ? formatIp(bytes.slice(12)) : address;
}
