/**
 * A virtual machine's life: the run loop around its hart, its time, its power state and its console.
 *
 * The loop gives the hart a budget of instructions, lets the devices catch up with the time, and returns to the
 * host's event loop often enough that a terminal feels live. While the hart waits for an interrupt the VM sleeps
 * until the next deadline or until something wakes it, however long that is, and costs nothing. It knows hart, engine and board only as the ports below.
 */
import type { MachineClock } from "./clock.js";
import { Sleeper, yieldToHost } from "./host-loop.js";
import { SlicePlanner } from "./slice-planner.js";

/** Why a machine left its power-on state. */
export type PowerEvent = { readonly kind: "off"; readonly status: number } | { readonly kind: "reset" };

/** A hart with its engine, as the run loop sees them. */
export interface VmHart {
  /** Runs at most `budget` guest instructions; gives the reason for stopping before that. */
  run(budget: number): "budget" | "wait" | "stop";
  /** Compares the hart's timers with the clock and raises their interrupts. */
  pollTimer(): void;
  /** Tick of the hart's next timer; Infinity if none is set. */
  deadline(): number;
  /** Whether a hart that waits must go on. */
  wakeReady(): boolean;
  /** Guest instructions retired since power-on. */
  retired(): number;
}

/** The devices, as the run loop sees them. */
export interface VmBoard {
  /** A slice begins; before `tick`, or in its place where it is not time for that. */
  begin?(): void;
  /** Lets devices act on the time that has passed. */
  tick(): void;
  /** Tick at which a device next needs `tick`; Infinity if none does. */
  deadline(): number;
  /** Hands on output that devices have gathered. */
  flush(): void;
  /** Whether a request to a backend is under way, so that an idle guest waits for it. */
  busy?(): boolean;
  /**
   * Waits until no request is under way any more, and what they brought is done. Where a board has it, the guest stands
   * still between two slices until then: that is how a machine in virtual time repeats itself.
   */
  settle?(): Promise<void>;
  /** Back to the state at power-on. */
  reset(): void;
}

/** Leave to run, as a scheduler gives it. Without one a VM runs whenever it can. */
export interface CpuGate {
  /** Waits until the hart may run. */
  acquire(): Promise<void>;
  /** Whether the hart may run another slice; asked after each. */
  mayContinue(): boolean;
  /** Gives the core back: to go on soon, to sleep, to wait for a device's backend, or to stand still. */
  release(wish: "ready" | "idle" | "waiting" | "stopped"): void;
  /** Ends a wait for a core: the VM is to pause or stop. */
  cancel(): void;
}

/** What a VM is made from. */
export interface VmOptions {
  readonly hart: VmHart;
  readonly board: VmBoard;
  readonly clock: MachineClock;
  /** Puts the boot image into memory and the hart at its entry; called at power-on and after each reset. */
  readonly load: () => void;
  /** Instructions between two looks at timers and devices; found by {@link SlicePlanner} if none is given. */
  readonly slice?: number;
  /**
   * Instructions between two looks at timers and devices where instructions are the time: there are looks when a multiple of it
   * has retired, and when the hart waits, and no others. So what a guest does hangs on nothing but its state, wherever it
   * was stopped, saved and restored. In place of {@link VmOptions.slice}.
   */
  readonly grid?: number;
  /** Host milliseconds between two visits to the event loop. */
  readonly visitEvery?: number;
  /** Where to ask for leave to run. */
  readonly gate?: CpuGate;
}

/** How a run ended. */
export type VmEnd =
  | { readonly kind: "off"; readonly status: number }
  | { readonly kind: "stopped"; readonly reason: string };

/** Default of {@link VmOptions.visitEvery}. */
const DEFAULT_VISIT = 4;

/** A virtual machine. */
export class Vm {
  /** What happened, for `--stats`. */
  readonly counters = { slices: 0, visits: 0, sleeps: 0, holds: 0, resets: 0, idleMilliseconds: 0 };
  private readonly sleeper = new Sleeper();
  private power: PowerEvent | undefined;
  private stopReason: string | undefined;
  /** Those who need the guest to stand still; while there are any, `moving` is what the run loop waits for. */
  private stills = 0;
  private moving: Promise<void> | undefined;
  private noteMoving: (() => void) | undefined;
  /** Takes back what `pause` asked for. */
  private unpause: (() => void) | undefined;
  private held = false;
  private readonly visitEvery: number;

  constructor(private readonly options: VmOptions) {
    this.visitEvery = options.visitEvery ?? DEFAULT_VISIT;
  }

  /** A device or firmware asks for a change of power. The run loop acts on it after the current slice. */
  requestPower(event: PowerEvent): void {
    this.power = event;
    this.sleeper.wake();
  }

  /** Ends the run after the current slice. */
  stop(reason: string): void {
    this.stopReason ??= reason;
    this.noteMoving?.();
    this.options.gate?.cancel();
    this.sleeper.wake();
  }

  /**
   * A device has raised an interrupt, at whatever moment: a VM that sleeps looks at its hart at once. Boards call it
   * for every interrupt that becomes pending; one that runs sees it by itself, so this costs it next to nothing.
   */
  interrupt(): void {
    this.sleeper.interrupt();
  }

  /** Input has arrived: an idle guest looks at it now. */
  wake(): void {
    this.sleeper.wake();
  }

  /**
   * Holds the guest from the end of its slice on: what it gave the host, such as console output, has not been taken yet.
   * Its clock goes on, as while it waits for a device, and it can be paused, reset and stopped.
   */
  hold(): void {
    this.held = true;
  }

  /** The host has taken what the guest was held for. */
  release(): void {
    if (!this.held) return;
    this.held = false;
    this.sleeper.wake();
  }

  /**
   * Halts the guest between two instructions, with its clock, until all who asked for it have taken it back: whoever
   * needs it to stand still asks for himself, and nobody lets it go on under another.
   * @returns takes it back; a second call does nothing
   */
  standStill(): () => void {
    if (this.stills++ === 0) {
      this.moving = new Promise((resolve) => {
        this.noteMoving = resolve;
      });
      this.options.clock.freeze();
      this.options.gate?.cancel();
      this.sleeper.wake();
    }
    let isMine = true;
    return () => {
      if (!isMine) return;
      isMine = false;
      if (--this.stills > 0) return;
      this.options.clock.resume();
      this.moving = undefined;
      this.noteMoving?.();
      this.sleeper.wake();
    };
  }

  /** Lets the guest stand still until `resume`, however often it is called. */
  pause(): void {
    this.unpause ??= this.standStill();
  }

  /** Takes back what `pause` asked for. */
  resume(): void {
    this.unpause?.();
    this.unpause = undefined;
  }

  /** Powers the machine on and runs it until it is powered off or stopped. */
  async run(): Promise<VmEnd> {
    this.options.load();
    try {
      return await this.loop();
    } finally {
      this.options.gate?.release("stopped");
    }
  }

  private async loop(): Promise<VmEnd> {
    const { visitEvery } = this;
    const { hart, board, clock, slice, grid, gate } = this.options;
    /** Instructions that had retired when the last slice began. */
    let retiredBefore: number | undefined;
    let holdsCore = gate === undefined;
    const planner = new SlicePlanner();
    let visited = performance.now();
    let before = visited;
    for (;;) {
      if (this.moving !== undefined && this.stopReason === undefined) {
        board.flush();
        gate?.release("stopped");
        holdsCore = gate === undefined;
        await this.moving;
        // Somebody else may have asked since.
        continue;
      }
      if (this.mustWait()) {
        gate?.release("waiting");
        holdsCore = gate === undefined;
        this.counters.holds++;
        while (this.mustWait()) await this.sleeper.sleep(Infinity);
        visited = performance.now();
        before = visited;
        continue;
      }
      if (gate !== undefined && !holdsCore && this.stopReason === undefined) {
        await gate.acquire();
        holdsCore = true;
        before = performance.now();
        // What came while it waited comes first.
        if (this.stills > 0) continue;
      }
      if (this.stopReason !== undefined) {
        board.flush();
        return { kind: "stopped", reason: this.stopReason };
      }
      const retired = hart.retired();
      clock.follow(retired);
      const past = grid === undefined ? 0 : retired % grid;
      // A guest that does nothing but trap retires nothing, and may wait for an interrupt all the same.
      if (past === 0 || retired === retiredBefore) this.look();
      else board.begin?.();
      retiredBefore = retired;
      const instructions = grid === undefined ? (slice ?? planner.next(this.untilDue())) : grid - past;
      const end = hart.run(instructions);
      const now = performance.now();
      if (end === "budget") planner.observe(instructions, now - before);
      before = now;
      this.counters.slices++;
      if (board.settle !== undefined && board.busy?.() === true) {
        gate?.release("waiting");
        holdsCore = gate === undefined;
        await board.settle();
        visited = performance.now();
        before = visited;
      }
      if (this.power !== undefined) {
        const { power } = this;
        this.power = undefined;
        board.flush();
        if (power.kind === "off") return power;
        this.reset();
        // The hart may have waited before; now it has a machine to boot.
        continue;
      }
      if (this.stopReason !== undefined) {
        board.flush();
        return { kind: "stopped", reason: this.stopReason };
      }
      if (end === "wait" && !hart.wakeReady()) {
        gate?.release(board.busy?.() === true ? "waiting" : "idle");
        holdsCore = gate === undefined;
        await this.idle();
        visited = performance.now();
        before = visited;
        continue;
      }
      if (gate !== undefined && holdsCore && !gate.mayContinue()) {
        board.flush();
        gate.release("ready");
        holdsCore = false;
      }
      // What a backend has done is the guest's as soon as the event loop has had its turn.
      if (now - visited >= visitEvery || board.busy?.() === true) {
        board.flush();
        this.counters.visits++;
        await yieldToHost();
        visited = performance.now();
        before = visited;
      }
    }
  }

  /** Tick at which the first timer of hart and board is due; Infinity if none is set. */
  private deadline(): number {
    const { hart, board } = this.options;
    return Math.min(hart.deadline(), board.deadline());
  }

  /** Host milliseconds until then. */
  private untilDue(): number {
    const deadline = this.deadline();
    return deadline === Infinity ? Infinity : this.options.clock.millisecondsUntil(deadline);
  }

  /** Whether it is held, and nothing else asks for its attention. */
  private mustWait(): boolean {
    return this.held && this.stills === 0 && this.stopReason === undefined && this.power === undefined;
  }

  private reset(): void {
    this.counters.resets++;
    this.options.board.reset();
    this.options.load();
  }

  /**
   * Waits until the hart has something to do. Timers of hosts fire early at times, and not all input interrupts: the
   * guest does not take a core to find that out, nor a turn that it would then not get when its own timer is due.
   */
  private async idle(): Promise<void> {
    const { hart, board, clock } = this.options;
    board.flush();
    // A backend may have answered while it took the output.
    if (hart.wakeReady()) return;
    do {
      const deadline = this.deadline();
      const started = performance.now();
      clock.idleUntil(deadline);
      this.counters.sleeps++;
      await this.sleeper.sleep(deadline === Infinity ? Infinity : clock.millisecondsUntil(deadline));
      // What woke it finds the time right, even if the host was suspended meanwhile.
      clock.idleUntil(deadline);
      this.counters.idleMilliseconds += performance.now() - started;
      if (this.stills > 0 || this.stopReason !== undefined || this.power !== undefined) return;
      this.look();
    } while (!hart.wakeReady());
  }

  /** Lets devices and timers catch up with the time. */
  private look(): void {
    const { hart, board } = this.options;
    board.begin?.();
    board.tick();
    hart.pollTimer();
  }
}
