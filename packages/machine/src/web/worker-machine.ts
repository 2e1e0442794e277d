/**
 * The machine of a worker through its life: made from its files, run, and made again when it is reset. Commands come one
 * after the other; input and the page's news of what it has shown come at any time.
 */
import { RAM_BASE } from "@hyperfile/devices";
import { guestIn } from "@hyperfile/jit/memory";
import type { MachineEnd } from "../machine.js";
import { type RiscvVirt, riscvVirt } from "../riscv-virt.js";
import { zstdCodec } from "../snapshot/codec.js";
import { whileDrained } from "../snapshot/drain.js";
import { encodeMachine, restoreMachine } from "../snapshot/machine.js";
import { WaitingInput } from "./console-input.js";
import { ConsoleOutput } from "./console-output.js";
import { PageMachineError } from "./errors.js";
import { loadParts, type MachineParts } from "./machine-files.js";
import type { MachineRecipe, PageMachineState, WorkerNews } from "./protocol.js";

/** What its owner is told by itself. */
type OwnNews = Exclude<WorkerNews, { kind: "reply" | "refusal" }>;

/** A machine, or one after another of the same kind. */
export class WorkerMachine {
  private state: PageMachineState = "starting";
  private parts: MachineParts | undefined;
  private machine: RiscvVirt | undefined;
  /** The first one: those that follow have its memory and take over its engine. */
  private first: RiscvVirt | undefined;
  /** The end of the machine's run has been dealt with. */
  private ended: Promise<void> = Promise.resolve();
  private isResetting = false;
  private size: { readonly columns: number; readonly rows: number } | undefined;
  private readonly output: ConsoleOutput;
  private readonly input = new WaitingInput(() => this.machine);

  constructor(private readonly tell: (news: OwnNews) => void) {
    this.output = new ConsoleOutput((bytes) => tell({ kind: "output", bytes }));
  }

  /** Loads its files and runs it. Rejects with an error of one line. */
  async start(recipe: MachineRecipe): Promise<void> {
    this.parts = await loadParts(recipe);
    await this.powerOn();
  }

  pause(): void {
    const machine = this.powered("paused");
    machine.pause();
    this.become("paused");
  }

  resume(): void {
    const machine = this.powered("resumed");
    machine.resume();
    this.become("running");
  }

  /** Begins again from its files, whether it runs, stands still or is off. */
  async reset(): Promise<void> {
    if (this.parts === undefined)
      throw new PageMachineError("E_STATE", "the machine was never started: start one");
    this.isResetting = true;
    try {
      this.machine?.stop("reset");
      await this.ended;
    } finally {
      this.isResetting = false;
    }
    this.become("starting");
    try {
      await this.powerOn();
    } catch (error) {
      this.become("off");
      throw error;
    }
  }

  /** Turns its power off; does nothing if it is. */
  async stop(): Promise<void> {
    this.machine?.stop("stopped");
    await this.ended;
  }

  /** A snapshot of it as it is. */
  async save(): Promise<Uint8Array> {
    const machine = this.powered("saved");
    const goOn = machine.loop.standStill();
    try {
      machine.board.flush();
      const codec = await zstdCodec();
      const { pieces, report } = await whileDrained(machine.state, () => encodeMachine(machine.state, codec));
      const bytes = new Uint8Array(report.bytes);
      let at = 0;
      for (const piece of pieces) {
        bytes.set(piece, at);
        at += piece.length;
      }
      return bytes;
    } finally {
      goOn();
    }
  }

  statistics(): Record<string, unknown> {
    if (this.machine === undefined)
      throw new PageMachineError("E_STATE", "the machine was never started: start one");
    return this.machine.statistics();
  }

  /** @throws PageMachineError `E_STATE` if its power is off, `E_INPUT` if too much waits already */
  type(bytes: Uint8Array): void {
    if (this.state === "off") throw this.isOff("typed at");
    this.input.push(bytes);
  }

  heard(bytes: number): void {
    this.output.heard(bytes);
  }

  resize(columns: number, rows: number): void {
    this.size = { columns, rows };
    this.machine?.resize(columns, rows);
  }

  private async powerOn(): Promise<void> {
    const { boot, snapshot, ramBytes, xlen, hasSockets } = this.parts!;
    const { first } = this;
    this.machine?.free();
    this.machine = undefined;
    const machine = riscvVirt({
      ramBytes,
      console: this.output,
      ...(boot === undefined ? {} : { boot }),
      ...(xlen === undefined ? {} : { xlen }),
      ...(hasSockets ? { vsock: {} } : {}),
      ...(first === undefined
        ? {}
        : { beside: first, memory: guestIn(first.memory, { ramBytes, ramBase: RAM_BASE }) }),
    });
    if (snapshot !== undefined)
      try {
        restoreMachine(snapshot, machine.state, await zstdCodec(), { lazy: true });
      } catch (error) {
        machine.free();
        throw error;
      }
    this.machine = machine;
    this.first ??= machine;
    this.output.follow(machine);
    if (this.size !== undefined) machine.resize(this.size.columns, this.size.rows);
    this.become("running");
    this.ended = machine
      .run()
      .catch((error: Error): MachineEnd => ({ kind: "stuck", message: error.message }))
      .then((end) => this.end(end));
  }

  private end(end: MachineEnd): void {
    this.output.flush();
    this.input.drop();
    if (this.isResetting) return;
    this.become("off");
    this.tell({ kind: "end", end });
  }

  private become(state: PageMachineState): void {
    if (state === this.state) return;
    this.output.flush();
    this.state = state;
    this.tell({ kind: "state", state });
  }

  private powered(action: string): RiscvVirt {
    if (this.machine === undefined || this.state === "off") throw this.isOff(action);
    return this.machine;
  }

  private isOff(action: string): PageMachineError {
    return new PageMachineError("E_STATE", `a machine that is off can't be ${action}: reset it first`);
  }
}
