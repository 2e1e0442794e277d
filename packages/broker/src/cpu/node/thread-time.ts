/**
 * CPU time of single threads, which Node itself tells only from version 22.15 on and only to the thread: Linux lists
 * it for every thread under `/proc/self/task`. A thread that runs at the moment is behind by up to one tick of the
 * kernel's; once it sleeps, the figure is exact.
 */
import { closeSync, openSync, readlinkSync, readSync } from "node:fs";

/** The kernel's number of the calling thread; 0 where the host does not say. */
export function currentThread(): number {
  try {
    return Number(readlinkSync("/proc/thread-self").split("/").pop());
  } catch {
    return 0;
  }
}

/** The decimal number at `start`, and where it ends: no strings, for the scheduler reads one at every turn. */
function numberAt(bytes: Uint8Array, start: number, end: number): { value: number; end: number } {
  let [value, at] = [0, start];
  for (; at < end; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) break;
    value = value * 10 + digit;
  }
  return { value, end: at };
}

/** Reads threads' times; files stay open between readings, until the thread is forgotten. */
export class ThreadTimes {
  private readonly files = new Map<number, number>();
  private readonly buffer = Buffer.alloc(96);

  /** CPU time of a thread of this process in nanoseconds; undefined where the host does not say, or it has ended. */
  read(thread: number): number | undefined {
    return this.fields(thread)?.[0];
  }

  /** Nanoseconds that a thread was ready while the host ran others; undefined as for {@link read}. */
  readWait(thread: number): number | undefined {
    return this.fields(thread)?.[1];
  }

  /** Files that are open. */
  get open(): number {
    return this.files.size;
  }

  /** Closes what is open. */
  close(): void {
    for (const file of this.files.values()) closeSync(file);
    this.files.clear();
  }

  private fields(thread: number): [used: number, waited: number] | undefined {
    try {
      let file = this.files.get(thread);
      if (file === undefined) {
        file = openSync(`/proc/self/task/${thread}/schedstat`, "r");
        this.files.set(thread, file);
      }
      const length = readSync(file, this.buffer, 0, this.buffer.length, 0);
      const used = numberAt(this.buffer, 0, length);
      const waited = numberAt(this.buffer, used.end + 1, length);
      return waited.end > used.end + 1 ? [used.value, waited.value] : undefined;
    } catch {
      this.forget(thread);
      return undefined;
    }
  }

  /** Nobody asks for a thread's time any more: its file is closed. */
  forget(thread: number): void {
    const file = this.files.get(thread);
    if (file !== undefined) closeSync(file);
    this.files.delete(thread);
  }
}

/** Nanoseconds of a clock that all threads of the process share. */
export const monotonicNanoseconds = (): number => Number(process.hrtime.bigint());
