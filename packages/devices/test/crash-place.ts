/**
 * A place for the objects of a store that remembers what was done, and can say what a computer finds of it that was killed
 * at any moment: what was made durable, and of the rest any part, each object whole or not at all.
 */
import { MemoryPlace, type ObjectInfo, type ObjectPlace } from "../src/disk/index.js";

type Operation =
  | { readonly kind: "add" | "replace"; readonly key: string; readonly bytes: Uint8Array }
  | { readonly kind: "sync" };

/** A place in memory with a log. */
export class CrashPlace implements ObjectPlace {
  readonly name = "crash";
  readonly isReadOnly = false;
  readonly log: Operation[] = [];
  private readonly memory = new MemoryPlace();

  /** @param random how long operations take */
  constructor(private readonly random: (end: number) => number) {}

  read(key: string, mostBytes: number): Promise<Uint8Array | undefined> {
    return this.memory.read(key, mostBytes);
  }

  renew(key: string): Promise<boolean> {
    return this.memory.renew(key);
  }

  async add(key: string, bytes: Uint8Array): Promise<void> {
    const copy = bytes.slice();
    await this.wait();
    this.log.push({ kind: "add", key, bytes: copy });
    await this.memory.add(key, copy);
  }

  async sync(): Promise<void> {
    await this.wait();
    this.log.push({ kind: "sync" });
  }

  async replace(key: string, bytes: Uint8Array): Promise<void> {
    await this.wait();
    this.log.push({ kind: "replace", key, bytes: bytes.slice() });
    await this.memory.replace(key, bytes);
    await this.wait();
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean> {
    await this.replace(key, bytes);
    return true;
  }

  remove(key: string): Promise<boolean> {
    return this.memory.remove(key);
  }

  list(prefix: string): AsyncIterable<ObjectInfo> {
    return this.memory.list(prefix);
  }

  /** The place after a kill before operation `end`, by `random`. */
  async crash(end: number, random: (end: number) => number): Promise<MemoryPlace> {
    const place = new MemoryPlace("crashed");
    const operations = this.log.slice(0, end);
    const synced = operations.findLastIndex(({ kind }) => kind === "sync");
    const kept = [0, 30, 70, 100][random(4)]!;
    for (const [index, operation] of operations.entries()) {
      if (operation.kind === "replace") await place.replace(operation.key, operation.bytes);
      else if (operation.kind === "add" && (index < synced || random(100) < kept))
        await place.add(operation.key, operation.bytes);
    }
    return place;
  }

  private async wait(): Promise<void> {
    for (let turns = this.random(6); turns > 0; turns--) await Promise.resolve();
  }
}
