/** Names of traps, for messages and dumps (privileged manual, table of `mcause` values). */
import { Cause, Interrupt, Mode } from "./privilege.js";

/** Letters of the privilege modes by number. */
export const modeLetters: Readonly<Record<number, string>> = {
  [Mode.user]: "U",
  [Mode.supervisor]: "S",
  [Mode.machine]: "M",
};

/** Names of interrupts by number. */
export const interruptNames: Readonly<Record<number, string>> = {
  [Interrupt.supervisorSoftware]: "supervisor software",
  [Interrupt.machineSoftware]: "machine software",
  [Interrupt.supervisorTimer]: "supervisor timer",
  [Interrupt.machineTimer]: "machine timer",
  [Interrupt.supervisorExternal]: "supervisor external",
  [Interrupt.machineExternal]: "machine external",
};

/** Names of exceptions by number. */
export const exceptionNames: Readonly<Record<number, string>> = {
  [Cause.instructionMisaligned]: "instruction address misaligned",
  [Cause.instructionAccess]: "instruction access fault",
  [Cause.illegalInstruction]: "illegal instruction",
  [Cause.breakpoint]: "breakpoint",
  [Cause.loadMisaligned]: "load address misaligned",
  [Cause.loadAccess]: "load access fault",
  [Cause.storeMisaligned]: "store address misaligned",
  [Cause.storeAccess]: "store access fault",
  [Cause.ecallUser]: "ecall from U mode",
  [Cause.ecallSupervisor]: "ecall from S mode",
  [Cause.ecallMachine]: "ecall from M mode",
  [Cause.instructionPage]: "instruction page fault",
  [Cause.loadPage]: "load page fault",
  [Cause.storePage]: "store page fault",
};
