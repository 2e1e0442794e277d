/** Addresses, forwards and rules of networks as a Hyperfile and the command line write them. */

/** An IPv4 address as a number; undefined for other text. */
export function parseIp4(text: string): number | undefined {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

/** An IPv4 address of a number. */
export const formatIp4 = (address: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");

/** Whether a text is an IPv6 address (RFC 4291, section 2.2), without a zone. */
export function isIp6(text: string): boolean {
  const tail = /^(.*:)(\d[\d.]*\.\d+)$/.exec(text);
  if (tail !== null && parseIp4(tail[2]!) === undefined) return false;
  const plain = tail === null ? text : `${tail[1]}0:0`;
  const [head = "", rest, ...more] = plain.split("::");
  if (more.length > 0) return false;
  const groups = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const all = [...groups(head), ...groups(rest ?? "")];
  if (!all.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  return rest === undefined ? all.length === 8 : all.length < 8;
}

const isIp = (text: string): boolean => parseIp4(text) !== undefined || isIp6(text);

/** Whether a text is an address, or a range of addresses such as `10.0.0.0/8`. */
export function isRange(text: string): boolean {
  const [, address = "", bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const most = parseIp4(address) !== undefined ? 32 : isIp6(address) ? 128 : -1;
  return most >= 0 && Number(bits ?? most) <= most;
}

/** An IPv4 range. */
export interface Range4 {
  readonly first: number;
  readonly bits: number;
}

/** The range that a text such as `10.0.2.0/24` is, whose address is its first one; undefined for other text. */
export function parseRange4(text: string): Range4 | undefined {
  const [, address = "", bits = ""] = /^([\d.]+)\/(\d{1,2})$/.exec(text) ?? [];
  const first = parseIp4(address);
  if (first === undefined || Number(bits) > 32) return undefined;
  return { first, bits: Number(bits) };
}

/** Addresses of a range. */
export const sizeOfRange = ({ bits }: Range4): number => 2 ** (32 - bits);

/** Whether two ranges have an address in common. */
export const overlap = (one: Range4, other: Range4): boolean =>
  one.first < other.first + sizeOfRange(other) && other.first < one.first + sizeOfRange(one);

/** A card's MAC address in lower case; undefined for what no card can have. */
export function parseMac(text: string): string | undefined {
  const mac = text.toLowerCase();
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac)) return undefined;
  const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  return isGroup || mac === "00:00:00:00:00:00" ? undefined : mac;
}

/**
 * The MAC address of a VM's card that was given none: the same each time, and another for each name.
 * @param isTaken whether another card has an address
 */
export function macOf(vm: string, card: number, isTaken: (mac: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const hash = hashOf(`${vm} ${card} ${attempt}`);
    const bytes = [24, 16, 8, 0].map((shift) => ((hash >>> shift) & 0xff).toString(16).padStart(2, "0"));
    const mac = `52:54:${bytes.join(":")}`;
    if (!isTaken(mac)) return mac;
  }
}

/** A hash of a text (FNV-1a, mixed as MurmurHash3 does in the end), of 32 bits. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A port of the host's that leads to a guest. */
export interface ForwardSpec {
  readonly protocol: "tcp" | "udp";
  readonly hostAddress: string;
  /** 0 for any. */
  readonly hostPort: number;
  readonly guestPort: number;
}

/** How a forward is written. */
export const forwardUsage =
  "8022:22, udp:5353:53 or 0.0.0.0:8080:80, the host's port first, which may be 0 for any";

/** `[tcp:|udp:][ADDRESS:]PORT:PORT`; undefined for other text. */
export function parseForward(text: string): ForwardSpec | undefined {
  const [, protocol = "tcp", bracketed, plain, host, guest] =
    /^(?:(tcp|udp):)?(?:\[([^\]]+)\]:|([^:]+):)?(\d{1,5}):(\d{1,5})$/.exec(text) ?? [];
  const [hostPort, guestPort] = [Number(host), Number(guest)];
  const hostAddress = bracketed ?? plain ?? "127.0.0.1";
  const isRight = host !== undefined && hostPort <= 65535 && guestPort > 0 && guestPort <= 65535;
  if (!isRight || !isIp(hostAddress)) return undefined;
  return { protocol: protocol as ForwardSpec["protocol"], hostAddress, hostPort, guestPort };
}

/** A forward as it is written. */
export function formatForward({ protocol, hostAddress, hostPort, guestPort }: ForwardSpec): string {
  const address = hostAddress.includes(":") ? `[${hostAddress}]` : hostAddress;
  return `${protocol === "tcp" ? "" : "udp:"}${address}:${hostPort}:${guestPort}`;
}

/** Whether two forwards lead from the same port of the host to the same of the guest. */
export const isSameForward = (one: ForwardSpec, other: ForwardSpec): boolean =>
  formatForward(one) === formatForward(other);

/** What a guest may reach, or who may reach it. */
export interface NetRuleSpec {
  /** `in`: from outside by a forward. */
  readonly direction: "out" | "in";
  /** Both unless given. */
  readonly protocol: "tcp" | "udp" | undefined;
  /** An address or a range; everything unless given, or a name. */
  readonly range: string | undefined;
  /** A name, or `*.` and the end of names. */
  readonly name: string | undefined;
  readonly ports: readonly [number, number] | undefined;
}

/** How a rule is written. */
export const ruleUsage =
  "example.org, *.example.org:443, 10.0.0.0/8, [fd00::1]:8000-8080 or *, with tcp: or udp: before it, and in: before all for who may use forwards";

/** `[in:][tcp:|udp:]TO[:PORT[-PORT]]`; undefined for other text. */
export function parseRule(text: string): NetRuleSpec | undefined {
  const [, inward, protocol, place = ""] = /^(in:)?(?:(tcp|udp):)?(.*)$/s.exec(text) ?? [];
  const bracketed = /^\[([^\]]+)\](?::(.*))?$/s.exec(place);
  const isPlain6 = place.split(":").length > 2;
  const [, to = "", ports] =
    bracketed ?? (isPlain6 ? [place, place] : /^([^:]+)(?::(.*))?$/s.exec(place)) ?? [];
  const [, first, last = first] = ports === undefined ? [] : (/^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports) ?? []);
  if (ports !== undefined && (first === undefined || Number(first) > Number(last) || Number(last) > 65535))
    return undefined;
  const isName = /^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i.test(to) && !/^[\d.]+$/.test(to);
  if (to !== "*" && !isName && !isRange(to)) return undefined;
  return {
    direction: inward === undefined ? "out" : "in",
    protocol: protocol as NetRuleSpec["protocol"],
    range: to === "*" || isName ? undefined : to,
    name: isName ? to.toLowerCase() : undefined,
    ports: first === undefined ? undefined : [Number(first), Number(last)],
  };
}
