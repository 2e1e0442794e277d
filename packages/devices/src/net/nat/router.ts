/**
 * The gateway as an IPv6 router on its network: router advertisements (RFC 4861) with the prefix, the MTU and the name
 * server (RFC 8106), and answers to who asks for its addresses.
 */
import { ipBytes, MAC_BYTES, writeMac } from "../addresses.js";
import { type IcmpMessage, neighbourTypes } from "../frames/icmp.js";
import { type IpPacket, write16, write32 } from "../frames/ip.js";
import type { Subnet } from "./subnet.js";

/** Hops that a message must have left: it comes from the link itself. */
export const LINK_HOPS = 255;
/** Seconds for which the router and its name server are used without another advertisement. */
const LIFETIME_S = 1800;
const PREFIX_LIFETIME_S = 86_400;
const options = { sourceMac: 1, targetMac: 2, prefix: 3, mtu: 5, nameServer: 25 } as const;
/** Managed: no; other configuration: no; preference: medium. */
const ADVERTISEMENT_FLAGS = 0;
const ON_LINK_AUTONOMOUS = 0xc0;
const ROUTER_SOLICITED_OVERRIDE = 0xe0000000;

/** The link-local address that belongs to a MAC address (RFC 4291, appendix A), as text without compression. */
export function linkLocalOf(mac: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const own = new Uint8Array(MAC_BYTES);
  writeMac(own, 0, mac);
  bytes.set([0xfe, 0x80]);
  bytes.set([own[0]! ^ 2, own[1]!, own[2]!, 0xff, 0xfe, own[3]!, own[4]!, own[5]!], 8);
  return bytes;
}

/** An advertisement. @param isRouter whether it leads anywhere; else it is of the prefix and the name server only */
export function routerAdvertisement(
  subnet: Subnet,
  mac: number,
  mtu: number,
  isRouter: boolean,
): IcmpMessage {
  const body = new Uint8Array(12 + 8 + 8 + 32 + 24);
  body.set([64, ADVERTISEMENT_FLAGS]);
  write16(body, 2, isRouter ? LIFETIME_S : 0);
  let at = 12;
  body.set([options.sourceMac, 1], at);
  writeMac(body, at + 2, mac);
  at += 8;
  body.set([options.mtu, 1], at);
  write32(body, at + 4, mtu);
  at += 8;
  body.set([options.prefix, 4, subnet.range.prefix, ON_LINK_AUTONOMOUS], at);
  write32(body, at + 4, PREFIX_LIFETIME_S);
  write32(body, at + 8, PREFIX_LIFETIME_S / 2);
  body.set(subnet.range.bytes, at + 16);
  at += 32;
  body.set([options.nameServer, 3], at);
  write32(body, at + 4, LIFETIME_S);
  body.set(ipBytes(subnet.nameServer), at + 8);
  return { type: neighbourTypes.routerAdvertisement, code: 0, body };
}

/** The address that a solicitation asks for; undefined if it is malformed or comes from elsewhere than the link. */
export function solicitedTarget(packet: IpPacket, message: IcmpMessage): Uint8Array | undefined {
  const { body, code } = message;
  if (packet.hops !== LINK_HOPS || code !== 0 || body.length < 20) return undefined;
  return body.subarray(4, 20);
}

/** The answer to who asks for an address of the router's. @param isAsked whether somebody in particular asked */
export function neighbourAdvertisement(target: Uint8Array, mac: number, isAsked: boolean): IcmpMessage {
  const body = new Uint8Array(4 + 16 + 8);
  write32(body, 0, isAsked ? ROUTER_SOLICITED_OVERRIDE : 0xa0000000);
  body.set(target, 4);
  body.set([options.targetMac, 1], 20);
  writeMac(body, 22, mac);
  return { type: neighbourTypes.neighbourAdvertisement, code: 0, body };
}

/** Asks who has an address. */
export function neighbourSolicitation(target: Uint8Array, mac: number): IcmpMessage {
  const body = new Uint8Array(4 + 16 + 8);
  body.set(target, 4);
  body.set([options.sourceMac, 1], 20);
  writeMac(body, 22, mac);
  return { type: neighbourTypes.neighbourSolicitation, code: 0, body };
}

/** The group in which who has an address listens for questions (RFC 4291, section 2.7.1), and its MAC address. */
export function solicitedGroup(target: Uint8Array): { ip: Uint8Array; mac: number } {
  const ip = new Uint8Array(16);
  ip.set([0xff, 0x02]);
  ip[11] = 1;
  ip[12] = 0xff;
  ip.set(target.subarray(13), 13);
  return { ip, mac: 0x3333ff000000 + target[13]! * 0x10000 + target[14]! * 0x100 + target[15]! };
}
