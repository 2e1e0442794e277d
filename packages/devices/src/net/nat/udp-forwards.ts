/**
 * Ports of the host that lead to guests, for datagrams. To a guest each partner outside has a port of the gateway, to which
 * it answers; so many partners at once for each forward, the one that was silent longest makes room.
 */
import type { Endpoint } from "./guest-side.js";

/** First port of the gateway that stands for a partner. */
const FIRST_PORT = 49_152;
const MOST_PARTNERS = 1024;
const PORTS = 65_536 - FIRST_PORT;

interface Partner extends Endpoint {
  readonly key: string;
  readonly forward: UdpForward;
  readonly gatewayPort: number;
}

/** A forward: how it answers outside, and where it leads. */
export interface UdpForward {
  readonly guest: Endpoint;
  answer(data: Uint8Array, to: Endpoint): void;
}

/** The partners of all forwards. */
export class UdpForwards {
  private readonly byPort = new Map<number, Partner>();
  private readonly byForward = new Map<UdpForward, Map<string, Partner>>();
  private last = 0;

  /** Partners that there are. */
  get size(): number {
    return this.byPort.size;
  }

  /** The gateway's port that stands for who sent a datagram; undefined if none is free. */
  portFor(forward: UdpForward, from: Endpoint): number | undefined {
    const partners = this.byForward.get(forward) ?? new Map<string, Partner>();
    this.byForward.set(forward, partners);
    const key = `${from.address} ${from.port}`;
    const known = partners.get(key);
    if (known !== undefined) {
      partners.delete(key);
      partners.set(key, known);
      return known.gatewayPort;
    }
    if (partners.size >= MOST_PARTNERS) {
      const [oldest] = partners.values();
      this.forget(oldest!, partners);
    }
    const gatewayPort = this.freePort();
    if (gatewayPort === undefined) return undefined;
    const partner = { ...from, key, forward, gatewayPort };
    partners.set(key, partner);
    this.byPort.set(gatewayPort, partner);
    return gatewayPort;
  }

  /** A guest has sent to a port of the gateway; whether that was an answer to a partner. */
  answer(guest: Endpoint, gatewayPort: number, data: Uint8Array): boolean {
    const partner = this.byPort.get(gatewayPort);
    const owner = partner?.forward.guest;
    if (partner === undefined || owner?.address !== guest.address || owner.port !== guest.port) return false;
    partner.forward.answer(data, partner);
    return true;
  }

  /** A forward is gone. */
  close(forward: UdpForward): void {
    for (const { gatewayPort } of this.byForward.get(forward)?.values() ?? [])
      this.byPort.delete(gatewayPort);
    this.byForward.delete(forward);
  }

  private forget(partner: Partner, partners: Map<string, Partner>): void {
    partners.delete(partner.key);
    this.byPort.delete(partner.gatewayPort);
  }

  private freePort(): number | undefined {
    if (this.byPort.size >= PORTS) return undefined;
    for (;;) {
      this.last = (this.last + 1) % PORTS;
      if (!this.byPort.has(FIRST_PORT + this.last)) return FIRST_PORT + this.last;
    }
  }
}
