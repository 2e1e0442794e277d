/** How long an acknowledgement takes, and so how long to wait for one (RFC 6298). In milliseconds. */

const INITIAL_MS = 1000;
/** Below the second of RFC 6298, as all systems do today: the peers are on the same host. */
const LEAST_MS = 200;
const MOST_MS = 60_000;

/** The estimate of one connection. */
export class RoundTrip {
  private smoothed: number | undefined;
  private variation = 0;
  private backoffs = 0;

  /** How long to wait now. */
  get timeout(): number {
    const base =
      this.smoothed === undefined
        ? INITIAL_MS
        : Math.max(LEAST_MS, this.smoothed + Math.max(1, 4 * this.variation));
    return Math.min(MOST_MS, base * 2 ** this.backoffs);
  }

  /** A segment that was sent once was acknowledged (section 2). */
  sample(milliseconds: number): void {
    this.backoffs = 0;
    if (this.smoothed === undefined) {
      this.smoothed = milliseconds;
      this.variation = milliseconds / 2;
      return;
    }
    this.variation = 0.75 * this.variation + 0.25 * Math.abs(this.smoothed - milliseconds);
    this.smoothed = 0.875 * this.smoothed + 0.125 * milliseconds;
  }

  /** Nothing came in time (section 5.5). */
  backOff(): void {
    this.backoffs = Math.min(this.backoffs + 1, 16);
  }

  /** Something new was acknowledged. */
  progress(): void {
    this.backoffs = 0;
  }
}
