/**
 * Runs a program in turns, between which commands are taken: an endless program can be paused, and what it has done so
 * far is told several times a second.
 *
 * What is counted, and how: the engine counts what its interpreter and its regions run, and how often the interpreter
 * arrives at a jump target. A turn is made of shorter runs of varying length, and after each the program counter is one
 * sample. Steps and counted runs go one instruction at a time, so that each is counted where it is.
 */
import { DEFAULT_REGION_THRESHOLD } from "@hyperfile/jit/engine";
import type { Guest, GuestStop } from "./guest.js";
import { hex } from "./isas.js";
import { Mos6502Guest } from "./mos6502-guest.js";
import type { CodeImage, MachineState, RunCommand, RunMode, RunStatus } from "./protocol.js";
import { RiscvGuest } from "./riscv-guest.js";

/** Milliseconds of a turn. */
const TURN = 12;
/** Milliseconds between what is told of a running program. */
const REPORT = 100;
/** Units of a run that ends in a sample: least, and how many more at most. */
const SHORTEST_RUN = 40_000;
const RUN_SPREAD = 0x7fff;
/** Counted instructions between looks at the time. */
const COUNTED_STRETCH = 256;
const PAGE_MASK = 0xfff;

interface BlockTally {
  readonly address: number;
  arrivals: number;
  /** The engine's counter when it was last looked at. */
  counter: number;
  samples: number;
}

/** A program that runs, or could. */
export class Session {
  private readonly id: number;
  private readonly image: CodeImage;
  private breakpoints: ReadonlySet<number>;
  private guest: Guest;
  private tallies: BlockTally[] = [];
  private executions = new Map<number, number>();
  private samples = 0;
  private status: RunStatus = "ready";
  private ending: string | undefined;
  private mode: RunMode = "engine";
  private random = 1;
  private reported = 0;

  constructor(
    { id, image, breakpoints }: Extract<RunCommand, { kind: "load" }>,
    private readonly tell: (state: MachineState) => void,
  ) {
    this.id = id;
    this.image = image;
    this.breakpoints = new Set(breakpoints.map(Number));
    this.guest = this.fresh();
    this.report();
  }

  /** Carries out a command that came for this program. */
  take(command: Exclude<RunCommand, { kind: "load" }>): void {
    switch (command.kind) {
      case "breakpoints":
        this.breakpoints = new Set(command.addresses.map(Number));
        this.guest.setBreakpoints(this.breakpoints);
        break;
      case "reset":
        this.guest = this.fresh();
        break;
      case "pause":
        if (this.status === "running") this.status = "paused";
        break;
      case "step":
        if (!this.isHalted) return;
        this.status = "paused";
        this.mode = "counted";
        this.settle(this.countedStep());
        break;
      case "run":
        if (!this.isHalted) return;
        this.mode = command.mode;
        this.status = "running";
        this.guest.beforeRun();
        // In steps and counted runs every instruction is arrived at: those arrivals are no jumps.
        for (const tally of this.tallies) tally.counter = this.counterAt(tally.address) ?? tally.counter;
        // Under a breakpoint, a counted run begins with the instruction there.
        if (this.mode === "counted") this.settle(this.countedStep());
        break;
    }
    this.report();
  }

  /** Whether there is a turn to take. */
  get isRunning(): boolean {
    return this.status === "running";
  }

  /** Runs for a few milliseconds. */
  turn(): void {
    const end = performance.now() + TURN;
    if (this.mode === "counted") this.countedTurn(end);
    else {
      this.engineTurn(end);
      this.collect();
    }
    if (!this.isRunning || performance.now() - this.reported > REPORT) this.report();
  }

  /** Ends the program for the page: the worker could not go on with it. */
  fail(problem: string): void {
    this.status = "ended";
    this.ending = problem;
    this.report();
  }

  private get isHalted(): boolean {
    return this.status === "ready" || this.status === "paused" || this.status === "breakpoint";
  }

  private fresh(): Guest {
    const { image } = this;
    this.tallies = image.blocks.map((address) => ({
      address: Number(address),
      arrivals: 0,
      counter: 0,
      samples: 0,
    }));
    this.executions = new Map();
    this.samples = 0;
    this.status = "ready";
    this.ending = undefined;
    const guest = image.isa === "6502" ? new Mos6502Guest(image) : new RiscvGuest(image);
    guest.setBreakpoints(this.breakpoints);
    return guest;
  }

  private settle(stop: GuestStop | undefined): void {
    if (stop === undefined) return;
    this.status = stop === "breakpoint" ? "breakpoint" : "ended";
    if (stop !== "breakpoint") this.ending = stop.ending;
  }

  private engineTurn(end: number): void {
    do {
      // A power of two would meet loops at the same place again and again.
      this.random = (Math.imul(this.random, 1_103_515_245) + 12_345) | 0;
      this.settle(this.guest.run(SHORTEST_RUN + ((this.random >>> 8) & RUN_SPREAD)));
      this.sample(this.guest.pc);
    } while (this.isRunning && performance.now() < end);
  }

  private countedTurn(end: number): void {
    do {
      for (let left = COUNTED_STRETCH; left > 0 && this.isRunning; left--) {
        if (this.breakpoints.has(this.guest.pc)) this.settle("breakpoint");
        else this.settle(this.countedStep());
      }
    } while (this.isRunning && performance.now() < end);
  }

  private countedStep(): GuestStop | undefined {
    const { guest, executions } = this;
    const at = guest.pc;
    executions.set(at, (executions.get(at) ?? 0) + 1);
    return guest.step();
  }

  private sample(pc: number): void {
    this.samples++;
    let found: BlockTally | undefined;
    for (const tally of this.tallies) {
      if (tally.address > pc) break;
      found = tally;
    }
    if (found !== undefined) found.samples++;
  }

  /** Adds what the engine's counters have counted since they were last looked at. */
  private collect(): void {
    for (const tally of this.tallies) {
      const counter = this.counterAt(tally.address);
      if (counter === undefined) continue;
      if (counter < 0) {
        // The counter holds the region's number now: it was made at the threshold.
        if (tally.counter >= 0) tally.arrivals += DEFAULT_REGION_THRESHOLD - tally.counter;
      } else
        tally.arrivals += counter >= tally.counter && tally.counter >= 0 ? counter - tally.counter : counter;
      tally.counter = counter;
    }
  }

  /** The engine's counter of arrivals at an address; undefined if it has not met the page lately. */
  private counterAt(address: number): number | undefined {
    const { engine } = this.guest;
    const page = engine.codePageAt(address | 0, 0);
    return page && engine.codePages.counters[engine.codePages.counterIndex(page, address & PAGE_MASK)];
  }

  private regionAt(address: number) {
    const offset = address & PAGE_MASK;
    const page = this.guest.engine.codePageAt(address | 0, 0);
    for (const region of page?.regions ?? []) {
      const covers = region.spans.some(
        (span) => span.page === page && span.start <= offset && offset < span.end,
      );
      if (region.state === "active" && covers)
        return { instructions: region.instructions, bytes: region.bytes };
    }
    return undefined;
  }

  private report(): void {
    const { guest, tallies, executions } = this;
    const { counters } = guest.engine;
    const { regions, bytes } = guest.engine.regionStatistics();
    this.reported = performance.now();
    this.tell({
      kind: "state",
      id: this.id,
      status: this.status,
      ending: this.ending,
      pc: hex(guest.pc),
      registers: guest.registers(),
      unit: guest.unit,
      mode: this.mode,
      interpreted: counters.interpreted - guest.own,
      translated: counters.translated,
      threshold: DEFAULT_REGION_THRESHOLD,
      regions,
      regionBytes: bytes,
      samples: this.samples,
      blocks: tallies.map(({ address, arrivals, samples }) => ({
        address: hex(address),
        arrivals,
        samples,
        region: this.regionAt(address),
      })),
      executions: [...executions].map(([address, count]) => [hex(address), count]),
    });
  }
}
