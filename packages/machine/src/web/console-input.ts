/**
 * Input on its way into a guest: what it has no room for is offered again, the more rarely the longer it takes nothing.
 */
import type { Machine } from "../machine.js";
import { PageMachineError } from "./errors.js";

/** Milliseconds between two offers: the pause doubles from the least to the most. */
const [LEAST_RETRY, MOST_RETRY] = [2, 64];
/** Bytes that wait at most. */
const MOST_WAITING = 1_048_576;

/** The input that a guest has not taken yet. */
export class WaitingInput {
  private readonly parts: Uint8Array[] = [];
  private bytes = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;

  /** @param taker the machine as it is now; undefined while there is none */
  constructor(private readonly taker: () => Pick<Machine, "receive"> | undefined) {}

  /** Offers bytes after those that wait. @throws PageMachineError `E_INPUT` if too much waits */
  push(bytes: Uint8Array): void {
    if (this.bytes + bytes.length > MOST_WAITING)
      throw new PageMachineError(
        "E_INPUT",
        `${this.bytes} bytes of input wait and ${bytes.length} more were typed, of at most ${MOST_WAITING}: let the guest read first`,
      );
    this.parts.push(bytes);
    this.bytes += bytes.length;
    if (this.retry === undefined) this.offer(LEAST_RETRY);
  }

  /** What was typed at a guest that is gone is for nobody. */
  drop(): void {
    clearTimeout(this.retry);
    this.retry = undefined;
    this.parts.length = 0;
    this.bytes = 0;
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
    this.bytes -= all;
  }
}
