/**
 * What a debugger needs of a machine. The GDB stub speaks to this; a machine made of other parts can be debugged
 * by implementing it.
 */

/** One register that a debugger can name. */
export interface DebugRegister {
  readonly name: string;
  /** Its number as GDB counts. */
  readonly number: number;
  /** Width in bits: 32 or 64. */
  readonly bits: 32 | 64;
  /** GDB's type name for it. */
  readonly type: "int" | "code_ptr" | "data_ptr" | "ieee_single" | "ieee_double";
}

/** A group of registers that GDB knows by a standard name. */
export interface DebugFeature {
  /** GDB's name of the feature, for instance `org.gnu.gdb.riscv.cpu`. */
  readonly name: string;
  /** Whether its registers are among those that a debugger gets with every stop, in the order given. */
  readonly isGeneral: boolean;
  readonly registers: readonly DebugRegister[];
}

/** What a watchpoint waits for. */
export type WatchKind = "write" | "read" | "access";

/** Why a machine has halted: the program counter is before what a breakpoint or watchpoint names. */
export type DebugStop =
  | "breakpoint"
  | "halted"
  | "exited"
  | { readonly watch: WatchKind; readonly address: bigint };

/** A command for people at a debugger's prompt. */
export interface DebugCommand {
  /** One line: its form and what it shows. */
  readonly help: string;
  /** Gives what is shown. */
  run(argument: string): string;
}

/** A machine under a debugger. All methods but `halt` are called only while it is halted. */
export interface DebugTarget {
  /** GDB's name of the architecture, for instance `riscv:rv64`. */
  readonly architecture: string;
  /** Width of an address in bits. */
  readonly addressBits: 32 | 64;
  readonly features: readonly DebugFeature[];
  /** Value of a register by GDB's number, unsigned; undefined if there is none. */
  readRegister(register: number): bigint | undefined;
  /** Sets a register; false if there is none. */
  writeRegister(register: number, value: bigint): boolean;
  /** Bytes at a guest-virtual address as the hart would see them; undefined if any is unmapped. */
  readMemory(address: bigint, length: number): Uint8Array | undefined;
  /** Writes bytes at a guest-virtual address; false if any is unmapped. */
  writeMemory(address: bigint, bytes: Uint8Array): boolean;
  /** Sets or clears a breakpoint; false if there are too many. */
  setBreakpoint(address: bigint, enabled: boolean): boolean;
  /** Sets or clears a watchpoint on `length` bytes; false if there are too many or it can't be. */
  setWatchpoint(kind: WatchKind, address: bigint, length: number, enabled: boolean): boolean;
  /** Commands beside `help`, by name. */
  readonly commands: Readonly<Record<string, DebugCommand>>;
  /** Runs one instruction; gives what stopped the machine before it, if something did. */
  step(): DebugStop | undefined;
  /** Lets the machine run; `stopped` is called when it halts again, by a breakpoint, a watchpoint or `halt`. */
  resume(stopped: (stop: DebugStop) => void): void;
  /** Halts the running machine soon. */
  halt(): void;
}
