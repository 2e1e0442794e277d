/** The instruction sets that the page offers, and where their programs lie. */
import type { IsaName } from "./protocol.js";

/** An instruction set as the page knows it. */
export interface IsaPlan {
  readonly label: string;
  /** Address of a program's first byte, where it also begins to run. */
  readonly origin: number;
  /** Most bytes of a program. */
  readonly mostBytes: number;
  /** What a program finds, in one sentence. */
  readonly machine: string;
}

/** Most characters of a program's source. */
export const MOST_SOURCE = 1 << 16;

const RISCV_ORIGIN = 0x80000000;
/** Bytes of RAM of a RISC-V machine. */
export const RISCV_RAM_BYTES = 1 << 20;
const riscv = (label: string): IsaPlan => ({
  label,
  origin: RISCV_ORIGIN,
  mostBytes: 1 << 16,
  machine:
    "One hart in M mode with 1 MiB of RAM at 0x80000000; sp points to its end. ebreak ends the program, as any exception does that it has no handler for.",
});

/** All of them. */
export const isas: Readonly<Record<IsaName, IsaPlan>> = {
  rv64: riscv("RISC-V, 64 bits"),
  rv32: riscv("RISC-V, 32 bits"),
  "6502": {
    label: "MOS 6502",
    origin: 0x0400,
    mostBytes: 0x8000,
    machine: "A 6502 with 64 KiB of RAM; programs lie at $0400. brk ends the program.",
  },
};

/** Whether a text names one of them. */
export const isIsaName = (text: string): text is IsaName => Object.hasOwn(isas, text);

/** An address, or another number, as all columns print it. */
export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
