/**
 * A DHCP server (RFC 2131): one address for each MAC address, the same one again as long as it is free, and fixed ones for
 * those that were named. Bounded by its range: where that is full, what has expired goes to the one who asks.
 */
import { formatMac, ipBytes } from "../../addresses.js";
import { NetworkError } from "../../errors.js";
import { write16, write32 } from "../../frames/ip.js";
import type { Subnet } from "../subnet.js";
import { type DhcpRequest, dhcpOptions, dhcpReply, dhcpTypes } from "./message.js";

/** Seconds for which an offer is kept. */
const OFFER_SECONDS = 60;
/** Seconds for which an address that somebody else was found to have is not given. */
const DECLINED_SECONDS = 600;
const NO_MAC = -1;

/** How it serves. */
export interface DhcpOptions {
  /** Seconds of a lease; 86,400 unless given. */
  readonly leaseSeconds?: number;
  /** The first place of the range that is given, counted from its beginning; 15 unless given, as with QEMU. */
  readonly firstPlace?: number;
  /** Addresses that belong to MAC addresses. */
  readonly reservations?: readonly { readonly mac: number; readonly ip: string }[];
  /** The domain that names belong to. */
  readonly domain?: string;
  /** Whether the gateway leads anywhere; true unless given. */
  readonly isRouter?: boolean;
  /** Further options by their numbers, sent to everybody. */
  readonly options?: readonly (readonly [number, Uint8Array])[];
}

/** An address that somebody has. */
export interface DhcpLease {
  readonly ip: string;
  readonly mac: number;
  /** What its guest calls itself. */
  readonly hostName: string | undefined;
  /** When it ends, in milliseconds of the clock. */
  readonly until: number;
}

/** The server. Invariant: no two leases have the same address, no MAC address has two. */
export class DhcpServer {
  private readonly byIp = new Map<string, DhcpLease>();
  private readonly byMac = new Map<number, DhcpLease>();
  private readonly fixed = new Map<number, string>();
  private readonly leaseMs: number;
  private readonly firstPlace: number;

  /** @throws NetworkError (`E_NETWORK_OPTION`) for reservations outside the range, or of one address twice */
  constructor(
    private readonly subnet: Subnet,
    private readonly mtu: number,
    private readonly now: () => number,
    private readonly options: DhcpOptions = {},
  ) {
    this.leaseMs = (options.leaseSeconds ?? 86_400) * 1000;
    this.firstPlace = Math.min(options.firstPlace ?? 15, Math.max(4, subnet.size - 2));
    for (const { mac, ip } of options.reservations ?? []) this.reserve(mac, ip);
  }

  /**
   * Keeps an address for a MAC address from now on. Who has it is not given it again.
   * @throws NetworkError (`E_NETWORK_OPTION`) for one outside the range, or that is another's
   */
  reserve(mac: number, ip: string): void {
    const { subnet } = this;
    const isFree =
      ip !== subnet.gateway && ip !== subnet.nameServer && ![...this.fixed.values()].includes(ip);
    if (!subnet.has(ipBytes(ip)) || !isFree)
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `${ip} can't be reserved for ${formatMac(mac)}: use a free address of the network ${subnet.at(0)}/${subnet.range.prefix}`,
      );
    this.fixed.set(mac, ip);
  }

  /** Keeps no address for a MAC address any more, and forgets its lease. */
  release(mac: number): void {
    this.fixed.delete(mac);
    this.forget(mac);
  }

  /** Leases that hold. */
  get leases(): readonly DhcpLease[] {
    return [...this.byMac.values()].filter(({ until }) => until > this.now());
  }

  /** The answer to a message, or undefined where silence is the answer. */
  answer(request: DhcpRequest): Uint8Array | undefined {
    switch (request.type) {
      case dhcpTypes.discover: {
        const ip = this.choose(request);
        if (ip === undefined) return undefined;
        this.lease(request, ip, OFFER_SECONDS * 1000);
        return this.reply(request, dhcpTypes.offer, ip);
      }
      case dhcpTypes.request:
        return this.request(request);
      case dhcpTypes.inform:
        return dhcpReply(request, {
          type: dhcpTypes.ack,
          ip: undefined,
          server: this.subnet.gateway,
          options: this.settings(),
        });
      case dhcpTypes.release:
        if (this.byMac.get(request.mac)?.ip === request.clientIp) this.forget(request.mac);
        return undefined;
      case dhcpTypes.decline:
        this.decline(request);
        return undefined;
      default:
        return undefined;
    }
  }

  private request(request: DhcpRequest): Uint8Array | undefined {
    // It has chosen another server (section 4.3.2).
    if (request.server !== undefined && request.server !== this.subnet.gateway) return undefined;
    const asked = request.requested ?? request.clientIp;
    if (asked !== this.choose(request, asked))
      return dhcpReply(request, {
        type: dhcpTypes.nak,
        ip: undefined,
        server: this.subnet.gateway,
        options: [],
      });
    this.lease(request, asked, this.leaseMs);
    return this.reply(request, dhcpTypes.ack, asked);
  }

  /** The address for a client: its own, the one that it wants, or the next that is free. */
  private choose({ mac, requested }: DhcpRequest, wanted = requested): string | undefined {
    const fixed = this.fixed.get(mac);
    if (fixed !== undefined) return fixed;
    if (wanted !== undefined && this.mayHave(mac, wanted)) return wanted;
    const own = this.byMac.get(mac)?.ip;
    if (own !== undefined && this.mayHave(mac, own)) return own;
    const last = this.subnet.size - 2;
    // Free ones first; what has expired may be wanted again by its owner.
    const candidates = (isUsed: boolean): string | undefined => {
      for (let place = this.firstPlace; place <= last; place++) {
        const ip = this.subnet.at(place);
        if (this.byIp.has(ip) === isUsed && this.mayHave(mac, ip)) return ip;
        // A range may be far larger than what is in use.
        if (place - this.firstPlace > this.byIp.size + this.fixed.size + 2 && !isUsed) return undefined;
      }
      return undefined;
    };
    return candidates(false) ?? candidates(true);
  }

  private mayHave(mac: number, ip: string): boolean {
    const bytes = ipBytes(ip);
    if (bytes.length !== 4 || !this.subnet.has(bytes)) return false;
    const { gateway, nameServer, size } = this.subnet;
    const isSpecial =
      ip === gateway || ip === nameServer || ip === this.subnet.at(0) || ip === this.subnet.at(size - 1);
    if (isSpecial || [...this.fixed.values()].includes(ip)) return false;
    const place = bytes.reduce((sum, byte, index) => sum * 256 + (byte & ~this.subnet.mask[index]!), 0);
    if (place < this.firstPlace) return false;
    const lease = this.byIp.get(ip);
    return lease === undefined || lease.mac === mac || lease.until <= this.now();
  }

  private lease({ mac, hostName }: DhcpRequest, ip: string, milliseconds: number): void {
    const known = this.byMac.get(mac);
    const until = Math.max(this.now() + milliseconds, known?.ip === ip ? known.until : 0);
    const others = this.byIp.get(ip);
    if (others !== undefined && others.mac !== mac) this.forget(others.mac);
    this.forget(mac);
    const lease = { ip, mac, hostName: hostName ?? known?.hostName, until };
    this.byIp.set(ip, lease);
    this.byMac.set(mac, lease);
  }

  private forget(mac: number): void {
    const lease = this.byMac.get(mac);
    if (lease === undefined) return;
    this.byMac.delete(mac);
    if (this.byIp.get(lease.ip) === lease) this.byIp.delete(lease.ip);
  }

  /** Somebody has the address already: nobody gets it for a while. */
  private decline({ mac, requested }: DhcpRequest): void {
    if (requested === undefined || this.byMac.get(mac)?.ip !== requested) return;
    this.forget(mac);
    this.byIp.set(requested, {
      ip: requested,
      mac: NO_MAC,
      hostName: undefined,
      until: this.now() + DECLINED_SECONDS * 1000,
    });
  }

  private reply(request: DhcpRequest, type: number, ip: string): Uint8Array {
    const seconds = (value: number): Uint8Array => {
      const bytes = new Uint8Array(4);
      write32(bytes, 0, Math.floor(value));
      return bytes;
    };
    const lease = this.leaseMs / 1000;
    return dhcpReply(request, {
      type,
      ip,
      server: this.subnet.gateway,
      options: [
        [dhcpOptions.leaseTime, seconds(lease)],
        [dhcpOptions.renewal, seconds(lease / 2)],
        [dhcpOptions.rebinding, seconds((lease * 7) / 8)],
        ...this.settings(),
      ],
    });
  }

  private settings(): (readonly [number, Uint8Array])[] {
    const { subnet } = this;
    const mtu = new Uint8Array(2);
    write16(mtu, 0, this.mtu);
    const { domain } = this.options;
    return [
      [dhcpOptions.mask, subnet.mask],
      ...(this.options.isRouter === false ? [] : [[dhcpOptions.router, ipBytes(subnet.gateway)] as const]),
      [dhcpOptions.nameServer, ipBytes(subnet.nameServer)],
      [dhcpOptions.broadcast, ipBytes(subnet.at(subnet.size - 1))],
      [dhcpOptions.mtu, mtu],
      ...(domain === undefined ? [] : [[dhcpOptions.domain, new TextEncoder().encode(domain)] as const]),
      ...(this.options.options ?? []),
    ];
  }
}
