/** ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, and errors about packets. */
import type { IpFamily } from "../addresses.js";
import { checksumOf, pseudoSum, sumWords } from "../checksum.js";
import {
  type IpPacket,
  type IpTo,
  ipFrame,
  ipPayloadAt,
  ipProtocols,
  read16,
  write16,
  write32,
} from "./ip.js";

/** Bytes before what a message carries. */
const ICMP_BYTES = 8;
/** The smallest MTU of IPv6: no error is longer (RFC 4443, section 2.4 c). */
const MOST_ERROR_PACKET = 1280;
/** What an IPv4 error quotes at most (RFC 1812, section 4.3.2.3). */
const MOST_ERROR_PACKET4 = 576;

/** Types of messages, by family. */
export const icmpTypes = {
  4: { echoReply: 0, unreachable: 3, echo: 8, timeExceeded: 11 },
  6: { echoReply: 129, unreachable: 1, tooBig: 2, echo: 128, timeExceeded: 3 },
} as const;

/** Types of ICMPv6 by which neighbours know each other (RFC 4861, section 4). */
export const neighbourTypes = {
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighbourSolicitation: 135,
  neighbourAdvertisement: 136,
  redirect: 137,
} as const;

/** Why a packet could not be delivered. */
export type IcmpReason = "prohibited" | "host" | "port" | "too-big" | "hops";

/** A message. */
export interface IcmpMessage {
  readonly type: number;
  readonly code: number;
  /** The bytes behind the checksum. */
  readonly body: Uint8Array;
}

const protocolOf = (family: IpFamily): number => (family === 4 ? ipProtocols.icmp : ipProtocols.icmpv6);

/** Reads the message of a packet; undefined if it is malformed, of the other family, or its checksum is wrong. */
export function parseIcmp(packet: IpPacket): IcmpMessage | undefined {
  const { payload, family } = packet;
  if (payload.length < ICMP_BYTES || packet.protocol !== protocolOf(family)) return undefined;
  const pseudo =
    family === 4
      ? 0
      : pseudoSum(packet.sourceBytes, packet.destinationBytes, ipProtocols.icmpv6, payload.length);
  if (checksumOf(sumWords(payload, 0, payload.length, pseudo)) !== 0) return undefined;
  return { type: payload[0]!, code: payload[1]!, body: payload.subarray(4) };
}

/** A frame with a message. */
export function icmpFrame(to: Omit<IpTo, "protocol">, { type, code, body }: IcmpMessage): Uint8Array {
  const family = to.source.length === 4 ? 4 : 6;
  const protocol = protocolOf(family);
  const length = 4 + body.length;
  const bytes = ipFrame({ ...to, protocol }, length);
  const at = ipPayloadAt(family);
  bytes[at] = type;
  bytes[at + 1] = code;
  bytes.set(body, at + 4);
  const pseudo = family === 4 ? 0 : pseudoSum(to.source, to.destination, protocol, length);
  write16(bytes, at + 2, checksumOf(sumWords(bytes, at, bytes.length, pseudo)));
  return bytes;
}

/**
 * The message that says why a packet was not delivered, with the beginning of the packet.
 * @param mtu largest packet that would be, for `too-big`
 */
export function icmpError(packet: IpPacket, reason: IcmpReason, mtu = 0): IcmpMessage {
  const { family, bytes } = packet;
  const most = (family === 4 ? MOST_ERROR_PACKET4 - 20 : MOST_ERROR_PACKET - 40) - ICMP_BYTES;
  const body = new Uint8Array(4 + Math.min(bytes.length, most));
  body.set(bytes.subarray(0, most), 4);
  if (reason === "too-big") write32(body, 0, mtu);
  const codes: Readonly<Record<IcmpReason, readonly [number, number]>> =
    family === 4
      ? { prohibited: [3, 13], host: [3, 1], port: [3, 3], "too-big": [3, 4], hops: [11, 0] }
      : { prohibited: [1, 1], host: [1, 3], port: [1, 4], "too-big": [2, 0], hops: [3, 0] };
  const [type, code] = codes[reason];
  return { type, code, body };
}

/** Whether an error may be sent about a packet: not about an error, nor about what went to many (RFC 1122, section 3.2.2). */
export function mayComplain(packet: IpPacket): boolean {
  const { family, destinationBytes, sourceBytes, fragment } = packet;
  const isGroup =
    family === 4
      ? destinationBytes[0]! >= 224 || sourceBytes[0]! >= 224 || sourceBytes.every((byte) => byte === 0)
      : destinationBytes[0] === 0xff || sourceBytes[0] === 0xff || sourceBytes.every((byte) => byte === 0);
  if (isGroup || (fragment !== undefined && fragment.offset > 0)) return false;
  if (packet.protocol !== protocolOf(family)) return true;
  const type = packet.payload[0];
  return type === icmpTypes[family].echo || type === icmpTypes[family].echoReply;
}

/** Identifier and sequence of an echo. */
export const echoOf = ({ body }: IcmpMessage): { id: number; sequence: number } => ({
  id: read16(body, 0),
  sequence: read16(body, 2),
});
