/** A FUSE client for tests: requests as Linux's kernel makes them, and what comes back, checked against its own header. */
import { linuxErrors } from "../src/share/errors.js";
import { opcodes } from "../src/share/fuse/protocol.js";
import { replyHeader } from "../src/share/fuse/reply.js";
import { HEAD_WITH_DATA_BYTES, hasData, parseFuseRequest } from "../src/share/fuse/request.js";
import { FuseServer, type FuseServerOptions } from "../src/share/fuse/server.js";
import type { SharedFolder } from "../src/share/index.js";

/** What came back: the name of an error, or the bytes behind the header. */
export interface Answered {
  readonly error: string | undefined;
  readonly body: Uint8Array;
}

/** Takes a request to a server, with room for so many bytes of an answer; undefined if it has none. */
export type Carrier = (request: Uint8Array, room: number) => Promise<Uint8Array | undefined>;

/** An attribute structure, read back. */
export interface SeenAttributes {
  readonly inode: bigint;
  readonly size: number;
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly modified: bigint;
  readonly device: number;
}

export const names = Object.fromEntries(Object.entries(linuxErrors).map(([name, code]) => [code, name]));

/** A little-endian structure: `u32` numbers, `u64` as bigints, text with its zero byte, bytes as they are. */
export function pack(...fields: readonly (number | bigint | string | Uint8Array)[]): Uint8Array {
  return Buffer.concat(
    fields.map((field) => {
      if (typeof field === "string") return Buffer.from(`${field}\0`, "latin1");
      if (typeof field === "object") return Buffer.from(field);
      const bytes = Buffer.alloc(typeof field === "bigint" ? 8 : 4);
      if (typeof field === "bigint") bytes.writeBigUInt64LE(BigInt.asUintN(64, field));
      else bytes.writeUInt32LE(field >>> 0);
      return bytes;
    }),
  );
}

/** A server that is asked directly, without a device. */
export function directCarrier(
  folder: SharedFolder,
  options: Partial<FuseServerOptions> = {},
): { readonly carry: Carrier; readonly server: FuseServer } {
  const server = new FuseServer({ folder, owner: { uid: 0, gid: 0 }, ...options });
  const carry: Carrier = async (request, room) => {
    const view = new DataView(request.buffer, request.byteOffset, request.length);
    const split = request.length >= 8 && hasData(view.getUint32(4, true));
    const headBytes = split ? Math.min(HEAD_WITH_DATA_BYTES, request.length) : request.length;
    const parsed = parseFuseRequest(request.subarray(0, headBytes), request.length - headBytes, room);
    if (parsed === undefined) return undefined;
    const { asked, unique } = parsed;
    if (asked.kind === "forget") server.forget(asked);
    if (asked.kind === "forget" || asked.kind === "interrupt") return new Uint8Array();
    const data = split ? request.subarray(headBytes) : new Uint8Array(room);
    const answer = await server.serve(asked, data);
    if ("error" in answer) return replyHeader(unique, 0, answer.error);
    const length = answer.parts.reduce((sum, part) => sum + part.length, 0);
    return Buffer.concat([replyHeader(unique, length), ...answer.parts]);
  };
  return { carry, server };
}

/** The client. */
export class FuseClient {
  private unique = 1n;

  constructor(readonly carry: Carrier) {}

  /** Sends a request, with room for so many bytes behind the answer's header. */
  async send(opcode: number, node: bigint, body: Uint8Array, room = 4096): Promise<Answered> {
    const unique = (this.unique += 2n);
    const header = pack(40 + body.length, opcode, unique, node, 1000, 1000, 42, 0);
    const answer = await this.carry(Buffer.concat([header, body]), 16 + room);
    if (answer === undefined || answer.length === 0) return { error: undefined, body: new Uint8Array() };
    const view = new DataView(answer.buffer, answer.byteOffset, answer.length);
    if (view.getUint32(0, true) !== answer.length)
      throw new Error("the answer has another length than it says");
    if (view.getBigUint64(8, true) !== unique) throw new Error("the answer is another request's");
    const error = -view.getInt32(4, true);
    if (error !== 0 && answer.length !== 16) throw new Error("an error with bytes behind it");
    return { error: error === 0 ? undefined : (names[error] ?? String(error)), body: answer.slice(16) };
  }

  async start(): Promise<Answered> {
    return this.send(opcodes.init, 0n, pack(7, 39, 0x20000, 0xffffffff, 0xffffffff, new Uint8Array(44)));
  }

  async lookUp(parent: bigint, name: string) {
    return entryOf(await this.send(opcodes.lookup, parent, pack(name)));
  }

  forget(node: bigint, count = 1n): Promise<Answered> {
    return this.send(opcodes.forget, node, pack(count), 0);
  }

  async getattr(node: bigint, file?: bigint) {
    const answer = await this.send(opcodes.getattr, node, pack(file === undefined ? 0 : 1, 0, file ?? 0n));
    return { ...answer, attributes: answer.error === undefined ? attributesAt(answer.body, 16) : undefined };
  }

  /** @param set bits of the structure that are set, with its fields */
  setattr(
    node: bigint,
    set: { valid: number; size?: bigint; mode?: number; modified?: bigint; uid?: number; file?: bigint },
  ): Promise<Answered> {
    const { valid, size = 0n, mode = 0, modified = 0n, uid = 0, file = 0n } = set;
    const [seconds, rest] = [modified / 1_000_000_000n, Number(modified % 1_000_000_000n)];
    const body = pack(...[valid, 0, file, size, 0n, 0n, seconds, 0n], ...[0, rest, 0, mode, 0, uid, 0, 0]);
    return this.send(opcodes.setattr, node, body);
  }

  async create(parent: bigint, name: string, flags: number, mode = 0o644) {
    const answer = await this.send(opcodes.create, parent, pack(flags, 0o100000 | mode, 0o22, 0, name));
    const file = answer.error === undefined ? u64(answer.body, 128) : 0n;
    return { ...entryOf(answer), file };
  }

  async open(node: bigint, flags: number) {
    const answer = await this.send(opcodes.open, node, pack(flags, 0));
    return { ...answer, file: answer.error === undefined ? u64(answer.body, 0) : 0n };
  }

  read(file: bigint, offset: bigint, size: number, node = 0n): Promise<Answered> {
    return this.send(opcodes.read, node, pack(file, offset, size, 0, 0n, 0, 0), size);
  }

  write(file: bigint, offset: bigint, data: Uint8Array, flags = 0, writeFlags = 0): Promise<Answered> {
    return this.send(opcodes.write, 0n, pack(file, offset, data.length, writeFlags, 0n, flags, 0, data));
  }

  release(file: bigint): Promise<Answered> {
    return this.send(opcodes.release, 0n, pack(file, 0, 0, 0n));
  }

  /** All names in a folder, read in pieces of so many bytes. */
  async list(
    node: bigint,
    room = 4096,
  ): Promise<{ readonly error: string | undefined; readonly names: string[] }> {
    const opened = await this.send(opcodes.opendir, node, pack(0, 0));
    if (opened.error !== undefined) return { error: opened.error, names: [] };
    const file = u64(opened.body, 0);
    const found: string[] = [];
    for (let offset = 0n; ; ) {
      const { error, body } = await this.send(
        opcodes.readdir,
        node,
        pack(file, offset, room, 0, 0n, 0, 0),
        room,
      );
      if (error !== undefined || body.length === 0) {
        await this.send(opcodes.releasedir, node, pack(file, 0, 0, 0n));
        return { error, names: found };
      }
      for (let at = 0; at < body.length; ) {
        const length = new DataView(body.buffer, body.byteOffset).getUint32(at + 16, true);
        found.push(Buffer.from(body.subarray(at + 24, at + 24 + length)).toString("latin1"));
        offset = u64(body, at + 8);
        at += Math.ceil((24 + length) / 8) * 8;
      }
    }
  }

  /** A path's node, found step by step; the steps are let go of. */
  async walk(path: string): Promise<{ readonly error: string | undefined; readonly node: bigint }> {
    let node = 1n;
    for (const name of path.split("/").filter(Boolean)) {
      const next = await this.lookUp(node, name);
      if (node !== 1n) await this.forget(node);
      if (next.error !== undefined) return { error: next.error, node: 0n };
      node = next.node;
    }
    return { error: undefined, node };
  }
}

export const u64 = (bytes: Uint8Array, at: number): bigint =>
  new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at, true);

function entryOf(answer: Answered) {
  const isThere = answer.error === undefined;
  return {
    ...answer,
    node: isThere ? u64(answer.body, 0) : 0n,
    attributes: isThere ? attributesAt(answer.body, 40) : undefined,
  };
}

function attributesAt(bytes: Uint8Array, at: number): SeenAttributes {
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  return {
    inode: view.getBigUint64(0, true),
    size: Number(view.getBigUint64(8, true)),
    modified: view.getBigUint64(32, true) * 1_000_000_000n + BigInt(view.getUint32(52, true)),
    mode: view.getUint32(60, true),
    links: view.getUint32(64, true),
    uid: view.getUint32(68, true),
    gid: view.getUint32(72, true),
    device: view.getUint32(76, true),
  };
}
