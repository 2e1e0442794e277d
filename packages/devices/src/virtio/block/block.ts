/**
 * The block device (virtio 1.2, section 5.2): its driver's requests, answered from a disk.
 *
 * Any number of requests is under way at once, on all queues; they complete as the disk answers. What they take of the
 * host is bounded whatever a driver asks: data goes through buffers of at most 1 MiB, a long request through one after
 * another, and while the requests under way hold so much as `MOST_BYTES`, further ones wait in their rings.
 *
 * Data that is written is copied out of the guest before the disk sees it, and data that was read is copied in when the
 * disk has answered: a driver that is gone by then gets nothing (the core voids its chains), and one that changes its
 * buffers meanwhile changes its own data only.
 *
 * A FLUSH begins at the disk when it is taken, and so covers every write that was completed before it was asked for: what
 * a disk promises (`BlockBackend`) is what the driver is promised.
 */
import type { BlockBackend } from "../../disk/block-backend.js";
import { DiskError } from "../../disk/errors.js";
import type { AccessSize, DeviceState } from "../../ports.js";
import { StateReader } from "../../state.js";
import type { DescriptorChain } from "../descriptor-chain.js";
import { readConfigBytes, type VirtioDevice, type VirtioHost, type VirtioRequest } from "../device.js";
import { RequestIntake } from "../request-intake.js";
import { MOST_BUFFER_BYTES, TransferBuffers } from "../transfer-buffers.js";
import type { BlockCacheMode } from "./cache-modes.js";
import { BLOCK_QUEUE_SIZE, blockConfig, blockFeatures, WRITEBACK_AT } from "./config-space.js";
import { type BlockRequest, blockStatus, ID_BYTES, parseBlockRequest, SECTOR_BYTES } from "./request.js";

const DEVICE_ID = 2;
/** What requests under way may hold of the host's memory, but for the one that exceeds it. */
const MOST_BYTES = 32 << 20;
/** What a request without data is reckoned to hold: a disk zeroes in such steps. */
const RANGE_REQUEST_BYTES = 2 * MOST_BUFFER_BYTES;
const SMALL_REQUEST_BYTES = 4096;
const MOST_QUEUES = 64;

/** What a block device is made from. */
export interface VirtioBlockOptions {
  /** The disk. It stays the caller's to close, after the machine's last run. A rest behind whole sectors is not seen. */
  readonly disk: BlockBackend;
  /** Refuses writes; so does a disk that is only read. */
  readonly isReadOnly?: boolean;
  /** `writeback` unless given. */
  readonly cache?: BlockCacheMode;
  /** What the guest finds the disk by (`/dev/disk/by-id/virtio-…`): at most 20 ASCII characters; empty unless given. */
  readonly serial?: string;
  /** Queues, 1 to 64: a driver uses up to one a hart. 1 unless given. */
  readonly queues?: number;
  /** Requests are served one by one, in their order: what a machine in virtual time needs to repeat itself. */
  readonly inOrder?: boolean;
  /** Is told of each request that the disk failed; the guest gets an I/O error. */
  readonly onError?: (error: unknown) => void;
}

/** A block device and the host's handles on it. */
export interface VirtioBlock {
  /** The device. To be plugged into one board. */
  readonly device: VirtioDevice;
  /** The disk's size has changed: the driver is told. */
  resized(): void;
}

/**
 * A block device; Linux calls the first one `vda`.
 * @throws RangeError for a serial or a number of queues that no device can have
 */
export function virtioBlock(options: VirtioBlockOptions): VirtioBlock {
  const { serial = "", queues = 1 } = options;
  if (!/^[\x20-\x7e]{0,20}$/.test(serial))
    throw new RangeError(`${JSON.stringify(serial)} is no serial number: use at most 20 ASCII characters`);
  if (!Number.isInteger(queues) || queues < 1 || queues > MOST_QUEUES)
    throw new RangeError(`${queues} queues: a block device takes 1 to ${MOST_QUEUES}`);
  const device = new BlockDevice(options);
  return { device, resized: () => device.resized() };
}

class BlockDevice implements VirtioDevice {
  readonly name = "block";
  readonly id = DEVICE_ID;
  readonly features: readonly number[];
  readonly queueSizes: readonly number[];
  readonly counters = {
    reads: 0,
    writes: 0,
    flushes: 0,
    discards: 0,
    zeroes: 0,
    bytesRead: 0,
    bytesWritten: 0,
    refused: 0,
    errors: 0,
  };
  private readonly disk: BlockBackend;
  private readonly isReadOnly: boolean;
  private readonly cache: BlockCacheMode;
  private readonly id20 = new Uint8Array(ID_BYTES);
  private readonly buffers = new TransferBuffers();
  private readonly intake: RequestIntake;
  private host!: VirtioHost;
  /** Sectors as the driver knows them. */
  private sectors: number;
  /** What the driver chose with VIRTIO_BLK_F_CONFIG_WCE. */
  private isWriteback = true;

  constructor(private readonly options: VirtioBlockOptions) {
    const { disk, isReadOnly = false, cache = "writeback", serial = "", queues = 1 } = options;
    this.disk = disk;
    this.isReadOnly = isReadOnly || disk.isReadOnly;
    this.cache = cache;
    const limits = { bytes: MOST_BYTES, requests: options.inOrder === true ? 1 : Infinity };
    this.intake = new RequestIntake(limits, (queue, request) => this.begin(queue, request));
    this.id20.set(new TextEncoder().encode(serial));
    this.sectors = sectorsOf(disk);
    const { segMax, blockSize, topology } = blockFeatures;
    this.features = [
      ...[segMax, blockSize, topology],
      ...(queues > 1 ? [blockFeatures.multiQueue] : []),
      ...(this.isReadOnly ? [blockFeatures.readOnly] : [blockFeatures.discard, blockFeatures.writeZeroes]),
      // A device without FLUSH is one whose writes are durable when they complete (section 5.2.6.2).
      ...(cache === "writethrough" || this.isReadOnly ? [] : [blockFeatures.flush, blockFeatures.configWce]),
    ];
    this.queueSizes = Array<number>(queues).fill(BLOCK_QUEUE_SIZE);
  }

  attach(host: VirtioHost): void {
    this.host = host;
    this.intake.attach(host);
  }

  activate(): void {
    const { flush, configWce } = blockFeatures;
    // A driver that can't flush is given writethrough, whatever it may switch to (section 5.2.6.2).
    if (this.host.hasFeature(configWce) && !this.host.hasFeature(flush)) this.isWriteback = false;
  }

  resized(): void {
    const sectors = sectorsOf(this.disk);
    if (sectors === this.sectors) return;
    this.sectors = sectors;
    this.host.configChanged();
  }

  notify(index: number): void {
    this.intake.notify(index);
  }

  readConfig(offset: number, size: AccessSize): number {
    const { sectors, isReadOnly, queueSizes } = this;
    const isWriteback = !this.isWritethrough;
    return readConfigBytes(
      blockConfig({ sectors, isReadOnly, isWriteback, queues: queueSizes.length }),
      offset,
      size,
    );
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    if (offset !== WRITEBACK_AT || size !== 1 || value > 1) return;
    if (this.host.hasFeature(blockFeatures.configWce)) this.isWriteback = value === 1;
  }

  reset(): void {
    this.isWriteback = true;
    this.intake.reset();
    // Its driver is gone: what the disk has not begun yet never happens, and a new driver does not wait for it.
    this.disk.cancel?.();
  }

  hasten(): () => void {
    return this.disk.hasten?.() ?? (() => {});
  }

  save(): DeviceState {
    return { sectors: this.sectors, writeback: this.isWriteback };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const sectors = reader.number("sectors");
    if (sectors !== this.sectors)
      throw reader.mismatch("sectors", `the ${this.sectors} of the disk that is there`);
    this.isWriteback = reader.boolean("writeback");
    this.intake.reset();
  }

  private get isWritethrough(): boolean {
    const { flush, configWce } = blockFeatures;
    if (this.cache === "writethrough") return true;
    // Before features are settled the driver sees what it would get.
    if (!this.host.live) return !this.isWriteback;
    return this.host.hasFeature(configWce) ? !this.isWriteback : !this.host.hasFeature(flush);
  }

  private begin(index: number, request: VirtioRequest): void {
    const asked = parseBlockRequest(request.chain, {
      sectors: this.sectors,
      isReadOnly: this.isReadOnly,
      hasDiscard: this.host.hasFeature(blockFeatures.discard),
      hasWriteZeroes: this.host.hasFeature(blockFeatures.writeZeroes),
    });
    if (asked === undefined) {
      this.host.queues[index]!.reject("request");
      request.complete();
    } else if (asked.kind === "refused") {
      this.counters.refused++;
      answer(request, asked.status);
    } else void this.perform(request, asked);
  }

  /** Never rejects. */
  private async perform(
    request: VirtioRequest,
    asked: Exclude<BlockRequest, { kind: "refused" }>,
  ): Promise<void> {
    const bytes = reckoned(asked);
    this.intake.enter(bytes);
    let status: number = blockStatus.ok;
    try {
      await this.ask(request.chain, asked);
    } catch (error) {
      status = blockStatus.error;
      if (!(error instanceof DiskError && error.code === "E_DISK_CANCELLED")) {
        this.counters.errors++;
        this.options.onError?.(error);
      }
    }
    answer(request, status);
    this.intake.leave(bytes);
  }

  private async ask(
    chain: DescriptorChain,
    asked: Exclude<BlockRequest, { kind: "refused" }>,
  ): Promise<void> {
    const { disk, counters } = this;
    switch (asked.kind) {
      case "read":
        counters.reads++;
        return this.read(chain, asked.offset, asked.length);
      case "write":
        counters.writes++;
        await this.write(chain, asked.offset, asked.length);
        break;
      case "flush":
        counters.flushes++;
        if (this.cache !== "unsafe" && !this.isReadOnly) await disk.flush();
        return;
      case "id":
        chain.write(this.id20.subarray(0, Math.min(ID_BYTES, chain.writableBytes - 1)));
        return;
      case "discard":
        counters.discards++;
        for (const { offset, length } of asked.ranges) await disk.discard(offset, length);
        break;
      case "zero":
        counters.zeroes++;
        for (const { offset, length, mayUnmap } of asked.ranges)
          await disk.writeZeroes(offset, length, { mayUnmap });
        break;
    }
    if (this.isWritethrough && this.cache !== "unsafe") await disk.flush();
  }

  private async read(chain: DescriptorChain, offset: number, length: number): Promise<void> {
    for (let done = 0; done < length && chain.live; ) {
      const step = Math.min(length - done, MOST_BUFFER_BYTES);
      const buffer = this.buffers.take(step);
      const data = buffer.subarray(0, step);
      await this.disk.read(offset + done, [data]);
      const taken = chain.write(data);
      this.counters.bytesRead += taken;
      this.buffers.give(buffer);
      done += step;
    }
  }

  private async write(chain: DescriptorChain, offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      const step = Math.min(length - done, MOST_BUFFER_BYTES);
      const buffer = this.buffers.take(step);
      const data = buffer.subarray(0, step);
      // Nothing is written of what can't be read whole: its driver is gone, or its buffers are nowhere.
      if (chain.read(data) < step) return;
      await this.disk.write(offset + done, [data]);
      this.counters.bytesWritten += step;
      this.buffers.give(buffer);
      done += step;
    }
  }
}

const sectorsOf = (disk: BlockBackend): number => Math.floor(disk.size / SECTOR_BYTES);

/** Bytes of the host's memory that a request holds while it is under way. */
function reckoned(asked: BlockRequest): number {
  if (asked.kind === "read" || asked.kind === "write")
    return Math.min(Math.max(asked.length, SMALL_REQUEST_BYTES), MOST_BUFFER_BYTES);
  return asked.kind === "discard" || asked.kind === "zero" ? RANGE_REQUEST_BYTES : SMALL_REQUEST_BYTES;
}

/**
 * Writes the status, which is the last byte of the chain, and gives the chain back. The length that is reported is that of
 * the bytes which were written from the first on (section 2.7.8.2): a status behind data that is missing is not one.
 */
function answer(request: VirtioRequest, status: number): void {
  const { chain } = request;
  const data = chain.written;
  const gap = chain.writableBytes - 1 - data;
  chain.skip(gap);
  chain.write(Uint8Array.of(status));
  request.complete(gap === 0 ? data + 1 : data);
}
