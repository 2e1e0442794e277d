/**
 * IPv4 (RFC 791) and IPv6 (RFC 8200) packets in one shape. Of IPv4, options are passed over; of IPv6, the extension
 * headers hop-by-hop, routing without segments left, destination options and fragment.
 */
import { formatIp, type IpFamily } from "../addresses.js";
import { checksumOf, sumWords } from "../checksum.js";
import { ETHERNET_BYTES } from "../frame.js";
import { etherTypes, writeEthernet } from "./ethernet.js";

/** Numbers of the protocols above. */
export const ipProtocols = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;
/** Bytes of a header without options or extensions, by family. */
export const ipHeaderBytes = { 4: 20, 6: 40 } as const;
/** Hops that packets of ours may take. */
const HOP_LIMIT = 64;
/** Most extension headers that are passed over. */
const MOST_EXTENSIONS = 8;
const extensions = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const;

/** Where a fragment belongs. */
export interface IpFragment {
  readonly id: number;
  /** Bytes of the payload before it. */
  readonly offset: number;
  /** Whether others follow. */
  readonly isMore: boolean;
}

/** A packet, by its parts. */
export interface IpPacket {
  readonly family: IpFamily;
  readonly source: string;
  readonly destination: string;
  readonly sourceBytes: Uint8Array;
  readonly destinationBytes: Uint8Array;
  readonly protocol: number;
  /** Time to live, or hop limit. */
  readonly hops: number;
  /** IPv4: it must not be cut to fragments. */
  readonly isWhole: boolean;
  /** Only of a packet that is a fragment. */
  readonly fragment: IpFragment | undefined;
  /** The packet from its first byte to its last: what errors about it quote. */
  readonly bytes: Uint8Array;
  /** What it carries. */
  readonly payload: Uint8Array;
}

/**
 * Reads the packet at `at`, of the family that the frame says; bytes behind it are padding. Undefined for a packet that is
 * malformed, or whose header's checksum is wrong.
 */
export function parseIp4Or6(bytes: Uint8Array, at: number, family: IpFamily): IpPacket | undefined {
  return family === 4 ? parseIpv4Packet(bytes, at) : parseIpv6Packet(bytes, at);
}

function parseIpv4Packet(frame: Uint8Array, at: number): IpPacket | undefined {
  const first = frame[at];
  if (at + 20 > frame.length || first === undefined || first >> 4 !== 4) return undefined;
  const header = (first & 15) * 4;
  const total = (frame[at + 2]! << 8) | frame[at + 3]!;
  if (header < 20 || total < header || at + total > frame.length) return undefined;
  if (checksumOf(sumWords(frame, at, at + header)) !== 0) return undefined;
  const bytes = frame.subarray(at, at + total);
  const flags = (bytes[6]! << 8) | bytes[7]!;
  const offset = (flags & 0x1fff) * 8;
  const isMore = (flags & 0x2000) !== 0;
  const fragment = offset > 0 || isMore ? { id: (bytes[4]! << 8) | bytes[5]!, offset, isMore } : undefined;
  return {
    family: 4,
    source: formatIp(bytes.subarray(12, 16)),
    destination: formatIp(bytes.subarray(16, 20)),
    sourceBytes: bytes.subarray(12, 16),
    destinationBytes: bytes.subarray(16, 20),
    protocol: bytes[9]!,
    hops: bytes[8]!,
    isWhole: (flags & 0x4000) !== 0,
    fragment,
    bytes,
    payload: bytes.subarray(header),
  };
}

function parseIpv6Packet(frame: Uint8Array, at: number): IpPacket | undefined {
  const first = frame[at];
  if (at + 40 > frame.length || first === undefined || first >> 4 !== 6) return undefined;
  const total = 40 + ((frame[at + 4]! << 8) | frame[at + 5]!);
  if (at + total > frame.length) return undefined;
  const bytes = frame.subarray(at, at + total);
  let protocol = bytes[6]!;
  let place = 40;
  let fragment: IpFragment | undefined;
  for (let count = 0; isExtension(protocol); count++) {
    if (count === MOST_EXTENSIONS || place + 8 > total) return undefined;
    const isRouted = protocol === extensions.routing && bytes[place + 3] !== 0;
    if (isRouted || fragment !== undefined) return undefined;
    const next = bytes[place]!;
    if (protocol === extensions.fragment) {
      const word = (bytes[place + 2]! << 8) | bytes[place + 3]!;
      const id = new DataView(bytes.buffer, bytes.byteOffset + place + 4, 4).getUint32(0);
      fragment = { id, offset: word & 0xfff8, isMore: (word & 1) === 1 };
      place += 8;
    } else place += 8 + bytes[place + 1]! * 8;
    if (place > total) return undefined;
    protocol = next;
    // What follows is the middle of something.
    if (fragment !== undefined && fragment.offset > 0) break;
  }
  const isAlone = fragment !== undefined && fragment.offset === 0 && !fragment.isMore;
  return {
    family: 6,
    source: formatIp(bytes.subarray(8, 24)),
    destination: formatIp(bytes.subarray(24, 40)),
    sourceBytes: bytes.subarray(8, 24),
    destinationBytes: bytes.subarray(24, 40),
    protocol,
    hops: bytes[7]!,
    isWhole: true,
    // A fragment that is the whole packet is none (RFC 6946).
    fragment: isAlone ? undefined : fragment,
    bytes,
    payload: bytes.subarray(place),
  };
}

const isExtension = (protocol: number): boolean =>
  protocol === extensions.hopByHop ||
  protocol === extensions.routing ||
  protocol === extensions.fragment ||
  protocol === extensions.destination;

/** What a frame with a packet needs beside its payload. */
export interface IpTo {
  readonly sourceMac: number;
  readonly destinationMac: number;
  /** 4 or 16 bytes, both alike. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  /** 64 unless given. */
  readonly hops?: number;
  /** Of IPv4: what fragments would have in common; 0, and never cut, unless given. */
  readonly id?: number;
}

/** Where the payload of a packet of ours begins in its frame. */
export const ipPayloadAt = (family: IpFamily): number => ETHERNET_BYTES + ipHeaderBytes[family];

/** A frame with the headers of Ethernet and IP, and room for a payload. */
export function ipFrame(to: IpTo, payloadBytes: number): Uint8Array {
  const family = to.source.length === 4 ? 4 : 6;
  const bytes = new Uint8Array(ipPayloadAt(family) + payloadBytes);
  const at = ETHERNET_BYTES;
  writeEthernet(bytes, to.destinationMac, to.sourceMac, family === 4 ? etherTypes.ipv4 : etherTypes.ipv6);
  if (family === 6) {
    bytes[at] = 0x60;
    write16(bytes, at + 4, payloadBytes);
    bytes[at + 6] = to.protocol;
    bytes[at + 7] = to.hops ?? HOP_LIMIT;
    bytes.set(to.source, at + 8);
    bytes.set(to.destination, at + 24);
    return bytes;
  }
  bytes[at] = 0x45;
  write16(bytes, at + 2, 20 + payloadBytes);
  write16(bytes, at + 4, to.id ?? 0);
  if (to.id === undefined) bytes[at + 6] = 0x40;
  bytes[at + 8] = to.hops ?? HOP_LIMIT;
  bytes[at + 9] = to.protocol;
  bytes.set(to.source, at + 12);
  bytes.set(to.destination, at + 16);
  writeIpv4Checksum(bytes, at);
  return bytes;
}

/** Computes the checksum of the IPv4 header at `at`. */
export function writeIpv4Checksum(bytes: Uint8Array, at: number): void {
  write16(bytes, at + 10, 0);
  write16(bytes, at + 10, checksumOf(sumWords(bytes, at, at + (bytes[at]! & 15) * 4)));
}

/** Writes 16 bits in network order. */
export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = (value >> 8) & 0xff;
  bytes[at + 1] = value & 0xff;
}

/** Reads 16 bits in network order. */
export const read16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

/** Writes 32 bits in network order. */
export function write32(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at, value >>> 16);
  write16(bytes, at + 2, value & 0xffff);
}

/** Reads 32 bits in network order, unsigned. */
export const read32 = (bytes: Uint8Array, at: number): number =>
  read16(bytes, at) * 0x10000 + read16(bytes, at + 2);
