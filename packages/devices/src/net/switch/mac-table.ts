/**
 * Which port an address was last seen at, per virtual network. Bounded as a whole and per port, so that a guest which
 * invents addresses forgets its own only; what was not seen for a while is not believed any more.
 */

/** Where an address was seen. */
interface Seen<Port> {
  readonly vlan: number;
  readonly mac: number;
  port: Port;
  /** When, in milliseconds. */
  at: number;
}

/** The table. Invariant: no port has more than `perPort` entries, all together no more than `most`. */
export class MacTable<Port> {
  private readonly byVlan = new Map<number, Map<number, Seen<Port>>>();
  /** Entries of a port, the one that was learned first in front. */
  private readonly byPort = new Map<Port, Set<Seen<Port>>>();
  private count = 0;

  /**
   * @param most entries
   * @param perPort entries of one port
   * @param agingMs milliseconds after which an address that is silent is forgotten
   */
  constructor(
    private readonly most: number,
    private readonly perPort: number,
    private readonly agingMs: number,
  ) {}

  /** Entries, those among them that are too old. */
  get size(): number {
    return this.count;
  }

  /** The port at which an address is; undefined if nobody knows. */
  find(vlan: number, mac: number, now: number): Port | undefined {
    const seen = this.byVlan.get(vlan)?.get(mac);
    if (seen === undefined) return undefined;
    if (now - seen.at <= this.agingMs) return seen.port;
    this.forget(seen);
    return undefined;
  }

  /** An address has sent from a port. Not kept where the table is full of others'. */
  learn(vlan: number, mac: number, port: Port, now: number): void {
    const seen = this.byVlan.get(vlan)?.get(mac);
    if (seen !== undefined && seen.port === port) {
      seen.at = now;
      return;
    }
    if (seen !== undefined) this.forget(seen);
    const own = this.byPort.get(port);
    if (own !== undefined && own.size >= this.perPort) this.forget(first(own));
    if (this.count >= this.most) this.expire(now);
    if (this.count >= this.most) return;
    this.add({ vlan, mac, port, at: now });
  }

  /** Forgets what was seen at a port. */
  forgetPort(port: Port): void {
    for (const seen of this.byPort.get(port) ?? []) this.forget(seen);
  }

  /** All entries that hold. */
  entries(now: number): { vlan: number; mac: number; port: Port }[] {
    return [...this.byPort.values()]
      .flatMap((seen) => [...seen])
      .filter(({ at }) => now - at <= this.agingMs)
      .map(({ vlan, mac, port }) => ({ vlan, mac, port }));
  }

  private add(seen: Seen<Port>): void {
    const { vlan, mac, port } = seen;
    const table = this.byVlan.get(vlan) ?? new Map<number, Seen<Port>>();
    this.byVlan.set(vlan, table.set(mac, seen));
    const own = this.byPort.get(port) ?? new Set<Seen<Port>>();
    this.byPort.set(port, own.add(seen));
    this.count++;
  }

  private forget(seen: Seen<Port>): void {
    const table = this.byVlan.get(seen.vlan)!;
    table.delete(seen.mac);
    if (table.size === 0) this.byVlan.delete(seen.vlan);
    const own = this.byPort.get(seen.port)!;
    own.delete(seen);
    if (own.size === 0) this.byPort.delete(seen.port);
    this.count--;
  }

  private expire(now: number): void {
    for (const own of this.byPort.values())
      for (const seen of own) if (now - seen.at > this.agingMs) this.forget(seen);
  }
}

function first<T>(set: ReadonlySet<T>): T {
  for (const item of set) return item;
  throw new Error("an empty set has no first item");
}
