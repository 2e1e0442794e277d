/** Order between asynchronous work: one at a time, or readers and writers of ranges. */

/** Does jobs one after another, in the order in which they came. */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  /** Does `job` once all earlier ones are done, however they ended. */
  run<T>(job: () => Promise<T>): Promise<T> {
    const result = this.last.then(job);
    this.last = result.catch(() => {});
    return result;
  }
}

interface Claim {
  readonly start: number;
  readonly end: number;
  readonly isExclusive: boolean;
  readonly done: Promise<void>;
}

/**
 * Locks of ranges, shared or exclusive. A request claims one range, once, and waits for the claims before it that
 * conflict: so nobody starves, and no two wait for each other.
 */
export class RangeLocks {
  private readonly claims = new Set<Claim>();

  /** Runs `job` while it has the range from `start` to before `end`. */
  async run<T>(start: number, end: number, isExclusive: boolean, job: () => Promise<T>): Promise<T> {
    const before: Promise<void>[] = [];
    for (const claim of this.claims) {
      const conflicts = isExclusive || claim.isExclusive;
      if (conflicts && claim.start < end && start < claim.end) before.push(claim.done);
    }
    let release = () => {};
    const claim = { start, end, isExclusive, done: new Promise<void>((resolve) => (release = resolve)) };
    this.claims.add(claim);
    try {
      if (before.length > 0) await Promise.all(before);
      return await job();
    } finally {
      this.claims.delete(claim);
      release();
    }
  }
}

/** Calls `job` for each item, at most `limit` at once; rejects with the first failure after all have ended. */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  job: (item: T) => Promise<void>,
): Promise<void> {
  if (items.length === 1) return job(items[0]!);
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const worker = async () => {
    while (next < items.length && failure === undefined) {
      try {
        await job(items[next++]!);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failure !== undefined) throw failure.error;
}
