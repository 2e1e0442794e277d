/** Messages of DHCP (RFC 2131) and their options (RFC 2132). */
import { formatIp, ipBytes, MAC_BYTES, readMac, writeMac } from "../../addresses.js";
import { read16, read32, write16, write32 } from "../../frames/ip.js";

/** Ports of server and client. */
export const dhcpPorts = { server: 67, client: 68 } as const;
/** Types of messages. */
export const dhcpTypes = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;
/** Options by their numbers. */
export const dhcpOptions = {
  mask: 1,
  router: 3,
  nameServer: 6,
  hostName: 12,
  domain: 15,
  mtu: 26,
  broadcast: 28,
  requested: 50,
  leaseTime: 51,
  type: 53,
  server: 54,
  renewal: 58,
  rebinding: 59,
  search: 119,
} as const;

const FIXED_BYTES = 240;
const COOKIE = 0x63825363;
const BROADCAST_FLAG = 0x8000;
/** Least length that every client takes (RFC 1542, section 2.1). */
const LEAST_BYTES = 300;

/** A message of a client. */
export interface DhcpRequest {
  readonly type: number;
  readonly transaction: number;
  readonly seconds: number;
  readonly isBroadcast: boolean;
  /** The address that it has already. */
  readonly clientIp: string;
  readonly mac: number;
  readonly requested: string | undefined;
  readonly server: string | undefined;
  readonly hostName: string | undefined;
}

/** Reads a client's message; undefined if it is malformed, or comes through a relay. */
export function parseDhcp(bytes: Uint8Array): DhcpRequest | undefined {
  if (bytes.length < FIXED_BYTES || bytes[0] !== 1 || bytes[1] !== 1 || bytes[2] !== MAC_BYTES)
    return undefined;
  if (read32(bytes, 236) !== COOKIE || read32(bytes, 24) !== 0) return undefined;
  const options = new Map<number, Uint8Array>();
  for (let at = FIXED_BYTES; at < bytes.length && bytes[at] !== 255; ) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    const length = bytes[at + 1];
    if (length === undefined || at + 2 + length > bytes.length) return undefined;
    options.set(bytes[at]!, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  const address = (option: number): string | undefined => {
    const value = options.get(option);
    return value?.length === 4 ? formatIp(value) : undefined;
  };
  const type = options.get(dhcpOptions.type);
  if (type?.length !== 1) return undefined;
  return {
    type: type[0]!,
    transaction: read32(bytes, 4),
    seconds: read16(bytes, 8),
    isBroadcast: (read16(bytes, 10) & BROADCAST_FLAG) !== 0,
    clientIp: formatIp(bytes.subarray(12, 16)),
    mac: readMac(bytes, 28),
    requested: address(dhcpOptions.requested),
    server: address(dhcpOptions.server),
    hostName: hostName(options.get(dhcpOptions.hostName)),
  };
}

/** A name that can be one in DNS; what else a guest says is passed over. */
function hostName(bytes: Uint8Array | undefined): string | undefined {
  const text = new TextDecoder().decode(bytes ?? new Uint8Array()).toLowerCase();
  return /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(text) ? text : undefined;
}

/** The answer to a message. */
export function dhcpReply(
  request: DhcpRequest,
  reply: {
    readonly type: number;
    /** The address that the client gets; none in a refusal. */
    readonly ip: string | undefined;
    readonly server: string;
    readonly options: readonly (readonly [number, Uint8Array])[];
  },
): Uint8Array {
  const options = [
    [dhcpOptions.type, Uint8Array.of(reply.type)],
    [dhcpOptions.server, ipBytes(reply.server)],
    ...reply.options,
  ] as const;
  const length = FIXED_BYTES + options.reduce((sum, [, value]) => sum + 2 + value.length, 1);
  const bytes = new Uint8Array(Math.max(LEAST_BYTES, length));
  bytes.set([2, 1, MAC_BYTES, 0]);
  write32(bytes, 4, request.transaction);
  write16(bytes, 10, request.isBroadcast ? BROADCAST_FLAG : 0);
  if (reply.type !== dhcpTypes.nak) bytes.set(ipBytes(request.clientIp), 12);
  if (reply.ip !== undefined) bytes.set(ipBytes(reply.ip), 16);
  writeMac(bytes, 28, request.mac);
  write32(bytes, 236, COOKIE);
  let at = FIXED_BYTES;
  for (const [option, value] of options) {
    bytes.set([option, value.length], at);
    bytes.set(value, at + 2);
    at += 2 + value.length;
  }
  bytes[at] = 255;
  return bytes;
}
