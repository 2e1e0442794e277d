/** Ethernet II headers, with at most one tag of IEEE 802.1Q. */
import { readMac, writeMac } from "../addresses.js";
import { ETHERNET_BYTES } from "../frame.js";

/** Types of payload. */
export const etherTypes = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
/** Bytes of a tag. */
export const TAG_BYTES = 4;
/** Bits of a tag's control information that are the network's number. */
const VLAN_MASK = 0xfff;

/** A header. */
export interface EthernetHeader {
  readonly destination: number;
  readonly source: number;
  /** Type of the payload, behind the tag if there is one; below 1536 a length (IEEE 802.3). */
  readonly type: number;
  /** Number of the virtual network, 0 for one that only has a priority; undefined without a tag. */
  readonly vlan: number | undefined;
  /** Where the payload begins. */
  readonly payload: number;
}

/** Reads a header; undefined for a frame that has no whole one. */
export function parseEthernet(bytes: Uint8Array): EthernetHeader | undefined {
  if (bytes.length < ETHERNET_BYTES) return undefined;
  const destination = readMac(bytes, 0);
  const source = readMac(bytes, 6);
  const type = (bytes[12]! << 8) | bytes[13]!;
  if (type !== etherTypes.vlan)
    return { destination, source, type, vlan: undefined, payload: ETHERNET_BYTES };
  if (bytes.length < ETHERNET_BYTES + TAG_BYTES) return undefined;
  return {
    destination,
    source,
    type: (bytes[16]! << 8) | bytes[17]!,
    vlan: ((bytes[14]! << 8) | bytes[15]!) & VLAN_MASK,
    payload: ETHERNET_BYTES + TAG_BYTES,
  };
}

/** Writes a header without a tag to the first bytes of a frame. */
export function writeEthernet(bytes: Uint8Array, destination: number, source: number, type: number): void {
  writeMac(bytes, 0, destination);
  writeMac(bytes, 6, source);
  bytes[12] = type >> 8;
  bytes[13] = type & 0xff;
}

/** The frame with a tag of this network, behind the addresses. */
export function tagged(bytes: Uint8Array, vlan: number): Uint8Array {
  const result = new Uint8Array(bytes.length + TAG_BYTES);
  result.set(bytes.subarray(0, 12));
  result.set([etherTypes.vlan >> 8, etherTypes.vlan & 0xff, vlan >> 8, vlan & 0xff], 12);
  result.set(bytes.subarray(12), 12 + TAG_BYTES);
  return result;
}

/** The frame without its tag. */
export function untagged(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(bytes.length - TAG_BYTES);
  result.set(bytes.subarray(0, 12));
  result.set(bytes.subarray(12 + TAG_BYTES), 12);
  return result;
}
