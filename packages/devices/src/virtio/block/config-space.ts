/**
 * The configuration space of a block device (virtio 1.2, section 5.2.4). Fields of features that are not offered are
 * zero.
 *
 *   0 capacity 8      8 size_max 4    12 seg_max 4   16 geometry 4    20 blk_size 4
 *   24 physical_block_exp 1, alignment_offset 1, min_io_size 2, opt_io_size 4
 *   32 writeback 1    34 num_queues 2
 *   36 max_discard_sectors 4, max_discard_seg 4, discard_sector_alignment 4
 *   48 max_write_zeroes_sectors 4, max_write_zeroes_seg 4, write_zeroes_may_unmap 1
 */
import { MAXIMUM_RANGE_SECTORS, MAXIMUM_RANGES, SECTOR_BYTES } from "./request.js";

/** Feature bits (section 5.2.3). */
export const blockFeatures = {
  segMax: 2,
  readOnly: 5,
  blockSize: 6,
  flush: 9,
  topology: 10,
  configWce: 11,
  multiQueue: 12,
  discard: 13,
  writeZeroes: 14,
} as const;

/** Most descriptors of a queue. */
export const BLOCK_QUEUE_SIZE = 256;
/** Where the driver switches between writeback and writethrough. */
export const WRITEBACK_AT = 32;

const CONFIG_BYTES = 60;
/** Header and status take a descriptor each. */
const SEGMENTS = BLOCK_QUEUE_SIZE - 2;
/** Logical blocks of a physical one, as a power of two: 4 KiB, the pages of most file systems. */
const PHYSICAL_EXPONENT = 3;

/** What varies. */
export interface BlockConfig {
  readonly sectors: number;
  readonly isReadOnly: boolean;
  readonly isWriteback: boolean;
  readonly queues: number;
}

/** The bytes of the configuration space. */
export function blockConfig({ sectors, isReadOnly, isWriteback, queues }: BlockConfig): Uint8Array {
  const bytes = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, sectors, true);
  view.setUint32(4, Math.floor(sectors / 0x1_0000_0000), true);
  view.setUint32(12, SEGMENTS, true);
  view.setUint32(20, SECTOR_BYTES, true);
  view.setUint8(24, PHYSICAL_EXPONENT);
  view.setUint16(26, 1, true);
  view.setUint8(WRITEBACK_AT, isWriteback ? 1 : 0);
  view.setUint16(34, queues, true);
  if (isReadOnly) return bytes;
  view.setUint32(36, MAXIMUM_RANGE_SECTORS, true);
  view.setUint32(40, MAXIMUM_RANGES, true);
  view.setUint32(44, 2 ** PHYSICAL_EXPONENT, true);
  view.setUint32(48, MAXIMUM_RANGE_SECTORS, true);
  view.setUint32(52, MAXIMUM_RANGES, true);
  view.setUint8(56, 1);
  return bytes;
}
