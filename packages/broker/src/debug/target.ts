/**
 * What a debugger needs of a machine. The GDB stub speaks to this; a machine made of other parts can be debugged
 * by implementing it.
 */

/** One register that a debugger can name. */
export interface DebugRegister {
  readonly name: string;
  /** Width in bits: 32 or 64. */
  readonly bits: 32 | 64;
  /** GDB's type name for it. */
  readonly type: "int" | "code_ptr" | "data_ptr" | "ieee_single" | "ieee_double";
}

/** A group of registers that GDB knows by a standard name. */
export interface DebugFeature {
  /** GDB's name of the feature, for instance `org.gnu.gdb.riscv.cpu`. */
  readonly name: string;
  /** Number of the first register as GDB counts. */
  readonly first: number;
  readonly registers: readonly DebugRegister[];
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
  /** Sets or clears a breakpoint. */
  setBreakpoint(address: bigint, enabled: boolean): void;
  /** Runs one instruction. */
  step(): void;
  /** Lets the machine run; `stopped` is called when it halts again, by a breakpoint or by `halt`. */
  resume(stopped: (reason: "breakpoint" | "halted" | "exited") => void): void;
  /** Halts the running machine soon. */
  halt(): void;
}
