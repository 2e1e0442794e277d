/** TCP segments (RFC 9293) with the options MSS, window scale, SACK (RFC 2018) and timestamps (RFC 7323). */
import { checksumOf, foldSum, pseudoSum, sumWords } from "../checksum.js";
import type { Frame } from "../frame.js";
import {
  type IpPacket,
  type IpTo,
  ipFrame,
  ipPayloadAt,
  ipProtocols,
  read16,
  read32,
  write16,
  write32,
} from "./ip.js";

/** Bytes of a header without options. */
export const TCP_BYTES = 20;
/** Where the checksum stands in a header. */
export const TCP_CHECKSUM_AT = 16;
/** Bits of the flags. */
export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32, ece: 64, cwr: 128 } as const;
/** Largest shift of a window (RFC 7323, section 2.3). */
export const MOST_WINDOW_SHIFT = 14;

/** Sequence numbers from the first on to before the second. */
export interface SackBlock {
  readonly start: number;
  readonly end: number;
}

/** A segment. */
export interface Segment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  /** As it stands there: not shifted. */
  readonly window: number;
  readonly options: TcpOptions;
  readonly data: Uint8Array;
}

/** Options of a segment. */
export interface TcpOptions {
  readonly mss?: number;
  readonly windowShift?: number;
  readonly sackPermitted?: boolean;
  readonly sack?: readonly SackBlock[];
}

const noOptions: TcpOptions = {};
const kinds = { end: 0, nothing: 1, mss: 2, windowShift: 3, sackPermitted: 4, sack: 5 } as const;

/**
 * Reads the segment of a packet; undefined if it is malformed or its checksum is wrong.
 * @param isTrusted whether nobody has computed the checksum yet
 */
export function parseTcp(packet: IpPacket, isTrusted: boolean): Segment | undefined {
  const { payload } = packet;
  if (payload.length < TCP_BYTES) return undefined;
  const header = (payload[12]! >> 4) * 4;
  if (header < TCP_BYTES || header > payload.length) return undefined;
  if (!isTrusted) {
    const pseudo = pseudoSum(packet.sourceBytes, packet.destinationBytes, ipProtocols.tcp, payload.length);
    if (checksumOf(sumWords(payload, 0, payload.length, pseudo)) !== 0) return undefined;
  }
  return {
    sourcePort: read16(payload, 0),
    destinationPort: read16(payload, 2),
    sequence: read32(payload, 4),
    acknowledgement: read32(payload, 8),
    flags: payload[13]!,
    window: read16(payload, 14),
    options: header === TCP_BYTES ? noOptions : parseOptions(payload, header),
    data: payload.subarray(header),
  };
}

/** Options as far as they make sense: what is malformed ends the list. */
function parseOptions(bytes: Uint8Array, end: number): TcpOptions {
  const options: { mss?: number; windowShift?: number; sackPermitted?: boolean; sack?: SackBlock[] } = {};
  for (let at = TCP_BYTES; at < end; ) {
    const kind = bytes[at]!;
    if (kind === kinds.end) break;
    if (kind === kinds.nothing) {
      at++;
      continue;
    }
    const length = at + 1 < end ? bytes[at + 1]! : 0;
    if (length < 2 || at + length > end) break;
    if (kind === kinds.mss && length === 4) options.mss = read16(bytes, at + 2);
    else if (kind === kinds.windowShift && length === 3)
      options.windowShift = Math.min(bytes[at + 2]!, MOST_WINDOW_SHIFT);
    else if (kind === kinds.sackPermitted && length === 2) options.sackPermitted = true;
    else if (kind === kinds.sack && length % 8 === 2) {
      options.sack = [];
      for (let place = at + 2; place < at + length; place += 8)
        options.sack.push({ start: read32(bytes, place), end: read32(bytes, place + 4) });
    }
    at += length;
  }
  return options;
}

function optionBytes({ mss, windowShift, sackPermitted, sack }: TcpOptions): number[] {
  const bytes: number[] = [];
  if (mss !== undefined) bytes.push(kinds.mss, 4, mss >> 8, mss & 0xff);
  if (sackPermitted === true) bytes.push(kinds.nothing, kinds.nothing, kinds.sackPermitted, 2);
  if (windowShift !== undefined) bytes.push(kinds.nothing, kinds.windowShift, 3, windowShift);
  if (sack !== undefined && sack.length > 0) {
    bytes.push(kinds.nothing, kinds.nothing, kinds.sack, 2 + 8 * sack.length);
    for (const { start, end } of sack)
      for (const value of [start, end])
        bytes.push(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
  }
  return bytes;
}

/** A segment that is to be sent; its data may be in pieces. */
export type OutgoingSegment = Omit<Segment, "data"> & { readonly data: readonly Uint8Array[] };

/**
 * A frame with a segment, whose checksum is left to be computed.
 * @param mss most bytes of data of a segment: with more, it is to be cut
 */
export function tcpFrame(to: Omit<IpTo, "protocol">, segment: OutgoingSegment, mss: number): Frame {
  const family = to.source.length === 4 ? 4 : 6;
  const options = optionBytes(segment.options);
  const header = TCP_BYTES + options.length;
  const dataBytes = segment.data.reduce((sum, piece) => sum + piece.length, 0);
  const bytes = ipFrame({ ...to, protocol: ipProtocols.tcp }, header + dataBytes);
  const at = ipPayloadAt(family);
  write16(bytes, at, segment.sourcePort);
  write16(bytes, at + 2, segment.destinationPort);
  write32(bytes, at + 4, segment.sequence);
  write32(bytes, at + 8, segment.acknowledgement);
  bytes[at + 12] = (header / 4) << 4;
  bytes[at + 13] = segment.flags;
  write16(bytes, at + 14, segment.window);
  bytes.set(options, at + TCP_BYTES);
  let place = at + header;
  for (const piece of segment.data) {
    bytes.set(piece, place);
    place += piece.length;
  }
  const sum = pseudoSum(to.source, to.destination, ipProtocols.tcp, header + dataBytes);
  write16(bytes, at + TCP_CHECKSUM_AT, foldSum(sum));
  const checksum = { start: at, offset: TCP_CHECKSUM_AT };
  return dataBytes > mss ? { bytes, checksum, segments: { family, size: mss } } : { bytes, checksum };
}
