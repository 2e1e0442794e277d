/**
 * A guest's output on its way to the page. It is gathered, so that a flood costs few messages, and bounded: the page tells
 * how much it has taken, and a guest that is too far ahead is held until it has.
 *
 * Invariant: of what was written, at most `MOST_AHEAD` bytes, and what the guest prints to the end of its slice, have not
 * been taken.
 */
import type { ConsoleBackend } from "@hyperfile/devices";
import type { Machine } from "../machine.js";

/** Milliseconds for which output is gathered. */
const GATHER = 2;
/** Bytes that are sent without waiting for more. */
const PIECE = 65_536;
/** Bytes that a guest may be ahead of the page, and to which this must fall before it goes on. */
const [MOST_AHEAD, RESUME_AT] = [262_144, 131_072];

/** Gathers what machines print that follow one another. */
export class ConsoleOutput implements ConsoleBackend {
  private parts: Uint8Array[] = [];
  private bytes = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private ahead = 0;
  private isHeld = false;
  private machine: Pick<Machine, "hold" | "release"> | undefined;

  /** @param send hands a piece to the page, which is to tell {@link heard} of it */
  constructor(private readonly send: (bytes: Uint8Array) => void) {}

  /** The machine that prints from now on. */
  follow(machine: Pick<Machine, "hold" | "release">): void {
    this.machine = machine;
    if (this.isHeld) machine.hold();
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
    this.machine?.hold();
  }

  /** The page has taken so many bytes more. */
  heard(bytes: number): void {
    this.ahead -= bytes;
    if (!this.isHeld || this.ahead > RESUME_AT) return;
    this.isHeld = false;
    this.machine?.release();
  }

  /** Sends what was gathered: nothing that is told later overtakes it. */
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
