/**
 * Datagrams of guests to the outside: each address and port of a guest has a socket of the host while it is used, so that
 * whoever it wrote to can answer, and nobody else (address and port-dependent filtering, RFC 4787, section 5). Bounded as a whole
 * and per guest; the one that was silent longest makes room for a new one of the same guest.
 */
import { familyOf } from "../addresses.js";
import type { Timer, Timers } from "../timers.js";
import type { Outside, OutsideUdp } from "./outside.js";

/** Milliseconds of silence after which a mapping ends (RFC 4787, REQ-5: not below two minutes). */
const IDLE_MS = 120_000;
const MOST_MAPPINGS = 4096;
const MOST_PER_GUEST = 1024;
/** Partners of one socket that may answer. */
const MOST_PARTNERS = 256;

/** A datagram on its way back. */
export type UdpReturn = (
  data: Uint8Array,
  from: { readonly address: string; readonly port: number },
  to: { readonly address: string; readonly port: number },
) => void;

interface Mapping {
  readonly key: string;
  readonly guest: string;
  readonly socket: OutsideUdp;
  /** Addresses and ports that were written to. */
  readonly partners: Set<string>;
  usedAt: number;
}

/** The mappings of a network. */
export class UdpMappings {
  readonly counters = { opened: 0, sent: 0, received: 0, unasked: 0, failed: 0, refused: 0 };
  /** In the order of their last use. */
  private readonly mappings = new Map<string, Mapping>();
  private readonly perGuest = new Map<string, number>();
  private sweep: Timer | undefined;

  constructor(
    private readonly outside: Outside,
    private readonly timers: Timers,
    private readonly received: UdpReturn,
  ) {}

  /** Mappings that there are. */
  get size(): number {
    return this.mappings.size;
  }

  /** Sends a datagram of a guest; false if there is no room for another mapping. */
  send(guest: string, guestPort: number, data: Uint8Array, address: string, port: number): boolean {
    const key = `${guest} ${guestPort}`;
    const mapping = this.mappings.get(key) ?? this.open(key, guest, guestPort, familyOf(address));
    if (mapping === undefined) {
      this.counters.refused++;
      return false;
    }
    this.touch(mapping);
    const partner = `${address} ${port}`;
    mapping.partners.delete(partner);
    mapping.partners.add(partner);
    if (mapping.partners.size > MOST_PARTNERS) mapping.partners.delete(firstOf(mapping.partners));
    this.counters.sent++;
    mapping.socket.send(data, address, port);
    return true;
  }

  /** Whether a guest has written there from a port, so that it was allowed to. */
  hasPartner(guest: string, guestPort: number, address: string, port: number): boolean {
    return this.mappings.get(`${guest} ${guestPort}`)?.partners.has(`${address} ${port}`) === true;
  }

  /** Ends a guest's. */
  abandon(guest: string): void {
    for (const mapping of [...this.mappings.values()]) if (mapping.guest === guest) this.end(mapping);
  }

  /** Ends all of them. */
  close(): void {
    for (const mapping of [...this.mappings.values()]) this.end(mapping);
    this.sweep?.cancel();
    this.sweep = undefined;
  }

  private open(key: string, guest: string, guestPort: number, family: 4 | 6): Mapping | undefined {
    if ((this.perGuest.get(guest) ?? 0) >= MOST_PER_GUEST) {
      for (const oldest of this.mappings.values())
        if (oldest.guest === guest) {
          this.end(oldest);
          break;
        }
    }
    if (this.mappings.size >= MOST_MAPPINGS) return undefined;
    const socket = this.outside.openUdp(family, {
      data: (data, address, port) => {
        if (this.mappings.get(key) !== mapping || !mapping.partners.has(`${address} ${port}`)) {
          this.counters.unasked++;
          return;
        }
        this.counters.received++;
        this.touch(mapping);
        this.received(data, { address, port }, { address: guest, port: guestPort });
      },
      failed: () => {
        this.counters.failed++;
        if (this.mappings.get(key) === mapping) this.end(mapping);
      },
    });
    const mapping: Mapping = { key, guest, socket, partners: new Set(), usedAt: this.timers.now() };
    this.counters.opened++;
    this.perGuest.set(guest, (this.perGuest.get(guest) ?? 0) + 1);
    this.mappings.set(key, mapping);
    this.watch();
    return mapping;
  }

  private touch(mapping: Mapping): void {
    mapping.usedAt = this.timers.now();
    this.mappings.delete(mapping.key);
    this.mappings.set(mapping.key, mapping);
  }

  private end(mapping: Mapping): void {
    this.mappings.delete(mapping.key);
    const left = this.perGuest.get(mapping.guest)! - 1;
    if (left === 0) this.perGuest.delete(mapping.guest);
    else this.perGuest.set(mapping.guest, left);
    mapping.socket.close();
  }

  /** Looks for silent ones when the first of them is due. */
  private watch(): void {
    if (this.sweep !== undefined) return;
    const [oldest] = this.mappings.values();
    if (oldest === undefined) return;
    this.sweep = this.timers.after(oldest.usedAt + IDLE_MS - this.timers.now(), () => {
      this.sweep = undefined;
      const now = this.timers.now();
      for (const mapping of this.mappings.values()) {
        if (now - mapping.usedAt < IDLE_MS) break;
        this.end(mapping);
      }
      this.watch();
    });
  }
}

function firstOf(set: ReadonlySet<string>): string {
  for (const item of set) return item;
  return "";
}
