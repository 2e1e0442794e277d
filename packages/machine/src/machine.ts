/** A machine as its owners see it, whatever it is made of. */

/** How a run ended. */
export type MachineEnd =
  /** The guest turned its power off, or its program ended, with an exit status. */
  | { readonly kind: "off"; readonly status: number }
  /** Its owner stopped it, or a limit did, which is the reason then. */
  | { readonly kind: "stopped"; readonly reason: string }
  /** The guest can't go on; one line says why. */
  | { readonly kind: "stuck"; readonly message: string };

/** A machine. */
export interface Machine {
  /** Powers it on, or goes on from the state that it got, until it is off, stopped or stuck. */
  run(): Promise<MachineEnd>;
  /** Lets the guest stand still between two instructions. */
  pause(): void;
  /** Lets a paused guest go on. */
  resume(): void;
  /** What it printed has not been taken: it runs no further slice until it is released, or told to stop. */
  hold(): void;
  release(): void;
  /** Power off and on. */
  reset(): void;
  /** Ends the run, paused or not. */
  stop(reason: string): void;
  /** Offers console input; gives the number of bytes taken, from the front. */
  receive(bytes: Uint8Array): number;
  /** The console has this size in characters. */
  resize(columns: number, rows: number): void;
  /** Guest instructions retired. */
  retired(): number;
  /** Counters of devices, engine and run loop, ready for JSON. */
  statistics(): Record<string, unknown>;
}
