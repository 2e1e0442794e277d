/**
 * Does to a frame what its sender left undone and its receiver does not take: computes the checksum, and cuts TCP data to
 * segments as a network card would (IP length and identification, sequence number, flags, checksums).
 */
import { checksumOf, foldSum, pseudoSum, sumWords } from "./checksum.js";
import { type Frame, type FrameSupport, MOST_PACKET_BYTES } from "./frame.js";
import { etherTypes, parseEthernet } from "./frames/ethernet.js";
import {
  ipHeaderBytes,
  ipProtocols,
  read16,
  read32,
  write16,
  write32,
  writeIpv4Checksum,
} from "./frames/ip.js";
import { TCP_BYTES, TCP_CHECKSUM_AT, tcpFlags } from "./frames/tcp.js";

/** Least size of segments: a smaller one would make work and no sense. */
export const LEAST_SEGMENT_BYTES = 48;

/** Headers of a frame with TCP data. */
export interface TcpHeaders {
  readonly family: 4 | 6;
  /** Where the IP header begins. */
  readonly ip: number;
  /** Where the TCP header begins. */
  readonly tcp: number;
  /** Where the data begins. */
  readonly data: number;
}

/** Finds the headers of a frame with TCP over IP, without IPv6 extensions or fragments; undefined if it is none. */
export function tcpHeaders(bytes: Uint8Array): TcpHeaders | undefined {
  const ethernet = parseEthernet(bytes);
  if (ethernet === undefined) return undefined;
  const ip = ethernet.payload;
  const version = (bytes[ip] ?? 0) >> 4;
  const family = version === 4 && ethernet.type === etherTypes.ipv4 ? 4 : 6;
  if (family === 6 && (version !== 6 || ethernet.type !== etherTypes.ipv6)) return undefined;
  const header = family === 4 ? (bytes[ip]! & 15) * 4 : ipHeaderBytes[6];
  const tcp = ip + header;
  if (header < ipHeaderBytes[family] || tcp + TCP_BYTES > bytes.length) return undefined;
  if (bytes[ip + (family === 4 ? 9 : 6)] !== ipProtocols.tcp) return undefined;
  if (family === 4 && (read16(bytes, ip + 6) & 0x3fff) !== 0) return undefined;
  const data = tcp + (bytes[tcp + 12]! >> 4) * 4;
  return data < tcp + TCP_BYTES || data > bytes.length ? undefined : { family, ip, tcp, data };
}

/** The frames that a receiver gets in place of one; none if the frame can't be finished. */
export function finishFrame(frame: Frame, takes: FrameSupport): readonly Frame[] {
  const { segments, checksum } = frame;
  if (segments !== undefined) {
    if (segments.family === 4 ? takes.segments4 : takes.segments6) return [frame];
    return cutSegments(frame, segments.size, takes.checksum);
  }
  return checksum === undefined || takes.checksum ? [frame] : [withChecksum(frame, checksum)];
}

function withChecksum({ bytes }: Frame, { start, offset }: { start: number; offset: number }): Frame {
  const copy = bytes.slice();
  const sum = checksumOf(sumWords(copy, start));
  // For UDP zero says that there is none (RFC 768); for all others the two are equal.
  write16(copy, start + offset, sum === 0 ? 0xffff : sum);
  return { bytes: copy };
}

function cutSegments({ bytes }: Frame, asked: number, isUnchecked: boolean): readonly Frame[] {
  const headers = tcpHeaders(bytes);
  if (headers === undefined) return [];
  const { family, ip, tcp, data } = headers;
  if (bytes.length - ip > MOST_PACKET_BYTES + (family === 6 ? ipHeaderBytes[6] : 0)) return [];
  const size = Math.max(asked, LEAST_SEGMENT_BYTES);
  const sequence = read32(bytes, tcp + 4);
  const flags = bytes[tcp + 13]!;
  const id = family === 4 ? read16(bytes, ip + 4) : 0;
  const source = bytes.subarray(ip + (family === 4 ? 12 : 8), ip + (family === 4 ? 16 : 24));
  const destination = bytes.subarray(ip + (family === 4 ? 16 : 24), ip + (family === 4 ? 20 : 40));
  const frames: Frame[] = [];
  for (let from = data, index = 0; from < bytes.length || index === 0; from += size, index++) {
    const part = bytes.subarray(from, from + size);
    const isLast = from + size >= bytes.length;
    const cut = new Uint8Array(data + part.length);
    cut.set(bytes.subarray(0, data));
    cut.set(part, data);
    if (family === 4) {
      write16(cut, ip + 2, cut.length - ip);
      write16(cut, ip + 4, id + index);
      writeIpv4Checksum(cut, ip);
    } else write16(cut, ip + 4, cut.length - ip - ipHeaderBytes[6]);
    write32(cut, tcp + 4, (sequence + (from - data)) >>> 0);
    // The last segment ends the data, the first one answers to congestion.
    const kept = (isLast ? 0xff : ~(tcpFlags.fin | tcpFlags.psh)) & (index === 0 ? 0xff : ~tcpFlags.cwr);
    cut[tcp + 13] = flags & kept;
    const pseudo = pseudoSum(source, destination, ipProtocols.tcp, cut.length - tcp);
    write16(cut, tcp + TCP_CHECKSUM_AT, isUnchecked ? foldSum(pseudo) : 0);
    if (isUnchecked) frames.push({ bytes: cut, checksum: { start: tcp, offset: TCP_CHECKSUM_AT } });
    else {
      write16(cut, tcp + TCP_CHECKSUM_AT, checksumOf(sumWords(cut, tcp, cut.length, pseudo)));
      frames.push({ bytes: cut });
    }
  }
  return frames;
}
