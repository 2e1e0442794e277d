/**
 * A gateway for guests that needs no rights on the host: to its guests it is a router with DHCP and a name server; what
 * they send to the outside it takes apart, and sends on by sockets of the host.
 *
 *   guests ── switch ── UserNetwork ── Outside (sockets of Node, a relay in a browser, a test)
 *
 * Everything that comes from guests is hostile: it is parsed with bounds, answered at most one to one, and what is kept of
 * it is bounded in number and bytes, per guest where guests compete. A packet whose source is not of the network, or that
 * is another guest's business, goes nowhere.
 *
 * The gateway's own address stands for the host's loopback, as far as the policy lets somebody there.
 */
import { formatIp, formatMac, inRange, ipBytes, parseMac, parseRange } from "../addresses.js";
import { NetworkError } from "../errors.js";
import { allFrames, type Frame, type Link, type LinkEnd, type Network } from "../frame.js";
import { type ArpMessage, arpFrame, arpOperations, parseArp } from "../frames/arp.js";
import { etherTypes, parseEthernet } from "../frames/ethernet.js";
import { icmpTypes, neighbourTypes, parseIcmp } from "../frames/icmp.js";
import { type IpPacket, ipProtocols, parseIp4Or6 } from "../frames/ip.js";
import { parseTcp } from "../frames/tcp.js";
import { type Datagram, parseUdp } from "../frames/udp.js";
import { hostTimers, type Timer, type Timers } from "../timers.js";
import { dhcpPorts, dhcpTypes, parseDhcp } from "./dhcp/message.js";
import { type DhcpLease, type DhcpOptions, DhcpServer } from "./dhcp/server.js";
import { byUdp } from "./dns/message.js";
import { NameServer } from "./dns/name-server.js";
import { DnsStreams } from "./dns/streams.js";
import { type Endpoint, GuestSide } from "./guest-side.js";
import type { Outside } from "./outside.js";
import { type Policy, type PolicyQuestion, policyOf, unmapped } from "./policy.js";
import { Reassembly } from "./reassembly.js";
import { LINK_HOPS, neighbourAdvertisement, routerAdvertisement, solicitedTarget } from "./router.js";
import { Subnet } from "./subnet.js";
import { TcpConnections } from "./tcp/connections.js";
import { type UdpForward, UdpForwards } from "./udp-forwards.js";
import { UdpMappings } from "./udp-mappings.js";

const DEFAULT_MAC = "52:55:0a:00:02:02";
const DNS_PORT = 53;
const LEAST_MTU6 = 1280;
const ADVERTISE_MS = 600_000;
const ALL_NODES = { ip: ipBytes("ff02::1"), mac: 0x333300000001 };
const LIMITED_BROADCAST = "255.255.255.255";
const NOBODY = "0.0.0.0";
const loopback = { 4: "127.0.0.1", 6: "::1" } as const;
const linkLocalRange = parseRange("fe80::/10")!;

/** What a gateway is made from. */
export interface UserNetworkOptions {
  /** Where its guests are. */
  readonly network: Network;
  readonly outside: Outside;
  /** The host's clock unless given. */
  readonly timers?: Timers;
  /** `10.0.2.0/24` unless given: the gateway is its second address, the name server its third. */
  readonly subnet4?: string;
  /** `fd00::/64` unless given. */
  readonly subnet6?: string;
  /** Its address, `52:55:0a:00:02:02` unless given. */
  readonly mac?: string;
  /** Largest packet in bytes, 1280 to 65,535; 1500 unless given. Guests are told. */
  readonly mtu?: number;
  /** How addresses are given; false if some guest does that itself. */
  readonly dhcp?: DhcpOptions | false;
  /** Domain of the guests' names; `internal` unless given. */
  readonly domain?: string;
  /** Whether it leads anywhere; true unless given. Where it does not, guests get addresses, and names of each other. */
  readonly isRouter?: boolean;
  /** What may be reached; what is public unless given. */
  readonly policy?: Policy;
  /** Is told of what the policy refused. */
  readonly onRefused?: (refused: {
    readonly protocol: "tcp" | "udp";
    readonly direction: "out" | "in";
    readonly guest: string;
    /** The guest's MAC address, where it has asked itself. */
    readonly mac?: number;
    readonly address: string;
    readonly port: number;
  }) => void;
}

/** A port of the host that leads to a guest. */
export interface ForwardOptions {
  readonly protocol: "tcp" | "udp";
  /** Where the host listens; `127.0.0.1` unless given. */
  readonly hostAddress?: string;
  /** 0 for any. */
  readonly hostPort: number;
  /** The guest's address. */
  readonly guest: string;
  readonly guestPort: number;
}

/** A forward that is there. */
export interface Forward {
  /** The host's port. */
  readonly port: number;
  close(): void;
}

/** The gateway. */
export class UserNetwork {
  readonly counters = { received: 0, malformed: 0, foreign: 0, echoes: 0, refused: 0, unsupported: 0 };
  private readonly subnets: { readonly 4: Subnet; readonly 6: Subnet };
  private readonly guests: GuestSide;
  private readonly dhcp: DhcpServer | undefined;
  private readonly names: NameServer;
  private readonly streams: DnsStreams;
  private readonly reassembly: Reassembly;
  private readonly mappings: UdpMappings;
  private readonly connections: TcpConnections;
  private readonly forwards = new UdpForwards();
  private readonly listeners = new Set<Forward>();
  /** Addresses that belong to one guest only, by the address. */
  private readonly owners = new Map<string, number>();
  private readonly isRouter: boolean;
  private readonly fixedNames = new Map<string, readonly string[]>();
  private readonly timers: Timers;
  private readonly policy: Policy;
  private readonly link: Link;
  private advertising: Timer;
  private isClosed = false;

  /** @throws NetworkError (`E_NETWORK_OPTION`) for ranges, addresses or sizes that can't be */
  constructor(private readonly options: UserNetworkOptions) {
    const { outside, mtu = 1500, domain = "internal" } = options;
    const mac = parseMac(options.mac ?? DEFAULT_MAC);
    if (mac === undefined)
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `${JSON.stringify(options.mac)} is no MAC address: use one like ${DEFAULT_MAC}`,
      );
    if (!Number.isInteger(mtu) || mtu < LEAST_MTU6 || mtu > 65535)
      throw new NetworkError("E_NETWORK_OPTION", `an MTU of ${mtu}: use ${LEAST_MTU6} to 65535 bytes`);
    this.timers = options.timers ?? hostTimers;
    this.isRouter = options.isRouter !== false;
    this.subnets = {
      4: Subnet.of(options.subnet4 ?? "10.0.2.0/24", 4),
      6: Subnet.of(options.subnet6 ?? "fd00::/64", 6),
    };
    this.policy = !this.isRouter ? () => false : (options.policy ?? policyOf([], () => outside.hostRanges()));
    this.guests = new GuestSide(mac, mtu, this.subnets, () => this.link);
    this.dhcp =
      options.dhcp === false
        ? undefined
        : new DhcpServer(this.subnets[4], mtu, () => this.timers.now(), {
            domain,
            isRouter: this.isRouter,
            ...options.dhcp,
          });
    this.names = new NameServer(
      {
        query: async (message) => (this.isRouter ? outside.query(message) : undefined),
        addressesOf: (name) => this.addressesOf(name),
        nameOf: (ip) => this.nameOf(ip),
        isInside: (ip) => this.isInside(ip),
      },
      domain,
    );
    this.streams = new DnsStreams(this.names, this.timers);
    this.reassembly = new Reassembly(this.timers);
    this.mappings = new UdpMappings(outside, this.timers, (data, from, to) =>
      this.guests.sendUdp({ address: this.seenAs(from.address), port: from.port }, to, data),
    );
    this.connections = new TcpConnections(this.guests, this.timers);
    const end: LinkEnd = {
      takes: allFrames,
      receive: (frame) => {
        this.receive(frame);
        return true;
      },
    };
    this.link = options.network.connect(end);
    this.advertising = this.timers.after(0, () => this.advertise());
  }

  /** Addresses of the gateway, and of its name server. */
  get addresses(): { readonly gateway4: string; readonly gateway6: string; readonly nameServer4: string } {
    const { 4: four, 6: six } = this.subnets;
    return { gateway4: four.gateway, gateway6: six.gateway, nameServer4: four.nameServer };
  }

  /** Leases that hold. */
  get leases(): readonly DhcpLease[] {
    return this.dhcp?.leases ?? [];
  }

  /** Events of its parts by name, and what there is now. */
  get statistics(): Readonly<Record<string, number>> {
    const { queries, local, forwarded, failed } = this.names.counters;
    const { opened, sent, received, unasked } = this.mappings.counters;
    return {
      ...this.counters,
      ...{ packetsSent: this.guests.counters.sent, errorsSent: this.guests.counters.errors },
      ...{ dnsQueries: queries, dnsLocal: local, dnsForwarded: forwarded, dnsFailed: failed },
      ...{ dnsRefused: this.names.counters.refused },
      ...{ dnsConnections: this.streams.size, dnsBrokenOff: this.streams.counters.brokenOff },
      ...{ udpOpened: opened, udpSent: sent, udpReceived: received, udpUnasked: unasked },
      ...{ udpMappings: this.mappings.size, udpPartners: this.forwards.size },
      ...{ tcpConnections: this.connections.size, tcpBytes: this.connections.bytes },
      ...{ tcpOpened: this.connections.counters.opened, tcpFailed: this.connections.counters.failed },
      ...{ tcpResets: this.connections.counters.resets, tcpNoRoom: this.connections.counters.refusedForRoom },
      ...{ neighbours: this.guests.neighbours.size, reassemblyBytes: this.reassembly.bytes },
    };
  }

  /** Gives a name to addresses of a guest; no addresses take it away. */
  setName(name: string, addresses: readonly string[]): void {
    if (addresses.length === 0) this.fixedNames.delete(name.toLowerCase());
    else this.fixedNames.set(name.toLowerCase(), [...addresses]);
  }

  /**
   * Gives an address to one guest alone: it is given it when it asks, and nobody else may use it.
   * @throws NetworkError (`E_NETWORK_OPTION`) for an address outside the network, or that is another's
   */
  reserve(mac: number, ip: string): void {
    const { gateway, nameServer } = this.subnets[4];
    if (!this.isInside(ip) || ip === gateway || ip === nameServer || this.owners.has(ip))
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `${ip} can't be given to ${formatMac(mac)}: use a free address of the network ${this.subnets[4].at(0)}/${this.subnets[4].range.prefix}`,
      );
    this.dhcp?.reserve(mac, ip);
    this.owners.set(ip, mac);
  }

  /** A guest is gone: its addresses are free, and what it had outside is broken off. */
  release(mac: number): void {
    this.abandon(mac);
    this.dhcp?.release(mac);
    for (const [ip, owner] of this.owners) if (owner === mac) this.owners.delete(ip);
  }

  /** A guest has lost what it knew, such as by going back to an earlier state: its connections end with a reset. */
  abandon(mac: number): void {
    for (const ip of this.guests.neighbours.of(mac)) {
      this.connections.abandon(ip);
      this.mappings.abandon(ip);
    }
  }

  /**
   * Lets a port of the host lead to a guest until it is closed.
   * @throws NetworkError by a rejection: `E_NETWORK_IN_USE`, `E_NETWORK_HOST`, `E_NETWORK_OPTION`
   */
  async forward(options: ForwardOptions): Promise<Forward> {
    if (!this.isInside(options.guest))
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `${options.guest} is no address of a guest: use one of ${this.subnets[4].at(0)}/${this.subnets[4].range.prefix}`,
      );
    const { port, close } =
      options.protocol === "udp" ? await this.forwardUdp(options) : await this.forwardTcp(options);
    if (this.isClosed) {
      close();
      throw new NetworkError("E_NETWORK_HOST", `port ${port} leads nowhere: its network is closed`);
    }
    const result: Forward = {
      port,
      close: () => {
        if (this.listeners.delete(result)) close();
      },
    };
    this.listeners.add(result);
    return result;
  }

  private async forwardUdp(options: ForwardOptions): Promise<Forward> {
    const { hostAddress = loopback[4], hostPort, guest, guestPort } = options;
    const forward: UdpForward = {
      guest: { address: guest, port: guestPort },
      answer: (data, to) => listener.answer(data, to.address, to.port),
    };
    const listener = await this.options.outside.listenUdp(hostAddress, hostPort, (data, address, port) => {
      if (!this.mayEnter(options, address)) return;
      const gatewayPort = this.forwards.portFor(forward, { address, port });
      if (gatewayPort === undefined) return;
      this.guests.sendUdp({ address: this.gatewayOf(guest), port: gatewayPort }, forward.guest, data);
    });
    const close = () => {
      listener.close();
      this.forwards.close(forward);
    };
    return { port: listener.port, close };
  }

  private forwardTcp(options: ForwardOptions): Promise<Forward> {
    const { hostAddress = loopback[4], hostPort, guest, guestPort } = options;
    return this.options.outside.listenTcp(hostAddress, hostPort, (caller) => {
      if (this.mayEnter(options, caller.address))
        this.connections.call(this.gatewayOf(guest), { address: guest, port: guestPort }, caller);
    });
  }

  /** Whether somebody outside may use a forward; refusals are counted. */
  private mayEnter({ protocol, guest, guestPort: port }: ForwardOptions, address: string): boolean {
    const question = {
      protocol,
      guest,
      port,
      direction: "in",
      address: unmapped(address),
      names: [],
    } as const;
    if (this.policy(question)) return true;
    this.refused(question);
    return false;
  }

  private refused({ protocol, direction, guest, mac, address, port }: PolicyQuestion): void {
    this.counters.refused++;
    const who = mac === undefined ? { guest } : { guest, mac };
    this.options.onRefused?.({ protocol, direction, ...who, address, port });
  }

  private gatewayOf(guest: string): string {
    return this.subnets[guest.includes(":") ? 6 : 4].gateway;
  }

  /** Takes it out of its network and closes what it has outside. */
  close(): void {
    this.isClosed = true;
    for (const listener of [...this.listeners]) listener.close();
    this.mappings.close();
    this.connections.close();
    this.advertising.cancel();
    this.link.disconnect();
  }

  // -- what comes from guests

  private receive(frame: Frame): void {
    this.counters.received++;
    const ethernet = parseEthernet(frame.bytes);
    const isForUs =
      ethernet !== undefined &&
      ethernet.vlan === undefined &&
      (ethernet.destination === this.guests.mac || Math.floor(ethernet.destination / 2 ** 40) % 2 === 1);
    if (!isForUs) return;
    const { type, payload, source } = ethernet;
    if (type === etherTypes.arp) {
      const message = parseArp(frame.bytes, payload);
      if (message !== undefined) this.arp(message, source);
      return;
    }
    if (type !== etherTypes.ipv4 && type !== etherTypes.ipv6) return;
    const packet = parseIp4Or6(frame.bytes, payload, type === etherTypes.ipv4 ? 4 : 6);
    if (packet === undefined) {
      this.counters.malformed++;
      return;
    }
    this.packet(packet, source, frame);
  }

  private arp({ operation, senderIp, senderMac, targetIp }: ArpMessage, source: number): void {
    const { 4: subnet } = this.subnets;
    const { gateway, nameServer } = subnet;
    const isOurs = (ip: string): boolean => ip === gateway || ip === nameServer;
    const isRight = senderMac === source && !this.isOthers(senderIp, source);
    if (subnet.has(ipBytes(senderIp)) && !isOurs(senderIp) && isRight)
      this.guests.neighbours.learn(senderIp, senderMac);
    if (operation !== arpOperations.request || !isOurs(targetIp)) return;
    const answer = {
      ...{ operation: arpOperations.reply, senderMac: this.guests.mac, senderIp: targetIp },
      ...{ targetMac: senderMac, targetIp: senderIp },
    };
    this.guests.send({ bytes: arpFrame(source, answer) });
  }

  private packet(part: IpPacket, mac: number, frame: Frame): void {
    const { source, sourceBytes, family } = part;
    const subnet = this.subnets[family];
    const { gateway, nameServer } = subnet;
    const isLocal = family === 6 && inRange(sourceBytes, linkLocalRange);
    const isOurs = source === gateway || source === nameServer;
    const isMine = subnet.has(sourceBytes) && !isOurs && !this.isOthers(source, mac);
    if (isMine || isLocal) this.guests.neighbours.learn(source, mac);
    else if (source !== NOBODY && source !== "::") {
      this.counters.foreign++;
      return;
    }
    const packet = this.reassembly.take(part);
    if (packet === undefined) return;
    const isTrusted = frame.checksum !== undefined && part.fragment === undefined;
    if (packet.protocol === ipProtocols.icmpv6 && family === 6 && this.neighbour(packet, mac)) return;
    if (packet.protocol === ipProtocols.udp) {
      const datagram = parseUdp(packet, isTrusted);
      if (datagram === undefined) this.counters.malformed++;
      else this.udp(packet, datagram, mac);
      return;
    }
    if (source === NOBODY || source === "::") return;
    if (packet.protocol === ipProtocols.tcp) return this.tcp(packet, isTrusted, mac);
    const isToUs = this.isOwn(packet);
    if (isToUs && this.echo(packet)) return;
    if (!isToUs && this.isGroup(packet)) return;
    this.counters.unsupported++;
    this.guests.complain(packet, "prohibited");
  }

  /** Whether it was a message of neighbour discovery. */
  private neighbour(packet: IpPacket, mac: number): boolean {
    const message = parseIcmp(packet);
    if (message === undefined) return false;
    const { 6: subnet } = this.subnets;
    const isNobody = packet.source === "::";
    const back = (source: Uint8Array) => ({
      ...{
        sourceMac: this.guests.mac,
        destinationMac: isNobody ? ALL_NODES.mac : mac,
        source,
        hops: LINK_HOPS,
      },
      destination: isNobody ? ALL_NODES.ip : packet.sourceBytes.slice(),
    });
    if (message.type === neighbourTypes.routerSolicitation) {
      if (packet.hops === LINK_HOPS)
        this.guests.sendIcmp(
          back(this.guests.linkLocal),
          routerAdvertisement(subnet, this.guests.mac, this.guests.mtu, this.isRouter),
        );
      return true;
    }
    if (message.type === neighbourTypes.neighbourSolicitation) {
      const target = solicitedTarget(packet, message);
      const own = [subnet.gateway, subnet.nameServer, formatIp(this.guests.linkLocal)];
      if (target !== undefined && own.includes(formatIp(target)))
        this.guests.sendIcmp(
          back(target.slice()),
          neighbourAdvertisement(target, this.guests.mac, !isNobody),
        );
      return true;
    }
    return (
      message.type === neighbourTypes.neighbourAdvertisement ||
      message.type === neighbourTypes.routerAdvertisement
    );
  }

  /** Whether it was an echo, which is answered. */
  private echo(packet: IpPacket): boolean {
    const message = parseIcmp(packet);
    const types = icmpTypes[packet.family];
    if (message?.type !== types.echo || message.code !== 0) return false;
    this.counters.echoes++;
    const route = this.guests.route(
      packet.destinationBytes.slice(),
      packet.sourceBytes.slice(),
      packet.source,
    );
    if (route !== undefined)
      this.guests.sendIcmp(route, { type: types.echoReply, code: 0, body: message.body });
    return true;
  }

  private udp(packet: IpPacket, datagram: Datagram, mac: number): void {
    const { source, destination, family } = packet;
    const { sourcePort, destinationPort: port, data } = datagram;
    const isToUs = this.isOwn(packet);
    if (family === 4 && port === dhcpPorts.server && sourcePort === dhcpPorts.client) {
      if (isToUs || destination === LIMITED_BROADCAST) this.lease(data, mac);
      return;
    }
    if (source === NOBODY || source === "::") return;
    if (!isToUs && this.isGroup(packet)) return;
    const guest: Endpoint = { address: source, port: sourcePort };
    if (isToUs && port === DNS_PORT) return this.resolve(guest, destination, data);
    if (isToUs && this.forwards.answer(guest, port, data)) return;
    // Of the gateway's addresses one stands for the host; and nobody listens at port 0.
    const isNowhere = port === 0 || (isToUs && destination !== this.subnets[family].gateway);
    if (isNowhere) return this.guests.complain(packet, "port");
    if (packet.hops <= 1 && !isToUs) return this.guests.complain(packet, "hops");
    const address = isToUs ? loopback[family] : unmapped(destination);
    const isKnown = this.mappings.hasPartner(source, sourcePort, address, port);
    const question = this.questionOf("udp", source, mac, address, port);
    if (!isKnown && !this.policy(question)) {
      this.refused(question);
      return this.guests.complain(packet, isToUs ? "port" : "prohibited");
    }
    if (!this.mappings.send(source, sourcePort, data.slice(), address, port))
      this.guests.complain(packet, "host");
  }

  private tcp(packet: IpPacket, isTrusted: boolean, mac: number): void {
    const segment = parseTcp(packet, isTrusted);
    if (segment === undefined) {
      this.counters.malformed++;
      return;
    }
    const { source: guest, destination, family } = packet;
    const { destinationPort: port } = segment;
    const isToUs = this.isOwn(packet);
    if (!isToUs && this.isGroup(packet)) return;
    if (isToUs && port === DNS_PORT)
      return this.connections.receive(packet, segment, {
        mayOpen: () => true,
        open: (events) => this.streams.open(guest, events),
      });
    const isNowhere = port === 0 || (isToUs && destination !== this.subnets[family].gateway);
    if (isNowhere) return this.connections.refuse(packet, segment);
    if (packet.hops <= 1 && !isToUs) return this.guests.complain(packet, "hops");
    const address = isToUs ? loopback[family] : unmapped(destination);
    this.connections.receive(packet, segment, {
      mayOpen: () => {
        const question = this.questionOf("tcp", guest, mac, address, port);
        if (this.policy(question)) return true;
        this.refused(question);
        if (isToUs) this.connections.refuse(packet, segment);
        else this.guests.complain(packet, "prohibited");
        return false;
      },
      open: (events) => this.options.outside.connectTcp(address, port, events),
    });
  }

  private questionOf(
    protocol: "tcp" | "udp",
    guest: string,
    mac: number,
    address: string,
    port: number,
  ): PolicyQuestion {
    const { standIns } = this.options.outside;
    const range = standIns === undefined ? undefined : parseRange(standIns);
    return {
      ...{ protocol, direction: "out", guest, mac, address, port },
      names: this.names.namesOf(guest, address),
      ...(range !== undefined && inRange(ipBytes(address), range) ? { isStandIn: true } : {}),
    };
  }

  private lease(data: Uint8Array, mac: number): void {
    const request = parseDhcp(data);
    if (this.dhcp === undefined || request === undefined || request.mac !== mac) return;
    const answer = this.dhcp.answer(request);
    if (answer === undefined) return;
    const offered = formatIp(answer.subarray(16, 20));
    const isRefused = offered === NOBODY && request.type !== dhcpTypes.inform;
    const isBroadcast = isRefused || (request.clientIp === NOBODY && request.isBroadcast);
    const to = request.clientIp === NOBODY ? offered : request.clientIp;
    const route = {
      ...{ sourceMac: this.guests.mac, destinationMac: isBroadcast ? 0xffffffffffff : mac },
      source: ipBytes(this.subnets[4].gateway),
      destination: ipBytes(isBroadcast ? LIMITED_BROADCAST : to),
    };
    this.guests.sendUdpBy(route, dhcpPorts.server, dhcpPorts.client, answer);
  }

  private resolve(guest: Endpoint, server: string, message: Uint8Array): void {
    this.names.ask(guest.address, message, (answer, question) =>
      this.guests.sendUdp({ address: server, port: DNS_PORT }, guest, byUdp(answer, question)),
    );
  }

  // -- addresses

  private isOwn({ destination, family }: IpPacket): boolean {
    const { gateway, nameServer } = this.subnets[family];
    return (
      destination === gateway || destination === nameServer || destination === formatIp(this.guests.linkLocal)
    );
  }

  /** To many, or to another guest: both are others' business. */
  private isGroup({ destinationBytes, family }: IpPacket): boolean {
    const first = destinationBytes[0]!;
    if (this.subnets[family].has(destinationBytes)) return true;
    return family === 4 ? first >= 224 : first === 0xff || inRange(destinationBytes, linkLocalRange);
  }

  /** Whether an address belongs to another guest. */
  private isOthers(ip: string, mac: number): boolean {
    const owner = this.owners.get(ip);
    return owner !== undefined && owner !== mac;
  }

  private isInside(ip: string): boolean {
    const bytes = ipBytes(ip);
    return this.subnets[bytes.length === 4 ? 4 : 6].has(bytes);
  }

  /** The host's loopback is the gateway to guests. */
  private seenAs(address: string): string {
    if (address === loopback[4]) return this.subnets[4].gateway;
    return address === loopback[6] ? this.subnets[6].gateway : address;
  }

  private addressesOf(name: string): readonly string[] | undefined {
    const fixed = this.fixedNames.get(name);
    if (fixed !== undefined) return fixed;
    if (name === "gateway") return [this.subnets[4].gateway, this.subnets[6].gateway];
    // Guests call themselves what they like: the first one that has a name keeps it.
    const lease = this.leases.find(({ hostName }) => hostName === name);
    return lease === undefined ? undefined : [lease.ip];
  }

  private nameOf(ip: string): string | undefined {
    for (const [name, addresses] of this.fixedNames) if (addresses.includes(ip)) return name;
    if (ip === this.subnets[4].gateway || ip === this.subnets[6].gateway) return "gateway";
    return this.leases.find((lease) => lease.ip === ip)?.hostName;
  }

  private advertise(): void {
    const route = {
      ...{ sourceMac: this.guests.mac, destinationMac: ALL_NODES.mac },
      ...{ source: this.guests.linkLocal, destination: ALL_NODES.ip, hops: LINK_HOPS },
    };
    const { mac, mtu } = this.guests;
    this.guests.sendIcmp(route, routerAdvertisement(this.subnets[6], mac, mtu, this.isRouter));
    this.advertising = this.timers.after(ADVERTISE_MS, () => this.advertise());
  }
}
