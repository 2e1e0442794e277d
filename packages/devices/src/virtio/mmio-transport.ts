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
 * It has selectors and one interrupt line, which is up while InterruptStatus is not zero; everything behind the registers
 * is the core's. Accesses that no driver makes (wrong width or place, wrong time) have no effect and are counted.
 */
import type { AccessSize, DeviceState, DmaMemory, IrqLine, MmioDevice } from "../ports.js";
import { StateReader } from "../state.js";
import { type QueueField, VirtioCore, virtioStatus } from "./core.js";
import type { VirtioDevice } from "./device.js";
import type { RejectReason } from "./queue.js";
import type { Drain } from "./requests.js";

/** Bytes of the register page. */
export const VIRTIO_MMIO_SIZE = 0x1000;

const MAGIC = 0x74726976;
const VERSION = 2;
/** "HYPF". */
const VENDOR = 0x46505948;
const CONFIG = 0x100;
const INTERRUPT_USED = 1;
const INTERRUPT_CONFIG = 2;
const WORD = 0xffffffff;

/** Registers that set a queue up, by offset. */
const queueFields: Readonly<Record<number, QueueField>> = {
  56: "size",
  128: "descLow",
  132: "descHigh",
  144: "driverLow",
  148: "driverHigh",
  160: "deviceLow",
  164: "deviceHigh",
};

/** The transport with its core and device. */
export class MmioTransport implements MmioDevice {
  private readonly core: VirtioCore;
  private readonly own = { interrupts: 0, badAccesses: 0 };
  private deviceFeaturesSelect = 0;
  private driverFeaturesSelect = 0;
  private queueSelect = 0;
  private interruptStatus = 0;

  /**
   * @param wake has the VM look at its devices soon; an interrupt does that by itself
   * @param drainMs milliseconds for requests of a driver that is gone, while a new one waits
   */
  constructor(
    device: VirtioDevice,
    private readonly irq: IrqLine,
    memory: DmaMemory,
    wake: () => void = () => {},
    drainMs?: number,
  ) {
    const interrupts = {
      used: () => this.interrupt(INTERRUPT_USED),
      config: () => this.interrupt(INTERRUPT_CONFIG),
      reset: () => this.setInterrupts(0),
    };
    this.core = new VirtioCore(device, memory, interrupts, wake, drainMs);
  }

  get name(): string {
    return this.core.name;
  }

  /** Of the transport: `interrupts`, `badAccesses`; and the core's with its device's. */
  get counters(): Readonly<Record<string, number>> {
    return { ...this.own, ...this.core.counters };
  }

  /** Why a queue was last rejected, for messages; undefined if none was since power-on. */
  get rejection(): RejectReason | undefined {
    return this.core.rejection;
  }

  /** Whether requests are in flight. */
  get busy(): boolean {
    return this.core.inFlight > 0;
  }

  /** How many are. */
  get inFlight(): number {
    return this.core.inFlight;
  }

  /** Waits for the requests in flight; new ones wait in the rings until it is released. */
  drain(): Drain {
    return this.core.drain();
  }

  dispose(): void {
    this.core.dispose();
  }

  read(offset: number, size: AccessSize): number {
    const { core } = this;
    if (offset >= CONFIG) {
      if (offset % size === 0) return core.readConfig(offset - CONFIG, size);
      return this.bad();
    }
    if (size !== 4 || offset % 4 !== 0) return this.bad();
    switch (offset) {
      case 0x000:
        return MAGIC;
      case 0x004:
        return VERSION;
      case 0x008:
        return core.deviceId;
      case 0x00c:
        return VENDOR;
      case 0x010:
        return core.offeredFeatures(this.deviceFeaturesSelect);
      case 0x034:
        return core.queues[this.queueSelect]?.maximum ?? 0;
      case 0x044:
        return core.queues[this.queueSelect]?.ready === true ? 1 : 0;
      case 0x060:
        return this.interruptStatus;
      case 0x070:
        return core.status;
      case 0x0b0:
      case 0x0b4:
      case 0x0b8:
      case 0x0bc:
        // No shared memory region has this number (section 4.2.2.1).
        return WORD;
      case 0x0fc:
        return core.configGeneration;
      default:
        return this.bad();
    }
  }

  write(offset: number, size: AccessSize, value: number): void {
    const { core } = this;
    if (offset >= CONFIG) {
      if (offset % size === 0) core.writeConfig(offset - CONFIG, size, value);
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
        this.expect(core.acceptFeatures(this.driverFeaturesSelect, value));
        break;
      case 0x024:
        this.driverFeaturesSelect = value;
        break;
      case 0x030:
        this.queueSelect = value;
        break;
      case 0x044:
        this.expect(core.enableQueue(this.queueSelect, (value & 1) === 1));
        break;
      case 0x050:
        core.kick(value);
        break;
      case 0x064:
        this.setInterrupts(this.interruptStatus & ~value);
        break;
      case 0x070:
        this.expect(core.writeStatus(value));
        break;
      case 0x0ac:
        // SHMSel: every region is absent.
        break;
      default: {
        const field = queueFields[offset];
        this.expect(field !== undefined && core.setQueue(this.queueSelect, field, value));
      }
    }
  }

  reset(): void {
    this.deviceFeaturesSelect = this.driverFeaturesSelect = this.queueSelect = 0;
    this.core.reset();
  }

  /** @throws DeviceStateError while requests are in flight: drain first */
  save(): DeviceState {
    return {
      ...this.core.save(),
      selectors: [this.deviceFeaturesSelect, this.driverFeaturesSelect, this.queueSelect],
      interruptStatus: this.interruptStatus,
    };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const selectors = reader.integers("selectors", 3, WORD);
    const interruptStatus = reader.integer("interruptStatus", INTERRUPT_USED | INTERRUPT_CONFIG);
    if (interruptStatus !== 0 && (reader.integer("status", 0xff) & virtioStatus.driverOk) === 0)
      throw reader.mismatch("interruptStatus", "0 for a driver without DRIVER_OK");
    this.core.restore(state);

    [this.deviceFeaturesSelect, this.driverFeaturesSelect, this.queueSelect] = [
      selectors[0]!,
      selectors[1]!,
      selectors[2]!,
    ];
    this.setInterrupts(interruptStatus);
  }

  /** Memory and device are restored: serves what lay in the rings. */
  resume(): void {
    this.core.resume();
  }

  private bad(): 0 {
    this.own.badAccesses++;
    return 0;
  }

  private expect(isGood: boolean): void {
    if (!isGood) this.bad();
  }

  private interrupt(cause: number): void {
    if ((this.interruptStatus & cause) === 0) this.own.interrupts++;
    this.setInterrupts(this.interruptStatus | cause);
  }

  private setInterrupts(status: number): void {
    this.interruptStatus = status;
    this.irq.set(status !== 0);
  }
}
