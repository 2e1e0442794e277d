/**
 * The file system device (virtio 1.2, section 5.11): a FUSE client's requests, done in a shared folder.
 *
 * Any number of requests is under way at once; they complete as the host answers. What they take of the host is bounded
 * whatever a driver asks: a request carries at most 1 MiB, and while the requests under way hold `MOST_BYTES`, further ones
 * wait in their rings. What is written is copied out of the guest before the folder sees it, and what was read is copied in
 * when the host has answered.
 *
 * What can't be answered rejects its queue: a chain without a whole header, or without room for that of an answer.
 */
import type { AccessSize, DeviceState } from "../../ports.js";
import { ShareError } from "../../share/errors.js";
import { MOST_OPEN_BYTES } from "../../share/fuse/open-files.js";
import { IN_HEADER_BYTES, MOST_DATA_BYTES } from "../../share/fuse/protocol.js";
import { replyHeader } from "../../share/fuse/reply.js";
import {
  type FuseRequest,
  HEAD_WITH_DATA_BYTES,
  hasData,
  parseFuseRequest,
} from "../../share/fuse/request.js";
import { FuseServer } from "../../share/fuse/server.js";
import { MOST_VIEW_BYTES, type SharedFolder } from "../../share/shared-folder.js";
import { StateReader } from "../../state.js";
import type { DescriptorChain } from "../descriptor-chain.js";
import { readConfigBytes, type VirtioDevice, type VirtioHost, type VirtioRequest } from "../device.js";
import { RequestIntake } from "../request-intake.js";
import { TransferBuffers } from "../transfer-buffers.js";

const DEVICE_ID = 26;
/** Configuration space (section 5.11.4): tag 36, num_request_queues 4. */
const [TAG_BYTES, CONFIG_BYTES] = [36, 40];
/** The queue for what is urgent (FORGET), and the one for the rest: its size bounds the pages of a request. */
const QUEUE_SIZES = [128, 512] as const;
/** What requests under way may hold of the host's memory, but for the one that exceeds it. */
const MOST_BYTES = 32 << 20;
/** What a request without data is reckoned to hold. */
const SMALL_REQUEST_BYTES = 8192;
/** Most bytes of a request but its data: a BATCH_FORGET of 4,000 nodes. */
const MOST_HEAD_BYTES = 64 << 10;
/** Largest user or group: 2^32 - 1 is none. */
const MOST_ID = 0xfffffffe;

/** Most bytes that a file system device is saved as, beside the core's. */
export const MOST_FS_STATE_BYTES = MOST_VIEW_BYTES + MOST_OPEN_BYTES + 4096;

/** What a file system device is made from. */
export interface VirtioFsOptions {
  /** What the guest mounts it by (`mount -t virtiofs TAG FOLDER`): 1 to 36 bytes of UTF-8, in one line. */
  readonly tag: string;
  /** The folder. It stays the caller's to close, after the machine's last run. */
  readonly folder: SharedFolder;
  /** User and group of everything in the guest; 0 unless given. */
  readonly uid?: number;
  readonly gid?: number;
  /** Requests are served one by one, in their order: what a machine in virtual time needs to repeat itself. */
  readonly inOrder?: boolean;
  /** Is told of what the host could not do, and the guest only sees as EIO. */
  readonly onError?: (error: unknown) => void;
}

/**
 * A file system device.
 * @throws ShareError `E_SHARE_OPTION` for a tag, a user or a group that no guest can be shown
 */
export function virtioFs(options: VirtioFsOptions): VirtioDevice {
  const tag = new TextEncoder().encode(options.tag);
  if (tag.length < 1 || tag.length > TAG_BYTES || /[\0\n]/.test(options.tag))
    throw new ShareError(
      "E_SHARE_OPTION",
      `${JSON.stringify(options.tag)} is no tag: use 1 to ${TAG_BYTES} bytes, in one line`,
    );
  for (const name of ["uid", "gid"] as const) {
    const id = options[name] ?? 0;
    if (!Number.isInteger(id) || id < 0 || id > MOST_ID)
      throw new ShareError("E_SHARE_OPTION", `${id} is no ${name}: use a number from 0 to ${MOST_ID}`);
  }
  return new FsDevice(options, tag);
}

class FsDevice implements VirtioDevice {
  readonly name = "fs";
  readonly id = DEVICE_ID;
  readonly features: readonly number[] = [];
  readonly queueSizes = QUEUE_SIZES;
  private readonly config = new Uint8Array(CONFIG_BYTES);
  private readonly server: FuseServer;
  private readonly buffers = new TransferBuffers();
  private readonly intake: RequestIntake;
  private host!: VirtioHost;

  constructor(
    private readonly options: VirtioFsOptions,
    tag: Uint8Array,
  ) {
    const { folder, uid = 0, gid = 0, onError, inOrder = false } = options;
    this.server = new FuseServer({
      folder,
      owner: { uid, gid },
      ...(onError === undefined ? {} : { onError }),
    });
    this.intake = new RequestIntake(
      { bytes: MOST_BYTES, requests: inOrder ? 1 : Infinity },
      (queue, request) => this.begin(queue, request),
    );
    this.config.set(tag);
    this.config[TAG_BYTES] = 1;
  }

  get counters(): Readonly<Record<string, number>> {
    return this.server.counters;
  }

  attach(host: VirtioHost): void {
    this.host = host;
    this.intake.attach(host);
  }

  activate(): void {}

  notify(index: number): void {
    this.intake.notify(index);
  }

  readConfig(offset: number, size: AccessSize): number {
    return readConfigBytes(this.config, offset, size);
  }

  writeConfig(): void {}

  reset(): void {
    this.intake.reset();
    this.server.reset();
  }

  save(): DeviceState {
    const { isReady, nodes, open } = this.server.save();
    return { tag: this.options.tag, ready: isReady, nodes, open };
  }

  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    if (state.tag !== this.options.tag)
      throw reader.mismatch("tag", `"${this.options.tag}" of the folder that is there`);
    const isReady = reader.boolean("ready");
    const nodes = reader.bytes("nodes", MOST_VIEW_BYTES);
    const open = reader.bytes("open", MOST_OPEN_BYTES);
    try {
      this.server.restore({ isReady, nodes, open });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw reader.mismatch("nodes and open", `what was saved: ${error.message}`);
    }
    this.intake.reset();
  }

  dispose(): void {
    this.server.close();
  }

  private begin(index: number, request: VirtioRequest): void {
    const { chain } = request;
    const parsed = parse(chain);
    if (parsed === undefined) {
      this.host.queues[index]!.reject("request");
      request.complete();
      return;
    }
    const { asked, unique } = parsed;
    if (asked.kind === "forget" || asked.kind === "interrupt") {
      // What is interrupted is answered anyway.
      if (asked.kind === "forget") this.server.forget(asked);
      request.complete(0);
    } else void this.perform(request, unique, asked);
  }

  /** Never rejects. */
  private async perform(
    request: VirtioRequest,
    unique: Uint8Array,
    asked: Exclude<FuseRequest, { kind: "forget" | "interrupt" }>,
  ): Promise<void> {
    const { chain } = request;
    const size = asked.kind === "read" || asked.kind === "write" ? asked.size : 0;
    const reckoned = Math.max("size" in asked ? asked.size : 0, SMALL_REQUEST_BYTES);
    this.intake.enter(reckoned);
    const buffer = this.buffers.take(size);
    const data = buffer.subarray(0, size);
    // Nothing is done of what can't be read whole: its driver is gone, or its buffers are nowhere.
    const isWhole = asked.kind !== "write" || chain.read(data) === size;
    const answer = isWhole ? await this.server.serve(asked, data) : ({ error: "EIO" } as const);
    if ("error" in answer) chain.write(replyHeader(unique, 0, answer.error));
    else {
      chain.write(
        replyHeader(
          unique,
          answer.parts.reduce((sum, part) => sum + part.length, 0),
        ),
      );
      for (const part of answer.parts) chain.write(part);
    }
    this.buffers.give(buffer);
    request.complete();
    this.intake.leave(reckoned);
  }
}

/** What a chain asks; the data of a WRITE is left in it, to be read next. */
function parse(chain: DescriptorChain): ReturnType<typeof parseFuseRequest> {
  const { readableBytes, writableBytes } = chain;
  if (readableBytes < IN_HEADER_BYTES) return undefined;
  const header = new Uint8Array(IN_HEADER_BYTES);
  if (chain.read(header) < IN_HEADER_BYTES) return undefined;
  const isSplit = hasData(new DataView(header.buffer).getUint32(4, true));
  const headBytes = Math.min(readableBytes, isSplit ? HEAD_WITH_DATA_BYTES : MOST_HEAD_BYTES);
  const head = new Uint8Array(headBytes);
  head.set(header);
  if (chain.read(head.subarray(IN_HEADER_BYTES)) < headBytes - IN_HEADER_BYTES) return undefined;
  // Of what has no data, bytes beyond any request make it one of a wrong length.
  return parseFuseRequest(head, isSplit ? readableBytes - headBytes : 0, Math.min(writableBytes, MOST_ROOM));
}

/** Room for the largest answer. */
const MOST_ROOM = MOST_DATA_BYTES + 4096;
