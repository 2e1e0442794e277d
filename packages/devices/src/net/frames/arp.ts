/** ARP for IPv4 on Ethernet (RFC 826). */
import { formatIp, ipBytes, readMac, writeMac } from "../addresses.js";
import { ETHERNET_BYTES } from "../frame.js";
import { etherTypes, writeEthernet } from "./ethernet.js";

const ARP_BYTES = 28;
/** Hardware Ethernet, protocol IPv4, addresses of 6 and 4 bytes. */
const PREAMBLE = [0, 1, 8, 0, 6, 4] as const;

/** What is asked for, or answered. */
export const arpOperations = { request: 1, reply: 2 } as const;

/** A message. */
export interface ArpMessage {
  readonly operation: number;
  readonly senderMac: number;
  readonly senderIp: string;
  readonly targetMac: number;
  readonly targetIp: string;
}

/** Reads the message at `at`; undefined for one that is cut off or for other networks. */
export function parseArp(bytes: Uint8Array, at: number): ArpMessage | undefined {
  if (at + ARP_BYTES > bytes.length || PREAMBLE.some((byte, index) => bytes[at + index] !== byte))
    return undefined;
  return {
    operation: (bytes[at + 6]! << 8) | bytes[at + 7]!,
    senderMac: readMac(bytes, at + 8),
    senderIp: formatIp(bytes.subarray(at + 14, at + 18)),
    targetMac: readMac(bytes, at + 18),
    targetIp: formatIp(bytes.subarray(at + 24, at + 28)),
  };
}

/** A frame with a message. */
export function arpFrame(destination: number, message: ArpMessage): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_BYTES + ARP_BYTES);
  const at = ETHERNET_BYTES;
  writeEthernet(bytes, destination, message.senderMac, etherTypes.arp);
  bytes.set(PREAMBLE, at);
  bytes[at + 7] = message.operation;
  writeMac(bytes, at + 8, message.senderMac);
  bytes.set(ipBytes(message.senderIp), at + 14);
  writeMac(bytes, at + 18, message.targetMac);
  bytes.set(ipBytes(message.targetIp), at + 24);
  return bytes;
}
