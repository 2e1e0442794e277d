/** Cuts an IP packet of ours to fragments that a link takes (RFC 791; RFC 8200, section 4.5). */
import { ETHERNET_BYTES } from "../frame.js";
import { ipHeaderBytes, write16, write32, writeIpv4Checksum } from "./ip.js";

const FRAGMENT_HEADER = 44;
const FRAGMENT_HEADER_BYTES = 8;
const MORE_FRAGMENTS4 = 0x2000;

/**
 * The frames for one with an IP packet without options or extensions: itself, if its packet is no longer than `mtu`.
 * @param id what the fragments have in common
 */
export function fragmentFrame(bytes: Uint8Array, mtu: number, id: number): readonly Uint8Array[] {
  if (bytes.length - ETHERNET_BYTES <= mtu) return [bytes];
  const family = bytes[ETHERNET_BYTES]! >> 4 === 4 ? 4 : 6;
  const header = ETHERNET_BYTES + ipHeaderBytes[family];
  const extra = family === 4 ? 0 : FRAGMENT_HEADER_BYTES;
  const step = Math.floor((mtu - ipHeaderBytes[family] - extra) / 8) * 8;
  const frames: Uint8Array[] = [];
  for (let offset = 0; header + offset < bytes.length; offset += step) {
    const part = bytes.subarray(header + offset, header + offset + step);
    const isMore = header + offset + step < bytes.length;
    const frame = new Uint8Array(header + extra + part.length);
    frame.set(bytes.subarray(0, header));
    frame.set(part, header + extra);
    const at = ETHERNET_BYTES;
    if (family === 4) {
      write16(frame, at + 2, ipHeaderBytes[4] + part.length);
      write16(frame, at + 4, id);
      write16(frame, at + 6, (isMore ? MORE_FRAGMENTS4 : 0) | (offset / 8));
      writeIpv4Checksum(frame, at);
    } else {
      write16(frame, at + 4, extra + part.length);
      frame[header] = frame[at + 6]!;
      frame[at + 6] = FRAGMENT_HEADER;
      write16(frame, header + 2, offset | (isMore ? 1 : 0));
      write32(frame, header + 4, id);
    }
    frames.push(frame);
  }
  return frames;
}
