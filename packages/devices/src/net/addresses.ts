/**
 * Addresses of networks. In frames they are bytes; everywhere else a MAC address is an integer of 48 bits, and an IP
 * address its canonical text (RFC 5952 for IPv6), so that equal addresses are equal values and keys of maps.
 */

/** The MAC address of everybody. */
export const BROADCAST_MAC = 0xffffffffffff;
/** Bytes of a MAC address. */
export const MAC_BYTES = 6;

/** 4 or 6. */
export type IpFamily = 4 | 6;

/** Reads a MAC address at an offset. The caller has checked that it is there. */
export function readMac(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 8) | bytes[at + 1]!;
  const low =
    ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) | bytes[at + 5]!) >>> 0;
  return high * 0x1_0000_0000 + low;
}

/** Writes a MAC address at an offset. */
export function writeMac(bytes: Uint8Array, at: number, mac: number): void {
  for (let index = MAC_BYTES - 1, rest = mac; index >= 0; index--, rest = Math.floor(rest / 256))
    bytes[at + index] = rest % 256;
}

/** Whether frames to it go to many: multicast, or everybody. */
export const isGroupMac = (mac: number): boolean => (Math.floor(mac / 2 ** 40) & 1) === 1;

/** For instance `52:54:00:12:34:56`. */
export function formatMac(mac: number): string {
  return mac
    .toString(16)
    .padStart(12, "0")
    .replace(/..(?!$)/g, "$&:");
}

/** Six pairs of hexadecimal digits between colons or hyphens; undefined for other text. */
export function parseMac(text: string): number | undefined {
  if (!/^[0-9a-f]{2}([:-])[0-9a-f]{2}(\1[0-9a-f]{2}){4}$/i.test(text)) return undefined;
  return Number.parseInt(text.replace(/[:-]/g, ""), 16);
}

/** The canonical text of 4 or 16 bytes. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[2 * index]! << 8) | bytes[2 * index + 1]!);
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  if (best.start < 0) return hex(groups);
  return `${hex(groups.slice(0, best.start))}::${hex(groups.slice(best.start + best.length))}`;
}

/** The bytes of an address in any of its spellings, without a zone; undefined for other text. */
export function parseIp(text: string): Uint8Array | undefined {
  return text.includes(":") ? parseIpv6(text) : parseIpv4(text);
}

/** The canonical text of an address in any of its spellings; undefined for other text. */
export function canonicalIp(text: string): string | undefined {
  const bytes = parseIp(text);
  return bytes === undefined ? undefined : formatIp(bytes);
}

/** The family of a canonical address. */
export const familyOf = (ip: string): IpFamily => (ip.includes(":") ? 6 : 4);

/**
 * The bytes of a canonical address.
 * @throws RangeError for text that is no address: a mistake of the program's
 */
export function ipBytes(ip: string): Uint8Array {
  const bytes = parseIp(ip);
  if (bytes === undefined) throw new RangeError(`${JSON.stringify(ip)} is no IP address`);
  return bytes;
}

/** A range of addresses: those whose first `prefix` bits are those of `bytes`. */
export interface IpRange {
  readonly bytes: Uint8Array;
  readonly prefix: number;
}

/** `address/bits`, or one address; undefined for other text. */
export function parseRange(text: string): IpRange | undefined {
  const match = /^([0-9a-f.:]+)(?:\/(\d{1,3}))?$/i.exec(text);
  const bytes = parseIp(match?.[1] ?? "");
  if (bytes === undefined) return undefined;
  const prefix = match?.[2] === undefined ? bytes.length * 8 : Number(match[2]);
  return prefix <= bytes.length * 8 ? { bytes, prefix } : undefined;
}

/** Whether an address, as bytes, lies in a range of its family. */
export function inRange(bytes: Uint8Array, range: IpRange): boolean {
  if (bytes.length !== range.bytes.length) return false;
  const whole = range.prefix >> 3;
  for (let index = 0; index < whole; index++) if (bytes[index] !== range.bytes[index]) return false;
  const mask = 0xff00 >> (range.prefix & 7);
  return (((bytes[whole] ?? 0) ^ (range.bytes[whole] ?? 0)) & mask & 0xff) === 0;
}

function parseIpv4(text: string): Uint8Array | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  // A leading zero is octal to some and decimal to others: it is neither here.
  const parts = match?.slice(1) ?? [];
  if (parts.length === 0 || parts.some((part) => Number(part) > 255 || (part.length > 1 && part[0] === "0")))
    return undefined;
  return Uint8Array.from(parts, Number);
}

function parseIpv6(text: string): Uint8Array | undefined {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  let plain = text;
  if (dotted !== null) {
    const v4 = parseIpv4(dotted[2]!);
    if (v4 === undefined) return undefined;
    const group = (at: number): string => ((v4[at]! << 8) | v4[at + 1]!).toString(16);
    plain = `${dotted[1]}${group(0)}:${group(2)}`;
  }
  const halves = plain.split("::");
  if (halves.length > 2) return undefined;
  const [head = [], tail = []] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const given = head.length + tail.length;
  if (halves.length === 1 ? given !== 8 : given > 7) return undefined;
  const groups = [...head, ...Array<string>(8 - given).fill("0"), ...tail];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  const bytes = new Uint8Array(16);
  groups.forEach((group, index) => {
    const value = Number.parseInt(group, 16);
    bytes[2 * index] = value >> 8;
    bytes[2 * index + 1] = value & 0xff;
  });
  return bytes;
}
