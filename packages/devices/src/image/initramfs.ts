/**
 * Initial RAM disks in the form that Linux unpacks (Linux documentation,
 * driver-api/early-userspace/buffer-format): cpio archives of the `newc` kind, one after the other with zeros
 * between, any of them compressed. What is compressed is the guest's business: from there on nothing is looked at.
 *
 * A member is a header of 110 characters (a magic number and thirteen fields of eight hexadecimal digits), the path
 * with its zero, and the content; path and content end at multiples of four bytes.
 */
import { type Compression, compressionOf } from "./compression.js";
import { ImageError } from "./errors.js";

/** One file of the file system. Paths have no leading slash; a folder stands before what it holds. */
export type InitramfsEntry =
  | { readonly path: string; readonly kind: "directory"; readonly mode: number }
  | { readonly path: string; readonly kind: "file"; readonly mode: number; readonly bytes: Uint8Array }
  | { readonly path: string; readonly kind: "symlink"; readonly target: string }
  | {
      readonly path: string;
      readonly kind: "device";
      readonly type: "character" | "block";
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

/** What an initial RAM disk holds. */
export interface Initramfs {
  /** Members of its uncompressed archives, in order. Pipes and sockets are left out. */
  readonly entries: readonly InitramfsEntry[];
  /** Compression of the first part that is compressed; undefined if none is. */
  readonly compression: Compression | undefined;
}

const MAGIC = "070701";
/** With a checksum of the content. */
const MAGIC_CHECKSUM = "070702";
const MAGIC_OLD = "070707";
const HEADER_BYTES = 110;
const TRAILER = "TRAILER!!!";
/** PATH_MAX: Linux takes no longer one, its zero included. */
const LONGEST_PATH = 4096;
const ZERO = 0;
/** `0`, with which every magic number begins. */
const DIGIT = 0x30;
const modes = {
  mask: 0o170000,
  directory: 0o040000,
  file: 0o100000,
  symlink: 0o120000,
  character: 0o020000,
  block: 0o060000,
} as const;
const MODE_BITS = 0o7777;

const align = (value: number): number => Math.ceil(value / 4) * 4;

/**
 * Packs a file system into one archive. The same entries give the same bytes: inode numbers count up, all belongs to
 * root, and every time is the start of 1970.
 * @throws ImageError (`E_INITRD_ENTRY`) if a path is empty, absolute, has a zero or is longer than 4,095 bytes, if a
 *   mode or device number is out of range, or a file is larger than 4 GiB
 */
export function packInitramfs(entries: readonly InitramfsEntry[]): Uint8Array {
  const writer = new ArchiveWriter();
  for (const entry of entries) writer.add(entry);
  return writer.finish();
}

class ArchiveWriter {
  private readonly chunks: Uint8Array[] = [];
  private length = 0;
  /** Members so far; the next one's inode number is one more. */
  private members = 0;
  private readonly encoder = new TextEncoder();

  add(entry: InitramfsEntry): void {
    const { path } = entry;
    const bad = (what: string): ImageError =>
      new ImageError("E_INITRD_ENTRY", `initramfs entry ${JSON.stringify(path.slice(0, 100))}: ${what}`);
    if (path === "" || path.startsWith("/")) throw bad("use a path relative to the root");
    if (path.includes("\0") || path === TRAILER) throw bad("no file can have this name");
    if (this.encoder.encode(path).length >= LONGEST_PATH) throw bad("the path is longer than 4,095 bytes");
    if (entry.kind !== "symlink" && !isField(entry.mode, MODE_BITS)) throw bad("use a mode from 0 to 0o7777");
    switch (entry.kind) {
      case "directory":
        this.member(path, modes.directory | entry.mode, 2);
        break;
      case "file":
        if (entry.bytes.length > 0xffffffff) throw bad("a file in a newc archive is 4 GiB at most");
        this.member(path, modes.file | entry.mode, 1, entry.bytes);
        break;
      case "symlink":
        if (entry.target === "" || entry.target.includes("\0")) throw bad("no link can have this target");
        this.member(path, modes.symlink | 0o777, 1, this.encoder.encode(entry.target));
        break;
      default:
        if (!isField(entry.major, 0xfff) || !isField(entry.minor, 0xfffff)) {
          throw bad("use device numbers up to 4095 and 1048575");
        }
        this.member(path, modes[entry.type] | entry.mode, 1, undefined, entry.major, entry.minor);
    }
  }

  finish(): Uint8Array {
    this.member(TRAILER, 0, 1);
    const archive = new Uint8Array(this.length);
    let at = 0;
    for (const chunk of this.chunks) {
      archive.set(chunk, at);
      at += chunk.length;
    }
    return archive;
  }

  private member(
    path: string,
    mode: number,
    links: number,
    content: Uint8Array = new Uint8Array(0),
    major = 0,
    minor = 0,
  ): void {
    const name = this.encoder.encode(`${path}\0`);
    this.members++;
    // ino, mode, uid, gid, nlink, mtime, filesize, dev major and minor, rdev major and minor, namesize, check.
    const fields = [this.members, mode, 0, 0, links, 0, content.length, 0, 0, major, minor, name.length, 0];
    const header = MAGIC + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
    this.push(this.encoder.encode(header));
    this.push(name);
    this.pad();
    this.push(content);
    this.pad();
  }

  private push(bytes: Uint8Array): void {
    this.chunks.push(bytes);
    this.length += bytes.length;
  }

  private pad(): void {
    this.push(new Uint8Array(align(this.length) - this.length));
  }
}

const isField = (value: number, maximum: number): boolean =>
  Number.isInteger(value) && value >= 0 && value <= maximum;

/**
 * Reads and checks an initial RAM disk.
 * @param name what messages call the file
 * @throws ImageError if it is none that Linux takes (`E_INITRD_UNKNOWN`), ends before its trailer
 *   (`E_INITRD_TRUNCATED`), or contradicts itself (`E_INITRD_DAMAGED`)
 */
export function readInitramfs(bytes: Uint8Array, name: string): Initramfs {
  const entries: InitramfsEntry[] = [];
  let archives = 0;
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] === ZERO && archives > 0) {
      at++;
      continue;
    }
    const compression = compressionOf(bytes, at);
    if (compression !== undefined) return { entries, compression };
    if (bytes[at] !== DIGIT || at % 4 !== 0) {
      if (archives === 0) break;
      throw new ImageError(
        "E_INITRD_DAMAGED",
        `${name}: what follows the archive at byte ${at} is neither another one nor compressed: build it again`,
      );
    }
    at = new ArchiveReader(bytes, name, entries).read(at);
    archives++;
  }
  if (archives > 0) return { entries, compression: undefined };
  throw new ImageError(
    "E_INITRD_UNKNOWN",
    bytes.length === 0
      ? `${name}: the initial RAM disk is empty: build it with cpio -H newc`
      : `${name}: neither a newc cpio archive nor a compressed one: build it with cpio -H newc`,
  );
}

/**
 * Checks an initial RAM disk as {@link readInitramfs} does, for its errors alone.
 * @throws ImageError
 */
export function checkInitrd(bytes: Uint8Array, name: string): void {
  readInitramfs(bytes, name);
}

class ArchiveReader {
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(
    private readonly bytes: Uint8Array,
    private readonly name: string,
    private readonly entries: InitramfsEntry[],
  ) {}

  /** Reads the archive at byte `at`; returns where it ends. */
  read(at: number): number {
    for (let place = at; ; ) {
      const next = this.member(place);
      if (next.last) return next.at;
      place = next.at;
    }
  }

  private member(at: number): { at: number; last: boolean } {
    const header = this.text(at, HEADER_BYTES, at);
    const magic = header.slice(0, 6);
    if (magic === MAGIC_OLD) {
      throw new ImageError(
        "E_INITRD_UNKNOWN",
        `${this.name}: a cpio archive of the old kind at byte ${at}: build it with cpio -H newc`,
      );
    }
    if (magic !== MAGIC && magic !== MAGIC_CHECKSUM) throw this.damaged(at, "no member begins here");
    if (!/^[0-9a-fA-F]+$/.test(header))
      throw this.damaged(at, "its header has other than hexadecimal digits");
    const field = (index: number): number => Number.parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
    const [mode, fileBytes, major, minor, nameBytes, check] = [1, 6, 9, 10, 11, 12].map(field) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    if (nameBytes < 1 || nameBytes > LONGEST_PATH) throw this.damaged(at, `its path has ${nameBytes} bytes`);
    const named = this.text(at + HEADER_BYTES, nameBytes, at);
    const path = named.slice(0, -1);
    if (!named.endsWith("\0") || path.includes("\0"))
      throw this.damaged(at, "its path does not end with a zero");
    const content = align(at + HEADER_BYTES + nameBytes);
    if (path === TRAILER) return { at: Math.min(content, this.bytes.length), last: true };
    if (path === "") throw this.damaged(at, "its path is empty");
    const bytes = this.slice(content, fileBytes, at);
    if (magic === MAGIC_CHECKSUM && (mode & modes.mask) === modes.file && checksum(bytes) !== check) {
      throw this.damaged(at, `the checksum of ${path} is wrong`);
    }
    this.keep(path, mode, bytes, major, minor);
    return { at: align(content + fileBytes), last: false };
  }

  private keep(path: string, fullMode: number, bytes: Uint8Array, major: number, minor: number): void {
    const mode = fullMode & MODE_BITS;
    switch (fullMode & modes.mask) {
      case modes.directory:
        this.entries.push({ path, kind: "directory", mode });
        break;
      case modes.file:
        this.entries.push({ path, kind: "file", mode, bytes });
        break;
      case modes.symlink:
        this.entries.push({ path, kind: "symlink", target: this.decoder.decode(bytes) });
        break;
      case modes.character:
        this.entries.push({ path, kind: "device", type: "character", mode, major, minor });
        break;
      case modes.block:
        this.entries.push({ path, kind: "device", type: "block", mode, major, minor });
        break;
    }
  }

  private text(from: number, length: number, member: number): string {
    return this.decoder.decode(this.slice(from, length, member));
  }

  private slice(from: number, length: number, member: number): Uint8Array {
    if (from + length > this.bytes.length) {
      throw new ImageError(
        "E_INITRD_TRUNCATED",
        `${this.name}: the archive member at byte ${member} needs bytes up to ${from + length}, the file has ${this.bytes.length}: it is truncated or damaged, build it again`,
      );
    }
    return this.bytes.subarray(from, from + length);
  }

  private damaged(at: number, why: string): ImageError {
    return new ImageError(
      "E_INITRD_DAMAGED",
      `${this.name}: the archive is damaged at byte ${at}: ${why}: build it again`,
    );
  }
}

function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum = (sum + byte) >>> 0;
  return sum;
}
