/**
 * The header that stands before each frame in a buffer (virtio 1.2, section 5.1.6), and what it says of the frame.
 *
 *   flags 1, gso_type 1, hdr_len 2, gso_size 2, csum_start 2, csum_offset 2, num_buffers 2
 *
 * What a driver writes there is judged before anybody believes it: a checksum lies inside the frame, and what is to be cut
 * is TCP of the family that it claims to be. `hdr_len` is a hint (section 5.1.6.2) and is not looked at.
 */
import { ETHERNET_BYTES, type Frame, type FrameSupport } from "../../net/frame.js";
import { TCP_CHECKSUM_AT } from "../../net/frames/tcp.js";
import { LEAST_SEGMENT_BYTES, tcpHeaders } from "../../net/offload.js";

/** Bytes of a header. */
export const NET_HEADER_BYTES = 12;
/** Where `num_buffers` stands. */
export const BUFFERS_AT = 10;

const flags = { needsChecksum: 1 } as const;
const gso = { none: 0, tcp4: 1, tcp6: 4 } as const;

/**
 * The frame behind a header that a driver wrote; undefined if the header does not fit it, or asks for what was not
 * negotiated.
 * @param offers what the driver may leave undone
 */
export function frameOf(header: DataView, bytes: Uint8Array, offers: FrameSupport): Frame | undefined {
  const type = header.getUint8(1);
  const needsChecksum = (header.getUint8(0) & flags.needsChecksum) !== 0;
  if (!needsChecksum) return type === gso.none ? { bytes } : undefined;
  const checksum = { start: header.getUint16(6, true), offset: header.getUint16(8, true) };
  const isInside = checksum.start >= ETHERNET_BYTES && checksum.start + checksum.offset + 2 <= bytes.length;
  if (!offers.checksum || !isInside) return undefined;
  if (type === gso.none) return { bytes, checksum };
  const family = type === gso.tcp4 ? 4 : 6;
  if ((family === 6 && type !== gso.tcp6) || !(family === 4 ? offers.segments4 : offers.segments6))
    return undefined;
  const size = header.getUint16(4, true);
  const headers = tcpHeaders(bytes);
  const fits =
    size > 0 &&
    headers?.family === family &&
    headers.tcp === checksum.start &&
    checksum.offset === TCP_CHECKSUM_AT;
  return fits
    ? { bytes, checksum, segments: { family, size: Math.max(size, LEAST_SEGMENT_BYTES) } }
    : undefined;
}

/** The header for a frame that its driver takes; `num_buffers` is 1. */
export function headerOf({ bytes, checksum, segments }: Frame): Uint8Array {
  const header = new Uint8Array(NET_HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint16(BUFFERS_AT, 1, true);
  if (checksum === undefined) return header;
  view.setUint8(0, flags.needsChecksum);
  view.setUint16(6, checksum.start, true);
  view.setUint16(8, checksum.offset, true);
  if (segments === undefined) return header;
  view.setUint8(1, segments.family === 4 ? gso.tcp4 : gso.tcp6);
  view.setUint16(2, tcpHeaders(bytes)?.data ?? 0, true);
  view.setUint16(4, segments.size, true);
  return header;
}
