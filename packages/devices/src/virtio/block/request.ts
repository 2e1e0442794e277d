/**
 * Requests of a block device's driver (virtio 1.2, section 5.2.6), taken out of their chains and judged; nothing here
 * knows a backend.
 *
 *   readable: type 4, reserved 4, sector 8, then data that is written, or ranges
 *   writable: data that is read, then status 1
 *
 * Where one buffer ends and the next begins says nothing (section 2.7.4.3). What is judged is what was read once.
 */
import type { DescriptorChain } from "../descriptor-chain.js";

/** Bytes of a sector: the unit of the protocol, whatever blocks the disk has. */
export const SECTOR_BYTES = 512;
/** Bytes of the answer to GET_ID. */
export const ID_BYTES = 20;
/** Most ranges in one DISCARD or WRITE_ZEROES. */
export const MAXIMUM_RANGES = 32;
/** Most sectors in one of them: 2 GiB. */
export const MAXIMUM_RANGE_SECTORS = 0x400000;

/** Status of a request. */
export const blockStatus = { ok: 0, error: 1, unsupported: 2 } as const;

const HEADER_BYTES = 16;
const STATUS_BYTES = 1;
/** sector: 8, num_sectors: 4, flags: 4. */
const RANGE_BYTES = 16;
const FLAG_UNMAP = 1;
const requestTypes = { in: 0, out: 1, flush: 4, getId: 8, discard: 11, writeZeroes: 13 } as const;

/** A range that is to be given up or zeroed, in bytes. */
export interface BlockRange {
  readonly offset: number;
  readonly length: number;
  /** Its room may be given back. */
  readonly mayUnmap: boolean;
}

/** What the driver asks, or the status with which that is refused. Offsets and lengths are bytes inside the disk. */
export type BlockRequest =
  | { readonly kind: "read" | "write"; readonly offset: number; readonly length: number }
  | { readonly kind: "discard" | "zero"; readonly ranges: readonly BlockRange[] }
  | { readonly kind: "flush" | "id" }
  | { readonly kind: "refused"; readonly status: number };

/** What requests are judged by. */
export interface BlockRules {
  /** Sectors of the disk. */
  readonly sectors: number;
  readonly isReadOnly: boolean;
  /** VIRTIO_BLK_F_DISCARD was negotiated. */
  readonly hasDiscard: boolean;
  /** VIRTIO_BLK_F_WRITE_ZEROES was negotiated. */
  readonly hasWriteZeroes: boolean;
}

const failed: BlockRequest = { kind: "refused", status: blockStatus.error };
const unsupported: BlockRequest = { kind: "refused", status: blockStatus.unsupported };

/**
 * Reads what a chain asks. Data that is written is left in the chain, to be read next.
 * @returns undefined for a chain that has no whole header, or no room for a status: it can't be answered
 */
export function parseBlockRequest(chain: DescriptorChain, rules: BlockRules): BlockRequest | undefined {
  if (chain.readableBytes < HEADER_BYTES || chain.writableBytes < STATUS_BYTES) return undefined;
  const header = viewOf(chain, HEADER_BYTES);
  if (header === undefined) return undefined;
  switch (header.getUint32(0, true)) {
    case requestTypes.in:
      return transfer("read", header, chain.writableBytes - STATUS_BYTES, rules);
    case requestTypes.out:
      return rules.isReadOnly ? failed : transfer("write", header, chain.unread, rules);
    case requestTypes.flush:
      return { kind: "flush" };
    case requestTypes.getId:
      return chain.writableBytes === STATUS_BYTES ? failed : { kind: "id" };
    case requestTypes.discard:
      return rules.hasDiscard ? ranges("discard", chain, rules) : unsupported;
    case requestTypes.writeZeroes:
      return rules.hasWriteZeroes ? ranges("zero", chain, rules) : unsupported;
    default:
      return unsupported;
  }
}

/** A request without data is none that a driver means to make: its buffers go the wrong way. */
function transfer(kind: "read" | "write", header: DataView, length: number, rules: BlockRules): BlockRequest {
  const range = inside(header, 8, length / SECTOR_BYTES, rules);
  return length === 0 || range === undefined ? failed : { kind, ...range };
}

function ranges(kind: "discard" | "zero", chain: DescriptorChain, rules: BlockRules): BlockRequest {
  const count = chain.unread / RANGE_BYTES;
  if (!Number.isInteger(count) || count === 0 || count > MAXIMUM_RANGES || rules.isReadOnly) return failed;
  const view = viewOf(chain, chain.unread);
  if (view === undefined) return failed;
  const found: BlockRange[] = [];
  for (let at = 0; at < view.byteLength; at += RANGE_BYTES) {
    const flags = view.getUint32(at + 12, true);
    // Flags are judged first (section 5.2.6.2): the driver speaks of what this device does not know.
    if ((flags & ~FLAG_UNMAP) !== 0 || (kind === "discard" && flags !== 0)) return unsupported;
    const sectors = view.getUint32(at + 8, true);
    const range = inside(view, at, sectors, rules);
    if (range === undefined || sectors > MAXIMUM_RANGE_SECTORS) return failed;
    found.push({ ...range, mayUnmap: kind === "discard" || flags === FLAG_UNMAP });
  }
  return { kind, ranges: found };
}

/** The range of so many sectors from the sector at `at` of a structure, in bytes; undefined outside the disk. */
function inside(
  view: DataView,
  at: number,
  count: number,
  { sectors }: BlockRules,
): { readonly offset: number; readonly length: number } | undefined {
  // Exact wherever it matters: what exceeds 2^53 is beyond every disk.
  const first = view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
  if (!Number.isInteger(count) || first + count > sectors) return undefined;
  return { offset: first * SECTOR_BYTES, length: count * SECTOR_BYTES };
}

/** The next bytes of a chain; undefined if they lie outside RAM. */
function viewOf(chain: DescriptorChain, length: number): DataView | undefined {
  const bytes = new Uint8Array(length);
  return chain.read(bytes) === length ? new DataView(bytes.buffer) : undefined;
}
