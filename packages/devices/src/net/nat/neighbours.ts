/** Which guest has which IP address: learned from what they send, bounded, the one that was silent longest forgotten. */

/** The table. */
export class Neighbours {
  private readonly macs = new Map<string, number>();

  /** @param most addresses that are remembered */
  constructor(private readonly most = 1024) {}

  get size(): number {
    return this.macs.size;
  }

  /** The MAC address of an IP address. */
  find(ip: string): number | undefined {
    return this.macs.get(ip);
  }

  /** The IP addresses of a MAC address. */
  of(mac: number): string[] {
    return [...this.macs].flatMap(([ip, owner]) => (owner === mac ? [ip] : []));
  }

  /** An IP address has spoken from a MAC address. */
  learn(ip: string, mac: number): void {
    if (this.macs.get(ip) === mac && this.macs.size < this.most / 2) return;
    this.macs.delete(ip);
    this.macs.set(ip, mac);
    if (this.macs.size <= this.most) return;
    for (const oldest of this.macs.keys()) {
      this.macs.delete(oldest);
      return;
    }
  }
}
