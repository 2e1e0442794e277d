/**
 * Objects of an image store as files of a folder. An object is written in a folder of its own, and gets its place once its
 * bytes are on the disk: after a kill, or when the power goes, no object is there in part. What is added gets its place with
 * the next `sync`, so that many objects share the waits for the disk. Files that have no place yet are named with the
 * identity of their writer; what a killed one left is removed by the next that writes to the store.
 */
import { constants } from "node:fs";
import { type FileHandle, link, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DiskError } from "../errors.js";
import { checkKey, type ObjectInfo, type ObjectPlace, tooLarge } from "../store/object-place.js";
import { inParallel, Turns } from "../turns.js";
import { ImageLock } from "./image-lock.js";
import { makeFolders } from "./make-folders.js";
import { removeDead } from "./new-file.js";
import { fileError, NodeFile, syncFolder } from "./node-file.js";
import { newIdentity } from "./process-identity.js";

/** Files that are flushed at once. */
const AT_ONCE = 16;
/** The folder of files that have no place yet; no key begins so. */
const UNFINISHED = ".new";

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** A folder of objects. */
export class FolderPlace implements ObjectPlace {
  readonly isReadOnly: boolean;
  /** Files of objects that wait for their names, by key. */
  private readonly unnamed = new Map<string, string>();
  private readonly syncs = new Turns();
  /** Makes the folder for them, and removes what the dead have left in it; once. */
  private unfinishedFolder: Promise<string> | undefined;

  /** @param name the folder's path; it is made when something is written */
  constructor(
    readonly name: string,
    options: { readonly isReadOnly?: boolean } = {},
  ) {
    this.isReadOnly = options.isReadOnly ?? false;
  }

  async read(key: string, mostBytes: number): Promise<Uint8Array | undefined> {
    for (const path of [this.unnamed.get(key), this.pathOf(key)]) {
      if (path === undefined) continue;
      const bytes = await this.bytesOf(path, key, mostBytes);
      if (bytes !== undefined) return bytes;
    }
    // It may have got its name between the two looks.
    return this.bytesOf(this.pathOf(key), key, mostBytes);
  }

  async renew(key: string): Promise<boolean> {
    const path = this.pathOf(key);
    if (this.unnamed.has(key)) return true;
    const now = new Date();
    try {
      await utimes(path, now, now);
      return true;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw fileError(path, "renew", error);
    }
  }

  async add(key: string, bytes: Uint8Array): Promise<void> {
    if (await this.renew(key)) return;
    const file = await this.write(this.pathOf(key), bytes);
    // Two may have written it at once: one file is enough.
    if (this.unnamed.has(key)) await rm(file, { force: true });
    else this.unnamed.set(key, file);
  }

  sync(): Promise<void> {
    return this.syncs.run(async () => {
      const files = [...this.unnamed];
      await inParallel(files, AT_ONCE, ([, file]) => this.call(file, "flush", () => flushFile(file)));
      await inParallel(files, AT_ONCE, async ([key, file]) => {
        await this.call(file, "rename", () => rename(file, this.pathOf(key)));
        this.unnamed.delete(key);
      });
      const folders = [...new Set(files.map(([key]) => dirname(this.pathOf(key))))];
      await inParallel(folders, AT_ONCE, (folder) => this.call(folder, "flush", () => syncFolder(folder)));
    });
  }

  async replace(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.pathOf(key);
    const file = await this.write(path, bytes);
    await this.call(path, "write", async () => {
      try {
        await flushFile(file);
        await rename(file, path);
      } catch (error) {
        await rm(file, { force: true });
        throw error;
      }
      await syncFolder(dirname(path));
    });
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean> {
    const path = this.pathOf(key);
    const file = await this.write(path, bytes);
    return this.call(path, "write", async () => {
      try {
        await flushFile(file);
        await link(file, path);
      } catch (error) {
        if (codeOf(error) === "EEXIST") return false;
        throw error;
      } finally {
        await rm(file, { force: true });
      }
      await syncFolder(dirname(path));
      return true;
    });
  }

  async remove(key: string, notAfter = Infinity): Promise<boolean> {
    const path = this.pathOf(key);
    if (this.unnamed.has(key)) return false;
    // Under another name nobody renews it any more: whoever did before is seen, whoever comes later writes it anew.
    const file = await this.unfinished();
    try {
      if ((await stat(path)).mtimeMs > notAfter) return false;
      await rename(path, file);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw fileError(path, "remove", error);
    }
    return this.call(path, "remove", async () => {
      if ((await stat(file)).mtimeMs > notAfter) {
        await rename(file, path);
        return false;
      }
      await rm(file);
      return true;
    });
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    await this.call(this.name, "list", () => stat(this.name));
    yield* this.filesIn(prefix.replace(/\/+$/, ""));
  }

  async lock(key: string): Promise<() => void> {
    const lock = await ImageLock.take(this.pathOf(key));
    return () => lock.release();
  }

  async sweep(notAfter: number): Promise<number> {
    const folder = join(this.name, UNFINISHED);
    const own = [...this.unnamed.values()];
    let swept = 0;
    for (const name of await readdir(folder).catch(() => [])) {
      const file = join(folder, name);
      const found = await stat(file).catch(() => undefined);
      if (found === undefined || found.mtimeMs > notAfter || own.includes(file)) continue;
      await this.call(file, "remove", () => rm(file, { force: true }));
      swept++;
    }
    return swept;
  }

  async prepare(): Promise<void> {
    const file = await this.write(join(this.name, UNFINISHED), new Uint8Array(1));
    await this.call(file, "remove", () => rm(file, { force: true }));
  }

  async close(): Promise<void> {
    await this.syncs.run(async () => {
      for (const [key, file] of [...this.unnamed]) {
        this.unnamed.delete(key);
        await rm(file, { force: true }).catch(() => {});
      }
    });
  }

  private pathOf(key: string): string {
    checkKey(this.name, key);
    return join(this.name, ...key.split("/"));
  }

  private async bytesOf(path: string, key: string, mostBytes: number): Promise<Uint8Array | undefined> {
    let file: NodeFile | undefined;
    try {
      file = await NodeFile.open(path, { isReadOnly: true });
    } catch (error) {
      if (codeOf((error as Error).cause) === "ENOENT") return undefined;
      throw error;
    }
    try {
      if (file.size > mostBytes) throw tooLarge(this.name, key, mostBytes);
      const bytes = new Uint8Array(file.size);
      await file.read(0, [bytes]);
      return bytes;
    } finally {
      await file.close();
    }
  }

  /** Writes bytes beside a path; gives the file's path. */
  private async write(path: string, bytes: Uint8Array): Promise<string> {
    await this.makeFolder(dirname(path));
    const file = await this.unfinished();
    let handle: FileHandle | undefined;
    try {
      handle = await open(file, "wx", 0o644);
      await handle.writeFile(bytes);
      await handle.close();
      return file;
    } catch (error) {
      await handle?.close();
      await rm(file, { force: true }).catch(() => {});
      throw fileError(file, "write", error);
    }
  }

  /** Makes a folder, durably: each one's name is in the one above. */
  private async makeFolder(folder: string): Promise<void> {
    await this.call(folder, "make", async () => {
      const first = await makeFolders(folder);
      if (first === undefined) return;
      for (let at = folder; at.length >= first.length; at = dirname(at)) await syncFolder(dirname(at));
    });
  }

  /** The name of a file that has no place yet. */
  private async unfinished(): Promise<string> {
    this.unfinishedFolder ??= this.makeUnfinished().catch((error) => {
      this.unfinishedFolder = undefined;
      throw error;
    });
    return join(await this.unfinishedFolder, newIdentity());
  }

  private async makeUnfinished(): Promise<string> {
    const folder = join(this.name, UNFINISHED);
    await this.makeFolder(folder);
    await removeDead(folder, "");
    return folder;
  }

  /** The objects in a folder and below. */
  private async *filesIn(folder: string): AsyncIterable<ObjectInfo> {
    let entries: readonly { readonly name: string; isDirectory(): boolean }[];
    try {
      entries = await readdir(join(this.name, folder), { withFileTypes: true });
    } catch (error) {
      if (codeOf(error) === "ENOENT") return;
      throw fileError(join(this.name, folder), "list", error);
    }
    for (const entry of entries) {
      const key = folder === "" ? entry.name : `${folder}/${entry.name}`;
      const path = join(this.name, key);
      if (entry.name[0] === ".") continue;
      if (entry.isDirectory()) yield* this.filesIn(key);
      else {
        // An object may be a link: it is read like any other, and so it has to count like any other.
        const found = await stat(path).catch(() => undefined);
        if (found?.isDirectory())
          throw new DiskError(
            "E_DISK_IO",
            `${path}: a link to a folder can't be in a store; move the folder here`,
          );
        if (found?.isFile()) yield { key, bytes: found.size, at: found.mtimeMs };
      }
    }
  }

  private async call<T>(path: string, what: string, job: () => Promise<T>): Promise<T> {
    try {
      return await job();
    } catch (error) {
      throw fileError(path, what, error);
    }
  }
}

async function flushFile(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDWR);
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}
