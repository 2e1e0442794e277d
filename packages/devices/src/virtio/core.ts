/**
 * What is the same for all virtio devices, whatever their transport (virtio 1.2, chapters 2 and 3): status, features,
 * queues, the generation of the configuration, requests in flight, resets.
 *
 * Status goes forward only: FEATURES_OK sticks if the features are acceptable, DRIVER_OK only after it, and zero
 * resets. A rejected queue breaks the device: DEVICE_NEEDS_RESET is set and no queue is served until the driver
 * resets it; so does a backend that does not answer what an earlier driver asked for. Methods that a driver's access leads to return false for one that no driver makes; it has no effect then.
 */
import type { AccessSize, DeviceState, DmaMemory } from "../ports.js";
import { DeviceStateError, StateReader } from "../state.js";
import type { VirtioDevice, VirtioHost, VirtioInterrupts, VirtioRequest } from "./device.js";
import { address, MAXIMUM_QUEUE_SIZE, type QueueSetup, type RejectReason, Virtqueue } from "./queue.js";
import { DRAIN_MS, type Drain, Requests } from "./requests.js";

/** Feature bits of rings and transport that are offered for every device (virtio 1.2, chapter 6). */
export const transportFeatures = { indirectDescriptors: 28, eventIndex: 29, version1: 32 } as const;

/** Bits of the device status (section 2.1). */
export const virtioStatus = {
  acknowledge: 1,
  driver: 2,
  driverOk: 4,
  featuresOk: 8,
  needsReset: 64,
  failed: 128,
} as const;

const WORD = 0xffffffff;
const FEATURE_WORDS = 2;

/** What a driver sets up of a queue: its size, and the addresses of its rings in halves. */
interface QueueRegisters {
  size: number;
  descLow: number;
  descHigh: number;
  driverLow: number;
  driverHigh: number;
  deviceLow: number;
  deviceHigh: number;
}
/** Names a field of a queue that the driver writes before it enables the queue. */
export type QueueField = keyof QueueRegisters;
const ringFields = [
  "descLow",
  "descHigh",
  "driverLow",
  "driverHigh",
  "deviceLow",
  "deviceHigh",
] as const satisfies readonly QueueField[];

/** The core with its device. */
export class VirtioCore implements VirtioHost {
  readonly queues: readonly Virtqueue[];
  private readonly registers: readonly QueueRegisters[];
  private readonly requests: Requests;
  private readonly offered: readonly number[];
  private readonly accepted = [0, 0];
  private readonly own = { kicks: 0, rejects: 0, resets: 0, earlyKicks: 0, overdue: 0 };
  private lastRejection: RejectReason | undefined;
  private bits = 0;
  private generation = 0;

  /**
   * @param memory what the queues reach
   * @param interrupts how the driver is interrupted; not called before the device has a driver
   * @param wake has the VM look at its devices soon
   * @param drainMs milliseconds that the device's backend has for requests of a driver that is gone, while a new one waits
   */
  constructor(
    private readonly device: VirtioDevice,
    memory: DmaMemory,
    private readonly interrupts: VirtioInterrupts,
    readonly wake: () => void,
    drainMs = DRAIN_MS,
  ) {
    this.offered = featureWords([...device.features, ...Object.values(transportFeatures)]);
    this.queues = device.queueSizes.map(
      (maximum) =>
        new Virtqueue(memory, Math.min(maximum, MAXIMUM_QUEUE_SIZE), (reason) => this.broken(reason)),
    );
    this.registers = this.queues.map(() => ({
      size: 0,
      ...{ descLow: 0, descHigh: 0, driverLow: 0, driverHigh: 0, deviceLow: 0, deviceHigh: 0 },
    }));
    this.requests = new Requests(
      this.queues,
      () => this.notifyAll(),
      () => this.overdue(),
      drainMs,
    );
    device.attach(this);
  }

  get name(): string {
    return this.device.name;
  }

  get deviceId(): number {
    return this.device.id;
  }

  /**
   * `kicks`, `rejects` (queues given up), `resets` by the driver, `earlyKicks` (before DRIVER_OK or to no queue),
   * `overdue` (times that requests of an earlier driver were not answered in time); and the device's own.
   */
  get counters(): Readonly<Record<string, number>> {
    return { ...this.own, ...this.device.counters };
  }

  /** Why a queue was last rejected, for messages; undefined if none was since power-on. */
  get rejection(): RejectReason | undefined {
    return this.lastRejection;
  }

  // -- for the device

  get live(): boolean {
    return (this.bits & (virtioStatus.driverOk | virtioStatus.needsReset)) === virtioStatus.driverOk;
  }

  hasFeature(bit: number): boolean {
    return this.hasStatus(virtioStatus.featuresOk) && ((this.accepted[bit >> 5]! >>> (bit & 31)) & 1) === 1;
  }

  take(index: number): VirtioRequest | undefined {
    return this.requests.take(this.queues[index]!, () => this.signal(index));
  }

  signal(queue: number): void {
    if (this.queues[queue]!.takeInterrupt()) this.interrupts.used(queue);
  }

  configChanged(): void {
    this.generation = (this.generation + 1) >>> 0;
    if (this.hasStatus(virtioStatus.driverOk)) this.interrupts.config();
  }

  // -- for the machine

  /** Requests that the device has taken and not completed. */
  get inFlight(): number {
    return this.requests.count;
  }

  /** Waits for the requests in flight; new ones wait in the rings until it is released. */
  drain(): Drain {
    const { drained, release } = this.requests.drain();
    const slow = this.device.hasten?.();
    return {
      drained,
      release: () => {
        slow?.();
        release();
      },
    };
  }

  /** Brings core and device to power-on. Requests in flight are void. */
  reset(): void {
    this.clear();
    this.generation = 0;
    this.device.reset("power");
  }

  /** Lets go of what the host gave. What is answered later reaches nothing of the guest, whose memory may be another's. */
  dispose(): void {
    for (const queue of this.queues) queue.stop();
    this.requests.voided();
    this.requests.forget();
    this.device.dispose?.();
  }

  /** @throws DeviceStateError while requests are in flight: drain first */
  save(): DeviceState {
    const { registers, queues } = this;
    const busy = queues.reduce((sum, queue) => sum + queue.outstanding, this.requests.stale);
    if (busy > 0)
      throw new DeviceStateError(`${this.name} has ${busy} requests in flight: drain it before it is saved`);
    return {
      status: this.bits,
      accepted: [...this.accepted],
      configGeneration: this.generation,
      sizes: registers.map(({ size }) => size),
      addresses: registers.flatMap((each) => ringFields.map((field) => each[field])),
      ready: queues.map(({ ready }) => (ready ? 1 : 0)),
      // A queue that was given up has no use for its place any more, and restoring does not bring it back.
      progress: queues.flatMap(({ ready, progress: { nextAvail, usedIndex, signalled } }) =>
        ready ? [nextAvail, usedIndex, signalled] : [0, 0, 0],
      ),
      device: this.device.save(),
    };
  }

  /** @throws DeviceStateError on a state of another shape, or one that no driver can bring about */
  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const count = this.registers.length;
    const status = reader.integer("status", 0xff);
    const accepted = reader.integers("accepted", FEATURE_WORDS, WORD);
    const generation = reader.integer("configGeneration", WORD);
    const sizes = reader.integers("sizes", count, WORD);
    const addresses = reader.integers("addresses", count * ringFields.length, WORD);
    const ready = reader.integers("ready", count, 1);
    const progress = reader.integers("progress", count * 3, 0xffff);
    const { driverOk, featuresOk } = virtioStatus;
    const settled = (status & featuresOk) !== 0;
    // What a driver's writes can't bring about, a saved state can't either.
    if (settled && !this.acceptable(accepted)) throw reader.mismatch("accepted", "features that are offered");
    if ((status & driverOk) !== 0 && !settled)
      throw reader.mismatch("status", "one in which FEATURES_OK comes before DRIVER_OK");
    if (ready.includes(1) && !settled)
      throw reader.mismatch("ready", "0 for all queues of a driver without FEATURES_OK");
    this.device.restore(reader.record("device"));

    this.bits = status;
    this.accepted.splice(0, FEATURE_WORDS, ...accepted);
    this.generation = generation;
    this.registers.forEach((each, index) => {
      each.size = sizes[index]!;
      ringFields.forEach((field, place) => {
        each[field] = addresses[index * ringFields.length + place]!;
      });
      const queue = this.queues[index]!;
      const [nextAvail = 0, usedIndex = 0, signalled = 0] = progress.slice(3 * index);
      queue.stop();
      if (ready[index] === 1 && !queue.resume(this.setupOf(each), { nextAvail, usedIndex, signalled })) {
        throw new DeviceStateError(
          `saved state of ${this.name}: queue ${index} has impossible rings, or progress in them`,
        );
      }
    });
    this.requests.voided();
  }

  /** Serves what lay in the rings when they were saved, of which the driver has told the device already. */
  resume(): void {
    this.notifyAll();
  }

  // -- for the transport

  get status(): number {
    return this.bits;
  }

  /** Steps forward, or resets if it is zero. */
  writeStatus(value: number): boolean {
    if (value === 0) {
      this.own.resets++;
      this.clear();
      this.device.reset("driver");
      return true;
    }
    const { driverOk, featuresOk, needsReset } = virtioStatus;
    const wasReady = this.hasStatus(driverOk);
    // A driver never clears a bit and never sets the device's own (section 2.1.1).
    let added = value & 0xff & ~needsReset & ~this.bits;
    if ((added & featuresOk) !== 0 && !this.acceptable(this.accepted)) added &= ~featuresOk;
    const isEarly = (added & driverOk) !== 0 && ((this.bits | added) & featuresOk) === 0;
    if (isEarly) added &= ~driverOk;
    this.bits |= added;
    if (wasReady || !this.hasStatus(driverOk)) return !isEarly;
    if (this.hasStatus(needsReset)) {
      // A queue was rejected while it was set up: the driver can be told now.
      this.configChanged();
      return true;
    }
    this.device.activate();
    // Drivers may have filled a queue before they became ready.
    this.notifyAll();
    return true;
  }

  /** A word of the features that are offered; zero beyond them. */
  offeredFeatures(word: number): number {
    return this.offered[word] ?? 0;
  }

  /** The driver accepts a word of features. They settle with FEATURES_OK (section 3.1.1, step 5). */
  acceptFeatures(word: number, value: number): boolean {
    if (this.hasStatus(virtioStatus.featuresOk)) return false;
    if (word >= FEATURE_WORDS) return value === 0;
    this.accepted[word] = value;
    return true;
  }

  /** Changes with every change of the configuration space. */
  get configGeneration(): number {
    return this.generation;
  }

  readConfig(offset: number, size: AccessSize): number {
    return this.device.readConfig(offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    this.device.writeConfig(offset, size, value);
  }

  /** Writes a field of a queue that is not enabled. */
  setQueue(index: number, field: QueueField, value: number): boolean {
    const registers = this.registers[index];
    if (registers === undefined || this.queues[index]!.ready) return false;
    registers[field] = value;
    return true;
  }

  /** Enables a queue that is set up, or stops it. */
  enableQueue(index: number, isEnabled: boolean): boolean {
    const queue = this.queues[index];
    if (queue === undefined) return false;
    if (!isEnabled) {
      queue.stop();
      this.requests.voided();
      return true;
    }
    if (!this.hasStatus(virtioStatus.featuresOk) || this.hasStatus(virtioStatus.needsReset) || queue.ready)
      return false;
    queue.start(this.setupOf(this.registers[index]!));
    return true;
  }

  /** The driver made chains available. */
  kick(index: number): void {
    const queue = this.queues[index];
    if (!this.live || queue?.ready !== true) {
      this.own.earlyKicks++;
      return;
    }
    this.own.kicks++;
    // What waits is served when the queues are let go.
    if (!this.requests.held) this.device.notify(index);
  }

  // -- inside

  private hasStatus(bit: number): boolean {
    return (this.bits & bit) !== 0;
  }

  private notifyAll(): void {
    if (this.requests.held) return;
    this.queues.forEach((queue, index) => {
      if (queue.ready && this.live) this.device.notify(index);
    });
  }

  /** Nothing that was not offered, and VIRTIO_F_VERSION_1: there is no legacy interface. */
  private acceptable(accepted: readonly number[]): boolean {
    const { version1 } = transportFeatures;
    const subset = accepted.every((word, index) => (word & ~this.offered[index]!) === 0);
    return subset && ((accepted[version1 >> 5]! >>> (version1 & 31)) & 1) === 1;
  }

  private setupOf(registers: QueueRegisters): QueueSetup {
    return {
      size: registers.size,
      descriptors: address(registers.descLow, registers.descHigh),
      avail: address(registers.driverLow, registers.driverHigh),
      used: address(registers.deviceLow, registers.deviceHigh),
      indirect: this.hasFeature(transportFeatures.indirectDescriptors),
      eventIndex: this.hasFeature(transportFeatures.eventIndex),
    };
  }

  private broken(reason: RejectReason): void {
    this.own.rejects++;
    this.lastRejection = reason;
    this.bits |= virtioStatus.needsReset;
    this.requests.voided();
    this.configChanged();
  }

  private overdue(): void {
    this.own.overdue++;
    this.bits |= virtioStatus.needsReset;
    this.configChanged();
  }

  private clear(): void {
    this.bits = 0;
    this.accepted.fill(0);
    this.registers.forEach((registers, index) => {
      this.queues[index]!.stop();
      registers.size = 0;
      for (const field of ringFields) registers[field] = 0;
    });
    this.requests.voided();
    this.interrupts.reset();
  }
}

function featureWords(bits: readonly number[]): readonly number[] {
  const words = [0, 0];
  for (const bit of bits) words[bit >> 5] = (words[bit >> 5]! | (1 << (bit & 31))) >>> 0;
  return words;
}
