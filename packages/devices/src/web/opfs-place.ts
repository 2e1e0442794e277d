/**
 * Objects of an image store as files of the browser's private file system. An object is written and flushed in a folder of
 * its own, and moved to its place: after a kill none is there in part, and what was added is durable at once, so that a copy
 * that was broken off goes on where it was.
 *
 * Renewing, removing and placing an object are done one at a time, by a lock of the origin by its key: so none is removed
 * that somebody has just renewed or added, whichever tab that is.
 */
import { checkKey, type ObjectInfo, type ObjectPlace, tooLarge } from "../disk/store/object-place.js";
import {
  browserError,
  findFile,
  inUse,
  isMissing,
  originLocks,
  type PrivateFolder,
  partsOf,
  privateRoot,
  readFile,
} from "./browser-files.js";
import { accessTo } from "./opfs-file.js";
import { exclusively, makeWhole, removeLeftovers, tryWriting } from "./whole-files.js";

/** The folder of files that have no place yet; no key begins so. */
const UNFINISHED = ".new";
const USER_LOCK = "hyperfile user ";

/** A folder of objects, in a worker. */
export class OpfsPlace implements ObjectPlace {
  readonly isReadOnly = false;
  /** The folder's name and those of its folders, without the place's own. */
  private readonly own: readonly string[];
  /** Folders that have been looked up, by their paths in the place. */
  private readonly folders = new Map<string, PrivateFolder>();
  /** Makes the folder for files without a place, and removes what the dead have left in it; once. */
  private unfinishedFolder: Promise<PrivateFolder> | undefined;

  /**
   * @param name the folder's, with slashes between folders; it is made when something is written
   * @throws DiskError `E_IMAGE_FORMAT` for a name that can't be
   */
  constructor(readonly name: string) {
    this.own = partsOf(name);
  }

  async read(key: string, mostBytes: number): Promise<Uint8Array | undefined> {
    checkKey(this.name, key);
    return this.call(key, "read", async () => {
      const folder = await this.existing(folderOf(key));
      return (
        folder &&
        readFile(folder, leafOf(key), (bytes) => {
          if (bytes > mostBytes) throw tooLarge(this.name, key, mostBytes);
        })
      );
    });
  }

  async renew(key: string): Promise<boolean> {
    checkKey(this.name, key);
    return this.call(key, "renew", async () => {
      const folder = await this.existing(folderOf(key));
      if (folder === undefined || (await findFile(folder, leafOf(key))) === undefined) return false;
      return exclusively(this.nameOf(key), async () => {
        const handle = await findFile(folder, leafOf(key));
        if (handle === undefined) return false;
        const access = await accessTo(this.nameOf(key), handle, false);
        try {
          // There is no call for a file's time, which the same byte again renews.
          const first = new Uint8Array(Math.min(1, access.getSize()));
          access.read(first, { at: 0 });
          access.write(first, { at: 0 });
        } finally {
          access.close();
        }
        return true;
      });
    });
  }

  async add(key: string, bytes: Uint8Array): Promise<void> {
    if (!(await this.renew(key))) await this.put(key, bytes, true);
  }

  /** All that was added is durable. */
  async sync(): Promise<void> {}

  async replace(key: string, bytes: Uint8Array): Promise<void> {
    await this.put(key, bytes, true);
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean> {
    return this.put(key, bytes, false);
  }

  async remove(key: string, notAfter = Infinity): Promise<boolean> {
    checkKey(this.name, key);
    return this.call(key, "remove", async () => {
      const folder = await this.existing(folderOf(key));
      if (folder === undefined) return false;
      return exclusively(this.nameOf(key), async () => {
        const handle = await findFile(folder, leafOf(key));
        if (handle === undefined || (await handle.getFile()).lastModified > notAfter) return false;
        await folder.removeEntry(leafOf(key));
        return true;
      });
    });
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    yield* this.objectsIn(prefix.replace(/\/+$/, ""));
  }

  async lock(key: string): Promise<() => void> {
    const name = this.nameOf(key);
    return new Promise<() => void>((resolve, reject) => {
      originLocks()
        .request(USER_LOCK + name, { ifAvailable: true }, (lock) => {
          if (lock === null) throw inUse(name);
          return new Promise<void>((release) => resolve(release));
        })
        .catch(reject);
    });
  }

  async sweep(notAfter: number): Promise<number> {
    return this.call(UNFINISHED, "sweep", async () => {
      const folder = await this.existing(UNFINISHED);
      return folder === undefined ? 0 : removeLeftovers(folder, notAfter);
    });
  }

  async prepare(): Promise<void> {
    await this.call(UNFINISHED, "write", async () => tryWriting(this.name, await this.unfinished()));
  }

  private nameOf(key: string): string {
    return `${this.name}/${key}`;
  }

  private async put(key: string, bytes: Uint8Array, replaces: boolean): Promise<boolean> {
    checkKey(this.name, key);
    return this.call(key, "write", async () => {
      const folder = await this.folder(folderOf(key), true);
      const place = { name: this.nameOf(key), folder, leaf: leafOf(key) };
      return makeWhole(place, await this.unfinished(), (file) => file.write(0, [bytes]), { replaces });
    });
  }

  private unfinished(): Promise<PrivateFolder> {
    this.unfinishedFolder ??= this.makeUnfinished().catch((error) => {
      this.unfinishedFolder = undefined;
      throw error;
    });
    return this.unfinishedFolder;
  }

  private async makeUnfinished(): Promise<PrivateFolder> {
    const folder = await this.folder(UNFINISHED, true);
    await removeLeftovers(folder);
    return folder;
  }

  /** A folder of the place; undefined if there is none. */
  private async existing(path: string): Promise<PrivateFolder | undefined> {
    try {
      return await this.folder(path, false);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  private async folder(path: string, create: boolean): Promise<PrivateFolder> {
    const known = this.folders.get(path);
    if (known !== undefined) return known;
    let folder = await privateRoot();
    const parts = path === "" ? this.own : [...this.own, ...path.split("/")];
    for (const part of parts) folder = await folder.getDirectoryHandle(part, { create });
    this.folders.set(path, folder);
    return folder;
  }

  /** The objects in a folder and below. */
  private async *objectsIn(path: string): AsyncIterable<ObjectInfo> {
    const entries = await this.call(path, "list", async () => {
      const folder = await this.existing(path);
      const found: [string, ObjectInfo | undefined][] = [];
      for await (const [leaf, entry] of folder?.entries() ?? []) {
        if (leaf.startsWith(".")) continue;
        const key = path === "" ? leaf : `${path}/${leaf}`;
        if (entry.kind === "directory") found.push([key, undefined]);
        else {
          // One that has been removed meanwhile is none.
          const file = await entry.getFile().catch((error) => {
            if (!isMissing(error)) throw error;
          });
          if (file !== undefined) found.push([key, { key, bytes: file.size, at: file.lastModified }]);
        }
      }
      return found;
    });
    for (const [key, object] of entries) {
      if (object === undefined) yield* this.objectsIn(key);
      else yield object;
    }
  }

  private async call<T>(key: string, what: string, job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } catch (error) {
      throw browserError(this.nameOf(key), what, error);
    }
  }
}

const folderOf = (key: string): string => key.slice(0, Math.max(0, key.lastIndexOf("/")));
const leafOf = (key: string): string => key.slice(key.lastIndexOf("/") + 1);
