/**
 * What the page and its two workers say to each other. One worker translates, the other one runs, so that an endless
 * program never delays what is typed. Addresses and register values are hexadecimal text: it is what all columns print.
 */

/** An instruction set that the page offers. */
export type IsaName = "rv64" | "rv32" | "6502";

/** Asks for the columns of a program, with the stages of the block at `block`. */
export interface TranslateRequest {
  readonly kind: "translate";
  readonly id: number;
  readonly isa: IsaName;
  readonly source: string;
  /** Address of the block; the first one where there is no block at it. */
  readonly block: string | undefined;
}

/** A line of a column. */
export interface StageLine {
  readonly text: string;
  /** Guest instruction that the line belongs to; undefined for what belongs to a whole region. */
  readonly address?: string;
}

/** An instruction, or the data of one source line. */
export interface CodeRow {
  readonly address: string;
  readonly bytes: string;
  readonly text: string;
  /** Labels at its address. */
  readonly labels: readonly string[];
  /** Whether a block begins here. */
  readonly startsBlock: boolean;
  readonly isData: boolean;
}

/** A program in memory. */
export interface CodeImage {
  readonly isa: IsaName;
  readonly origin: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Addresses at which blocks begin. */
  readonly blocks: readonly string[];
}

/** The stages of translation of a block. */
export interface Stages {
  /** The block's address. */
  readonly block: string;
  readonly ir: readonly StageLine[];
  readonly optimised: readonly StageLine[];
  readonly javascript: readonly StageLine[];
  readonly wasm: readonly StageLine[];
  /** Bytes of the region's WebAssembly. */
  readonly wasmBytes: number;
}

/** A program that assembled. */
export interface Translation {
  readonly image: CodeImage;
  readonly rows: readonly CodeRow[];
  /** Rows that are not shown because there are too many. */
  readonly hiddenRows: number;
  /** Addresses of the rows that each source line made. */
  readonly lines: readonly (readonly string[])[];
  readonly stages: Stages;
}

/** What a translation came to. */
export type TranslateAnswer =
  | { readonly kind: "translated"; readonly id: number; readonly translation: Translation }
  | {
      readonly kind: "mistake";
      readonly id: number;
      /** Line of the source, from 1; undefined if it is none's. */
      readonly line: number | undefined;
      readonly problem: string;
    };

/** How a program runs: by the engine's tiers, or one instruction after the other, each counted. */
export type RunMode = "engine" | "counted";

/** A command to the worker that runs. `load` also resets. */
export type RunCommand =
  | {
      readonly kind: "load";
      readonly id: number;
      readonly image: CodeImage;
      readonly breakpoints: readonly string[];
    }
  | { readonly kind: "step" | "pause" | "reset" }
  | { readonly kind: "run"; readonly mode: RunMode }
  | { readonly kind: "breakpoints"; readonly addresses: readonly string[] };

/** A register; wide enough for its value. */
export interface RegisterValue {
  readonly name: string;
  readonly hex: string;
  /** As people read it: signed decimal, a floating-point number, or flags. */
  readonly reading: string;
}

/** What was counted of a block. */
export interface BlockCounts {
  readonly address: string;
  /**
   * Times that the interpreter came to the block by a jump, or at the start of a run: it stops counting when a region
   * begins there.
   */
  readonly arrivals: number;
  /** Samples of the program counter in the block. */
  readonly samples: number;
  /** The region in place that covers the block's first instruction. */
  readonly region: { readonly instructions: number; readonly bytes: number } | undefined;
}

/** Where a program is. */
export type RunStatus = "ready" | "running" | "paused" | "breakpoint" | "ended";

/** The machine as the page shows it. */
export interface MachineState {
  readonly kind: "state";
  /** Of the `load` that it belongs to. */
  readonly id: number;
  readonly status: RunStatus;
  /** Why it ended. */
  readonly ending: string | undefined;
  readonly pc: string;
  /** How it ran last. */
  readonly mode: RunMode;
  readonly registers: readonly RegisterValue[];
  /** What the budget counts. */
  readonly unit: "instructions" | "cycles";
  /** Units run by the interpreter, and in regions. */
  readonly interpreted: number;
  readonly translated: number;
  /** Arrivals at which a block becomes a region. */
  readonly threshold: number;
  readonly regions: number;
  readonly regionBytes: number;
  readonly samples: number;
  readonly blocks: readonly BlockCounts[];
  /** How often each instruction ran in steps and counted runs; those that did not are left out. */
  readonly executions: readonly (readonly [address: string, count: number])[];
}

/** The worker could not do what it was told. */
export interface WorkerFailure {
  readonly kind: "failure";
  readonly id: number;
  readonly problem: string;
}

/** What a worker is sent. */
export type WorkerRequest = TranslateRequest | RunCommand;
/** What a worker sends. */
export type WorkerAnswer = TranslateAnswer | MachineState | WorkerFailure;
