/** Names of traps, for messages and dumps (privileged manual, table of `mcause` values). */
import { RiscvCause, RiscvInterrupt, RiscvMode } from "./privilege.js";

/** Letters of the privilege modes by number. */
export const modeLetters: Readonly<Record<number, string>> = {
  [RiscvMode.user]: "U",
  [RiscvMode.supervisor]: "S",
  [RiscvMode.machine]: "M",
};

/** Names of interrupts by number. */
export const interruptNames: Readonly<Record<number, string>> = {
  [RiscvInterrupt.supervisorSoftware]: "supervisor software",
  [RiscvInterrupt.machineSoftware]: "machine software",
  [RiscvInterrupt.supervisorTimer]: "supervisor timer",
  [RiscvInterrupt.machineTimer]: "machine timer",
  [RiscvInterrupt.supervisorExternal]: "supervisor external",
  [RiscvInterrupt.machineExternal]: "machine external",
};

/** Names of exceptions by number. */
export const exceptionNames: Readonly<Record<number, string>> = {
  [RiscvCause.instructionMisaligned]: "instruction address misaligned",
  [RiscvCause.instructionAccess]: "instruction access fault",
  [RiscvCause.illegalInstruction]: "illegal instruction",
  [RiscvCause.breakpoint]: "breakpoint",
  [RiscvCause.loadMisaligned]: "load address misaligned",
  [RiscvCause.loadAccess]: "load access fault",
  [RiscvCause.storeMisaligned]: "store address misaligned",
  [RiscvCause.storeAccess]: "store access fault",
  [RiscvCause.ecallUser]: "ecall from U mode",
  [RiscvCause.ecallSupervisor]: "ecall from S mode",
  [RiscvCause.ecallMachine]: "ecall from M mode",
  [RiscvCause.instructionPage]: "instruction page fault",
  [RiscvCause.loadPage]: "load page fault",
  [RiscvCause.storePage]: "store page fault",
};
