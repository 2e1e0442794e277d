/**
 * What a FUSE client has open, by the numbers that it was given: files, and folders with the names that were read from them.
 *
 * A folder's names are read when the client begins with them, and stay the same until it begins again: their places are good
 * whatever becomes of the folder meanwhile. All of them together are bounded.
 *
 * Saved, for each: u64 number   u64 node   u8 kind (1 read, 2 write, 4 data is synced, 8 all is, 16 a folder)
 */
import { FolderError } from "../errors.js";
import type { FolderFile, FolderName, FolderNode, FolderView, OpenMode } from "../shared-folder.js";

/** A folder that is open. */
export interface OpenFolder {
  readonly node: FolderNode;
  /** With `.` and `..`; undefined until they are read. */
  names: readonly FolderName[] | undefined;
}

const MOST_FOLDERS = 4096;
/** What names may take of the host's memory, about, in bytes. */
const MOST_NAME_BYTES = 64 << 20;
const NAME_BYTES = 64;
const RECORD_BYTES = 17;
const bits = { read: 1, write: 2, data: 4, all: 8, folder: 16 } as const;
/** Most bytes of the saved form. */
export const MOST_OPEN_BYTES = 2 * MOST_FOLDERS * RECORD_BYTES;

const itself: readonly FolderName[] = [
  { name: ".", kind: "folder" },
  { name: "..", kind: "folder" },
];

/** Files and folders of one client. */
export class OpenFiles {
  private readonly files = new Map<number, { readonly node: FolderNode; readonly file: FolderFile }>();
  private readonly folders = new Map<number, OpenFolder>();
  private nameBytes = 0;
  private next = 1;

  addFile(node: FolderNode, file: FolderFile): number {
    this.files.set(this.next, { node, file });
    return this.next++;
  }

  /** @throws FolderError `ENFILE` */
  addFolder(node: FolderNode): number {
    if (this.folders.size >= MOST_FOLDERS) throw new FolderError("ENFILE");
    this.folders.set(this.next, { node, names: undefined });
    return this.next++;
  }

  /** @throws FolderError `EBADF` */
  file(number: number): FolderFile {
    const found = this.files.get(number);
    if (found === undefined) throw new FolderError("EBADF");
    return found.file;
  }

  /** @throws FolderError `EBADF` */
  folder(number: number): OpenFolder {
    const found = this.folders.get(number);
    if (found === undefined) throw new FolderError("EBADF");
    return found;
  }

  /**
   * The names of a folder that has been read.
   * @throws FolderError `ENOMEM` if all that are kept would take too much
   */
  named(folder: OpenFolder, names: readonly FolderName[]): readonly FolderName[] {
    this.unnamed(folder);
    const bytes = bytesOf(names);
    if (this.nameBytes + bytes > MOST_NAME_BYTES) throw new FolderError("ENOMEM");
    this.nameBytes += bytes;
    folder.names = [...itself, ...names];
    return folder.names;
  }

  /** @throws FolderError `EBADF` */
  closeFile(number: number): void {
    this.file(number).close();
    this.files.delete(number);
  }

  /** @throws FolderError `EBADF` */
  closeFolder(number: number): void {
    this.unnamed(this.folder(number));
    this.folders.delete(number);
  }

  /** What is open, of nodes that are held. */
  save(view: FolderView): Uint8Array {
    const records: (readonly [number: number, node: FolderNode, kind: number])[] = [];
    for (const [number, { node, file }] of this.files) records.push([number, node, kindOf(file.mode)]);
    for (const [number, { node }] of this.folders) records.push([number, node, bits.folder]);
    const held = records.filter(([, node]) => view.node(node.id) === node);
    const bytes = new Uint8Array(8 + RECORD_BYTES * held.length);
    const out = new DataView(bytes.buffer);
    out.setBigUint64(0, BigInt(this.next), true);
    held.forEach(([number, node, kind], index) => {
      const at = 8 + RECORD_BYTES * index;
      out.setBigUint64(at, BigInt(number), true);
      out.setBigUint64(at + 8, BigInt(node.id), true);
      out.setUint8(at + 16, kind);
    });
    return bytes;
  }

  /** Takes what was saved; nothing is open yet. @throws RangeError for bytes that nobody saved */
  restore(state: Uint8Array, view: FolderView): void {
    const input = new DataView(state.buffer, state.byteOffset, state.length);
    const numberAt = (at: number): number => {
      const value = input.getBigUint64(at, true);
      if (value > Number.MAX_SAFE_INTEGER) throw new RangeError("a number is none of a file");
      return Number(value);
    };
    const isWhole = state.length >= 8 && (state.length - 8) % RECORD_BYTES === 0;
    if (!isWhole || state.length > MOST_OPEN_BYTES) throw new RangeError("its length is none of open files");
    const next = numberAt(0);
    for (let at = 8; at < state.length; at += RECORD_BYTES) {
      const [number, node, kind] = [numberAt(at), view.node(numberAt(at + 8)), input.getUint8(at + 16)];
      if (number < 1 || number >= next || this.files.has(number) || this.folders.has(number))
        throw new RangeError("a file's number is taken or was never given");
      if (node === undefined) throw new RangeError("a file's node is none");
      if (kind === bits.folder) this.folders.set(number, { node, names: undefined });
      else if (kind < bits.folder) this.files.set(number, { node, file: view.reopen(node, modeOf(kind)) });
      else throw new RangeError("a file's kind is none");
    }
    this.next = next;
  }

  private unnamed(folder: OpenFolder): void {
    if (folder.names === undefined) return;
    this.nameBytes -= bytesOf(folder.names.slice(itself.length));
    folder.names = undefined;
  }
}

const bytesOf = (names: readonly FolderName[]): number =>
  names.reduce((sum, { name }) => sum + NAME_BYTES + name.length, 0);

function kindOf({ read, write, sync }: OpenMode): number {
  const synced = sync === "none" ? 0 : bits[sync];
  return (read ? bits.read : 0) | (write ? bits.write : 0) | synced;
}

function modeOf(kind: number): OpenMode {
  const sync = (kind & bits.all) !== 0 ? "all" : (kind & bits.data) !== 0 ? "data" : "none";
  return { read: (kind & bits.read) !== 0, write: (kind & bits.write) !== 0, truncate: false, sync };
}
