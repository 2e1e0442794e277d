/**
 * Who is told of what happens to the pages of a guest's memory: owners of TLBs and translations, dirty logs, debuggers.
 * Any number of them listen at a time; where nobody does, nothing is asked of them on the way of an access.
 */

/**
 * Why a page leaves its frame, or may not use it as before:
 * `copied` before a write, `dropped` with its bytes, `merged` into an equal page's, `swapped` to a pager, `unmapped` by the
 * device that lent it; `protected` because it will be shared, `watched` because its next use counts.
 */
export type RemapCause = "copied" | "dropped" | "merged" | "swapped" | "unmapped" | "protected" | "watched";

/** Whether bytes that were read from a frame may be others now: code that runs from it must be left. */
export const movesBytes = (cause: RemapCause): boolean =>
  cause === "copied" || cause === "dropped" || cause === "unmapped";

/** What an observer may listen to. Calls come in the middle of guest instructions, and must not change the memory. */
export interface MemoryObserver {
  /**
   * The page at `gpa` is about to change: it may be written from now on, or its bytes are dropped or replaced. It may be
   * written without further calls until `GuestMemory.protect`.
   */
  onWrite?(gpa: number): void;
  /**
   * Bytes on a page that holds translated code were written: through the memory, or by a store of the hart (`byHart`),
   * which leaves its block if the answer is true: code has gone.
   */
  onCodeWrite?(gpa: number, length: number, byHart: boolean): boolean;
  /** The page at `gpa` leaves the frame at this byte offset: TLB entries for that frame must go. */
  onRemap?(frame: number, gpa: number, cause: RemapCause): void;
  /** No frame may be written in place any more: all write entries of TLBs must go. */
  onProtect?(): void;
}

/** The observers of a memory. */
export class MemoryObservers {
  private all: readonly MemoryObserver[] = [];

  /** Adds an observer; gives the function that takes it away. */
  add(observer: MemoryObserver): () => void {
    this.all = [...this.all, observer];
    return () => {
      this.all = this.all.filter((each) => each !== observer);
    };
  }

  /** Whether anybody listens to writes. */
  get listenToWrites(): boolean {
    return this.all.some(({ onWrite }) => onWrite !== undefined);
  }

  written(gpa: number): void {
    for (const observer of this.all) observer.onWrite?.(gpa);
  }

  /** True if some observer says that code has gone. */
  codeWritten(gpa: number, length: number, byHart: boolean): boolean {
    let hasGone = false;
    for (const observer of this.all) if (observer.onCodeWrite?.(gpa, length, byHart) === true) hasGone = true;
    return hasGone;
  }

  remapped(frame: number, gpa: number, cause: RemapCause): void {
    for (const observer of this.all) observer.onRemap?.(frame, gpa, cause);
  }

  protected(): void {
    for (const observer of this.all) observer.onProtect?.();
  }
}
