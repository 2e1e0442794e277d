/**
 * The device for sockets (virtio 1.2, section 5.10): streams between programs of the guest and the host.
 *
 * A packet that is sent is copied out of guest memory before anybody looks at it; one for the guest is made when the driver
 * has a buffer for it, so none are kept. Packets that need an answer are taken only while answers have room
 * (section 5.10.6.1).
 *
 * After a restore the streams are gone, and the driver is told so by an event. Until it has dealt with that it would take
 * new streams for old ones, so it gets no packets before.
 */
import type { AccessSize, DeviceState } from "../../ports.js";
import { StateReader } from "../../state.js";
import type { DescriptorChain } from "../descriptor-chain.js";
import { readConfigBytes, type VirtioDevice, type VirtioHost, type VirtioResetCause } from "../device.js";
import type { Virtqueue } from "../queue.js";
import { Connections } from "./connections.js";
import { VsockError } from "./errors.js";
import { parseVsockHeader, VSOCK_HEADER_BYTES, type VsockHeader, vsockHeader, vsockOps } from "./packet.js";
import { HIGHEST_VSOCK_PORT, type VsockPorts } from "./stream.js";

const DEVICE_ID = 19;
/** VIRTIO_VSOCK_F_STREAM. */
const FEATURES = [0];
const RECEIVE = 0;
const TRANSMIT = 1;
const EVENT = 2;
const QUEUE_SIZES = [128, 128, 128];
/** guest_cid. */
const CONFIG_BYTES = 8;
/** VIRTIO_VSOCK_EVENT_TRANSPORT_RESET, as it stands in a buffer. */
const TRANSPORT_RESET = new Uint8Array(4);
/** The first address that a guest can have; those before it are reserved. */
const FIRST_CID = 3;
const HIGHEST_CID = 0xffff_fffe;

/** What a device for sockets is made from. */
export interface VirtioVsockOptions {
  /** The guest's address, from 3 on; 3 unless given. Two guests may have the same: nothing leads from one to the other. */
  readonly cid?: number;
}

/** A device for sockets and the host's handle on it. */
export interface VirtioVsock {
  /** The device. To be plugged into one board. */
  readonly device: VirtioDevice;
  /** The way to the guest's programs and back. */
  readonly ports: VsockPorts;
}

/**
 * A device for sockets.
 * @throws VsockError `E_VSOCK_CID` for an address that no guest can have
 */
export function virtioVsock(options: VirtioVsockOptions = {}): VirtioVsock {
  const { cid = FIRST_CID } = options;
  if (!Number.isInteger(cid) || cid < FIRST_CID || cid > HIGHEST_CID)
    throw new VsockError(
      "E_VSOCK_CID",
      `${cid} is no address of a guest: use an integer from ${FIRST_CID} to ${HIGHEST_CID}`,
    );
  const device = new VsockDevice(cid);
  return { device, ports: device.ports };
}

class VsockDevice implements VirtioDevice {
  readonly name = "vsock";
  readonly id = DEVICE_ID;
  readonly features = FEATURES;
  readonly queueSizes = QUEUE_SIZES;
  readonly ports: Connections;
  private readonly own = { sent: 0, received: 0, bytesSent: 0, bytesReceived: 0, transportResets: 0 };
  private readonly config = new Uint8Array(CONFIG_BYTES);
  private host: VirtioHost | undefined;
  /** It is being restored, or its machine is gone: nobody reaches the guest. */
  private isAway = false;
  /** Somebody moves packets now, and sees what is added. */
  private isServing = false;
  /** Packets may lie in the transmit queue of which the driver has told already. */
  private isStalled = false;
  /** The driver gets no packets: it takes the streams before a restore for its own still. */
  private isHeld = false;
  /** It is to be told that those are gone. */
  private mustTellReset = false;
  /** Buffers in the event queue without the one that told so. */
  private eventsLeft = 0;

  constructor(cid: number) {
    new DataView(this.config.buffer).setUint32(0, cid, true);
    const device = this;
    this.ports = new Connections(cid, {
      get live() {
        return device.isLive;
      },
      pump: () => this.serve(),
    });
  }

  /** `sent` and `received` by the guest: packets and bytes; and events of its streams. */
  get counters(): Readonly<Record<string, number>> {
    return { ...this.own, ...this.ports.counters };
  }

  attach(host: VirtioHost): void {
    this.host = host;
  }

  activate(): void {
    // The driver gives buffers, and asks, by itself.
  }

  notify(index: number): void {
    if (index === EVENT || this.mustTellReset) this.serveEvents();
    if (index === TRANSMIT) this.isStalled = true;
    if (this.isLive) this.serve();
    else this.ports.lost();
  }

  readConfig(offset: number, size: AccessSize): number {
    return readConfigBytes(this.config, offset, size);
  }

  writeConfig(_offset: number, _size: AccessSize, _value: number): void {
    // Nothing in it is the driver's to change.
  }

  reset(_cause: VirtioResetCause): void {
    this.isStalled = this.mustTellReset = this.isHeld = false;
    this.ports.lost();
  }

  dispose(): void {
    this.isAway = true;
    this.ports.lost();
  }

  /** Streams are not saved. The port is, so that new streams are taken for none that the guest remembers. */
  save(): DeviceState {
    return { nextPort: this.ports.nextPort };
  }

  restore(state: DeviceState): void {
    const nextPort = new StateReader(this.name, state).integer("nextPort", HIGHEST_VSOCK_PORT);
    this.isAway = true;
    this.ports.lost();
    this.isAway = this.isStalled = false;
    this.ports.nextPort = nextPort;
    this.mustTellReset = this.isHeld = true;
  }

  private get isLive(): boolean {
    return this.host?.live === true && !this.isAway;
  }

  /** Moves packets both ways as far as that goes. */
  private serve(): void {
    if (this.isServing || !this.isLive) return;
    this.isServing = true;
    try {
      this.deliver();
      while (this.isStalled && !this.ports.isFull) {
        this.transmit();
        this.deliver();
      }
    } finally {
      this.isServing = false;
    }
    if (!this.isLive) this.ports.lost();
  }

  private transmit(): void {
    const host = this.host!;
    const queue = host.queues[TRANSMIT]!;
    this.isStalled = false;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const header = readHeader(chain);
      if (header === undefined) {
        queue.reject("request");
        return;
      }
      const data = this.dataOf(header, chain);
      if (!chain.live) return;
      queue.push(chain, 0);
      this.own.sent++;
      this.own.bytesSent += data?.length ?? 0;
      this.ports.receive(header, data);
      if (this.ports.isFull) {
        this.isStalled = true;
        break;
      }
    }
    if (this.isLive) host.signal(TRANSMIT);
  }

  /** The bytes of a packet; undefined where it should have none, says more than there are, or has more than fit. */
  private dataOf(header: VsockHeader, chain: DescriptorChain): Uint8Array | undefined {
    const { op, length } = header;
    if (op !== vsockOps.readWrite || length > chain.unread || length > this.ports.roomFor(header))
      return undefined;
    const data = new Uint8Array(length);
    return chain.read(data) === length ? data : undefined;
  }

  private deliver(): void {
    const host = this.host!;
    if (this.isHeld) return;
    const queue = host.queues[RECEIVE]!;
    while (this.ports.hasNext) {
      const chain = queue.pop();
      if (chain === undefined) break;
      const room = chain.writableBytes - VSOCK_HEADER_BYTES;
      if (room < 1) {
        queue.reject("request");
        return;
      }
      const packet = this.ports.next(room);
      if (packet === undefined) {
        queue.putBack(chain);
        break;
      }
      chain.write(vsockHeader(packet.header));
      for (const part of packet.data) chain.write(part);
      queue.push(chain);
      this.own.received++;
      this.own.bytesReceived += packet.header.length;
      packet.passed?.();
    }
    if (this.isLive) host.signal(RECEIVE);
  }

  /** Tells the driver of a restore, and sees when it has dealt with that: it gives the buffer back then. */
  private serveEvents(): void {
    const host = this.host!;
    const queue = host.queues[EVENT]!;
    const chains = takeAll(queue);
    // A driver without buffers has no way to be told before it gives some.
    if (this.mustTellReset ? chains.length === 0 : chains.length > this.eventsLeft) this.isHeld = false;
    const told = this.mustTellReset ? chains.shift() : undefined;
    // As if they had not been taken; but the driver was asked to tell of the next.
    for (const chain of chains.reverse()) queue.putBack(chain);
    if (told === undefined) return;
    if (told.writableBytes < TRANSPORT_RESET.length) {
      queue.reject("request");
      return;
    }
    told.write(TRANSPORT_RESET);
    queue.push(told);
    host.signal(EVENT);
    this.mustTellReset = false;
    this.eventsLeft = chains.length;
    this.own.transportResets++;
  }
}

/** The header of a packet; undefined for a chain that has none. */
function readHeader(chain: DescriptorChain): VsockHeader | undefined {
  const bytes = new Uint8Array(VSOCK_HEADER_BYTES);
  return chain.read(bytes) === bytes.length ? parseVsockHeader(bytes) : undefined;
}

/** All chains that wait in a queue. */
function takeAll(queue: Virtqueue): DescriptorChain[] {
  const chains: DescriptorChain[] = [];
  for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) chains.push(chain);
  return chains;
}
