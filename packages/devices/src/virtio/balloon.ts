/**
 * The traditional memory balloon (virtio 1.2, section 5.5): the host asks for a number of pages, the driver takes as
 * many from its guest and names them in queue 0, or takes them back through queue 1. Beside it come the guest's own
 * statistics (queue 2) and free-page reporting: ranges that the guest does not use at the moment (the last queue).
 *
 * Nothing that the driver says is believed: a page is given up when it is named, and used again when it is touched,
 * so only the memory knows how many are given up now, whatever `actual` claims. Statistics are the guest's word.
 *
 * The statistics buffer is not kept: it is read when fresh statistics are wanted, and goes back at once, so that the
 * driver fills it anew. What is read is what the guest wrote at the request before. So no chain is ever in flight
 * between two calls.
 *
 * The section numbers the reporting queue 4 even where free-page hints, queue 3, are not offered; Linux and QEMU
 * number it 3 then. Queues 3 and 4 both serve it.
 */
import type { AccessSize, DeviceState } from "../ports.js";
import { StateReader } from "../state.js";
import type { DescriptorChain } from "./descriptor-chain.js";
import { readConfigBytes, type VirtioDevice, type VirtioHost } from "./device.js";

const DEVICE_ID = 5;
/** VIRTIO_BALLOON_F_STATS_VQ, VIRTIO_BALLOON_F_DEFLATE_ON_OOM, VIRTIO_BALLOON_F_PAGE_REPORTING. */
const FEATURES = [1, 2, 5];
const INFLATE = 0;
const DEFLATE = 1;
const STATISTICS = 2;
const QUEUE_SIZES = [128, 128, 64, 64, 64];
/** num_pages, actual, free_page_hint_cmd_id, poison_val: 4 bytes each. */
const CONFIG_BYTES = 16;
const ACTUAL = 4;
/** Bytes of a page as the balloon counts them, whatever the guest's pages are. */
const PAGE = 4096;
/** Most page numbers in one request; Linux sends 256. */
const MAXIMUM_NUMBERS = 4096;
/** tag: 2 bytes, value: 8 bytes. */
const STATISTIC_BYTES = 10;
/** Most statistics in one buffer; there are sixteen kinds. */
const MAXIMUM_STATISTICS = 64;
const WORD = 0xffffffff;

/** Names of statistics by tag (section 5.5.6.4). */
const statisticNames = [
  "swapIn",
  "swapOut",
  "majorFaults",
  "minorFaults",
  "freeMemory",
  "totalMemory",
  "availableMemory",
  "diskCaches",
  "hugePageAllocations",
  "hugePageFailures",
] as const;

/** What the guest says about its memory: bytes, or events since its start. */
export type BalloonStatistics = { readonly [name in (typeof statisticNames)[number]]?: number };

/** The guest's memory, as its balloon changes it. Addresses are those of pages of 4 KiB. */
export interface BalloonMemory {
  /** The guest gives a page up: its bytes are lost. False if there is no such page, or it is given up already. */
  inflate(gpa: number): boolean;
  /** The guest takes a page back. False if it had not given it up. */
  deflate(gpa: number): boolean;
  /** The guest does not use a page now: its bytes are lost, and it reads as zeros. False if there is none. */
  discard(gpa: number): boolean;
  /** Pages of the guest. */
  readonly pages: number;
}

/** What a balloon is made from. */
export interface VirtioBalloonOptions {
  readonly memory: BalloonMemory;
}

/** A balloon and the host's handles on it. */
export interface VirtioBalloon {
  /** The device. To be plugged into one board. */
  readonly device: VirtioDevice;
  /** Asks the guest to give up so many pages of 4 KiB in all. */
  setTarget(pages: number): void;
  /** Pages that the guest was last asked for. */
  readonly target: number;
  /** Pages that the driver says it gave up. */
  readonly actual: number;
  /** Whether a driver is at work that can be asked. */
  readonly live: boolean;
  /** What the guest last said about its memory. */
  readonly statistics: BalloonStatistics;
  /** Asks the guest for fresh statistics; those that it wrote at the last request are read now. */
  requestStatistics(): void;
}

/** A balloon. */
export function virtioBalloon(options: VirtioBalloonOptions): VirtioBalloon {
  const device = new BalloonDevice(options.memory);
  return {
    device,
    setTarget: (pages) => device.setTarget(pages),
    get target() {
      return device.target;
    },
    get actual() {
      return device.actual;
    },
    get live() {
      return device.live;
    },
    get statistics() {
      return device.statistics;
    },
    requestStatistics: () => device.requestStatistics(),
  };
}

class BalloonDevice implements VirtioDevice {
  readonly name = "balloon";
  readonly id = DEVICE_ID;
  readonly features = FEATURES;
  readonly queueSizes = QUEUE_SIZES;
  readonly counters = { inflated: 0, deflated: 0, reported: 0, refused: 0, statistics: 0 };
  statistics: BalloonStatistics = {};
  target = 0;
  actual = 0;
  private host: VirtioHost | undefined;

  constructor(private readonly memory: BalloonMemory) {}

  get live(): boolean {
    return this.host?.live === true;
  }

  attach(host: VirtioHost): void {
    this.host = host;
  }

  activate(): void {
    // The driver reads the target by itself when it starts.
  }

  setTarget(pages: number): void {
    const target = Math.max(0, Math.min(this.memory.pages, Math.floor(pages)));
    if (target === this.target) return;
    this.target = target;
    this.host?.configChanged();
  }

  requestStatistics(): void {
    const { host } = this;
    if (host === undefined || !host.live) return;
    const queue = host.queues[STATISTICS]!;
    const chain = queue.pop();
    if (chain === undefined) return;
    if (!this.readStatistics(chain)) {
      queue.reject("request");
      return;
    }
    this.counters.statistics++;
    queue.push(chain, 0);
    host.signal(STATISTICS);
  }

  notify(index: number): void {
    // The statistics buffer waits in its queue until it is wanted.
    if (index === STATISTICS) return;
    const host = this.host!;
    const queue = host.queues[index]!;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const served = index === INFLATE || index === DEFLATE ? this.move(index, chain) : this.report(chain);
      if (!served) {
        queue.reject("request");
        return;
      }
      queue.push(chain, 0);
    }
    host.signal(index);
  }

  readConfig(offset: number, size: AccessSize): number {
    const config = new Uint8Array(CONFIG_BYTES);
    const view = new DataView(config.buffer);
    view.setUint32(0, this.target, true);
    view.setUint32(ACTUAL, this.actual, true);
    return readConfigBytes(config, offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    if (offset === ACTUAL && size === 4) this.actual = value;
  }

  reset(): void {
    // A new driver starts with an empty balloon; pages that the old one gave up come back as they are touched.
    this.actual = 0;
    this.statistics = {};
  }

  save(): DeviceState {
    return { target: this.target, actual: this.actual };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const target = reader.integer("target", this.memory.pages);
    this.actual = reader.integer("actual", WORD);
    this.target = target;
    this.statistics = {};
  }

  /** Serves a list of page numbers; false if it is none. */
  private move(queue: number, chain: DescriptorChain): boolean {
    const { readableBytes } = chain;
    if (readableBytes === 0 || readableBytes % 4 !== 0 || readableBytes > 4 * MAXIMUM_NUMBERS) return false;
    const bytes = new Uint8Array(readableBytes);
    if (chain.read(bytes) !== readableBytes) return true;
    const view = new DataView(bytes.buffer);
    for (let at = 0; at < readableBytes; at += 4) {
      const gpa = view.getUint32(at, true) * PAGE;
      if (queue === INFLATE) this.count(this.memory.inflate(gpa), "inflated");
      else this.count(this.memory.deflate(gpa), "deflated");
    }
    return true;
  }

  /** Serves ranges of unused memory; false if they are more than there can be. */
  private report(chain: DescriptorChain): boolean {
    if (chain.writableBytes === 0 || chain.writableBytes > this.memory.pages * PAGE) return false;
    for (const { gpa, length } of chain.writable) {
      // Only pages that lie in the range whole: the rest of a page may be in use.
      const end = gpa + length;
      for (let page = Math.ceil(gpa / PAGE) * PAGE; page + PAGE <= end; page += PAGE) {
        this.count(this.memory.discard(page), "reported");
      }
    }
    return true;
  }

  private readStatistics(chain: DescriptorChain): boolean {
    const { readableBytes } = chain;
    if (readableBytes > MAXIMUM_STATISTICS * STATISTIC_BYTES) return false;
    const bytes = new Uint8Array(readableBytes);
    const count = chain.read(bytes);
    const view = new DataView(bytes.buffer);
    const statistics: Record<string, number> = {};
    for (let at = 0; at + STATISTIC_BYTES <= count; at += STATISTIC_BYTES) {
      const name = statisticNames[view.getUint16(at, true)];
      if (name !== undefined)
        statistics[name] = view.getUint32(at + 2, true) + view.getUint32(at + 6, true) * 2 ** 32;
    }
    this.statistics = statistics;
    return true;
  }

  private count(done: boolean, what: "inflated" | "deflated" | "reported"): void {
    this.counters[done ? what : "refused"]++;
  }
}
