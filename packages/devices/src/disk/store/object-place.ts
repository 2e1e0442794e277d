/**
 * Where the objects of an image store lie: names with bytes, in memory, a folder, behind a web server or in a bucket.
 *
 * Rules that hold for all places:
 * - An object is there whole or not at all, whenever its writer is killed.
 * - Objects that are added never change: the same key has the same bytes. Adding one that is there renews its time, so that
 *   a collection of garbage with a period of grace leaves it.
 * - What was added is seen by every later read, and durable once a `sync` that began later has resolved.
 * - A key is parts of letters, digits, `.`, `_` and `-`, none of which begins with a dot, with slashes between them.
 */
import { DiskError } from "../errors.js";

/** An object as a list shows it. */
export interface ObjectInfo {
  readonly key: string;
  readonly bytes: number;
  /** When it was last added or replaced, in milliseconds since 1970. */
  readonly at: number;
}

/** A place for objects. */
export interface ObjectPlace {
  /** What messages call it: its path or address. */
  readonly name: string;
  readonly isReadOnly: boolean;
  /**
   * An object; undefined if there is none.
   * @throws DiskError `E_IMAGE_LIMIT` if it has more than `mostBytes`; `E_DISK_IO`
   */
  read(key: string, mostBytes: number): Promise<Uint8Array | undefined>;
  /** Renews the time of an object; whether it is there. */
  renew(key: string): Promise<boolean>;
  /** Adds an object that never changes. */
  add(key: string, bytes: Uint8Array): Promise<void>;
  /** Makes durable what has been added. */
  sync(): Promise<void>;
  /** Puts an object in another's place, at once and durably. */
  replace(key: string, bytes: Uint8Array): Promise<void>;
  /** Puts an object where there is none, at once and durably; false if there is one. */
  create(key: string, bytes: Uint8Array): Promise<boolean>;
  /** Removes an object, if it is there and is not newer than `notAfter`, in milliseconds since 1970; whether it did. */
  remove(key: string, notAfter?: number): Promise<boolean>;
  /** All objects whose keys begin with `prefix`, a key's first parts with a slash behind them. */
  list(prefix: string): AsyncIterable<ObjectInfo>;
  /**
   * Lets nobody else write an object until the result is called. Places without it leave that to their users.
   * @throws DiskError `E_IMAGE_LOCKED`
   */
  lock?(key: string): Promise<() => void>;
  /** Removes what writers that were killed have left, if it is not newer than `notAfter`; its number. */
  sweep?(notAfter: number): Promise<number>;
  /** Makes sure that it can be written, before work that would be lost otherwise. @throws DiskError */
  prepare?(): Promise<void>;
  /** Gives up what was added since the last `sync`. */
  close?(): Promise<void>;
}

const KEY = /^[A-Za-z0-9_-][A-Za-z0-9._-]*(\/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$/;

/** Checks a key. @throws DiskError `E_IMAGE_FORMAT` */
export function checkKey(place: string, key: string): void {
  if (key.length <= 1024 && KEY.test(key)) return;
  throw new DiskError("E_IMAGE_FORMAT", `${place}: ${JSON.stringify(key)} can't be the name of an object`);
}

/** The error for an object that is larger than it may be. */
export const tooLarge = (place: string, key: string, mostBytes: number): DiskError =>
  new DiskError("E_IMAGE_LIMIT", `${place}: ${key} has more than ${mostBytes} bytes`);

/** The error for a change of a place that is only read. */
export const placeIsReadOnly = (place: string): DiskError =>
  new DiskError("E_DISK_READ_ONLY", `${place}: the store is only read`);

/** A place in memory. */
export class MemoryPlace implements ObjectPlace {
  readonly isReadOnly = false;
  private readonly objects = new Map<string, { readonly bytes: Uint8Array; at: number }>();

  constructor(
    readonly name: string = "memory",
    private readonly now: () => number = Date.now,
  ) {}

  async read(key: string, mostBytes: number): Promise<Uint8Array | undefined> {
    checkKey(this.name, key);
    const bytes = this.objects.get(key)?.bytes;
    if (bytes !== undefined && bytes.length > mostBytes) throw tooLarge(this.name, key, mostBytes);
    return bytes?.slice();
  }

  async renew(key: string): Promise<boolean> {
    const object = this.objects.get(key);
    if (object !== undefined) object.at = this.now();
    return object !== undefined;
  }

  async add(key: string, bytes: Uint8Array): Promise<void> {
    checkKey(this.name, key);
    if (!(await this.renew(key))) this.objects.set(key, { bytes: bytes.slice(), at: this.now() });
  }

  async sync(): Promise<void> {}

  async replace(key: string, bytes: Uint8Array): Promise<void> {
    checkKey(this.name, key);
    this.objects.set(key, { bytes: bytes.slice(), at: this.now() });
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean> {
    checkKey(this.name, key);
    if (this.objects.has(key)) return false;
    this.objects.set(key, { bytes: bytes.slice(), at: this.now() });
    return true;
  }

  async remove(key: string, notAfter = Infinity): Promise<boolean> {
    const object = this.objects.get(key);
    return object !== undefined && object.at <= notAfter && this.objects.delete(key);
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    for (const [key, { bytes, at }] of [...this.objects])
      if (key.startsWith(prefix)) yield { key, bytes: bytes.length, at };
  }
}
