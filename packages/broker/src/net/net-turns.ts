/**
 * Turns of lines, which are network cards with frames that wait: the scheduler says whose VM is next, here is which of its
 * lines that is, and what it lets go. Whoever has the lines calls {@link NetTurns.take} when something was asked for, and
 * when time has come.
 */
import { type NetDirection, netDirections } from "./allotment.js";
import { NetScheduler } from "./net-scheduler.js";

/** Bytes that go before others of the thread have their turn. */
const ROUND_BYTES = 1 << 20;

/** A network card, of which frames wait. */
export interface NetLine {
  /** Its VM. */
  readonly vm: string;
  /** Bytes that wait to go. */
  waiting(direction: NetDirection): number;
  /** Lets frames go, so many bytes and the rest of the last frame; gives how many bytes went. */
  let(direction: NetDirection, bytes: number): number;
}

/** The turns. Times are in milliseconds. */
export class NetTurns {
  readonly scheduler = new NetScheduler();
  /** Lines that wait for a turn of their VM, in the order of their coming. */
  private readonly lines: { readonly [Direction in NetDirection]: Map<string, NetLine[]> } = {
    send: new Map(),
    receive: new Map(),
  };

  /** @param now the clock */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /**
   * A line has something to go; its VM asks for a turn.
   * @returns whether this was a new question, so that {@link take} may have an answer at once
   */
  wait(line: NetLine, direction: NetDirection, bytes: number): boolean {
    const lines = this.lines[direction].get(line.vm) ?? [];
    this.lines[direction].set(line.vm, lines);
    if (!lines.includes(line)) lines.push(line);
    return this.scheduler.ask(line.vm, direction, bytes, this.now());
  }

  /** A line is gone. */
  forget(line: NetLine): void {
    for (const direction of netDirections) {
      const lines = this.lines[direction].get(line.vm)?.filter((each) => each !== line) ?? [];
      if (lines.length > 0) this.lines[direction].set(line.vm, lines);
      else this.lines[direction].delete(line.vm);
    }
  }

  /**
   * Lets frames go whose turns have come, for a while.
   * @returns how many bytes that were, and when the next turn is due; Infinity if nobody waits
   */
  take(): { readonly bytes: number; readonly due: number } {
    let all = 0;
    const now = this.now();
    for (const direction of netDirections) {
      for (let round = 0; round < ROUND_BYTES; ) {
        const turn = this.scheduler.next(direction, now);
        if (turn === undefined) break;
        const [line] = this.lines[direction].get(turn.vm) ?? [];
        const gone = line === undefined || turn.bytes <= 0 ? 0 : line.let(direction, turn.bytes);
        this.scheduler.went(turn, direction, gone);
        round += Math.max(1, gone);
        all += Math.max(1, gone);
        // Who has had a turn and has no room asks when there is some.
        this.askAgain(turn.vm, direction, line, gone > 0 || turn.bytes <= 0);
      }
    }
    // For the time at which there was none: a turn that has become due since counts.
    return { bytes: all, due: this.scheduler.nextTime(now) };
  }

  /** After a turn of a line: the next line of its VM, or the same again if it has more. */
  private askAgain(
    vm: string,
    direction: NetDirection,
    line: NetLine | undefined,
    mayHaveMore: boolean,
  ): void {
    const lines = this.lines[direction].get(vm) ?? [];
    if (line !== undefined && lines[0] === line) {
      lines.shift();
      if (mayHaveMore && line.waiting(direction) > 0) lines.push(line);
    }
    const [next] = lines;
    if (next === undefined) this.lines[direction].delete(vm);
    else this.scheduler.ask(vm, direction, next.waiting(direction), this.now());
  }
}
