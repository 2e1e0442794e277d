/**
 * FUSE as Linux speaks it (include/uapi/linux/fuse.h, version 7.31 and later): numbers, flags, and the sizes of structures. All is
 * little-endian, as virtio asks (virtio 1.2, section 5.11.6).
 */

/** The version that is spoken. */
export const FUSE_MAJOR = 7;
/** The newest minor version that is known here, and the oldest that is served. */
export const [FUSE_MINOR, OLDEST_MINOR] = [38, 31];

/** Bytes of `fuse_in_header`: len 4, opcode 4, unique 8, nodeid 8, uid 4, gid 4, pid 4, total_extlen 2, padding 2. */
export const IN_HEADER_BYTES = 40;
/** Bytes of `fuse_out_header`: len 4, error 4, unique 8. */
export const OUT_HEADER_BYTES = 16;
/** Most bytes of one READ, WRITE or READDIR. */
export const MOST_DATA_BYTES = 1 << 20;
/** Pages of the largest request (7.28). */
export const MOST_PAGES = 256;

/** Requests, by number. */
export const opcodes = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  readlink: 5,
  symlink: 6,
  mknod: 8,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  rename: 12,
  link: 13,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  create: 35,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  rename2: 45,
} as const;

/** Flags of INIT; bits from 32 on are in its second word. */
export const initFlags = {
  asyncRead: 1 << 0,
  atomicTruncate: 1 << 3,
  bigWrites: 1 << 5,
  autoInvalidate: 1 << 12,
  asyncDirect: 1 << 15,
  parallelFolders: 1 << 18,
  maxPages: 1 << 22,
  extended: 1 << 30,
} as const;
/** FUSE_DIRECT_IO_ALLOW_MMAP: bit 36. */
export const ALLOW_MAPPING = 1 << 4;

/** FOPEN_DIRECT_IO: the guest's kernel keeps no bytes of the file but those that are mapped. */
export const OPEN_DIRECT = 1;

/** What SETATTR sets. */
export const setAttribute = {
  mode: 1 << 0,
  uid: 1 << 1,
  gid: 1 << 2,
  size: 1 << 3,
  accessed: 1 << 4,
  modified: 1 << 5,
  file: 1 << 6,
  accessedNow: 1 << 7,
  modifiedNow: 1 << 8,
} as const;

/** GETATTR_FH, FSYNC_FDATASYNC. */
export const [GETATTR_FILE, SYNC_DATA] = [1, 1];
/** WRITE of what was written to a mapping: its place is meant, whatever the file's flags are. */
export const WRITE_CACHE = 1;

/** Flags of open(2) as Linux has them on RISC-V and most others (include/uapi/asm-generic/fcntl.h). */
export const openFlag = {
  access: 3,
  writeOnly: 1,
  readWrite: 2,
  exclusive: 0o200,
  truncate: 0o1000,
  append: 0o2000,
  dataSync: 0o10000,
  sync: 0o4000000,
} as const;

/** Kinds of files in the upper bits of a mode. */
export const fileType = {
  mask: 0o170000,
  fifo: 0o010000,
  character: 0o020000,
  folder: 0o040000,
  block: 0o060000,
  file: 0o100000,
  link: 0o120000,
  socket: 0o140000,
} as const;
