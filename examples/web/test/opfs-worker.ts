/** The worker of the tests of disks in the private file system: does what it is asked, and tells how far it is. */
import { checkQcow2, DiskError, ImageStore } from "@hyperfile/devices/disk";
import {
  listOpfs,
  OpfsFile,
  OpfsPlace,
  openOpfsDisk,
  readOpfs,
  removeOpfs,
  writeOpfs,
} from "@hyperfile/devices/web";

/** Bytes of a record on a disk, and of a disk. */
const [RECORD, DISK] = [3000, 24 << 20];
/** Records of a disk; their places are in no order. */
const RECORDS = 5000;
const PIECE = 1 << 20;

type Format = "raw" | "qcow2";
type Progress = (done: number) => void;

const placeOf = (record: number): number => ((record * 2741) % RECORDS) * RECORD;
const recordOf = (record: number): Uint8Array => {
  const bytes = new Uint8Array(RECORD).fill(record);
  new DataView(bytes.buffer).setUint32(0, record + 1);
  return bytes;
};
const isRecord = (bytes: Uint8Array, record: number): boolean =>
  recordOf(record).every((byte, index) => byte === bytes[index]);

const calls = {
  /** Writes and flushes records until the disk is full of them. */
  async fill(name: string, format: Format, progress: Progress) {
    const disk = await openOpfsDisk(name, { format, size: DISK });
    for (let record = 0; record < RECORDS; record++) {
      await disk.write(placeOf(record), [recordOf(record)]);
      await disk.flush();
      progress(record + 1);
    }
  },

  /** What is on a disk, of which `flushed` records must be there; and that it can be written. */
  async look(name: string, format: Format, flushed: number) {
    const disk = await openOpfsDisk(name, { format });
    const bytes = new Uint8Array(RECORD);
    const missing: number[] = [];
    for (let record = 0; record < flushed; record++) {
      await disk.read(placeOf(record), [bytes]);
      if (!isRecord(bytes, record)) missing.push(record);
    }
    await disk.write(0, [bytes]);
    await disk.close();
    return { missing, size: disk.size };
  },

  /** The errors of a qcow2 image as it lies there. */
  async check(name: string) {
    const file = await OpfsFile.open(name, { isReadOnly: true });
    try {
      const { corruptions } = await checkQcow2(file);
      return corruptions.first;
    } finally {
      await file.close();
    }
  },

  /** Opens a disk, and keeps it. */
  async hold(name: string) {
    await openOpfsDisk(name, { format: "qcow2", size: DISK });
  },

  /** Writes until there is no room: what that says, and whether what was written before is there. */
  async exhaust(name: string) {
    const disk = await openOpfsDisk(name, { format: "qcow2", size: 1 << 30 });
    const bytes = new Uint8Array(PIECE);
    let written = 0;
    let failure: unknown;
    while (failure === undefined && written < 1000)
      await disk.write(written * PIECE, [bytes.fill(written + 1)]).then(
        () => written++,
        (error) => (failure = shown(error)),
      );
    let isThere = true;
    for (let piece = 0; piece < written; piece++) {
      await disk.read(piece * PIECE, [bytes]);
      isThere &&= bytes.every((byte) => byte === ((piece + 1) & 0xff));
    }
    await disk.close();
    return { written, failure, isThere };
  },

  /** Makes a file of so many pieces, which are marked. */
  async save(name: string, mark: number, pieces: number) {
    await writeOpfs(name, Array<Uint8Array>(pieces).fill(new Uint8Array(PIECE).fill(mark)));
  },

  /** Writes a file in pieces, and stands still for ever before the last one. */
  async saveInPart(name: string, mark: number, progress: Progress) {
    const pieces = [1, 2, 3].map(() => new Uint8Array(PIECE).fill(mark));
    Object.defineProperty(pieces, 2, {
      get() {
        progress(2);
        // A loop without an effect would not be in the bundle.
        for (let turn = 0; ; turn++) self.name = `${turn}`;
      },
    });
    await writeOpfs(name, pieces);
  },

  /** The size of a file, and the bytes that it is made of. */
  async load(name: string) {
    const bytes = await readOpfs(name);
    return { bytes: bytes.length, marks: [...new Set(bytes)] };
  },

  list: (folder: string) => listOpfs(folder),
  remove: (name: string) => removeOpfs(name),

  /** All names in a folder as the browser has them. */
  async names(folder: string) {
    const root = await navigator.storage.getDirectory();
    const names: string[] = [];
    const entries = (await root.getDirectoryHandle(folder)) as unknown as { keys(): AsyncIterable<string> };
    for await (const name of entries.keys()) names.push(name);
    return names.sort();
  },

  /** Writes images to a store until it is stopped; tells after each. */
  async fillStore(name: string, progress: Progress) {
    const store = new ImageStore(new OpfsPlace(name));
    await store.create("disk", { size: DISK, chunkBytes: 65536 });
    const disk = await store.open("disk", { isWritable: true });
    for (let record = 0; record < RECORDS; record++) {
      await disk.write(placeOf(record), [recordOf(record)]);
      if (record % 10 !== 9) continue;
      await disk.flush();
      progress(record + 1);
    }
  },

  /** What an image of a store has, of which `flushed` records must be there; of a clone, which is written, too. */
  async lookStore(name: string, flushed: number) {
    const store = new ImageStore(new OpfsPlace(name));
    const problems = await store.check("disk");
    await store.clone("disk", "copy");
    const copy = await store.open("copy", { isWritable: true });
    await copy.write(DISK - 3, [Uint8Array.of(1, 2, 3)]);
    await copy.close();
    const missing: number[] = [];
    for (const image of ["disk", "copy"]) {
      const disk = await store.open(image, { isWritable: true });
      const bytes = new Uint8Array(RECORD);
      for (let record = 0; record < flushed; record++) {
        await disk.read(placeOf(record), [bytes]);
        if (!isRecord(bytes, record)) missing.push(record);
      }
      await disk.close();
    }
    const { removed } = await store.collect({ graceMs: 0, now: Date.now() + 1000 });
    return { problems, missing, removed, after: await store.check("copy") };
  },
};

const shown = (error: unknown): { code?: string; message: string } =>
  error instanceof DiskError
    ? { code: error.code, message: error.message }
    : { message: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };

self.onmessage = async ({ data: { id, call, args } }: MessageEvent) => {
  const progress: Progress = (done) => self.postMessage({ id, progress: done });
  const job = calls[call as keyof typeof calls] as (...args: unknown[]) => Promise<unknown>;
  try {
    self.postMessage({ id, result: await job(...args, progress) });
  } catch (error) {
    self.postMessage({ id, failure: shown(error) });
  }
};
