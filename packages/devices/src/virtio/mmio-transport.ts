/**
 * The modern virtio-mmio transport (virtio 1.2, section 4.2): one page of registers, words but for the
 * configuration space from 0x100, which takes bytes, halves and words.
 *
 *   0x000 MagicValue       0x004 Version          0x008 DeviceID         0x00c VendorID
 *   0x010 DeviceFeatures   0x014 DeviceFeaturesSel  0x020 DriverFeatures  0x024 DriverFeaturesSel
 *   0x030 QueueSel         0x034 QueueNumMax      0x038 QueueNum         0x044 QueueReady   0x050 QueueNotify
 *   0x060 InterruptStatus  0x064 InterruptACK     0x070 Status
 *   0x080 QueueDesc        0x090 QueueDriver      0x0a0 QueueDevice      (low, high)
 *   0x0b0 SHMLen           0x0b8 SHMBase          (low, high)            0x0fc ConfigGeneration
 *
 * Status goes forward only: FEATURES_OK sticks if the features are acceptable, DRIVER_OK only after it, and zero
 * resets. A rejected queue breaks the device: DEVICE_NEEDS_RESET is set and no queue is served until the driver
 * resets it. Accesses that no driver makes (wrong width or place, wrong time) have no effect and are counted.
 */
import type { AccessSize, DeviceState, DmaMemory, IrqLine, MmioDevice } from "../ports.js";
import { DeviceStateError, StateReader } from "../state.js";
import type { VirtioDevice, VirtioHost } from "./device.js";
import { address, MAXIMUM_QUEUE_SIZE, type QueueSetup, type RejectReason, Virtqueue } from "./queue.js";

/** Bytes of the register page. */
export const VIRTIO_MMIO_SIZE = 0x1000;

/** Feature bits of rings and transport that are offered for every device (virtio 1.2, chapter 6). */
export const transportFeatures = { indirectDescriptors: 28, eventIndex: 29, version1: 32 } as const;

/** Bits of the Status register (section 2.1). */
export const virtioStatus = {
  acknowledge: 1,
  driver: 2,
  driverOk: 4,
  featuresOk: 8,
  needsReset: 64,
  failed: 128,
} as const;

const MAGIC = 0x74726976;
const VERSION = 2;
/** "HYPF". */
const VENDOR = 0x46505948;
const CONFIG = 0x100;
const INTERRUPT_USED = 1;
const INTERRUPT_CONFIG = 2;
const WORD = 0xffffffff;
const FEATURE_WORDS = 2;

/** A queue with the registers that set it up. */
interface QueueRegisters {
  readonly queue: Virtqueue;
  size: number;
  descLow: number;
  descHigh: number;
  driverLow: number;
  driverHigh: number;
  deviceLow: number;
  deviceHigh: number;
}
/** The registers that hold a ring's address, by offset. */
const addressRegisters: Readonly<Record<number, Exclude<keyof QueueRegisters, "queue" | "size">>> = {
  128: "descLow",
  132: "descHigh",
  144: "driverLow",
  148: "driverHigh",
  160: "deviceLow",
  164: "deviceHigh",
};
const addressFields = Object.values(addressRegisters);

/** The transport with its device. */
export class MmioTransport implements MmioDevice, VirtioHost {
  readonly queues: readonly Virtqueue[];
  private readonly registers: readonly QueueRegisters[];
  private readonly offered: readonly number[];
  private readonly accepted = [0, 0];
  private readonly own = { kicks: 0, interrupts: 0, rejects: 0, resets: 0, badAccesses: 0, earlyKicks: 0 };
  private lastRejection: RejectReason | undefined;
  private status = 0;
  private deviceFeaturesSelect = 0;
  private driverFeaturesSelect = 0;
  private queueSelect = 0;
  private interruptStatus = 0;
  private configGeneration = 0;

  constructor(
    private readonly device: VirtioDevice,
    private readonly irq: IrqLine,
    memory: DmaMemory,
  ) {
    this.offered = featureWords([...device.features, ...Object.values(transportFeatures)]);
    this.registers = device.queueSizes.map((maximum) => ({
      queue: new Virtqueue(memory, Math.min(maximum, MAXIMUM_QUEUE_SIZE), (reason) => this.broken(reason)),
      ...{ size: 0, descLow: 0, descHigh: 0, driverLow: 0, driverHigh: 0, deviceLow: 0, deviceHigh: 0 },
    }));
    this.queues = this.registers.map(({ queue }) => queue);
    device.attach(this);
  }

  get name(): string {
    return this.device.name;
  }

  /**
   * Of the transport: `kicks`, `interrupts`, `rejects` (queues given up), `resets` by the driver, `badAccesses`,
   * `earlyKicks` (before DRIVER_OK or to no queue); and the device's own.
   */
  get counters(): Readonly<Record<string, number>> {
    return { ...this.own, ...this.device.counters };
  }

  /** Why a queue was last rejected, for messages; undefined if none was since power-on. */
  get rejection(): RejectReason | undefined {
    return this.lastRejection;
  }

  get live(): boolean {
    return (this.status & (virtioStatus.driverOk | virtioStatus.needsReset)) === virtioStatus.driverOk;
  }

  hasFeature(bit: number): boolean {
    return this.hasStatus(virtioStatus.featuresOk) && ((this.accepted[bit >> 5]! >>> (bit & 31)) & 1) === 1;
  }

  signal(queue: number): void {
    if (this.queues[queue]!.takeInterrupt()) this.interrupt(INTERRUPT_USED);
  }

  configChanged(): void {
    this.configGeneration = (this.configGeneration + 1) >>> 0;
    if (this.hasStatus(virtioStatus.driverOk)) this.interrupt(INTERRUPT_CONFIG);
  }

  read(offset: number, size: AccessSize): number {
    if (offset >= CONFIG) {
      if (offset % size === 0) return this.device.readConfig(offset - CONFIG, size);
      return this.bad();
    }
    if (size !== 4 || offset % 4 !== 0) return this.bad();
    const selected = this.registers[this.queueSelect];
    switch (offset) {
      case 0x000:
        return MAGIC;
      case 0x004:
        return VERSION;
      case 0x008:
        return this.device.id;
      case 0x00c:
        return VENDOR;
      case 0x010:
        return this.offered[this.deviceFeaturesSelect] ?? 0;
      case 0x034:
        return selected?.queue.maximum ?? 0;
      case 0x044:
        return selected?.queue.ready === true ? 1 : 0;
      case 0x060:
        return this.interruptStatus;
      case 0x070:
        return this.status;
      case 0x0b0:
      case 0x0b4:
      case 0x0b8:
      case 0x0bc:
        // No shared memory region has this number (section 4.2.2.1).
        return WORD;
      case 0x0fc:
        return this.configGeneration;
      default:
        return this.bad();
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset >= CONFIG) {
      if (offset % size === 0) this.device.writeConfig(offset - CONFIG, size, value);
      else this.bad();
      return;
    }
    if (size !== 4 || offset % 4 !== 0) {
      this.bad();
      return;
    }
    switch (offset) {
      case 0x014:
        this.deviceFeaturesSelect = value;
        break;
      case 0x020:
        this.acceptFeatures(value);
        break;
      case 0x024:
        this.driverFeaturesSelect = value;
        break;
      case 0x030:
        this.queueSelect = value;
        break;
      case 0x050:
        this.kick(value);
        break;
      case 0x064:
        this.interruptStatus &= ~value;
        this.driveLine();
        break;
      case 0x070:
        this.writeStatus(value);
        break;
      case 0x0ac:
        // SHMSel: every region is absent.
        break;
      default:
        this.writeQueueRegister(offset, value);
    }
  }

  reset(): void {
    this.resetTransport();
    this.deviceFeaturesSelect = this.driverFeaturesSelect = this.queueSelect = 0;
    this.configGeneration = 0;
    this.device.reset("power");
  }

  save(): DeviceState {
    const { registers, queues } = this;
    return {
      status: this.status,
      selectors: [this.deviceFeaturesSelect, this.driverFeaturesSelect, this.queueSelect],
      accepted: [...this.accepted],
      interruptStatus: this.interruptStatus,
      configGeneration: this.configGeneration,
      sizes: registers.map(({ size }) => size),
      addresses: registers.flatMap((each) => addressFields.map((field) => each[field])),
      ready: queues.map(({ ready }) => (ready ? 1 : 0)),
      // A queue that was given up has no use for its place any more, and restoring does not bring it back.
      progress: queues.flatMap(({ ready, progress: { nextAvail, usedIndex, signalled } }) =>
        ready ? [nextAvail, usedIndex, signalled] : [0, 0, 0],
      ),
      device: this.device.save(),
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const count = this.registers.length;
    const status = reader.integer("status", 0xff);
    const selectors = reader.integers("selectors", 3, WORD);
    const accepted = reader.integers("accepted", FEATURE_WORDS, WORD);
    const interruptStatus = reader.integer("interruptStatus", INTERRUPT_USED | INTERRUPT_CONFIG);
    const configGeneration = reader.integer("configGeneration", WORD);
    const sizes = reader.integers("sizes", count, WORD);
    const addresses = reader.integers("addresses", count * addressFields.length, WORD);
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
    if (interruptStatus !== 0 && (status & driverOk) === 0)
      throw reader.mismatch("interruptStatus", "0 for a driver without DRIVER_OK");
    this.device.restore(reader.record("device"));

    this.status = status;
    [this.deviceFeaturesSelect, this.driverFeaturesSelect, this.queueSelect] = [
      selectors[0]!,
      selectors[1]!,
      selectors[2]!,
    ];
    this.accepted.splice(0, FEATURE_WORDS, ...accepted);
    this.interruptStatus = interruptStatus;
    this.configGeneration = configGeneration;
    this.registers.forEach((each, index) => {
      each.size = sizes[index]!;
      addressFields.forEach((field, place) => {
        each[field] = addresses[index * addressFields.length + place]!;
      });
      const [nextAvail = 0, usedIndex = 0, signalled = 0] = progress.slice(3 * index);
      each.queue.stop();
      if (ready[index] === 1 && !each.queue.resume(this.setupOf(each), { nextAvail, usedIndex, signalled })) {
        throw new DeviceStateError(
          `saved state of ${this.name}: queue ${index} has impossible rings, or progress in them`,
        );
      }
    });
    this.driveLine();
  }

  private hasStatus(bit: number): boolean {
    return (this.status & bit) !== 0;
  }

  private bad(): 0 {
    this.own.badAccesses++;
    return 0;
  }

  private interrupt(cause: number): void {
    if ((this.interruptStatus & cause) === 0) this.own.interrupts++;
    this.interruptStatus |= cause;
    this.driveLine();
  }

  private driveLine(): void {
    this.irq.set(this.interruptStatus !== 0);
  }

  /** Features settle with FEATURES_OK (section 3.1.1, step 5). */
  private acceptFeatures(value: number): void {
    if (this.hasStatus(virtioStatus.featuresOk)) this.bad();
    else if (this.driverFeaturesSelect < FEATURE_WORDS) this.accepted[this.driverFeaturesSelect] = value;
    else if (value !== 0) this.bad();
  }

  private writeStatus(value: number): void {
    if (value === 0) {
      this.own.resets++;
      this.resetTransport();
      this.device.reset("driver");
      return;
    }
    const { driverOk, featuresOk, needsReset } = virtioStatus;
    const wasReady = this.hasStatus(driverOk);
    // A driver never clears a bit and never sets the device's own (section 2.1.1).
    let added = value & 0xff & ~needsReset & ~this.status;
    if ((added & featuresOk) !== 0 && !this.acceptable(this.accepted)) added &= ~featuresOk;
    if ((added & driverOk) !== 0 && ((this.status | added) & featuresOk) === 0) {
      this.bad();
      added &= ~driverOk;
    }
    this.status |= added;
    if (wasReady || !this.hasStatus(driverOk)) return;
    if (this.hasStatus(needsReset)) {
      // A queue was rejected while it was set up: the driver can be told now.
      this.configChanged();
      return;
    }
    this.device.activate();
    this.queues.forEach((queue, index) => {
      // Drivers may have filled a queue before they became ready.
      if (queue.ready && this.live) this.device.notify(index);
    });
  }

  /** Nothing that was not offered, and VIRTIO_F_VERSION_1: there is no legacy interface. */
  private acceptable(accepted: readonly number[]): boolean {
    const { version1 } = transportFeatures;
    const subset = accepted.every((word, index) => (word & ~this.offered[index]!) === 0);
    return subset && ((accepted[version1 >> 5]! >>> (version1 & 31)) & 1) === 1;
  }

  private kick(index: number): void {
    const queue = this.queues[index];
    if (!this.live || queue?.ready !== true) {
      this.own.earlyKicks++;
      return;
    }
    this.own.kicks++;
    this.device.notify(index);
  }

  private writeQueueRegister(offset: number, value: number): void {
    const selected = this.registers[this.queueSelect];
    const field = addressRegisters[offset];
    if (selected === undefined || (field === undefined && offset !== 0x038 && offset !== 0x044)) this.bad();
    else if (offset === 0x044) this.writeReady(selected, value);
    else if (selected.queue.ready) this.bad();
    else if (field !== undefined) selected[field] = value;
    else selected.size = value;
  }

  private writeReady(selected: QueueRegisters, value: number): void {
    const { queue } = selected;
    const allowed = this.hasStatus(virtioStatus.featuresOk) && !this.hasStatus(virtioStatus.needsReset);
    if ((value & 1) === 0) queue.stop();
    else if (!allowed || queue.ready) this.bad();
    else queue.start(this.setupOf(selected));
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
    this.status |= virtioStatus.needsReset;
    this.configChanged();
  }

  private resetTransport(): void {
    this.status = 0;
    this.accepted.fill(0);
    this.interruptStatus = 0;
    for (const registers of this.registers) {
      registers.queue.stop();
      registers.size = 0;
      for (const field of addressFields) registers[field] = 0;
    }
    this.driveLine();
  }
}

function featureWords(bits: readonly number[]): readonly number[] {
  const words = [0, 0];
  for (const bit of bits) words[bit >> 5] = (words[bit >> 5]! | (1 << (bit & 31))) >>> 0;
  return words;
}
