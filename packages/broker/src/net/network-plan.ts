/**
 * Addresses of networks and cards that nobody has chosen: made of names, so that they are the same each time, whoever else
 * comes and goes.
 */
import {
  formatIp4,
  hashOf,
  macOf,
  overlap,
  parseRange4,
  type Range4,
  sizeOfRange,
} from "../hyperfile/net-text.js";
import type { NetPolicySpec, NetworkSpec, NicSpec } from "../hyperfile/types.js";

/** The first range that a network is given which names none; the next one is another's, and so on. */
const FIRST_RANGE: Range4 = { first: 0x0a000200, bits: 24 };
/** Places of a range that are the gateway's and the name server's. */
export const [GATEWAY, NAME_SERVER] = [2, 3];
/** The first place that is given to guests, where there are many. */
const FIRST_PLACE = 15;
/** Cards that one network can have. */
const MOST_CARDS = 65_536;

/** A policy that says nothing. */
export const NO_POLICY: NetPolicySpec = { allow: [], deny: [], restrict: false };

/** The IPv6 range of a network. */
export function subnet6Of(name: string): string {
  const [high, low] = [hashOf(`${name} 1`), hashOf(`${name} 2`)];
  const id = `${(high >>> 8).toString(16).padStart(6, "0")}${(low >>> 16).toString(16).padStart(4, "0")}`;
  return `fd${id.slice(0, 2)}:${id.slice(2, 6)}:${id.slice(6)}::/64`;
}

/** A range that no network has. */
export function freeRange(taken: readonly Range4[]): Range4 {
  for (let range = FIRST_RANGE; ; range = { ...range, first: range.first + sizeOfRange(range) })
    if (!taken.some((each) => overlap(each, range))) return range;
}

/**
 * A specification's cards for a clone: with addresses of its own, and no forwards, which lead to the original.
 * @param others all cards that it must not be mistaken for
 */
export function nicsOfClone(nics: readonly NicSpec[], name: string, others: readonly NicSpec[]): NicSpec[] {
  return nics.map((nic, at) => {
    const { network } = nic;
    const isTaken = (address: number) =>
      others.some((other) => other.network?.name === network?.name && other.address === formatIp4(address));
    const address = network?.dhcp === true ? addressOf(name, network, isTaken) : undefined;
    return {
      ...nic,
      mac: macOf(name, at, (mac) => others.some((other) => other.mac === mac)),
      address: address === undefined ? undefined : formatIp4(address),
      forwards: [],
    };
  });
}

/** The address of a VM that was given none: the same each time as long as it is free; undefined if none is. */
export function addressOf(
  vm: string,
  { subnet }: NetworkSpec,
  isTaken: (address: number) => boolean,
): number | undefined {
  const range = parseRange4(subnet)!;
  const size = sizeOfRange(range);
  const first = size > 2 * FIRST_PLACE ? FIRST_PLACE : NAME_SERVER + 1;
  const places = size - 1 - first;
  const begin = hashOf(vm) % places;
  for (let step = 0; step < Math.min(places, MOST_CARDS); step++) {
    const address = range.first + first + ((begin + step) % places);
    if (!isTaken(address)) return address;
  }
  return undefined;
}
