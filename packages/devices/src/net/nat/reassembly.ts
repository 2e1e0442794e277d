/**
 * Puts fragments of IP packets together, bounded: so many packets and bytes at once, each for so long. What overlaps, or
 * does not fit into a packet, ends the packet (RFC 5722; for IPv4 it is an attack as well).
 */
import type { IpPacket } from "../frames/ip.js";
import type { Timers } from "../timers.js";

const MOST_PACKETS = 64;
const MOST_BYTES = 1 << 20;
const MOST_PAYLOAD = 65535;
/** Milliseconds (RFC 8200, section 4.5, has 60 seconds; RFC 1122 the same at least). */
const LIFETIME_MS = 60_000;

interface Assembly {
  readonly parts: { readonly from: number; readonly data: Uint8Array }[];
  readonly until: number;
  bytes: number;
  /** Bytes of the whole payload, once the last fragment is there. */
  total: number | undefined;
  first: IpPacket | undefined;
}

/** Packets that are not whole yet. */
export class Reassembly {
  readonly counters = { fragments: 0, whole: 0, dropped: 0 };
  private readonly packets = new Map<string, Assembly>();
  private held = 0;

  constructor(private readonly timers: Timers) {}

  /** Bytes that are kept. */
  get bytes(): number {
    return this.held;
  }

  /** Takes a packet; returns it if it is whole, the whole packet if it was its last part, undefined otherwise. */
  take(packet: IpPacket): IpPacket | undefined {
    const { fragment, payload } = packet;
    if (fragment === undefined) return packet;
    this.counters.fragments++;
    this.expire();
    const key = `${packet.source} ${packet.destination} ${packet.family === 4 ? packet.protocol : 6} ${fragment.id}`;
    const end = fragment.offset + payload.length;
    const isWrong =
      end > MOST_PAYLOAD || payload.length === 0 || (fragment.isMore && payload.length % 8 !== 0);
    const known = this.packets.get(key);
    if (isWrong || (known !== undefined && !fits(known, fragment.offset, end, fragment.isMore))) {
      this.drop(key);
      return undefined;
    }
    const assembly = known ?? this.begin(key);
    assembly.parts.push({ from: fragment.offset, data: payload.slice() });
    assembly.bytes += payload.length;
    this.held += payload.length;
    if (!fragment.isMore) assembly.total = end;
    if (fragment.offset === 0) assembly.first = { ...packet, bytes: packet.bytes.slice() };
    while (this.held > MOST_BYTES) this.dropOldest();
    if (assembly.total !== assembly.bytes || assembly.first === undefined || !this.packets.has(key))
      return undefined;
    this.remove(key);
    this.counters.whole++;
    const whole = new Uint8Array(assembly.total);
    for (const { from, data } of assembly.parts) whole.set(data, from);
    return { ...assembly.first, fragment: undefined, payload: whole };
  }

  private begin(key: string): Assembly {
    if (this.packets.size >= MOST_PACKETS) this.dropOldest();
    const until = this.timers.now() + LIFETIME_MS;
    const assembly: Assembly = { parts: [], until, bytes: 0, total: undefined, first: undefined };
    this.packets.set(key, assembly);
    return assembly;
  }

  private expire(): void {
    const now = this.timers.now();
    for (const [key, { until }] of this.packets) {
      // They are in the order of their ends.
      if (until > now) return;
      this.drop(key);
    }
  }

  private dropOldest(): void {
    for (const key of this.packets.keys()) {
      this.drop(key);
      return;
    }
  }

  private drop(key: string): void {
    this.counters.dropped++;
    this.remove(key);
  }

  private remove(key: string): void {
    this.held -= this.packets.get(key)?.bytes ?? 0;
    this.packets.delete(key);
  }
}

/** Whether a part is new, and within the packet. */
function fits({ parts, total }: Assembly, from: number, end: number, isMore: boolean): boolean {
  if (total !== undefined && (end > total || !isMore)) return false;
  if (!isMore && parts.some((part) => part.from + part.data.length > end)) return false;
  return parts.every((part) => end <= part.from || from >= part.from + part.data.length);
}
