/**
 * Requests of a FUSE client, taken out of their bytes and judged; nothing here knows a folder.
 *
 * A request is a header, a structure whose size its opcode fixes, then names that end in a zero byte, or data. All of them
 * together are as long as the header says and as the buffers are: whatever is left over is a mistake, and is refused. What
 * is asked for is cut to what the client has room for; a request whose answer has none is refused before anything is done.
 */
import type { LinuxErrorName } from "../errors.js";
import { isName, MOST_NAME_BYTES, MOST_TARGET_BYTES, textOf } from "../names.js";
import type { OpenMode } from "../shared-folder.js";
import {
  GETATTR_FILE,
  IN_HEADER_BYTES,
  MOST_DATA_BYTES,
  OUT_HEADER_BYTES,
  opcodes,
  openFlag,
  SYNC_DATA,
  setAttribute,
  WRITE_CACHE,
} from "./protocol.js";

/** A node and how many holds on it are given up. */
export interface Forgotten {
  readonly node: number;
  readonly count: number;
}

/** What a client asks. Nodes and files are numbers that it may have made up; names are names. */
export type FuseRequest =
  | {
      readonly kind: "init";
      readonly major: number;
      readonly minor: number;
      readonly readahead: number;
      readonly flags: number;
      readonly flags2: number;
    }
  | { readonly kind: "destroy" | "statfs" | "flush" }
  | { readonly kind: "interrupt" }
  | { readonly kind: "forget"; readonly nodes: readonly Forgotten[] }
  | { readonly kind: "lookup" | "unlink" | "rmdir"; readonly node: number; readonly name: string }
  | { readonly kind: "getattr"; readonly node: number; readonly file: number | undefined }
  | { readonly kind: "setattr"; readonly node: number; readonly set: SetAttributes }
  | { readonly kind: "readlink" | "opendir"; readonly node: number; readonly room: number }
  | { readonly kind: "symlink"; readonly node: number; readonly name: string; readonly target: string }
  | { readonly kind: "mknod" | "mkdir"; readonly node: number; readonly name: string; readonly mode: number }
  | {
      readonly kind: "rename";
      readonly node: number;
      readonly name: string;
      readonly folder: number;
      readonly newName: string;
      readonly flags: number;
    }
  | { readonly kind: "link"; readonly node: number; readonly name: string; readonly of: number }
  | { readonly kind: "open"; readonly node: number; readonly mode: OpenMode }
  | {
      readonly kind: "create";
      readonly node: number;
      readonly name: string;
      readonly permissions: number;
      readonly mode: OpenMode;
      readonly isExclusive: boolean;
    }
  | {
      readonly kind: "read" | "readdir";
      readonly file: number;
      readonly offset: number;
      readonly size: number;
    }
  | {
      readonly kind: "write";
      readonly file: number;
      readonly offset: number;
      readonly size: number;
      readonly isAppend: boolean;
    }
  | { readonly kind: "release" | "releasedir"; readonly file: number }
  | { readonly kind: "fsync" | "fsyncdir"; readonly file: number; readonly isDataOnly: boolean }
  | { readonly kind: "refused"; readonly error: LinuxErrorName };

/** What SETATTR sets; times are nanoseconds since 1970, or now. */
export interface SetAttributes {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly accessed?: bigint | "now";
  readonly modified?: bigint | "now";
  readonly file?: number;
}

/** A request, and the eight bytes that its answer is known by. */
export interface ParsedRequest {
  readonly unique: Uint8Array;
  readonly asked: FuseRequest;
}

/** Bytes of the structure that follows the header, and of the answer's. */
const shapes = new Map<number, readonly [bytes: number, answer: number]>([
  [opcodes.lookup, [0, 128]],
  [opcodes.getattr, [16, 104]],
  [opcodes.setattr, [88, 104]],
  [opcodes.readlink, [0, 1]],
  [opcodes.symlink, [0, 128]],
  [opcodes.mknod, [16, 128]],
  [opcodes.mkdir, [8, 128]],
  [opcodes.unlink, [0, 0]],
  [opcodes.rmdir, [0, 0]],
  [opcodes.rename, [8, 0]],
  [opcodes.link, [8, 128]],
  [opcodes.open, [8, 16]],
  [opcodes.read, [40, 0]],
  [opcodes.write, [40, 8]],
  [opcodes.statfs, [0, 80]],
  [opcodes.release, [24, 0]],
  [opcodes.fsync, [16, 0]],
  [opcodes.flush, [24, 0]],
  [opcodes.init, [16, 64]],
  [opcodes.opendir, [8, 16]],
  [opcodes.readdir, [40, 0]],
  [opcodes.releasedir, [24, 0]],
  [opcodes.fsyncdir, [16, 0]],
  [opcodes.create, [16, 144]],
  [opcodes.destroy, [0, 0]],
  [opcodes.rename2, [16, 0]],
]);

/** What INIT may have more, for newer versions. */
const [INIT_BYTES, INIT_FLAGS2_AT, MOST_INIT_BYTES] = [16, 16, 256];
const FORGET_BYTES = 16;

const refused = (error: LinuxErrorName): FuseRequest => ({ kind: "refused", error });

/** Whether the data of a request comes after its structure, and is not to be read with it. */
export const hasData = (opcode: number): boolean => opcode === opcodes.write;
/** Bytes of header and structure of a request with data. */
export const HEAD_WITH_DATA_BYTES = IN_HEADER_BYTES + 40;

/**
 * Reads what a request asks.
 * @param bytes all of it; of a WRITE all but its data
 * @param dataBytes bytes of the data
 * @param room bytes for the answer
 * @returns undefined for what can't be answered: no whole header, or no room for that of an answer that there has to be
 */
export function parseFuseRequest(
  bytes: Uint8Array,
  dataBytes: number,
  room: number,
): ParsedRequest | undefined {
  if (bytes.length < IN_HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const opcode = view.getUint32(4, true);
  const unique = bytes.slice(8, 16);
  const body = new Body(bytes.subarray(IN_HEADER_BYTES));
  const isWhole = view.getUint32(0, true) === bytes.length + dataBytes && view.getUint16(36, true) === 0;
  const forgotten = parseForget(opcode, u64(view, 16), body);
  if (forgotten !== undefined)
    return isWhole && forgotten !== "wrong" ? { unique, asked: forgotten } : undefined;
  if (room < OUT_HEADER_BYTES) return undefined;
  const shape = shapes.get(opcode);
  if (shape === undefined) return { unique, asked: refused("ENOSYS") };
  if (!isWhole || body.length < shape[0] || room - OUT_HEADER_BYTES < shape[1])
    return { unique, asked: refused("EINVAL") };
  const asked = parseBody(opcode, u64(view, 16), body, dataBytes, room - OUT_HEADER_BYTES);
  return { unique, asked: asked.kind === "refused" || body.isAtEnd ? asked : refused("EINVAL") };
}

/** What has no answer. */
function parseForget(opcode: number, node: number, body: Body): FuseRequest | "wrong" | undefined {
  switch (opcode) {
    case opcodes.forget:
      return body.length === 8 ? { kind: "forget", nodes: [{ node, count: body.u64() }] } : "wrong";
    case opcodes.batchForget: {
      if (body.length < 8) return "wrong";
      const count = body.u32();
      body.skip(4);
      if (body.length !== 8 + FORGET_BYTES * count) return "wrong";
      const nodes = Array.from({ length: count }, () => ({ node: body.u64(), count: body.u64() }));
      return { kind: "forget", nodes };
    }
    case opcodes.interrupt:
      return body.length === 8 ? { kind: "interrupt" } : "wrong";
    default:
      return undefined;
  }
}

function parseBody(opcode: number, node: number, body: Body, dataBytes: number, room: number): FuseRequest {
  switch (opcode) {
    case opcodes.lookup:
      return named(body, (name) => ({ kind: "lookup", node, name }));
    case opcodes.unlink:
      return named(body, (name) => ({ kind: "unlink", node, name }));
    case opcodes.rmdir:
      return named(body, (name) => ({ kind: "rmdir", node, name }));
    case opcodes.getattr: {
      const flags = body.u32();
      body.skip(4);
      const file = body.u64();
      return { kind: "getattr", node, file: (flags & GETATTR_FILE) !== 0 ? file : undefined };
    }
    case opcodes.setattr:
      return { kind: "setattr", node, set: attributes(body) };
    case opcodes.readlink:
      return { kind: "readlink", node, room };
    case opcodes.symlink:
      return named(body, (name) => {
        const target = body.text(MOST_TARGET_BYTES);
        if (target === undefined) return refused("ENAMETOOLONG");
        return target === "" ? refused("ENOENT") : { kind: "symlink", node, name, target };
      });
    case opcodes.mknod: {
      const mode = body.u32();
      body.skip(12);
      return named(body, (name) => ({ kind: "mknod", node, name, mode }));
    }
    case opcodes.mkdir: {
      const mode = body.u32();
      body.skip(4);
      return named(body, (name) => ({ kind: "mkdir", node, name, mode }));
    }
    case opcodes.rename:
    case opcodes.rename2: {
      const folder = body.u64();
      const flags = opcode === opcodes.rename2 ? body.u32() : 0;
      if (opcode === opcodes.rename2) body.skip(4);
      return named(body, (name) =>
        named(body, (newName) => ({ kind: "rename", node, name, folder, newName, flags })),
      );
    }
    case opcodes.link: {
      const of = body.u64();
      return named(body, (name) => ({ kind: "link", node, name, of }));
    }
    case opcodes.open: {
      const mode = openMode(body.u32());
      body.skip(4);
      return mode === undefined ? refused("EINVAL") : { kind: "open", node, mode };
    }
    case opcodes.opendir:
      body.skip(8);
      return { kind: "opendir", node, room };
    case opcodes.create: {
      const flags = body.u32();
      const permissions = body.u32() & 0o7777;
      body.skip(8);
      const mode = openMode(flags);
      if (mode === undefined) return refused("EINVAL");
      const isExclusive = (flags & openFlag.exclusive) !== 0;
      return named(body, (name) => ({ kind: "create", node, name, permissions, mode, isExclusive }));
    }
    case opcodes.read:
    case opcodes.readdir: {
      const [file, offset, size] = [body.u64(), body.u64(), body.u32()];
      body.skip(20);
      if (size > MOST_DATA_BYTES) return refused("EINVAL");
      const kind = opcode === opcodes.read ? "read" : "readdir";
      return { kind, file, offset, size: Math.min(size, room) };
    }
    case opcodes.write: {
      const [file, offset, size, writeFlags] = [body.u64(), body.u64(), body.u32(), body.u32()];
      body.skip(8);
      const flags = body.u32();
      body.skip(4);
      if (size !== dataBytes || size > MOST_DATA_BYTES) return refused("EINVAL");
      const isAppend = (flags & openFlag.append) !== 0 && (writeFlags & WRITE_CACHE) === 0;
      return { kind: "write", file, offset, size, isAppend };
    }
    case opcodes.statfs:
      return { kind: "statfs" };
    case opcodes.release:
    case opcodes.releasedir: {
      const file = body.u64();
      body.skip(16);
      return { kind: opcode === opcodes.release ? "release" : "releasedir", file };
    }
    case opcodes.fsync:
    case opcodes.fsyncdir: {
      const file = body.u64();
      const isDataOnly = (body.u32() & SYNC_DATA) !== 0;
      body.skip(4);
      return { kind: opcode === opcodes.fsync ? "fsync" : "fsyncdir", file, isDataOnly };
    }
    case opcodes.flush:
      body.skip(24);
      return { kind: "flush" };
    case opcodes.init:
      return init(body);
    default:
      return { kind: "destroy" };
  }
}

function init(body: Body): FuseRequest {
  if (body.length > MOST_INIT_BYTES) return refused("EINVAL");
  const [major, minor, readahead, flags] = [body.u32(), body.u32(), body.u32(), body.u32()];
  const flags2 = body.length >= INIT_FLAGS2_AT + 4 ? body.u32() : 0;
  // A newer client may say more than is known here.
  body.skip(body.length - (body.length >= INIT_FLAGS2_AT + 4 ? INIT_BYTES + 4 : INIT_BYTES));
  return { kind: "init", major, minor, readahead, flags, flags2 };
}

function attributes(body: Body): SetAttributes {
  const valid = body.u32();
  body.skip(4);
  const [file, size] = [body.u64(), body.u64()];
  body.skip(8);
  const seconds = [body.i64(), body.i64(), body.i64()];
  const nanoseconds = [body.u32(), body.u32(), body.u32()];
  const mode = body.u32() & 0o7777;
  body.skip(4);
  const [uid, gid] = [body.u32(), body.u32()];
  body.skip(4);
  const has = (bit: number): boolean => (valid & bit) !== 0;
  const time = (index: number): bigint => seconds[index]! * 1_000_000_000n + BigInt(nanoseconds[index]!);
  const { accessedNow, modifiedNow } = setAttribute;
  return {
    ...(has(setAttribute.mode) ? { mode } : {}),
    ...(has(setAttribute.uid) ? { uid } : {}),
    ...(has(setAttribute.gid) ? { gid } : {}),
    ...(has(setAttribute.size) ? { size } : {}),
    ...(has(setAttribute.accessed) ? { accessed: has(accessedNow) ? "now" : time(0) } : {}),
    ...(has(setAttribute.modified) ? { modified: has(modifiedNow) ? "now" : time(1) } : {}),
    ...(has(setAttribute.file) ? { file } : {}),
  };
}

function openMode(flags: number): OpenMode | undefined {
  const access = flags & openFlag.access;
  if (access === openFlag.access) return undefined;
  const sync = (flags & openFlag.sync) !== 0 ? "all" : (flags & openFlag.dataSync) !== 0 ? "data" : "none";
  return {
    read: access !== openFlag.writeOnly,
    write: access !== 0,
    truncate: (flags & openFlag.truncate) !== 0,
    sync,
  };
}

/** Goes on with the next name of a request. */
function named(body: Body, then: (name: string) => FuseRequest): FuseRequest {
  const name = body.text(MOST_NAME_BYTES);
  if (name === undefined) return refused("ENAMETOOLONG");
  return isName(name) ? then(name) : refused("EINVAL");
}

const u64 = (view: DataView, at: number): number =>
  view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);

/** The bytes behind the header, in order. Whoever takes fixed parts knows that they are there. */
class Body {
  private readonly view: DataView;
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get length(): number {
    return this.bytes.length;
  }

  get isAtEnd(): boolean {
    return this.at === this.bytes.length;
  }

  skip(count: number): void {
    this.at += count;
  }

  u32(): number {
    this.at += 4;
    return this.view.getUint32(this.at - 4, true);
  }

  /** Exact up to 2^53; what is beyond names nothing. */
  u64(): number {
    this.at += 8;
    return u64(this.view, this.at - 8);
  }

  i64(): bigint {
    this.at += 8;
    return this.view.getBigInt64(this.at - 8, true);
  }

  /** Text up to its zero byte; undefined if it is longer than so many bytes. Without an end it is empty, and nothing is taken. */
  text(most: number): string | undefined {
    const end = this.bytes.indexOf(0, this.at);
    if (end < 0) return "";
    const text = this.bytes.subarray(this.at, end);
    this.at = end + 1;
    return text.length > most ? undefined : textOf(text);
  }
}
