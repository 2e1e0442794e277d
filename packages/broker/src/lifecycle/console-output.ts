/**
 * A guest's console output on its way to the daemon, on the thread's side. It is gathered, so that a flood costs few
 * messages, and bounded: the daemon tells how much it has taken, and a guest that is too far ahead is held until it has.
 *
 * Invariant: of what was written, at most `MOST_AHEAD` bytes, and what the guest prints to the end of its slice, have
 * not been taken.
 */

/** Output is gathered for so many milliseconds. */
const GATHER = 2;
/** Bytes that are sent without waiting for more. */
const PIECE = 65_536;
/** Bytes that a guest may be ahead of the daemon, and to which this must fall before it goes on. */
const [MOST_AHEAD, RESUME_AT] = [262_144, 131_072];

/** The guest as its console holds it. */
export interface Holdable {
  hold(): void;
  release(): void;
}

/** Gathers what a guest prints. */
export class ConsoleOutput {
  private parts: Uint8Array[] = [];
  private bytes = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private ahead = 0;
  private isHeld = false;
  private guest: Holdable | undefined;

  /** @param send hands a piece to the daemon, which is to call {@link heard} for it */
  constructor(private readonly send: (bytes: Uint8Array) => void) {}

  /** The guest that prints here, as soon as it is made. */
  holds(guest: Holdable): void {
    this.guest = guest;
    if (this.isHeld) guest.hold();
  }

  write(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.parts.push(bytes.slice());
    this.bytes += bytes.length;
    this.ahead += bytes.length;
    this.timer ??= setTimeout(() => this.flush(), GATHER);
    if (this.bytes >= PIECE) this.flush();
    if (this.ahead <= MOST_AHEAD || this.isHeld) return;
    this.isHeld = true;
    this.guest?.hold();
  }

  /** The daemon has taken so many bytes more. */
  heard(bytes: number): void {
    this.ahead = Math.max(0, this.ahead - bytes);
    if (!this.isHeld || this.ahead > RESUME_AT) return;
    this.isHeld = false;
    this.guest?.release();
  }

  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.bytes === 0) return;
    const whole = new Uint8Array(this.bytes);
    let at = 0;
    for (const part of this.parts) {
      whole.set(part, at);
      at += part.length;
    }
    this.parts = [];
    this.bytes = 0;
    this.send(whole);
  }
}
