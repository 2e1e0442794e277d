/**
 * What a machine may say of addresses where somebody else gives them: that it has its own, and no other's. Without it any
 * guest could take its neighbours' traffic, or answer in the gateway's place.
 *
 * - IPv4 and ARP: the address that it was given, or none yet.
 * - IPv6, where machines choose for themselves: an address that is made of a MAC address is of who has that one (RFC 4291,
 *   appendix A); any other is of who said first that it has it, or asked whether somebody has (RFC 6620), until that port is
 *   gone.
 * - It gives no addresses, and leads nowhere: no answers of a DHCP server, no router's advertisements and redirects (RFC 6105).
 */
import { ipBytes, MAC_BYTES, writeMac } from "../addresses.js";
import { parseArp } from "../frames/arp.js";
import { type EthernetHeader, etherTypes } from "../frames/ethernet.js";
import { neighbourTypes } from "../frames/icmp.js";
import { ipHeaderBytes, ipProtocols, read16, read32 } from "../frames/ip.js";

/** Port of a DHCP server (RFC 2131, section 4.1). */
const DHCP_SERVER_PORT = 67;
/** Headers between that of IPv6 and the payload (RFC 8200, section 4): all but fragments tell their length in 8 bytes. */
const extensions = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const;
/** Headers in a row that are looked through; nobody needs as many. */
const MOST_EXTENSIONS = 8;
const IP6_BYTES = 16;
/** Where the interface's identifier begins in an address, and what is in the middle of one that is made of a MAC address. */
const IDENTIFIER_AT = 8;
const [MIDDLE_AT, MIDDLE] = [11, 0xfffe] as const;
/** IPv6 addresses that one machine may have beside those of its MAC address; the one that it has had longest is given up. */
const MOST_CLAIMS = 32;

/** Who has which IPv6 address in a network. */
export class AddressClaims {
  private readonly owners = new Map<string, AddressGuard | undefined>();

  /** @param reserved addresses that no machine may have, as bytes */
  constructor(reserved: readonly Uint8Array[] = []) {
    for (const address of reserved) this.owners.set(keyOf(address, 0), undefined);
  }

  /** Whether an address is a machine's, which it is from now on if it was nobody's. */
  claim(bytes: Uint8Array, at: number, guard: AddressGuard): boolean {
    const key = keyOf(bytes, at);
    if (this.owners.has(key)) return this.owners.get(key) === guard;
    guard.claimed.add(key);
    // Addresses that are used for a day and then never again make room for new ones.
    if (guard.claimed.size > MOST_CLAIMS) this.forget(guard);
    this.owners.set(key, guard);
    return true;
  }

  /** A machine is gone. */
  release(guard: AddressGuard): void {
    while (guard.claimed.size > 0) this.forget(guard);
  }

  /** Takes the address back that a machine has had longest. */
  private forget(guard: AddressGuard): void {
    const { claimed } = guard;
    const [oldest] = claimed;
    claimed.delete(oldest!);
    this.owners.delete(oldest!);
    guard.lose();
  }
}

/** The guard at one machine's port. */
export class AddressGuard {
  /** For {@link AddressClaims}: what this machine has. */
  readonly claimed = new Set<string>();
  /** The IPv6 address that was the source of a frame last, and its own. */
  private readonly last = new Uint8Array(IP6_BYTES).fill(0xff);
  /** Its IPv4 address as a number. */
  private readonly own: number;

  /**
   * @param mac its MAC address
   * @param address its IPv4 address, 4 bytes
   */
  constructor(
    private readonly mac: number,
    address: Uint8Array,
    private readonly claims: AddressClaims,
  ) {
    this.own = read32(address, 0);
  }

  /** Whether a frame says nothing that is not so. What can't be read as what it claims to be is refused. */
  allows({ type, payload: at }: EthernetHeader, bytes: Uint8Array): boolean {
    switch (type) {
      case etherTypes.arp:
        return this.allowsArp(bytes, at);
      case etherTypes.ipv4:
        return this.allowsIpv4(bytes, at);
      case etherTypes.ipv6:
        return this.allowsIpv6(bytes, at);
      default:
        return true;
    }
  }

  /** The machine is gone. */
  close(): void {
    this.claims.release(this);
  }

  /** For {@link AddressClaims}: an address is not its own any more. */
  lose(): void {
    this.last.fill(0xff);
  }

  private allowsArp(bytes: Uint8Array, at: number): boolean {
    const message = parseArp(bytes, at);
    return message?.senderMac === this.mac && this.isOwnIpv4(ipBytes(message.senderIp), 0);
  }

  private allowsIpv4(bytes: Uint8Array, at: number): boolean {
    if (at + ipHeaderBytes[4] > bytes.length || !this.isOwnIpv4(bytes, at + 12)) return false;
    const payload = at + (bytes[at]! & 15) * 4;
    const isLater = (read16(bytes, at + 6) & 0x1fff) !== 0;
    if (bytes[at + 9] !== ipProtocols.udp || isLater) return true;
    return payload + 2 <= bytes.length && read16(bytes, payload) !== DHCP_SERVER_PORT;
  }

  private allowsIpv6(bytes: Uint8Array, at: number): boolean {
    const source = at + 8;
    if (at + ipHeaderBytes[6] > bytes.length) return false;
    const isNobody = isZero(bytes, source);
    if (!isNobody && !this.isOwnIpv6(bytes, source)) return false;
    let payload = at + ipHeaderBytes[6];
    let next = bytes[at + 6]!;
    for (let headers = 0; isExtension(next); headers++) {
      if (headers === MOST_EXTENSIONS || payload + 8 > bytes.length) return false;
      const isLater = next === extensions.fragment && (read16(bytes, payload + 2) & 0xfff8) !== 0;
      // Parts of these messages are taken by nobody (RFC 6980).
      if (isLater) return true;
      const length = next === extensions.fragment ? 8 : 8 * (bytes[payload + 1]! + 1);
      next = bytes[payload]!;
      payload += length;
    }
    if (next !== ipProtocols.icmpv6) return true;
    if (payload + 8 > bytes.length) return false;
    const target = payload + 8;
    switch (bytes[payload]) {
      case neighbourTypes.routerAdvertisement:
      case neighbourTypes.redirect:
        return false;
      case neighbourTypes.neighbourSolicitation:
        // Who asks for nobody looks whether an address is free; who has it says so.
        if (isNobody && target + IP6_BYTES <= bytes.length) this.isOwnIpv6(bytes, target);
        return true;
      case neighbourTypes.neighbourAdvertisement:
        return target + IP6_BYTES <= bytes.length && this.isOwnIpv6(bytes, target);
      default:
        return true;
    }
  }

  /** Whether an address is the one that it was given, or none. */
  private isOwnIpv4(bytes: Uint8Array, at: number): boolean {
    const said = read32(bytes, at);
    return said === this.own || said === 0;
  }

  private isOwnIpv6(bytes: Uint8Array, at: number): boolean {
    if (isSame(this.last, bytes, at)) return true;
    const isOwn =
      read16(bytes, at + MIDDLE_AT) === MIDDLE
        ? this.isOfMac(bytes, at + IDENTIFIER_AT)
        : bytes[at] !== 0xff && this.claims.claim(bytes, at, this);
    if (isOwn) this.last.set(bytes.subarray(at, at + IP6_BYTES));
    return isOwn;
  }

  /** Whether an identifier is that of its MAC address. */
  private isOfMac(bytes: Uint8Array, at: number): boolean {
    const own = new Uint8Array(MAC_BYTES);
    writeMac(own, 0, this.mac);
    own[0]! ^= 2;
    return own.every((byte, index) => bytes[at + index + (index < 3 ? 0 : 2)] === byte);
  }
}

const isExtension = (protocol: number): boolean =>
  protocol === extensions.hopByHop ||
  protocol === extensions.routing ||
  protocol === extensions.fragment ||
  protocol === extensions.destination;

/** Whether an address is there. Every frame is looked at, so it is a plain loop. */
function isSame(address: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let index = 0; index < IP6_BYTES; index++) if (bytes[at + index] !== address[index]) return false;
  return true;
}

function isZero(bytes: Uint8Array, at: number): boolean {
  for (let index = at; index < at + IP6_BYTES; index++) if (bytes[index] !== 0) return false;
  return true;
}

/** An address as a key: its bytes as characters. */
const keyOf = (bytes: Uint8Array, at: number): string =>
  String.fromCharCode(...bytes.subarray(at, at + IP6_BYTES));
