/** UDP datagrams (RFC 768). */
import { checksumOf, pseudoSum, sumWords } from "../checksum.js";
import { type IpPacket, type IpTo, ipFrame, ipPayloadAt, ipProtocols, read16, write16 } from "./ip.js";

/** Bytes of a header. */
export const UDP_BYTES = 8;

/** A datagram. */
export interface Datagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

/**
 * Reads the datagram of a packet; undefined if it is malformed or its checksum is wrong. IPv4 may go without a checksum,
 * IPv6 not.
 * @param isTrusted whether nobody has computed the checksum yet
 */
export function parseUdp(packet: IpPacket, isTrusted: boolean): Datagram | undefined {
  const { payload } = packet;
  if (payload.length < UDP_BYTES) return undefined;
  const length = read16(payload, 4);
  if (length < UDP_BYTES || length > payload.length) return undefined;
  const checksum = read16(payload, 6);
  if (!isTrusted && (checksum !== 0 || packet.family === 6)) {
    const pseudo = pseudoSum(packet.sourceBytes, packet.destinationBytes, ipProtocols.udp, length);
    if (checksum === 0 || checksumOf(sumWords(payload, 0, length, pseudo)) !== 0) return undefined;
  }
  return {
    sourcePort: read16(payload, 0),
    destinationPort: read16(payload, 2),
    data: payload.subarray(UDP_BYTES, length),
  };
}

/** A frame with a datagram. */
export function udpFrame(to: Omit<IpTo, "protocol">, datagram: Datagram): Uint8Array {
  const { source, destination } = to;
  const length = UDP_BYTES + datagram.data.length;
  const bytes = ipFrame({ ...to, protocol: ipProtocols.udp }, length);
  const at = ipPayloadAt(source.length === 4 ? 4 : 6);
  write16(bytes, at, datagram.sourcePort);
  write16(bytes, at + 2, datagram.destinationPort);
  write16(bytes, at + 4, length);
  bytes.set(datagram.data, at + UDP_BYTES);
  const sum = checksumOf(
    sumWords(bytes, at, bytes.length, pseudoSum(source, destination, ipProtocols.udp, length)),
  );
  // Zero would say that there is none.
  write16(bytes, at + 6, sum === 0 ? 0xffff : sum);
  return bytes;
}
