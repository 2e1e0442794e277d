/** Answers to a FUSE client, as bytes behind their header. */
import { type LinuxErrorName, linuxErrors } from "../errors.js";
import { bytesOf } from "../names.js";
import type { FolderAttributes, FolderName, FolderRoom, NodeKind } from "../shared-folder.js";
import {
  ALLOW_MAPPING,
  FUSE_MAJOR,
  FUSE_MINOR,
  fileType,
  initFlags,
  MOST_DATA_BYTES,
  MOST_PAGES,
  OPEN_DIRECT,
  OUT_HEADER_BYTES,
} from "./protocol.js";

const ATTRIBUTE_BYTES = 88;
const ENTRY_BYTES = 40;
const DIRENT_BYTES = 24;
const NANOSECONDS = 1_000_000_000n;
/** What stands for a file's number where nobody knows it, as in libfuse. */
const UNKNOWN_INODE = 0xffffffff;
/** Most requests that the client has in the background before it waits. */
const [MOST_BACKGROUND, CONGESTION] = [64, 48];
/** Longest name, for statfs. */
const NAME_BYTES = 255;

/** Who a guest is told that everything belongs to. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** The header of an answer with so many bytes behind it. */
export function replyHeader(unique: Uint8Array, bodyBytes: number, error?: LinuxErrorName): Uint8Array {
  const header = new Uint8Array(OUT_HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, OUT_HEADER_BYTES + bodyBytes, true);
  view.setInt32(4, error === undefined ? 0 : -linuxErrors[error], true);
  header.set(unique, 8);
  return header;
}

/** `fuse_init_out`: what both sides know. Nothing that is not named here is used. */
export function initReply(flags: number, flags2: number, readahead: number): Uint8Array {
  const { bytes, view } = body(64);
  const wanted = Object.values(initFlags).reduce((all, flag) => all | flag, 0);
  view.setUint32(0, FUSE_MAJOR, true);
  view.setUint32(4, FUSE_MINOR, true);
  view.setUint32(8, readahead, true);
  view.setUint32(12, flags & wanted, true);
  view.setUint16(16, MOST_BACKGROUND, true);
  view.setUint16(18, CONGESTION, true);
  view.setUint32(20, MOST_DATA_BYTES, true);
  view.setUint32(24, 1, true);
  view.setUint16(28, MOST_PAGES, true);
  view.setUint32(32, (flags & initFlags.extended) !== 0 ? flags2 & ALLOW_MAPPING : 0, true);
  return bytes;
}

/** `fuse_init_out` for a client of a newer major version, which then asks again in ours. */
export function versionReply(): Uint8Array {
  const { bytes, view } = body(64);
  view.setUint32(0, FUSE_MAJOR, true);
  view.setUint32(4, FUSE_MINOR, true);
  return bytes;
}

/** `fuse_entry_out`: the client asks again each time, since the host may have changed the folder. */
export function entryReply(node: number, attributes: FolderAttributes, owner: Owner): Uint8Array {
  const { bytes, view } = body(ENTRY_BYTES + ATTRIBUTE_BYTES);
  view.setBigUint64(0, BigInt(node), true);
  writeAttributes(view, ENTRY_BYTES, attributes, owner);
  return bytes;
}

/** `fuse_attr_out`, which the client asks for again each time. */
export function attributesReply(attributes: FolderAttributes, owner: Owner): Uint8Array {
  const { bytes, view } = body(16 + ATTRIBUTE_BYTES);
  writeAttributes(view, 16, attributes, owner);
  return bytes;
}

/** `fuse_open_out`. @param isFolder folders have no bytes to keep */
export function openReply(file: number, isFolder: boolean): Uint8Array {
  const { bytes, view } = body(16);
  view.setBigUint64(0, BigInt(file), true);
  view.setUint32(8, isFolder ? 0 : OPEN_DIRECT, true);
  return bytes;
}

/** `fuse_write_out`. */
export function writeReply(size: number): Uint8Array {
  const { bytes, view } = body(8);
  view.setUint32(0, size, true);
  return bytes;
}

/** `fuse_statfs_out`. */
export function roomReply(room: FolderRoom): Uint8Array {
  const { bytes, view } = body(80);
  [room.blocks, room.free, room.available, room.files, room.freeFiles].forEach((count, index) => {
    view.setBigUint64(8 * index, BigInt.asUintN(64, count), true);
  });
  view.setUint32(40, room.blockBytes, true);
  view.setUint32(44, NAME_BYTES, true);
  view.setUint32(48, room.blockBytes, true);
  return bytes;
}

/**
 * `fuse_dirent` of each name from a place on, as many as fit; the place of the next one is in each. None are left at the end.
 * @param names with `.` and `..`
 */
export function namesReply(names: readonly FolderName[], from: number, room: number): Uint8Array {
  const { bytes, view } = body(room);
  let at = 0;
  for (let place = from; place < names.length; place++) {
    const { name, kind } = names[place]!;
    const end = at + Math.ceil((DIRENT_BYTES + name.length) / 8) * 8;
    if (end > room) break;
    view.setBigUint64(at, BigInt(UNKNOWN_INODE), true);
    view.setBigUint64(at + 8, BigInt(place + 1), true);
    view.setUint32(at + 16, name.length, true);
    view.setUint32(at + 20, kind === undefined ? 0 : typeBits(kind) >> 12, true);
    bytes.set(bytesOf(name), at + DIRENT_BYTES);
    at = end;
  }
  return bytes.subarray(0, at);
}

function body(length: number): { readonly bytes: Uint8Array; readonly view: DataView } {
  const bytes = new Uint8Array(length);
  return { bytes, view: new DataView(bytes.buffer) };
}

const typeBits = (kind: NodeKind): number => fileType[kind];

/** `fuse_attr`. Devices of the host have no numbers in the guest, where those would be others. */
function writeAttributes(view: DataView, at: number, attributes: FolderAttributes, owner: Owner): void {
  const { kind, inode, size, blocks, mode, links, blockBytes } = attributes;
  view.setBigUint64(at, inode, true);
  view.setBigUint64(at + 8, BigInt.asUintN(64, size), true);
  view.setBigUint64(at + 16, BigInt.asUintN(64, blocks), true);
  [attributes.accessed, attributes.modified, attributes.changed].forEach((time, index) => {
    const rest = BigInt.asUintN(64, ((time % NANOSECONDS) + NANOSECONDS) % NANOSECONDS);
    view.setBigInt64(at + 24 + 8 * index, (time - rest) / NANOSECONDS, true);
    view.setUint32(at + 48 + 4 * index, Number(rest), true);
  });
  view.setUint32(at + 60, typeBits(kind) | mode, true);
  view.setUint32(at + 64, links, true);
  view.setUint32(at + 68, owner.uid, true);
  view.setUint32(at + 72, owner.gid, true);
  view.setUint32(at + 80, blockBytes, true);
}
