/**
 * The owner of one VM's life, in the thread that runs it: the state (`vm-states.ts`), the queue of commands, and the
 * guest. It begins with `start` and is over with the guest's end, of which it tells once, after it has told the state.
 *
 * Invariants:
 * - The state is told before the command that changed it is answered.
 * - A command that fails lets the guest go on as before, and leaves no copy behind.
 * - A guest that is paused has no request in flight: nothing of it changes till it goes on.
 * - Of two guests, of which one is to take the other's place, at most one runs.
 * - Once the life is over every command is refused, those under way included but for backups, which answer when they have
 *   found their disk closed; the guest's memory is given back as soon
 *   as nothing reads it any more.
 */
import { LifecycleError } from "./errors.js";
import type { Guest, GuestEnd } from "./guest-port.js";
import { nextVmState, type VmCommand, type VmHappening, type VmState } from "./vm-states.js";
import { hostTurn } from "./waiting.js";

/** Who is told of a life. */
export interface LifeListener {
  /** The state has changed. */
  state(state: VmState): void;
  /** The life is over: nobody may ask of the guest any more, what it has is about to be given back. */
  left(): void;
  /** Told once a life, after `left`: what the guest had is free, but for what a step reads that is still under way. */
  ended(state: VmState, end: GuestEnd): void;
  /** The guest's run has ended with an exception that nobody meant to throw. */
  broke(error: unknown): void;
}

/** A life. */
export class VmLife {
  private now: VmState = "starting";
  private guest: Guest | undefined;
  /** The last command in the queue; never rejects. */
  private last: Promise<void> = Promise.resolve();
  /** Refuse the commands that are not answered yet. */
  private readonly unanswered = new Set<(error: unknown) => void>();
  /** The guest's run; settled when it is over, and never rejects. */
  private run: Promise<void> = Promise.resolve();
  /** The guest's run has just begun, and may show at once that it can't. */
  private isBeginning = false;
  /** Steps that read the guest's memory, or what else it has, and so keep it. */
  private reading: Promise<unknown> | undefined;
  /** Lets the guest go on that `pause` lets stand still. */
  private unpause: (() => void) | undefined;
  /** Milliseconds that a reading step may still take once the guest has ended. */
  private patience = Infinity;
  /** Gives a reading step that is waited for only so long from now on. */
  private giveUpReading: (patience: number) => void = () => {};
  private isEnding = false;
  private isOver = false;
  private noteOver: () => void = () => {};
  private readonly over = new Promise<void>((resolve) => {
    this.noteOver = resolve;
  });

  constructor(
    readonly name: string,
    private readonly listener: LifeListener,
  ) {}

  get state(): VmState {
    return this.now;
  }

  /** The guest, to be looked at and typed at; undefined while it is made, and after its end. */
  get present(): Guest | undefined {
    return this.isOver ? undefined : this.guest;
  }

  /**
   * Makes the guest and lets it run.
   * @param make rejects where it can't be made, and leaves nothing then
   * @throws what `make` throws, or the guest's run before its first slice
   */
  start(make: () => Promise<Guest>): Promise<void> {
    return this.inTurn(async () => {
      let guest: Guest;
      try {
        guest = await make();
      } catch (error) {
        void this.finish(failure(error), "refused", error);
        throw error;
      }
      // It may have been stopped meanwhile.
      if (this.isOver) {
        this.giveBack(guest);
        return;
      }
      await this.begin(guest);
      this.enter("begun");
    });
  }

  pause(): Promise<void> {
    return this.command("pause", async (guest) => {
      this.unpause = await this.halt(guest);
    });
  }

  resume(): Promise<void> {
    return this.command("resume", () => {
      this.unpause?.();
      this.unpause = undefined;
    });
  }

  /** Power off and on. */
  reset(): Promise<void> {
    return this.command("reset", (guest) => guest.reset());
  }

  /** Writes a snapshot, for which the guest stands still. */
  snapshot(path: string): Promise<{ readonly bytes: number }> {
    return this.command("snapshot", (guest) => this.standingStill(guest, () => guest.saveTo(path)));
  }

  /** A copy of the guest, which stands still meanwhile. */
  clone(copy: (guest: Guest) => Promise<Guest>): Promise<Guest> {
    return this.command(
      "clone",
      (guest) => this.standingStill(guest, () => copy(guest)),
      (twin) => this.giveBack(twin),
    );
  }

  /**
   * Copies a disk of the guest that is there now, without waiting for a turn (`vm-states.ts` says why). It is answered as
   * it ends, which may be after the life: an image that was made is never called a failure.
   * @throws LifecycleError `E_VM_STATE`; what `copy` throws, for a disk that is closed below it as well
   */
  async backup<Result>(copy: (guest: Guest) => Promise<Result>): Promise<Result> {
    return copy(this.guestFor("backup"));
  }

  /**
   * Puts another guest in the place of the one that is there, which stands still meanwhile with nothing in flight. That one
   * is given up when the other is ready to run: whatever fails before lets it go on as it was.
   * @param make makes the other one, ready to run; rejects where it can't be made, and leaves nothing then
   * @param replace is called when the one that was there has ended, before the other runs
   * @throws what `make` throws; or the other one's run before its first slice, and then the life is over
   */
  restore(make: (guest: Guest) => Promise<Guest>, replace: (next: Guest) => void): Promise<void> {
    return this.inTurn(async () => {
      const guest = this.guestFor("restore");
      const next = await this.succeed(guest, make);
      this.unpause = undefined;
      guest.stop("replaced");
      await this.run;
      this.giveBack(guest);
      replace(next);
      await this.begin(next);
      this.enter("restore");
    });
  }

  /** The guest is about to be asked to end. */
  shutdown(): Promise<void> {
    return this.command("shutdown", () => {});
  }

  /**
   * Ends it, whatever is under way.
   * @param reason for the report; `stopped` where it is the user's own wish
   * @param patience milliseconds for a snapshot or clone that is under way; after that it goes on without being heard
   * @returns when the life is over
   */
  stop(reason: string, patience: number): Promise<void> {
    if (this.isOver) return this.over;
    this.enter("stop");
    this.patience = Math.min(this.patience, patience);
    if (this.guest === undefined) {
      const message = reason === "stopped" ? {} : { message: reason };
      void this.finish({ kind: "stopped", status: 0, ...message }, "ended");
    } else this.guest.stop(reason);
    if (this.isEnding) this.giveUpReading(this.patience);
    return this.over;
  }

  /** Lets a guest run. What is wrong with what it goes on from, such as a boot image, shows before its first slice. */
  private async begin(guest: Guest): Promise<void> {
    this.guest = guest;
    this.isBeginning = true;
    this.run = runOf(guest).then(
      (end) => {
        if (this.guest === guest) return this.finish(end, end.kind === "error" ? "broke" : "ended");
      },
      (error) => {
        if (this.now !== "starting") this.listener.broke(error);
        if (this.guest !== guest) return;
        const how = this.now === "starting" ? "refused" : "broke";
        return this.finish(failure(error), how, this.isBeginning ? error : undefined);
      },
    );
    await hostTurn();
    this.isBeginning = false;
  }

  /** Lets a guest stand still with nothing in flight until the result is called. */
  private async halt(guest: Guest): Promise<() => void> {
    const release = guest.standStill();
    try {
      const letWork = await guest.drain();
      return () => {
        release();
        letWork();
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Makes the life that of another guest; the one that was there stands still from then on. If that fails, it goes on. */
  private async succeed(guest: Guest, make: (guest: Guest) => Promise<Guest>): Promise<Guest> {
    const goOn = await this.halt(guest);
    let next: Guest | undefined;
    try {
      // It may have been told to stop meanwhile.
      this.guestFor("restore");
      const making = make(guest);
      this.reading = making;
      next = await making;
      this.guestFor("restore");
      this.guest = next;
      return next;
    } catch (error) {
      if (next !== undefined) this.giveBack(next);
      if (!this.isOver) goOn();
      throw error;
    } finally {
      this.reading = undefined;
    }
  }

  private async standingStill<Result>(guest: Guest, step: () => Promise<Result>): Promise<Result> {
    const release = guest.standStill();
    try {
      const reading = step();
      this.reading = reading;
      return await reading;
    } finally {
      this.reading = undefined;
      release();
    }
  }

  /** Does a command when its turn has come, if the state allows it then. */
  private command<Result>(
    command: VmCommand,
    work: (guest: Guest) => Result | Promise<Result>,
    undo?: (result: Result) => void,
  ): Promise<Result> {
    return this.inTurn(async () => {
      const result = await work(this.guestFor(command));
      this.enter(command);
      return result;
    }, undo);
  }

  /** The guest, for a command that the state allows. @throws LifecycleError `E_VM_STATE` for others */
  private guestFor(command: VmCommand): Guest {
    if (this.isEnding) throw this.endedMeanwhile();
    if (this.guest === undefined || nextVmState(this.now, command) === undefined) throw this.refusal(command);
    return this.guest;
  }

  /** @param undo takes a result back that comes after the command was refused */
  private inTurn<Result>(
    work: () => Promise<Result>,
    undo: (result: Result) => void = () => {},
  ): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.isOver) {
        reject(this.refusal("reach"));
        return;
      }
      this.unanswered.add(reject);
      this.last = this.last.then(async () => {
        if (this.isOver) return;
        try {
          const result = await work();
          if (this.unanswered.delete(reject)) resolve(result);
          else undo(result);
        } catch (error) {
          this.unanswered.delete(reject);
          reject(error);
        }
      });
    });
  }

  /** Goes where the table leads; a VM that is to stop stays so, whatever is finished meanwhile. */
  private enter(event: VmCommand | VmHappening): void {
    const next = nextVmState(this.now, event);
    if (next === undefined || next === this.now || this.isOver) return;
    this.now = next;
    this.listener.state(next);
  }

  /**
   * The guest's run is over, or will not begin.
   * @param cause what those are told who wait for a start that failed
   */
  private async finish(end: GuestEnd, how: VmHappening, cause?: unknown): Promise<void> {
    if (this.isEnding) return;
    this.isEnding = true;
    if (this.reading !== undefined) await this.untilRead(this.reading);
    // A guest that has ended at once has run all the same.
    if (how === "ended" && end.kind === "off") this.enter("begun");
    this.now = nextVmState(this.now, how) ?? this.now;
    this.isOver = true;
    this.listener.left();
    const { guest, reading } = this;
    // Who is told of the end may take what the guest had: it is free by then.
    if (guest !== undefined) {
      const free = () => this.giveBack(guest);
      if (reading === undefined) free();
      else reading.then(free, free);
    }
    this.listener.ended(this.now, end);
    const refusal = cause ?? this.endedMeanwhile(end.message);
    for (const refuse of this.unanswered) refuse(refusal);
    this.unanswered.clear();
    this.noteOver();
  }

  private giveBack(guest: Guest): void {
    try {
      guest.free();
    } catch (error) {
      this.listener.broke(error);
    }
  }

  private untilRead(reading: Promise<unknown>): Promise<void> {
    return new Promise((resolve) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      this.giveUpReading = (patience) => {
        clearTimeout(timer);
        if (patience !== Infinity) timer = setTimeout(done, patience);
      };
      this.giveUpReading(this.patience);
      reading.then(done, done);
    });
  }

  private endedMeanwhile(why?: string): LifecycleError {
    return new LifecycleError(
      "E_VM_STATE",
      `VM ${this.name} has ended meanwhile${why === undefined ? "" : `: ${why}`}`,
    );
  }

  private refusal(what: string): LifecycleError {
    return new LifecycleError("E_VM_STATE", `can't ${what} VM ${this.name}: it is ${this.now}`);
  }
}

/** A guest's run, which may throw at once. */
async function runOf(guest: Guest): Promise<GuestEnd> {
  return guest.run();
}

/** The end of a guest that can't go on. */
const failure = (error: unknown): GuestEnd => ({
  kind: "error",
  status: 1,
  message: (error as { message?: string } | null)?.message ?? String(error),
});
