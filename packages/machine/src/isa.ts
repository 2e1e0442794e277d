/** The instruction set of the machine's hart, as its device tree announces it. */

/** Width of the integer registers in bits. */
export type Xlen = 32 | 64;

/** Extensions beside the base, in the order of ISA strings. */
const EXTENSIONS = "imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc_svadu_svinval";

/** The ISA string, for instance `rv64imafdc_zicntr`. */
export const isaString = (xlen: Xlen): string => `rv${xlen}${EXTENSIONS}`;

/** The deepest paging scheme. */
export const pagingOf = (xlen: Xlen): "sv32" | "sv57" => (xlen === 32 ? "sv32" : "sv57");
