/**
 * A machine as a snapshot: its parts' states, and the pages of its memory that are neither untouched nor zero, 16 to
 * a section. Restoring can leave the pages where they are: each comes out of the snapshot when the guest first uses
 * it, so that a restored guest is live at once, and {@link LazyPages} brings the rest in while it runs.
 *
 * The machine is between two instructions and stands still while it is saved, restored or cloned.
 */
import { xxh32Words } from "@hyperfile/jit/memory";
import type { SnapshotCodec } from "./codec.js";
import { DIRECTORY_LIMITS, HEADER_BYTES } from "./directory.js";
import {
  diskSections,
  largestDisk,
  numberBytes,
  SavedDisks,
  type SnapshotDisk,
  settleDisks,
} from "./disks.js";
import type { DrainedMachine } from "./drain.js";
import { damaged, SnapshotError } from "./errors.js";
import { encodeSections, SnapshotFile, type SnapshotSection } from "./format.js";
import { shown } from "./shown.js";
import { DEFAULT_LIMITS, encodeValue, type PlainRecord, type ValueLimits } from "./values.js";

/** Something with a state: a hart, a board, a clock. */
export interface SnapshotPart {
  save(): PlainRecord;
  /** Throws on a state of another shape, with a `code` and one line that names the field. */
  restore(state: PlainRecord): void;
  /** How large its state can be; a megabyte of 65,536 values unless given. */
  readonly limits?: ValueLimits;
}

/** Keeps the bytes of pages; see `GuestMemory` of the jit package. */
export interface SnapshotPager {
  store(page: Uint8Array): number;
  load(slot: number, target: Uint8Array): void;
  retain(slot: number): void;
  release(slot: number): void;
}

/** Guest RAM by pages of 4 KiB, numbered through all its regions. */
export interface SnapshotMemory {
  /** Where the main region is. */
  readonly base: number;
  readonly bytes: number;
  readonly pages: number;
  addressOfPage(page: number): number;
  isTouched(page: number): boolean;
  isBallooned(page: number): boolean;
  readPage(page: number, target: Uint8Array): void;
  /** Takes a page away from the guest, as its balloon does. */
  balloonPage(page: number): void;
  write(gpa: number, source: Uint8Array): boolean;
  clearTouched(): void;
  /** Makes `pages[slot]` read what the pager has in that slot; false if the memory can't take another pager. */
  mapPager(pager: SnapshotPager, pages: readonly number[]): boolean;
  /** Gives frames to at most `most` pages that a pager of `mapPager` still has; gives their number. */
  bringIn(most: number): number;
}

/** A machine that can be saved. */
export interface SnapshotMachine extends DrainedMachine {
  /** What it is made of; a snapshot can only be restored to a machine whose `config` is the same. */
  readonly config: PlainRecord;
  /** Its parts by name, in the order in which they are restored: a hart before a clock that counts its instructions. */
  readonly parts: Readonly<Record<string, SnapshotPart>>;
  readonly memory: SnapshotMemory;
  /** Its disks in their order; undefined for one of which a snapshot holds nothing. */
  readonly disks?: readonly (SnapshotDisk | undefined)[];
  /**
   * A page can't be read that was left in the snapshot: its checksum is right and its content is none, which no accident
   * brings about. Called in the middle of the guest's access, which reads zeros: the machine must not run on after it.
   */
  readonly onDamage?: (error: SnapshotError) => void;
}

/** What a snapshot holds. */
export interface SnapshotReport {
  /** Bytes of the file. */
  readonly bytes: number;
  /** Bytes of guest memory in it, before compression. */
  readonly memory: number;
  readonly sections: number;
}

const PAGE_SIZE = 4096;
/** Pages in a section: enough to compress well, few enough that the use of one costs little time. */
const CHUNK_PAGES = 16;
/** Most pages in a section that are read. */
const MOST_CHUNK_PAGES = 256;
/** Bytes of the memory's map beside its lists of pages. */
const MAP_BYTES = 1024;
/** Decompressed chunks kept at hand. */
const CHUNKS_KEPT = 16;
const MACHINE = "machine";
const MEMORY = "memory";
const partName = (name: string): string => `state/${name}`;
const chunkName = (chunk: number): string => `memory/${chunk}`;

/** What disks are known by, before {@link encodeMachine}; the machine stays drained in between. */
export const settleMachine = (machine: SnapshotMachine): Promise<readonly (PlainRecord | undefined)[]> =>
  settleDisks(machine.disks ?? []);

/**
 * The pieces of a machine's snapshot, to be written one after another, and what they hold.
 * @param records of {@link settleMachine}; without them nothing of disks is in the snapshot
 */
export function encodeMachine(
  machine: SnapshotMachine,
  codec: SnapshotCodec,
  records: readonly (PlainRecord | undefined)[] = [],
): { readonly pieces: readonly Uint8Array[]; readonly report: SnapshotReport } {
  const { memory } = machine;
  const pages: number[] = [];
  const ballooned: number[] = [];
  const bytes = new Uint8Array(PAGE_SIZE);
  const words = new Int32Array(bytes.buffer);
  for (let page = 0; page < memory.pages; page++) {
    if (memory.isBallooned(page)) ballooned.push(page);
    if (!memory.isTouched(page)) continue;
    memory.readPage(page, bytes);
    if (words.some((word) => word !== 0)) pages.push(page);
  }
  const pieces = encodeSections(sectionsOf(machine, pages, ballooned, records), codec);
  return {
    pieces,
    report: {
      bytes: pieces.reduce((sum, piece) => sum + piece.length, 0),
      memory: pages.length * PAGE_SIZE,
      sections: pieces.length - 2,
    },
  };
}

function* sectionsOf(
  { config, parts, memory, disks = [] }: SnapshotMachine,
  pages: readonly number[],
  ballooned: readonly number[],
  records: readonly (PlainRecord | undefined)[],
): Generator<SnapshotSection> {
  yield { name: MACHINE, bytes: encodeValue({ config, parts: Object.keys(parts) }) };
  for (const [name, part] of Object.entries(parts)) {
    yield { name: partName(name), bytes: encodePart(name, part) };
  }
  yield {
    name: MEMORY,
    bytes: encodeValue({
      base: memory.base,
      bytes: memory.bytes,
      chunk: CHUNK_PAGES,
      pages: numberBytes(pages),
      ballooned: numberBytes(ballooned),
    }),
  };
  for (let first = 0; first < pages.length; first += CHUNK_PAGES) {
    const chunk = pages.slice(first, first + CHUNK_PAGES);
    const bytes = new Uint8Array(chunk.length * PAGE_SIZE);
    chunk.forEach((page, index) => {
      memory.readPage(page, bytes.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE));
    });
    yield { name: chunkName(first / CHUNK_PAGES), bytes };
  }
  yield* diskSections(disks, records);
}

/**
 * Most bytes that a snapshot of a machine can have, whatever its guest did: a file that is larger is of another one, and who
 * reads files need not read it.
 */
export function largestSnapshot({ parts, memory, disks = [] }: SnapshotMachine): number {
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, each) => total + each, 0);
  return (
    HEADER_BYTES +
    DIRECTORY_LIMITS.bytes +
    DEFAULT_LIMITS.bytes +
    sum(Object.values(parts).map(({ limits = DEFAULT_LIMITS }) => limits.bytes)) +
    mapLimits(memory).bytes +
    memory.pages * PAGE_SIZE +
    sum(disks.map((disk) => (disk === undefined ? 0 : largestDisk(disk))))
  );
}

/**
 * Restores a machine from the bytes of a snapshot, which must stay as they are while pages are `lazy`.
 * Whether its disks are what they were is the caller's to know; see {@link restoreWithDisks}.
 * @param options.lazy leaves pages in the snapshot until they are used
 * @throws SnapshotError, and the machine is as it was, if the snapshot is damaged or of another machine; the same, with
 *   what the part says, if a part refuses its state: the machine is then to be dropped
 */
export function restoreMachine(
  bytes: Uint8Array,
  machine: SnapshotMachine,
  codec: SnapshotCodec,
  options: { readonly lazy?: boolean } = {},
): SnapshotReport {
  const file = new SnapshotFile(bytes, codec);
  checkMachine(file, machine);
  return restoreFile(file, machine, SavedDisks.read(file, machine.disks ?? []), bytes.length, options);
}

/**
 * The same, for a machine with disks: whether what of them lies elsewhere is as it was is looked at first.
 * @throws SnapshotError (the promise rejects) as {@link restoreMachine}, and `E_SNAPSHOT_DISK`, with the machine as it was
 */
export async function restoreWithDisks(
  bytes: Uint8Array,
  machine: SnapshotMachine,
  codec: SnapshotCodec,
  options: { readonly lazy?: boolean } = {},
): Promise<SnapshotReport> {
  const file = new SnapshotFile(bytes, codec);
  checkMachine(file, machine);
  const disks = SavedDisks.read(file, machine.disks ?? []);
  await disks.verify();
  return restoreFile(file, machine, disks, bytes.length, options);
}

function restoreFile(
  file: SnapshotFile,
  machine: SnapshotMachine,
  disks: SavedDisks,
  bytes: number,
  options: { readonly lazy?: boolean },
): SnapshotReport {
  const { memory } = machine;
  const { chunk, pages, ballooned } = readMap(file, memory, Object.keys(machine.parts), disks.names);
  const states = Object.entries(machine.parts).map(
    ([name, { limits }]) => [name, file.record(partName(name), limits)] as const,
  );
  disks.adopt();
  memory.clearTouched();
  for (const page of ballooned) memory.balloonPage(page);
  const pager = new SnapshotPages(file, pages.length, chunk, machine.onDamage);
  if (options.lazy !== true || !memory.mapPager(pager, pages)) pager.writeAll(memory, pages);
  for (const [name, state] of states) restorePart(name, machine.parts[name]!, state);
  return { bytes, memory: pages.length * PAGE_SIZE, sections: file.names.length };
}

/** A part's state, if it can be read back. */
function encodePart(name: string, part: SnapshotPart): Uint8Array {
  const state = part.save();
  try {
    return encodeValue(state, part.limits ?? DEFAULT_LIMITS);
  } catch (cause) {
    throw new SnapshotError(
      "E_SNAPSHOT_SIZE",
      `the state of ${name} is too large for a snapshot: ${(cause as Error).message}; let the part declare its size`,
      partName(name),
      { cause },
    );
  }
}

/** Restores a part; whatever it does not understand is the snapshot's fault. */
function restorePart(name: string, part: SnapshotPart, state: PlainRecord): void {
  try {
    part.restore(state);
  } catch (cause) {
    if (cause instanceof SnapshotError) throw cause;
    throw damaged(partName(name), `can't be restored: ${(cause as Error).message}`, cause);
  }
}

/** Gives a machine the state of another one; its memory was made by sharing the other's. */
export function cloneParts(source: SnapshotMachine, target: SnapshotMachine): void {
  for (const [name, part] of Object.entries(source.parts)) {
    const copy = target.parts[name];
    if (copy === undefined) throw otherMachine(`has ${name}, the clone has not`);
    copy.restore(part.save());
  }
}

/** Brings the pages of a machine that was restored lazily into memory, a little at a time. */
export class LazyPages {
  /** @param batch pages a step */
  constructor(
    private readonly memory: SnapshotMemory,
    private readonly batch = CHUNK_PAGES,
  ) {}

  /** Brings a batch in; false once nothing is left, and the snapshot's bytes are free. */
  step(): boolean {
    return this.memory.bringIn(this.batch) > 0;
  }
}

function checkMachine(file: SnapshotFile, machine: SnapshotMachine): void {
  const { config, parts } = file.record(MACHINE);
  if (!same(config, machine.config)) {
    const had = (config ?? {}) as PlainRecord;
    const [field = "config"] = Object.keys(machine.config).filter(
      (each) => !same(had[each], machine.config[each]),
    );
    throw otherMachine(`has ${field} ${shown(had[field])}, this machine ${shown(machine.config[field])}`);
  }
  if (!same(parts, Object.keys(machine.parts))) throw otherMachine(`has the parts ${shown(parts)}`);
}

const otherMachine = (how: string): SnapshotError =>
  new SnapshotError("E_SNAPSHOT_MACHINE", `the snapshot is of another machine: it ${how}`);

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** How large the memory's map can be: a number for each page, in one of its lists. */
const mapLimits = (memory: SnapshotMemory): ValueLimits => ({
  bytes: MAP_BYTES + 8 * memory.pages,
  values: 16,
});

function readMap(
  file: SnapshotFile,
  memory: SnapshotMemory,
  parts: readonly string[],
  disks: ReadonlySet<string>,
): { chunk: number; pages: readonly number[]; ballooned: readonly number[] } {
  const record = file.record(MEMORY, mapLimits(memory));
  if (record.base !== memory.base || record.bytes !== memory.bytes) {
    throw otherMachine(`has ${shown(record.bytes)} bytes of RAM at ${shown(record.base)}`);
  }
  const numbers = (field: string): readonly number[] => {
    const bytes = record[field];
    if (!(bytes instanceof Uint8Array) || bytes.length % 4 !== 0)
      throw damaged(MEMORY, `has no list of ${field}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const list = Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(4 * index, true));
    if (list.some((page, index) => page >= memory.pages || (index > 0 && page <= list[index - 1]!)))
      throw damaged(MEMORY, `lists ${field} that are not there`);
    return list;
  };
  const { chunk } = record;
  if (typeof chunk !== "number" || !Number.isInteger(chunk) || chunk < 1 || chunk > MOST_CHUNK_PAGES)
    throw damaged(MEMORY, "says nothing of its pages");
  const pages = numbers("pages");
  const ballooned = numbers("ballooned");
  const away = new Set(ballooned);
  if (pages.some((page) => away.has(page))) throw damaged(MEMORY, "lists pages that the balloon has");
  const chunks = Math.ceil(pages.length / chunk);
  for (let index = 0; index < chunks; index++) {
    const name = chunkName(index);
    if (file.lengthOf(name) !== chunkBytes(index, pages.length, chunk))
      throw damaged(name, "has another length");
  }
  const known = new Set([MACHINE, MEMORY, ...parts.map(partName)]);
  for (const name of file.names) {
    const number = /^memory\/(0|[1-9]\d*)$/.exec(name)?.[1];
    if (known.has(name) || disks.has(name) || (number !== undefined && Number(number) < chunks)) continue;
    throw damaged(name, "belongs to nothing");
  }
  return { chunk, pages, ballooned };
}

/** Bytes of a chunk. */
const chunkBytes = (index: number, pages: number, chunk: number): number =>
  Math.min(chunk, pages - index * chunk) * PAGE_SIZE;

/** The pages of a snapshot, decompressed a chunk at a time; slot n is the n-th page in it. */
class SnapshotPages implements SnapshotPager {
  private readonly kept = new Map<number, Uint8Array>();

  constructor(
    private readonly file: SnapshotFile,
    private readonly count: number,
    private readonly chunkPages: number,
    private readonly onDamage: ((error: SnapshotError) => void) | undefined,
  ) {}

  /** A snapshot takes no pages. */
  store(): number {
    return -1;
  }

  load(slot: number, target: Uint8Array): void {
    const start = (slot % this.chunkPages) * PAGE_SIZE;
    try {
      target.set(this.chunk(Math.floor(slot / this.chunkPages)).subarray(start, start + PAGE_SIZE));
    } catch (error) {
      if (this.onDamage === undefined || !(error instanceof SnapshotError)) throw error;
      target.fill(0);
      this.onDamage(error);
    }
  }

  retain(): void {
    // Pages of a snapshot stay until the snapshot goes.
  }

  release(): void {
    // See `retain`.
  }

  writeAll(memory: SnapshotMemory, pages: readonly number[]): void {
    pages.forEach((page, slot) => {
      const start = (slot % this.chunkPages) * PAGE_SIZE;
      const bytes = this.chunk(Math.floor(slot / this.chunkPages)).subarray(start, start + PAGE_SIZE);
      if (memory.write(memory.addressOfPage(page), bytes)) return;
      throw new SnapshotError(
        "E_SNAPSHOT_MACHINE",
        `the snapshot has ${(pages.length * PAGE_SIZE) / 0x100000} MiB of memory and there are not that many free: free some`,
      );
    });
  }

  private chunk(number: number): Uint8Array {
    const known = this.kept.get(number);
    if (known !== undefined) return known;
    const expected = chunkBytes(number, this.count, this.chunkPages);
    const bytes = this.file.section(chunkName(number), expected);
    if (bytes.length !== expected) throw damaged(chunkName(number), "has another length");
    if (this.kept.size >= CHUNKS_KEPT)
      for (const oldest of this.kept.keys()) {
        this.kept.delete(oldest);
        break;
      }
    this.kept.set(number, bytes);
    return bytes;
  }
}

/** A digest of all of a machine's guest-visible memory: equal memories have equal digests. */
export function memoryDigest(memory: SnapshotMemory): number {
  const bytes = new Uint8Array(PAGE_SIZE);
  const words = new Int32Array(bytes.buffer);
  let digest = 0;
  for (let page = 0; page < memory.pages; page++) {
    if (!memory.isTouched(page)) continue;
    memory.readPage(page, bytes);
    // A page of zeros is as good as an untouched one.
    if (words.some((word) => word !== 0))
      digest = xxh32Words(words, 0, words.length, (digest ^ Math.imul(page, 0x9e3779b1)) | 0);
  }
  return digest >>> 0;
}
