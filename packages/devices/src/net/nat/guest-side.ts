/** What a gateway sends to its guests: packets to those whose MAC address it knows, and questions for that of others. */
import { BROADCAST_MAC, ipBytes } from "../addresses.js";
import type { Frame, Link } from "../frame.js";
import { arpFrame, arpOperations } from "../frames/arp.js";
import { fragmentFrame } from "../frames/fragment.js";
import { type IcmpMessage, type IcmpReason, icmpError, icmpFrame, mayComplain } from "../frames/icmp.js";
import type { IpPacket, IpTo } from "../frames/ip.js";
import { udpFrame } from "../frames/udp.js";
import { Neighbours } from "./neighbours.js";
import { LINK_HOPS, linkLocalOf, neighbourSolicitation, solicitedGroup } from "./router.js";
import type { Subnet } from "./subnet.js";

/** An address with a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** The guests' side of a gateway. */
export class GuestSide {
  readonly neighbours = new Neighbours();
  readonly counters = { sent: 0, errors: 0, unknown: 0 };
  /** The gateway's link-local address. */
  readonly linkLocal: Uint8Array;
  private fragmentId = 0;

  /** @param link gives the cable, which is connected after this was made */
  constructor(
    readonly mac: number,
    readonly mtu: number,
    private readonly subnets: { readonly 4: Subnet; readonly 6: Subnet },
    private readonly link: () => Link,
  ) {
    this.linkLocal = linkLocalOf(mac);
  }

  /** Sends a frame that is made already. */
  send(frame: Frame): void {
    this.counters.sent++;
    this.link().send(frame);
  }

  /** Headers of a packet to an address; undefined, and its owner is asked for, if nobody is known to have it. */
  route(source: Uint8Array, destination: Uint8Array, ip: string): Omit<IpTo, "protocol"> | undefined {
    const destinationMac = this.neighbours.find(ip);
    if (destinationMac !== undefined) return { sourceMac: this.mac, destinationMac, source, destination };
    this.counters.unknown++;
    this.seek(destination, ip);
    return undefined;
  }

  /** Sends a datagram; lost if nobody is known to have the address. */
  sendUdp(from: Endpoint, to: Endpoint, data: Uint8Array): void {
    const route = this.route(ipBytes(from.address), ipBytes(to.address), to.address);
    if (route !== undefined) this.sendUdpBy(route, from.port, to.port, data);
  }

  /** Sends a datagram by a route; as fragments, if it is too long for one packet. */
  sendUdpBy(
    route: Omit<IpTo, "protocol">,
    sourcePort: number,
    destinationPort: number,
    data: Uint8Array,
  ): void {
    const frame = udpFrame(route, { sourcePort, destinationPort, data });
    this.fragmentId = (this.fragmentId + 1) & 0xffff;
    for (const bytes of fragmentFrame(frame, this.mtu, this.fragmentId)) this.send({ bytes });
  }

  /** Sends a message. */
  sendIcmp(route: Omit<IpTo, "protocol">, message: IcmpMessage): void {
    const frame = icmpFrame(route, message);
    this.fragmentId = (this.fragmentId + 1) & 0xffff;
    for (const bytes of fragmentFrame(frame, this.mtu, this.fragmentId)) this.send({ bytes });
  }

  /** Tells a guest why its packet went nowhere, where that may be told. */
  complain(packet: IpPacket, reason: IcmpReason): void {
    if (!mayComplain(packet)) return;
    this.counters.errors++;
    const source = ipBytes(this.subnets[packet.family].gateway);
    const route = this.route(source, packet.sourceBytes.slice(), packet.source);
    if (route !== undefined) this.sendIcmp(route, icmpError(packet, reason, this.mtu));
  }

  /** Asks who has an address. */
  private seek(destination: Uint8Array, ip: string): void {
    if (destination.length === 16) {
      const group = solicitedGroup(destination);
      const route = {
        ...{ sourceMac: this.mac, destinationMac: group.mac },
        ...{ source: this.linkLocal, destination: group.ip, hops: LINK_HOPS },
      };
      this.sendIcmp(route, neighbourSolicitation(destination, this.mac));
      return;
    }
    const message = {
      ...{ operation: arpOperations.request, senderMac: this.mac, senderIp: this.subnets[4].gateway },
      ...{ targetMac: 0, targetIp: ip },
    };
    this.send({ bytes: arpFrame(BROADCAST_MAC, message) });
  }
}
