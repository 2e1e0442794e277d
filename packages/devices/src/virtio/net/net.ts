/**
 * The network device (virtio 1.2, section 5.1): frames between its driver and a network.
 *
 * A frame that is sent is copied out of guest memory, and its buffers are given back, before anybody looks at it; one
 * that is received is copied in at once, or refused while the driver has no buffers for all of it: it waits, bounded, at
 * the network then. The device itself keeps none.
 *
 * Frames that a driver leaves unfinished (checksums, TCP data to be cut) go to the network as they are, if the header that
 * says so fits them; so they come from there, if the driver takes them. What was not negotiated is never passed.
 */
import { BROADCAST_MAC, formatMac, isGroupMac, parseMac, writeMac } from "../../net/addresses.js";
import { NetworkError } from "../../net/errors.js";
import {
  ETHERNET_BYTES,
  type Frame,
  type FrameSupport,
  finishedFrames,
  type Link,
  type LinkEnd,
  MOST_PACKET_BYTES,
  type Network,
} from "../../net/frame.js";
import { TAG_BYTES, writeEthernet } from "../../net/frames/ethernet.js";
import { ipHeaderBytes } from "../../net/frames/ip.js";
import { finishFrame } from "../../net/offload.js";
import type { AccessSize, DeviceState } from "../../ports.js";
import { StateReader } from "../../state.js";
import type { DescriptorChain } from "../descriptor-chain.js";
import { readConfigBytes, type VirtioDevice, type VirtioHost } from "../device.js";
import type { Virtqueue } from "../queue.js";
import { netConfig, netFeatures, netStatus, STATUS_AT } from "./config-space.js";
import { controlAck, parseControl } from "./control.js";
import { flowHash } from "./flow.js";
import { BUFFERS_AT, frameOf, headerOf, NET_HEADER_BYTES } from "./header.js";

const DEVICE_ID = 1;
const QUEUE_SIZE = 256;
const CONTROL_QUEUE_SIZE = 64;
const MOST_PAIRS = 64;
/** The longest frame that anybody sends: an IP packet of the largest size, with all headers. */
const MOST_FRAME_BYTES = ETHERNET_BYTES + TAG_BYTES + ipHeaderBytes[6] + MOST_PACKET_BYTES;
/** Least MTU that a device may have (section 5.1.4.1). */
const LEAST_MTU = 68;
const ETHERTYPE_RARP = 0x8035;
const LEAST_FRAME_BYTES = 60;

/** What a network device is made from. */
export interface VirtioNetOptions {
  /** What it is connected to; the device is taken out of it when its machine is gone. */
  readonly network: Network;
  /** Its address, as `52:54:00:12:34:56`. */
  readonly mac: string;
  /** Largest payload of a frame in bytes, 68 to 65,535; 1500 unless given. The driver is told. */
  readonly mtu?: number;
  /** Pairs of queues, 1 to 64: a driver uses up to one a hart. 1 unless given. */
  readonly queuePairs?: number;
  /** Whether checksums and segments may be left to others; true unless given. */
  readonly offloads?: boolean;
  /**
   * Whether its state may be that of a card with another address, of which it is a copy: the guest then has the other's
   * address until it takes this one, and is told by a cable that is cut for a moment.
   */
  readonly isCopy?: boolean;
}

/** A network device and the host's handles on it. */
export interface VirtioNet {
  /** The device. To be plugged into one board. */
  readonly device: VirtioDevice;
  /** Connects the cable, or cuts it: the driver is told. */
  setLink(isUp: boolean): void;
  /** Makes the device's place known to its network: after a move, for instance. A restore does it by itself. */
  announce(): void;
}

/**
 * A network device; Linux calls the first one `eth0`.
 * @throws NetworkError (`E_NETWORK_OPTION`) for an address, an MTU or a number of queues that no device can have
 */
export function virtioNet(options: VirtioNetOptions): VirtioNet {
  const { mac: text, mtu = 1500, queuePairs = 1 } = options;
  const mac = parseMac(text);
  const refuse = (what: string): never => {
    throw new NetworkError("E_NETWORK_OPTION", what);
  };
  if (mac === undefined || mac === 0 || isGroupMac(mac))
    return refuse(`${JSON.stringify(text)} is no address of a device: use one like 52:54:00:12:34:56`);
  if (!Number.isInteger(mtu) || mtu < LEAST_MTU || mtu > MOST_PACKET_BYTES)
    return refuse(`an MTU of ${mtu}: use ${LEAST_MTU} to ${MOST_PACKET_BYTES} bytes`);
  if (!Number.isInteger(queuePairs) || queuePairs < 1 || queuePairs > MOST_PAIRS)
    return refuse(`${queuePairs} pairs of queues: a network device takes 1 to ${MOST_PAIRS}`);
  const device = new NetDevice(options, mac, mtu, queuePairs);
  return { device, setLink: (isUp) => device.setLink(isUp), announce: () => device.announce() };
}

class NetDevice implements VirtioDevice, LinkEnd {
  readonly name = "net";
  readonly id = DEVICE_ID;
  readonly features: readonly number[];
  readonly queueSizes: readonly number[];
  readonly counters = {
    sent: 0,
    received: 0,
    bytesSent: 0,
    bytesReceived: 0,
    /** Frames whose header does not fit them. */
    refused: 0,
    /** Frames that came while no driver was there, or whose buffers are too small. */
    dropped: 0,
    announcements: 0,
  };
  private readonly link: Link;
  private host: VirtioHost | undefined;
  private isPlugged = true;
  /** Pairs that the driver uses. */
  private pairs = 1;
  private mustAnnounce = false;
  /** An announcement is due as soon as the queues are served: the device was restored. */
  private wasRestored = false;
  /** The cable seems to be cut until the driver has looked: its guest is to ask anew who it is. */
  private isFlapping = false;
  private readonly isCopy: boolean;

  constructor(
    options: VirtioNetOptions,
    private readonly mac: number,
    private readonly mtu: number,
    private readonly mostPairs: number,
  ) {
    this.isCopy = options.isCopy === true;
    const { checksum, guestChecksum, guestTso4, guestTso6, hostTso4, hostTso6 } = netFeatures;
    this.features = [
      ...[netFeatures.mac, netFeatures.status, netFeatures.mtu, netFeatures.mergeBuffers],
      ...[netFeatures.control, netFeatures.announce],
      ...(mostPairs > 1 ? [netFeatures.multiQueue] : []),
      ...(options.offloads === false
        ? []
        : [checksum, guestChecksum, guestTso4, guestTso6, hostTso4, hostTso6]),
    ];
    this.queueSizes = [...Array<number>(2 * mostPairs).fill(QUEUE_SIZE), CONTROL_QUEUE_SIZE];
    this.link = options.network.connect(this);
  }

  attach(host: VirtioHost): void {
    this.host = host;
  }

  activate(): void {
    this.link.ready();
  }

  dispose(): void {
    this.link.disconnect();
  }

  notify(index: number): void {
    if (this.wasRestored) {
      this.wasRestored = false;
      if (this.isFlapping) this.linkChanged();
      else this.announce();
    }
    if (index === this.controlQueue) this.control(index);
    else if (index >= 2 * this.pairs) return;
    else if (index % 2 === 1) this.transmit(index);
    else this.link.ready();
  }

  setLink(isUp: boolean): void {
    if (isUp === this.isPlugged) return;
    this.isPlugged = isUp;
    this.linkChanged();
  }

  announce(): void {
    const frame = new Uint8Array(LEAST_FRAME_BYTES);
    if (!this.isUp) return;
    this.counters.announcements++;
    // A switch learns by this at once where the device is now (RFC 903: a request for one's own address).
    writeEthernet(frame, BROADCAST_MAC, this.mac, ETHERTYPE_RARP);
    frame.set([0, 1, 8, 0, 6, 4, 0, 3], ETHERNET_BYTES);
    writeMac(frame, ETHERNET_BYTES + 8, this.mac);
    writeMac(frame, ETHERNET_BYTES + 18, this.mac);
    this.link.send({ bytes: frame });
    if (this.host?.live !== true || !this.host.hasFeature(netFeatures.announce)) return;
    // The driver knows its IP addresses, and tells who has them (section 5.1.6.5.4).
    this.mustAnnounce = true;
    this.host.configChanged();
  }

  readConfig(offset: number, size: AccessSize): number {
    const { mac, mtu, mostPairs: pairs } = this;
    const isUp = this.isUp && !this.isFlapping;
    const status = (isUp ? netStatus.linkUp : 0) | (this.mustAnnounce && isUp ? netStatus.announce : 0);
    const value = readConfigBytes(netConfig({ mac, mtu, pairs, status }), offset, size);
    const isStatusRead = offset <= STATUS_AT && offset + size > STATUS_AT;
    if (this.isFlapping && isStatusRead) {
      this.isFlapping = false;
      this.linkChanged();
    }
    return value;
  }

  writeConfig(_offset: number, _size: AccessSize, _value: number): void {
    // Nothing in it is the driver's to change.
  }

  reset(cause: "driver" | "power"): void {
    this.pairs = 1;
    this.mustAnnounce = false;
    this.wasRestored = false;
    this.isFlapping = false;
    if (cause === "power") this.isPlugged = true;
    // What waits was for the driver that is gone.
    this.link.ready();
  }

  save(): DeviceState {
    return {
      mac: formatMac(this.mac),
      pairs: this.pairs,
      announce: this.mustAnnounce,
      plugged: this.isPlugged,
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const isOther = state.mac !== formatMac(this.mac);
    if (isOther && !this.isCopy)
      throw reader.mismatch("mac", `${formatMac(this.mac)}, the address of the device that is there`);
    const pairs = reader.integer("pairs", this.mostPairs);
    if (pairs === 0) throw reader.mismatch("pairs", `an integer from 1 to ${this.mostPairs}`);
    this.mustAnnounce = reader.boolean("announce");
    this.isPlugged = reader.boolean("plugged");
    this.pairs = pairs;
    this.wasRestored = true;
    this.isFlapping = isOther;
  }

  // -- for the network

  get takes(): FrameSupport {
    const { host } = this;
    if (host?.live !== true || !host.hasFeature(netFeatures.guestChecksum)) return finishedFrames;
    return {
      checksum: true,
      segments4: host.hasFeature(netFeatures.guestTso4),
      segments6: host.hasFeature(netFeatures.guestTso6),
    };
  }

  linkChanged(): void {
    if (this.host?.hasFeature(netFeatures.status) === true) this.host.configChanged();
  }

  drained(): void {
    for (let pair = 0; pair < this.pairs && this.host?.live === true; pair++)
      if (this.host.queues[2 * pair + 1]!.ready) this.transmit(2 * pair + 1);
  }

  receive(frame: Frame): boolean {
    const { host } = this;
    if (host?.live !== true || !this.isUp) return this.drop();
    const queue = this.receiveQueue(frame);
    if (queue === undefined) return this.drop();
    // It may have waited since before the driver changed its mind.
    const [finished, ...others] = finishFrame(frame, this.takes);
    if (finished === undefined || others.length > 0) return this.drop();
    return this.deliver(queue, finished);
  }

  // -- inside

  private get isUp(): boolean {
    return this.isPlugged && this.link.isUp;
  }

  /** Its place depends on what was negotiated (section 5.1.2). */
  private get controlQueue(): number {
    return this.host!.hasFeature(netFeatures.multiQueue) ? 2 * this.mostPairs : 2;
  }

  private drop(): true {
    this.counters.dropped++;
    return true;
  }

  private receiveQueue(frame: Frame): number | undefined {
    const index = this.pairs === 1 ? 0 : 2 * (flowHash(frame.bytes) % this.pairs);
    const place = this.host!.queues[index]!.ready ? index : 0;
    return this.host!.queues[place]!.ready ? place : undefined;
  }

  /** Copies a frame to buffers of the driver; false, and none is used, if there are not enough. */
  private deliver(index: number, frame: Frame): boolean {
    const host = this.host!;
    const queue = host.queues[index]!;
    const needed = NET_HEADER_BYTES + frame.bytes.length;
    const isMerging = host.hasFeature(netFeatures.mergeBuffers);
    const chains: DescriptorChain[] = [];
    for (let room = 0; room < needed; ) {
      const chain = queue.pop();
      if (chain === undefined) {
        for (const taken of chains.reverse()) queue.putBack(taken);
        // Where the queue was given up for what it holds, the frame is lost.
        return queue.ready ? false : this.drop();
      }
      chains.push(chain);
      room += chain.writableBytes;
      const isTooSmall = chain.writableBytes < (chains.length === 1 ? NET_HEADER_BYTES : 1);
      if (isTooSmall) {
        queue.reject("request");
        return this.drop();
      }
      if (!isMerging && room < needed) {
        queue.putBack(chain);
        return this.drop();
      }
    }
    const header = headerOf(frame);
    new DataView(header.buffer).setUint16(BUFFERS_AT, chains.length, true);
    let done = 0;
    chains.forEach((chain, place) => {
      if (place === 0) chain.write(header);
      const part = chain.writableBytes - chain.written;
      chain.write(frame.bytes.subarray(done, done + part));
      done += part;
    });
    for (const chain of chains) queue.push(chain);
    this.counters.received++;
    this.counters.bytesReceived += frame.bytes.length;
    host.signal(index);
    return true;
  }

  private transmit(index: number): void {
    const host = this.host!;
    const queue = host.queues[index]!;
    const offers: FrameSupport = {
      checksum: host.hasFeature(netFeatures.checksum),
      segments4: host.hasFeature(netFeatures.hostTso4),
      segments6: host.hasFeature(netFeatures.hostTso6),
    };
    // Where the link is full, what is to be sent waits with the driver.
    while (!this.isHeldUp()) {
      const chain = queue.pop();
      if (chain === undefined) break;
      const length = chain.readableBytes - NET_HEADER_BYTES;
      if (length < 0 || length > MOST_FRAME_BYTES) {
        queue.reject("request");
        return;
      }
      const header = new DataView(new ArrayBuffer(NET_HEADER_BYTES));
      const bytes = new Uint8Array(length);
      const isWhole =
        chain.read(new Uint8Array(header.buffer)) === NET_HEADER_BYTES && chain.read(bytes) === length;
      if (!isWhole) return;
      queue.push(chain, 0);
      const frame = length < ETHERNET_BYTES ? undefined : frameOf(header, bytes, offers);
      if (frame === undefined) {
        this.counters.refused++;
        continue;
      }
      this.counters.sent++;
      this.counters.bytesSent += length;
      if (this.isPlugged) this.link.send(frame);
    }
    host.signal(index);
  }

  private isHeldUp(): boolean {
    return this.isPlugged && this.link.isFull === true;
  }

  private control(index: number): void {
    const queue: Virtqueue = this.host!.queues[index]!;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const command = parseControl(chain);
      if (command === undefined) {
        queue.reject("request");
        return;
      }
      let isDone = false;
      if (command.kind === "announced") {
        isDone = this.host!.hasFeature(netFeatures.announce);
        this.mustAnnounce = false;
      } else if (command.kind === "pairs") {
        isDone =
          this.host!.hasFeature(netFeatures.multiQueue) &&
          command.pairs >= 1 &&
          command.pairs <= this.mostPairs;
        if (isDone) this.pairs = command.pairs;
      }
      chain.write(Uint8Array.of(isDone ? controlAck.ok : controlAck.error));
      queue.push(chain);
    }
    this.host!.signal(index);
    // With other queues there may be room.
    this.link.ready();
  }
}
