/**
 * The disks of a machine in its snapshots. Of each there is a record, of what it is known by, and the chunks that lie
 * nowhere else: what was written to an overlay in memory. Where the rest comes from a file, the disk itself tells whether
 * that is still the one.
 */
import { damaged, SnapshotError } from "./errors.js";
import type { SnapshotFile, SnapshotSection } from "./format.js";
import { shown } from "./shown.js";
import { encodeValue, type PlainRecord } from "./values.js";

/** A chunk of a disk: its bytes, or undefined for zeros. */
export interface DiskChunk {
  readonly index: number;
  readonly bytes: Uint8Array | undefined;
}

/** A disk that knows what of it is saved. */
export interface SnapshotDisk {
  /** Bytes. */
  readonly size: number;
  /** Bytes of its chunks, a power of two; the last one may be shorter. */
  readonly chunkBytes: number;
  /** Makes durable what lies elsewhere, and says what that is known by. The machine is drained. Rejects with one line. */
  settle(): Promise<PlainRecord>;
  /** Whether what lies elsewhere is what a record says; rejects with one line if not. */
  verify(record: PlainRecord): Promise<void>;
  /** What is to be saved, the least index first. */
  chunks(): Iterable<DiskChunk>;
  /** Takes what was saved, in place of what it has. */
  adopt(chunks: Iterable<DiskChunk>): void;
}

/** Bytes of chunks in a section. */
const SECTION_BYTES = 2 ** 20;
/** Bytes of a record beside the list of chunks, and values in it. */
const [RECORD_BYTES, RECORD_VALUES] = [65_536, 1024];

/** Name of the section with a disk's record. */
export const diskName = (disk: number): string => `disk/${disk}`;
const chunksName = (disk: number, section: number): string => `disk/${disk}/${section}`;

/** Makes disks ready to be saved: the machine is drained, and stays so until its snapshot is encoded. */
export function settleDisks(
  disks: readonly (SnapshotDisk | undefined)[],
): Promise<(PlainRecord | undefined)[]> {
  return Promise.all(disks.map((disk) => disk?.settle()));
}

/** The sections of disks. @param records of {@link settleDisks} */
export function* diskSections(
  disks: readonly (SnapshotDisk | undefined)[],
  records: readonly (PlainRecord | undefined)[],
): Generator<SnapshotSection> {
  for (const [number, disk] of disks.entries()) {
    const record = records[number];
    if (disk === undefined || record === undefined) continue;
    const zeros: number[] = [];
    const present: number[] = [];
    for (const { index, bytes } of disk.chunks()) (bytes === undefined ? zeros : present).push(index);
    const { size, chunkBytes } = disk;
    yield {
      name: diskName(number),
      bytes: encodeValue(
        { record, size, chunkBytes, chunks: numberBytes(present), zeros: numberBytes(zeros) },
        limitsOf(disk),
      ),
    };
    let [section, pieces, length]: [number, Uint8Array[], number] = [0, [], 0];
    for (const { bytes } of disk.chunks()) {
      if (bytes === undefined) continue;
      pieces.push(bytes);
      length += bytes.length;
      if (length < SECTION_BYTES) continue;
      yield { name: chunksName(number, section++), bytes: joined(pieces) };
      [pieces, length] = [[], 0];
    }
    if (length > 0) yield { name: chunksName(number, section), bytes: joined(pieces) };
  }
}

/** What a snapshot has of one disk. */
interface SavedDisk {
  readonly disk: SnapshotDisk;
  readonly record: PlainRecord;
  readonly chunks: readonly number[];
  readonly zeros: readonly number[];
}

/** The disks of a snapshot, which was found to be whole. */
export class SavedDisks {
  private constructor(
    private readonly file: SnapshotFile,
    private readonly saved: ReadonlyMap<number, SavedDisk>,
    /** Names of their sections. */
    readonly names: ReadonlySet<string>,
  ) {}

  /**
   * Reads what a snapshot has of a machine's disks.
   * @throws SnapshotError `E_SNAPSHOT_MACHINE` for other disks, `E_SNAPSHOT_DAMAGED`
   */
  static read(file: SnapshotFile, disks: readonly (SnapshotDisk | undefined)[]): SavedDisks {
    const saved = new Map<number, SavedDisk>();
    const names = new Set<string>();
    for (const [number, disk] of disks.entries()) {
      const name = diskName(number);
      if (disk === undefined) continue;
      if (!file.has(name)) throw otherDisk(number, "says nothing of it");
      names.add(name);
      const { record, size, chunkBytes, ...lists } = file.record(name, limitsOf(disk));
      if (size !== disk.size)
        throw otherDisk(number, `has ${shown(size)} bytes of it, and it has ${disk.size}`);
      if (chunkBytes !== disk.chunkBytes) throw damaged(name, "has chunks of another size");
      if (
        typeof record !== "object" ||
        record === null ||
        Array.isArray(record) ||
        record instanceof Uint8Array
      )
        throw damaged(name, "says nothing of what it is known by");
      const end = Math.ceil(disk.size / disk.chunkBytes);
      const chunks = numbersIn(name, lists.chunks, end);
      const zeros = numbersIn(name, lists.zeros, end);
      const other = new Set(zeros);
      if (chunks.some((index) => other.has(index))) throw damaged(name, "has chunks twice");
      const perSection = SECTION_BYTES / disk.chunkBytes;
      for (let section = 0; section * perSection < chunks.length; section++) {
        const here = chunksName(number, section);
        names.add(here);
        const indices = chunks.slice(section * perSection, (section + 1) * perSection);
        const bytes = indices.reduce((sum, index) => sum + bytesOf(disk, index), 0);
        if (file.lengthOf(here) !== bytes) throw damaged(here, "has another length");
      }
      saved.set(number, { disk, record: record as PlainRecord, chunks, zeros });
    }
    return new SavedDisks(file, saved, names);
  }

  /** Whether what lies elsewhere is as it was. Rejects with one line that names the disk. */
  async verify(): Promise<void> {
    for (const [number, { disk, record }] of this.saved) {
      try {
        await disk.verify(record);
      } catch (cause) {
        throw new SnapshotError(
          "E_SNAPSHOT_DISK",
          `disk ${number} is not what it was when the snapshot was taken: ${(cause as Error).message}`,
          diskName(number),
          { cause },
        );
      }
    }
  }

  /** Gives the disks what was saved of them. */
  adopt(): void {
    for (const [number, { disk, chunks, zeros }] of this.saved)
      disk.adopt(this.chunksOf(number, disk, chunks, zeros));
  }

  private *chunksOf(
    number: number,
    disk: SnapshotDisk,
    chunks: readonly number[],
    zeros: readonly number[],
  ): Generator<DiskChunk> {
    for (const index of zeros) yield { index, bytes: undefined };
    const perSection = SECTION_BYTES / disk.chunkBytes;
    for (let section = 0; section * perSection < chunks.length; section++) {
      const name = chunksName(number, section);
      const bytes = this.file.section(name, SECTION_BYTES);
      let at = 0;
      for (const index of chunks.slice(section * perSection, (section + 1) * perSection)) {
        const length = bytesOf(disk, index);
        yield { index, bytes: bytes.subarray(at, at + length) };
        at += length;
      }
    }
  }
}

const bytesOf = ({ size, chunkBytes }: SnapshotDisk, index: number): number =>
  Math.min(chunkBytes, size - index * chunkBytes);

const limitsOf = ({ size, chunkBytes }: SnapshotDisk) => ({
  bytes: RECORD_BYTES + 8 * Math.ceil(size / chunkBytes),
  values: RECORD_VALUES,
});

/** Most bytes that a snapshot can have of a disk: all of its chunks, and the record. */
export const largestDisk = (disk: SnapshotDisk): number => limitsOf(disk).bytes + disk.size;

const otherDisk = (number: number, how: string): SnapshotError =>
  new SnapshotError(
    "E_SNAPSHOT_MACHINE",
    `the snapshot is of a machine with other disks than disk ${number}: it ${how}`,
  );

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Numbers of 32 bits as bytes, the least byte of each first. */
export function numberBytes(numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(numbers.length * 4);
  const view = new DataView(bytes.buffer);
  numbers.forEach((number, index) => {
    view.setUint32(4 * index, number, true);
  });
  return bytes;
}

/** Numbers below `end` that rise, as {@link numberBytes} made them. @throws SnapshotError for others */
function numbersIn(name: string, value: unknown, end: number): readonly number[] {
  if (!(value instanceof Uint8Array) || value.length % 4 !== 0) throw damaged(name, "has no list of chunks");
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const list = Array.from({ length: value.length / 4 }, (_, at) => view.getUint32(4 * at, true));
  if (list.some((number, at) => number >= end || (at > 0 && number <= list[at - 1]!)))
    throw damaged(name, "lists chunks that are not there");
  return list;
}
