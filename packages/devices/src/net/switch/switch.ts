/**
 * A learning switch. Each end has a port; a frame goes to the port at which its destination was last seen, and to all
 * others of its virtual network if that is not known, or if it is for many.
 *
 * An end that has no room leaves its frames in its port's queue, and holds nobody else up. Whatever ends do, work and
 * memory are bounded: queues by frames and bytes, the table of addresses by entries of each port, and what is delivered
 * in one go by `MOST_DELIVERIES`; an end that answers inside `receive` only adds to the queues. What is dropped is counted
 * by its reason, at the port where it came from or where it could not go.
 */
import { isGroupMac } from "../addresses.js";
import { NetworkError } from "../errors.js";
import {
  ETHERNET_BYTES,
  type Frame,
  type Link,
  type LinkEnd,
  MOST_PACKET_BYTES,
  type Network,
} from "../frame.js";
import { parseEthernet, TAG_BYTES } from "../frames/ethernet.js";
import { finishFrame } from "../offload.js";
import { hostTimers, type Timer, type Timers } from "../timers.js";
import type { AddressGuard } from "./address-guard.js";
import { MacTable } from "./mac-table.js";
import { PortQueue, type QueueBounds } from "./port-queue.js";
import { type Membership, membership, type PortVlans } from "./port-vlans.js";

const DEFAULT_QUEUE: QueueBounds = { frames: 1024, bytes: 4 << 20 };
/** Frames that are delivered before others on the host have their turn. */
const MOST_DELIVERIES = 4096;
/** Addresses that bridges keep to themselves (IEEE 802.1Q, table 8-1): 01:80:c2:00:00:00 to 0f. */
const RESERVED_MACS = 0x0180c200000;

/** Why a frame was dropped. */
export type DropReason =
  /** No whole header, or longer than the network lets through. */
  | "malformed"
  /** A source address that is a group's, or another than the port's own; or one of IP that its guard does not allow. */
  | "source"
  /** A virtual network in which the port is not. */
  | "vlan"
  /** A bridge's own protocol. */
  | "reserved"
  /** The only way leads back, or to a port from which this one is kept apart. */
  | "filtered"
  /** The queue of the port is full. */
  | "full";

/** How a switch works; all bounds have usual values unless given. */
export interface SwitchOptions {
  /** The host's clock unless given. */
  readonly timers?: Timers;
  /** Largest payload of a frame in bytes, 68 to 65,535; 1500 unless given. TCP data to be cut may be longer. */
  readonly mtu?: number;
  /** Milliseconds after which a silent address is forgotten; 300,000 unless given. */
  readonly agingMs?: number;
  /** Addresses that are known at once; 4096 unless given. */
  readonly addresses?: number;
}

/** What a port is to be like. */
export interface PortOptions {
  /** For messages, counters and captures; `port` and a number unless given. */
  readonly name?: string;
  /** Its virtual networks; without it that of all ports which say nothing. */
  readonly vlans?: PortVlans;
  /** Isolated ports reach those only that are not: a gateway, for instance. */
  readonly isIsolated?: boolean;
  /** The only address that frames from it may have as their source. */
  readonly mac?: number;
  /** What its end may say of IP addresses; everything unless given. */
  readonly guard?: AddressGuard;
  /** Frames that wait for it; 1024, and 4 MiB, unless given. */
  readonly queue?: QueueBounds;
}

/** What a port has done. `received` and `bytesReceived` are what its end has sent, `sent` what it has got. */
export interface PortCounters {
  readonly received: number;
  readonly bytesReceived: number;
  readonly sent: number;
  readonly bytesSent: number;
  /** Dropped frames by their reason. */
  readonly drops: Readonly<Record<DropReason, number>>;
  /** Frames and bytes that wait now. */
  readonly waiting: number;
  readonly waitingBytes: number;
  /** Milliseconds that the frames which its end got have waited for it, all together. */
  readonly waitedMs: number;
}

/** A port, as its owner sees it. */
export interface SwitchPort extends Link {
  readonly name: string;
  readonly counters: PortCounters;
  /** Connects or cuts the cable; its end is told. Frames that wait are dropped. */
  setUp(isUp: boolean): void;
}

/** A frame that passed a port, for a capture. */
export interface MirroredFrame {
  readonly port: string;
  /** `in`: from the port's end into the switch. */
  readonly direction: "in" | "out";
  readonly frame: Frame;
}

/** The switch. */
export class Switch implements Network {
  private readonly ports = new Set<Port>();
  private readonly active = new Set<Port>();
  private readonly table: MacTable<Port>;
  private readonly mirrors = new Set<(mirrored: MirroredFrame) => void>();
  private readonly timers: Timers;
  private readonly mtu: number;
  private isDelivering = false;
  private later: Timer | undefined;
  private named = 0;

  /** @throws NetworkError (`E_NETWORK_OPTION`) */
  constructor(options: SwitchOptions = {}) {
    const { mtu = 1500, addresses = 4096, agingMs = 300_000 } = options;
    if (!Number.isInteger(mtu) || mtu < 68 || mtu > MOST_PACKET_BYTES)
      throw new NetworkError("E_NETWORK_OPTION", `an MTU of ${mtu}: use 68 to ${MOST_PACKET_BYTES} bytes`);
    this.mtu = mtu;
    this.timers = options.timers ?? hostTimers;
    this.table = new MacTable(addresses, Math.max(1, Math.floor(addresses / 16)), agingMs);
  }

  /**
   * Gives an end a port.
   * @throws NetworkError (`E_NETWORK_OPTION`) for a name that is taken, or VLANs that can't be
   */
  connect(end: LinkEnd, options: PortOptions = {}): SwitchPort {
    const name = options.name ?? `port${this.named++}`;
    if ([...this.ports].some((port) => port.name === name))
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `there is a port ${name} already: give this one another name`,
      );
    const port = new Port(this, end, name, options);
    this.ports.add(port);
    return port;
  }

  /** Shows each frame that passes a port to `observer`, which may not throw, until what is returned is called. */
  mirror(observer: (mirrored: MirroredFrame) => void): () => void {
    const own = (mirrored: MirroredFrame): void => observer(mirrored);
    this.mirrors.add(own);
    return () => this.mirrors.delete(own);
  }

  /** The addresses that are known, and at which port. */
  get addresses(): readonly { readonly vlan: number; readonly mac: number; readonly port: string }[] {
    return this.table
      .entries(this.timers.now())
      .map(({ vlan, mac, port }) => ({ vlan, mac, port: port.name }));
  }

  // -- for ports

  /** Where frames of a port go. */
  forward(from: Port, sent: Frame): void {
    const header = parseEthernet(sent.bytes);
    const most = this.mtu + ETHERNET_BYTES + TAG_BYTES;
    if (header === undefined || (sent.segments === undefined && sent.bytes.length > most))
      return from.drop("malformed");
    const { source, destination } = header;
    if (isGroupMac(source) || (from.mac !== undefined && source !== from.mac)) return from.drop("source");
    if (from.guard?.allows(header, sent.bytes) === false) return from.drop("source");
    const entered = from.membership.enter(sent, header);
    if (entered === undefined) return from.drop("vlan");
    if (Math.floor(destination / 16) === RESERVED_MACS) return from.drop("reserved");
    const { vlan, frame } = entered;
    const now = this.timers.now();
    this.table.learn(vlan, source, from, now);
    const known = isGroupMac(destination) ? undefined : this.table.find(vlan, destination, now);
    let isGoing = false;
    for (const port of known === undefined ? this.ports : [known]) {
      if (port === from || !port.membership.has(vlan) || (from.isIsolated && port.isIsolated)) continue;
      isGoing = true;
      port.enqueue(port.membership.leave(frame, vlan), now);
    }
    if (!isGoing) from.drop("filtered");
    this.deliver();
  }

  /** A port may have something to deliver. */
  activate(port: Port): void {
    this.active.add(port);
  }

  /** Delivers what waits, port by port in turn. */
  deliver(): void {
    if (this.isDelivering) return;
    this.isDelivering = true;
    let left = MOST_DELIVERIES;
    try {
      for (const port of this.active) {
        this.active.delete(port);
        if (left === 0) {
          this.active.add(port);
          break;
        }
        // One frame, and back to the end of the line.
        if (port.deliverOne(this.timers.now())) {
          left--;
          this.active.add(port);
        }
      }
    } finally {
      this.isDelivering = false;
    }
    if (this.active.size === 0 || this.later !== undefined) return;
    this.later = this.timers.after(0, () => {
      this.later = undefined;
      this.deliver();
    });
  }

  remove(port: Port): void {
    this.ports.delete(port);
    this.active.delete(port);
    this.table.forgetPort(port);
  }

  forget(port: Port): void {
    this.table.forgetPort(port);
  }

  show(port: Port, direction: "in" | "out", frame: Frame): void {
    if (this.mirrors.size === 0) return;
    for (const mirror of this.mirrors) mirror({ port: port.name, direction, frame });
  }
}

class Port implements SwitchPort {
  readonly membership: Membership;
  readonly isIsolated: boolean;
  readonly mac: number | undefined;
  readonly guard: AddressGuard | undefined;
  private readonly queue: PortQueue;
  private readonly moved = { received: 0, bytesReceived: 0, sent: 0, bytesSent: 0 };
  private readonly drops = { malformed: 0, source: 0, vlan: 0, reserved: 0, filtered: 0, full: 0 };
  private isConnected = true;
  private isCabled = true;

  constructor(
    private readonly network: Switch,
    private readonly end: LinkEnd,
    readonly name: string,
    options: PortOptions,
  ) {
    this.membership = membership(options.vlans);
    this.isIsolated = options.isIsolated === true;
    this.mac = options.mac;
    this.guard = options.guard;
    this.queue = new PortQueue(options.queue ?? DEFAULT_QUEUE);
  }

  get isUp(): boolean {
    return this.isConnected && this.isCabled;
  }

  get counters(): PortCounters {
    return {
      ...this.moved,
      drops: { ...this.drops },
      waiting: this.queue.length,
      waitingBytes: this.queue.bytes,
      waitedMs: this.queue.waitedMs,
    };
  }

  send(frame: Frame): void {
    if (!this.isUp) return;
    this.moved.received++;
    this.moved.bytesReceived += frame.bytes.length;
    this.network.show(this, "in", frame);
    this.network.forward(this, frame);
  }

  ready(): void {
    if (this.queue.length === 0) return;
    this.network.activate(this);
    this.network.deliver();
  }

  setUp(isUp: boolean): void {
    if (!this.isConnected || isUp === this.isCabled) return;
    this.isCabled = isUp;
    if (!isUp) {
      this.drops.full += this.queue.clear();
      this.network.forget(this);
    }
    this.end.linkChanged?.(isUp);
  }

  disconnect(): void {
    this.isConnected = false;
    this.guard?.close();
    this.queue.clear();
    this.network.remove(this);
  }

  // -- for the switch

  drop(reason: DropReason): void {
    this.drops[reason]++;
  }

  enqueue(frame: Frame, now: number): void {
    if (!this.isUp) return;
    for (const finished of finishFrame(frame, this.end.takes))
      if (!this.queue.push(finished, now)) this.drop("full");
    this.network.activate(this);
  }

  /** Whether a frame was delivered. */
  deliverOne(now: number): boolean {
    const frame = this.queue.peek();
    if (frame === undefined || !this.isUp || !this.end.receive(frame)) return false;
    // What it got may have had its end cut the cable.
    if (this.queue.peek() === frame) this.queue.shift(now);
    this.moved.sent++;
    this.moved.bytesSent += frame.bytes.length;
    this.network.show(this, "out", frame);
    return true;
  }
}
