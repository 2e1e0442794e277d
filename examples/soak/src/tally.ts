/** What the clients of a run did and saw. */

/** Counts, and what must not have happened. */
export class Tally {
  private readonly counts = new Map<string, number>();
  private readonly wrongs = new Map<string, number>();

  /** Something that may happen. */
  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** Something that must not happen. */
  wrong(what: string): void {
    this.wrongs.set(what, (this.wrongs.get(what) ?? 0) + 1);
  }

  /** How often something happened. */
  of(what: string): number {
    return this.counts.get(what) ?? 0;
  }

  /** All counts, a line each, by name. */
  lines(): string[] {
    return [...this.counts].sort().map(([what, times]) => `${what}: ${times}`);
  }

  /** What must not have happened and did, with how often. */
  problems(): string[] {
    return [...this.wrongs].map(([what, times]) => `${what} (${times} times)`);
  }
}
