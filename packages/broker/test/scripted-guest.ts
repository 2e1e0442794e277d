/**
 * A guest that does nothing but what its script says, for tests of VMs' lives: every step that can fail or take its time
 * asks the script first. It keeps account of guests that are there, and whether they stand still, and of steps on freed guests.
 */
import type { Guest, GuestEnd, GuestMemoryParts, GuestSurroundings } from "../src/lifecycle/guest-port.js";

/** Steps of a guest, and before them what is taken of the host for it. */
export const guestSteps = [
  "claim",
  "make",
  "restore",
  "load",
  "run",
  "reset",
  "drain",
  "save",
  "backup",
  "clone",
  "successor",
] as const;
export type GuestStep = (typeof guestSteps)[number];

/** What a script has a step do: be done, fail with an error that has a code, or end only when `Script.letGo` is called. */
export type StepPlan = "done" | "late" | "fails" | "hangs";

/** Plans for the steps, and the accounts. */
export class Script {
  /** How guests end that are started now; they run until they are told to end unless given. */
  endAtOnce: GuestEnd | undefined;
  plans: Partial<Record<GuestStep, StepPlan>> = {};
  /** Guests that have memory. */
  alive = 0;
  /** Backups that were made. */
  images = 0;
  /** What went wrong in the use of guests. */
  readonly misuses: string[] = [];
  private readonly hanging = new Set<() => void>();

  /** Does a step. @throws Error with the code `E_SCRIPT` if it is to fail */
  async step(step: GuestStep): Promise<void> {
    const plan = this.plans[step] ?? "done";
    if (plan === "late") for (let turn = 0; turn < 3; turn++) await nextTurn();
    if (plan === "hangs") await new Promise<void>((resolve) => this.hanging.add(resolve));
    if (plan === "fails") {
      await nextTurn();
      throw Object.assign(new Error(`${step} has failed`), { code: "E_SCRIPT" });
    }
  }

  /** Steps that hang. */
  get hung(): number {
    return this.hanging.size;
  }

  /** Ends all steps that hang. */
  letGo(): void {
    for (const go of this.hanging) go();
    this.hanging.clear();
  }
}

/** One turn of the event loop. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A guest's memory: gives it back, and makes that of a copy, or of a guest in this one's place. */
export interface ScriptedRam {
  free(): void;
  copy(): { memory: GuestMemoryParts; ram: ScriptedRam };
  anew(): { memory: GuestMemoryParts; ram: ScriptedRam };
}

/** A guest. */
export class ScriptedGuest implements Guest {
  stills = 0;
  drains = 0;
  resets = 0;
  private isFree = false;
  /** Its run is over, and its disk closed. */
  private isOver = false;
  private noteEnd: (end: GuestEnd) => void = () => {};
  private readonly end = new Promise<GuestEnd>((resolve) => {
    this.noteEnd = resolve;
  });

  constructor(
    private readonly script: Script,
    readonly surroundings: GuestSurroundings | undefined,
    readonly memory: GuestMemoryParts,
    private readonly ram: ScriptedRam,
    /** Guests that run where this one is to; of those that take each other's place, one at a time. */
    private readonly place = { running: 0 },
  ) {
    script.alive++;
  }

  /** It turns its power off, or breaks. */
  finish(end: GuestEnd): void {
    this.noteEnd(end);
  }

  async restoreFrom(): Promise<void> {
    await this.script.step("restore");
  }

  async run(): Promise<GuestEnd> {
    this.use("run");
    if (this.place.running++ > 0) this.script.misuses.push("ran beside the guest whose place it takes");
    try {
      await this.script.step("load");
      const end = this.script.endAtOnce ?? (await this.end);
      await this.script.step("run");
      return end;
    } finally {
      this.isOver = true;
      this.place.running--;
    }
  }

  receive(bytes: Uint8Array): number {
    const command = new TextDecoder().decode(bytes).trim();
    if (command.startsWith("off")) this.finish({ kind: "off", status: Number(command.slice(3)) });
    return bytes.length;
  }

  resize(): void {}

  standStill(): () => void {
    this.use("standStill");
    this.stills++;
    let isMine = true;
    return () => {
      if (isMine) this.stills--;
      isMine = false;
    };
  }

  async drain(): Promise<() => void> {
    this.use("drain");
    if (this.stills === 0) this.script.misuses.push("drained a guest that runs");
    await this.script.step("drain");
    this.drains++;
    let isMine = true;
    return () => {
      if (isMine) this.drains--;
      isMine = false;
    };
  }

  hold(): void {}

  release(): void {}

  stop(reason: string): void {
    this.use("stop");
    this.finish({ kind: "stopped", status: 0, ...(reason === "stopped" ? {} : { message: reason }) });
  }

  reset(): void {
    this.use("reset");
    if (this.script.plans.reset === "fails")
      throw Object.assign(new Error("reset has failed"), { code: "E_SCRIPT" });
    this.resets++;
  }

  retired(): number {
    return 0;
  }

  memoryFigures() {
    return { granted: 0, touched: 0, ballooned: 0, shared: 0, swapped: 0 };
  }

  counters() {
    return {};
  }

  async saveTo(): Promise<{ readonly bytes: number }> {
    this.use("save");
    if (this.stills === 0) this.script.misuses.push("saved a guest that runs");
    await this.script.step("save");
    this.use("save");
    return { bytes: 1 };
  }

  async backup() {
    this.use("backup");
    await this.script.step("backup");
    if (this.isOver) throw Object.assign(new Error("its disk is closed"), { code: "E_SCRIPT" });
    this.script.images++;
    return { bytes: 1, isWhole: true };
  }

  async clone(_: string, surroundings: GuestSurroundings): Promise<ScriptedGuest> {
    this.use("clone");
    if (this.stills === 0) this.script.misuses.push("cloned a guest that runs");
    await this.script.step("clone");
    this.use("clone");
    const { memory, ram } = this.ram.copy();
    return new ScriptedGuest(this.script, surroundings, memory, ram);
  }

  async successor(): Promise<ScriptedGuest> {
    this.use("successor");
    if (this.stills === 0 || this.drains === 0)
      this.script.misuses.push("took the place of a guest that is at work");
    await this.script.step("successor");
    this.use("successor");
    const { memory, ram } = this.ram.anew();
    return new ScriptedGuest(this.script, this.surroundings, memory, ram, this.place);
  }

  free(): void {
    this.use("free");
    this.isFree = true;
    this.script.alive--;
    this.ram.free();
  }

  private use(what: string): void {
    if (this.isFree) this.script.misuses.push(`${what} of a guest that is free`);
  }
}
