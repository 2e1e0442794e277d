/** A guest by hand for tests: sends frames to a gateway, and takes apart what comes back. */
import { formatIp, ipBytes } from "../src/net/addresses.js";
import { type Frame, finishedFrames, type Link, type Network } from "../src/net/frame.js";
import { arpFrame, parseArp } from "../src/net/frames/arp.js";
import { parseEthernet } from "../src/net/frames/ethernet.js";
import { type IcmpMessage, icmpFrame, parseIcmp } from "../src/net/frames/icmp.js";
import { type IpPacket, parseIp4Or6 } from "../src/net/frames/ip.js";
import { type Datagram, parseUdp, udpFrame } from "../src/net/frames/udp.js";
import { RecordingEnd } from "./net-ends.js";

export const GATEWAY_MAC = 0x52550a000202;

/** What came, taken apart. */
export interface Came {
  readonly packet: IpPacket;
  readonly mac: number;
  readonly udp?: Datagram;
  readonly icmp?: IcmpMessage;
}

/** The guest. */
export class NetGuest {
  readonly end = new RecordingEnd(finishedFrames);
  readonly link: Link;

  constructor(
    lan: Network,
    readonly mac: number,
    public four = "10.0.2.15",
    public six = "fd00::15",
  ) {
    this.link = lan.connect(this.end);
  }

  send(bytes: Uint8Array): void {
    this.link.send({ bytes });
  }

  /** Headers to an address, by the gateway. */
  to(destination: string, hops = 64) {
    const source = destination.includes(":") ? this.six : this.four;
    return {
      ...{ sourceMac: this.mac, destinationMac: GATEWAY_MAC, hops },
      ...{ source: ipBytes(source), destination: ipBytes(destination) },
    };
  }

  udp(destination: string, destinationPort: number, data: Uint8Array, sourcePort = 5000, hops = 64): void {
    this.send(udpFrame(this.to(destination, hops), { sourcePort, destinationPort, data }));
  }

  icmp(destination: string, message: IcmpMessage, hops = 64): void {
    this.send(icmpFrame(this.to(destination, hops), message));
  }

  /** Sends a message past the gateway. */
  icmpTo(mac: number, destination: string, message: IcmpMessage): void {
    this.send(icmpFrame({ ...this.to(destination), destinationMac: mac }, message));
  }

  /** Says who it is, so that the gateway knows. */
  announce(): void {
    const message = {
      operation: 1,
      senderMac: this.mac,
      senderIp: this.four,
      targetMac: 0,
      targetIp: this.four,
    };
    this.send(arpFrame(0xffffffffffff, message));
  }

  /** IP packets that came to it since the last time, but for advertisements and questions. */
  take(): Came[] {
    return this.end.got.splice(0).flatMap((frame) => this.read(frame));
  }

  /** ARP messages that came. */
  takeArp() {
    return this.end.got.splice(0).flatMap(({ bytes }) => parseArp(bytes, 14) ?? []);
  }

  private read({ bytes }: Frame): Came[] {
    const ethernet = parseEthernet(bytes)!;
    if (ethernet.type !== 0x0800 && ethernet.type !== 0x86dd) return [];
    const packet = parseIp4Or6(bytes, ethernet.payload, ethernet.type === 0x0800 ? 4 : 6)!;
    const isIcmp = packet.protocol === 1 || packet.protocol === 58;
    const icmp = isIcmp ? parseIcmp(packet) : undefined;
    if (icmp?.type === 134) return [];
    const udp = packet.protocol === 17 && packet.fragment === undefined ? parseUdp(packet, false) : undefined;
    const came = { packet, mac: ethernet.destination };
    return [{ ...came, ...(udp === undefined ? {} : { udp }), ...(icmp === undefined ? {} : { icmp }) }];
  }
}

/** The first bytes of a message about a packet: of which packet it is. */
export const aboutDestination = ({ body }: IcmpMessage): string => {
  const at = 4 + (body[4]! >> 4 === 4 ? 16 : 24);
  return formatIp(body.subarray(at, at + (body[4]! >> 4 === 4 ? 4 : 16)));
};
