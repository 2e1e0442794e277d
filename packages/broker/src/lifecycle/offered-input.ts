/**
 * Console input on its way into a guest, on the side of the thread that runs it: offered again and again until the guest
 * has room for it, the more rarely the longer it takes nothing. Who sends bounds how much that can be.
 */

/** Milliseconds between two offers of input that the guest did not take: the pause doubles from the least to the most. */
const [LEAST_RETRY, MOST_RETRY] = [2, 64];

/** Who takes input. */
export interface InputTaker {
  /** Gives the number of bytes taken, from the front. */
  receive(bytes: Uint8Array): number;
}

/** Input of one VM. */
export class OfferedInput {
  private readonly parts: Uint8Array[] = [];
  private retry: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param taker the guest as it is now; undefined while there is none
   * @param taken is told how many bytes are the guest's, or nobody's
   */
  constructor(
    private readonly taker: () => InputTaker | undefined,
    private readonly taken: (bytes: number) => void,
  ) {}

  /** Bytes that wait. */
  get waiting(): number {
    return this.parts.reduce((sum, part) => sum + part.length, 0);
  }

  /** Offers bytes after those that wait. */
  push(bytes: Uint8Array): void {
    this.parts.push(bytes);
    if (this.retry === undefined) this.offer(LEAST_RETRY);
  }

  /** What was typed at a guest that is gone is for nobody. */
  drop(): void {
    this.end();
    const bytes = this.waiting;
    this.parts.length = 0;
    if (bytes > 0) this.taken(bytes);
  }

  /** Offers nothing any more. */
  end(): void {
    clearTimeout(this.retry);
    this.retry = undefined;
  }

  private offer(pause: number): void {
    this.retry = undefined;
    let all = 0;
    for (let first = this.parts[0]; first !== undefined; first = this.parts[0]) {
      const taken = this.taker()?.receive(first) ?? 0;
      all += taken;
      if (taken < first.length) {
        this.parts[0] = first.subarray(taken);
        const next = all > 0 ? LEAST_RETRY : Math.min(2 * pause, MOST_RETRY);
        this.retry = setTimeout(() => this.offer(next), next);
        break;
      }
      this.parts.shift();
    }
    if (all > 0) this.taken(all);
  }
}
