/**
 * The memory that the disks' scheduler and the threads of the VMs share: how much is in flight at the store, and for each
 * VM a slot with the sizes of the requests that wait, how many of them may go, and what may go without being asked for.
 * As long as the store has room and no limit is near, a request costs a few atomic operations and no other thread.
 *
 * Who writes what: the VM's thread counts requests that it asked for, that it started without asking, and that were done;
 * the scheduler counts those that it granted, and writes leases and whether the store is contended for. Requests in flight
 * at the store are counted by whoever starts or grants one. Requests are granted in the order in which they were asked
 * for, so a number of either count names the same request.
 */
import { untilChanged } from "../cpu/shared-wait.js";

/** Requests of a VM that wait in its slot at once; what comes beyond them waits in its thread. */
export const MOST_SHOWN = 64;
/** In place of a size: the request is not wanted any more. */
export const VOID = 0xffffffff;

const HEADER_BYTES = 64;
const SLOT_BYTES = 64 + 4 * MOST_SHOWN;

/** Positions in the header, in words of 32 bits. */
const Header = { contended: 0, inFlight: 1, depth: 2, lastUser: 3, rings: 4 } as const;
/** The same in words of 64 bits: when the store's last user became that, in milliseconds. */
const WideHeader = { lastChange: 4 } as const;
/** Positions in a slot, in words of 32 bits. */
const Word = { asked: 0, granted: 1, started: 2, done: 3, sizes: 16 } as const;
/** The same in words of 64 bits: bytes started without asking; up to what count of them, and of bytes, that may be. */
const Wide = { startedBytes: 2, leaseOperations: 3, leaseBytes: 4 } as const;

/** Milliseconds after another VM's last request after which a VM counts as the store's only user. */
const ALONE_MS = 100;

/** The shared memory. */
export class DiskTable {
  private readonly words: Int32Array;
  private readonly sizes: Uint32Array;
  private readonly wide: Float64Array;

  /** @param buffer memory that {@link DiskTable.allocate} made, here or in another thread */
  constructor(readonly buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    this.sizes = new Uint32Array(buffer);
    this.wide = new Float64Array(buffer);
  }

  /**
   * Memory for that many VMs.
   * @param depth requests that the store has in hand at once while several VMs use it
   */
  static allocate(slots: number, depth: number): DiskTable {
    const table = new DiskTable(new SharedArrayBuffer(HEADER_BYTES + slots * SLOT_BYTES));
    Atomics.store(table.words, Header.depth, depth);
    Atomics.store(table.words, Header.lastUser, -1);
    return table;
  }

  /** Empties a slot: nothing waits in it, nothing is in flight, and its VM has to ask. */
  clear(slot: number): void {
    const first = this.at(slot);
    this.words.fill(0, first, first + SLOT_BYTES / 4);
  }

  // -- for the VM's thread

  /** Counts a request that is about to be told to the scheduler. */
  noteRing(): void {
    Atomics.add(this.words, Header.rings, 1);
  }

  /**
   * Starts a request without asking, if nobody has to wait at the store, or nobody else has used it for a while.
   * @param bytes of the request
   * @param started requests that the VM has started so, and their bytes
   * @param inFlight requests of the VM that are in flight
   * @param now milliseconds, of a clock that all threads have
   */
  tryStart(
    slot: number,
    bytes: number,
    started: { readonly operations: number; readonly bytes: number },
    inFlight: number,
    now: () => number,
  ): boolean {
    const { words, wide } = this;
    if (Atomics.load(words, Header.contended) !== 0) return false;
    const lease = this.wideAt(slot);
    if (started.operations >= wide[lease + Wide.leaseOperations]!) return false;
    if (started.bytes + bytes > wide[lease + Wide.leaseBytes]!) return false;
    const before = Atomics.add(words, Header.inFlight, 1);
    const hasRoom = before < Atomics.load(words, Header.depth);
    if (!hasRoom && !(before === inFlight && this.isAlone(slot, now()))) {
      Atomics.sub(words, Header.inFlight, 1);
      return false;
    }
    this.noteStart(slot, bytes, now);
    return true;
  }

  /** Starts a request without asking, whatever there is room for. */
  start(slot: number, bytes: number, now: () => number): void {
    Atomics.add(this.words, Header.inFlight, 1);
    this.noteStart(slot, bytes, now);
  }

  /** Asks for a request; gives its number. There are fewer than {@link MOST_SHOWN} that wait. */
  ask(slot: number, bytes: number): number {
    const at = this.at(slot);
    const number = Atomics.load(this.words, at + Word.asked);
    Atomics.store(this.sizes, this.sizeAt(slot, number), Math.min(bytes, VOID - 1));
    Atomics.store(this.words, at + Word.asked, (number + 1) | 0);
    return number;
  }

  /** A request that was asked for is not wanted any more. */
  withdraw(slot: number, number: number): void {
    Atomics.store(this.sizes, this.sizeAt(slot, number), VOID);
  }

  /** A request that was granted is begun. */
  use(slot: number, now: () => number): void {
    const last = Atomics.load(this.words, Header.lastUser);
    if (last === slot) return;
    this.wide[WideHeader.lastChange] = last < 0 ? -Infinity : now();
    Atomics.store(this.words, Header.lastUser, slot);
  }

  /** A request that was started or granted is over. Whether somebody waits for its place. */
  finish(slot: number): boolean {
    Atomics.add(this.words, this.at(slot) + Word.done, 1);
    Atomics.sub(this.words, Header.inFlight, 1);
    return Atomics.load(this.words, Header.contended) !== 0;
  }

  /** Resolves when more has been granted than that, or after a while. */
  untilGranted(slot: number, granted: number): Promise<void> {
    return untilChanged(this.words, this.at(slot) + Word.granted, granted);
  }

  // -- for both

  /** Requests that were granted so far; wraps at 32 bits, as all counts do. */
  granted(slot: number): number {
    return Atomics.load(this.words, this.at(slot) + Word.granted);
  }

  /** Whether nobody but a VM has used the store for a while. */
  isAlone(slot: number, now: number): boolean {
    if (Atomics.load(this.words, Header.lastUser) !== slot) return false;
    return now - this.wide[WideHeader.lastChange]! > ALONE_MS;
  }

  /** Requests in flight at the store, of all VMs. */
  inFlight(): number {
    return Atomics.load(this.words, Header.inFlight);
  }

  // -- for the scheduler

  get depth(): number {
    return Atomics.load(this.words, Header.depth);
  }

  /** How often something was told to the scheduler. */
  rings(): number {
    return Atomics.load(this.words, Header.rings);
  }

  asked(slot: number): number {
    return Atomics.load(this.words, this.at(slot) + Word.asked);
  }

  /** Requests that the VM has started without asking. */
  started(slot: number): number {
    return Atomics.load(this.words, this.at(slot) + Word.started);
  }

  startedBytes(slot: number): number {
    return this.wide[this.wideAt(slot) + Wide.startedBytes]!;
  }

  /** Bytes of a request that waits, or {@link VOID}. */
  sizeOf(slot: number, number: number): number {
    return Atomics.load(this.sizes, this.sizeAt(slot, number));
  }

  /** Grants the next request that waits; its VM is told by {@link DiskTable.tell}. */
  grant(slot: number): void {
    Atomics.add(this.words, Header.inFlight, 1);
    Atomics.add(this.words, this.at(slot) + Word.granted, 1);
  }

  tell(slot: number): void {
    Atomics.notify(this.words, this.at(slot) + Word.granted);
  }

  /** Up to what count of requests and bytes the VM may start without asking. */
  setLease(slot: number, operations: number, bytes: number): void {
    const at = this.wideAt(slot);
    this.wide[at + Wide.leaseOperations] = operations;
    this.wide[at + Wide.leaseBytes] = bytes;
  }

  /** Requests of a VM in flight at the store. */
  inFlightOf(slot: number): number {
    const at = this.at(slot);
    const count = (word: number): number => Atomics.load(this.words, at + word);
    return (count(Word.granted) + count(Word.started) - count(Word.done)) | 0;
  }

  /** Whether somebody waits for room at the store: then all ask, and tell when a request is over. */
  setContended(isContended: boolean): void {
    Atomics.store(this.words, Header.contended, isContended ? 1 : 0);
  }

  /** A VM is gone: what it had in flight does not count any more. @param isLast whether no other is left */
  release(slot: number, isLast: boolean): void {
    // A thread that was killed between two counts leaves one that belongs to nobody.
    if (isLast) Atomics.store(this.words, Header.inFlight, 0);
    else Atomics.sub(this.words, Header.inFlight, this.inFlightOf(slot));
  }

  private noteStart(slot: number, bytes: number, now: () => number): void {
    Atomics.add(this.words, this.at(slot) + Word.started, 1);
    this.wide[this.wideAt(slot) + Wide.startedBytes]! += bytes;
    this.use(slot, now);
  }

  private at(slot: number): number {
    return (HEADER_BYTES + slot * SLOT_BYTES) / 4;
  }

  private wideAt(slot: number): number {
    return (HEADER_BYTES + slot * SLOT_BYTES) / 8;
  }

  private sizeAt(slot: number, number: number): number {
    return this.at(slot) + Word.sizes + (number & (MOST_SHOWN - 1));
  }
}
