/** The instruction set of the machine's hart, as its device tree announces it: what the extensions say of themselves. */
import { type HartIsa, standardHartIsa } from "@hyperfile/jit/riscv";

/** Width of the integer registers in bits. */
export type Xlen = 32 | 64;

/** The ISA string, for instance `rv64imafdc_zicntr`, of a hart with the extensions of `isa`. */
export const isaString = (xlen: Xlen, isa: HartIsa = standardHartIsa): string => isa.string(xlen);

/** What the device tree says of each hart beside its ISA. */
export const hartProperties = (isa: HartIsa): Readonly<Record<string, number | string>> =>
  Object.assign({}, ...isa.extensions.map(({ treeProperties }) => treeProperties));

/** The deepest paging scheme. */
export const pagingOf = (xlen: Xlen): "sv32" | "sv57" => (xlen === 32 ? "sv32" : "sv57");
