/** A CPU with a program in its memory, as the run loop knows it. */
import type { Engine } from "@hyperfile/jit/engine";
import type { RegisterValue } from "./protocol.js";

/** Why a run came back before its budget was used up. */
export type GuestStop = "breakpoint" | { readonly ending: string };

/** A guest CPU. */
export interface Guest {
  readonly engine: Engine;
  readonly unit: "instructions" | "cycles";
  /** Units that the engine has counted and that are none of the program's. */
  readonly own: number;
  /** Address of the next instruction; exact below 2^53. */
  readonly pc: number;
  /** Runs one instruction, also under a breakpoint. */
  step(): GuestStop | undefined;
  /** Prepares for runs: a breakpoint at the program counter is passed. */
  beforeRun(): void;
  /** Runs for a budget, in the units that it counts. */
  run(budget: number): GuestStop | undefined;
  setBreakpoints(addresses: ReadonlySet<number>): void;
  registers(): RegisterValue[];
}
