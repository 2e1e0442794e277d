/** The extensions that there are, in one place: what a hart is made from unless it is told of more. */
import type { InstructionTable } from "../table/instruction-table.js";
import { type RiscvExtension, RiscvIsa } from "./extension.js";
import { machineMode, supervisorMode, svinval } from "./privileged.js";
import { rvA } from "./rv-a.js";
import { zba, zbb, zbs } from "./rv-b.js";
import { rvC } from "./rv-c.js";
import { rvD, rvF } from "./rv-fd.js";
import { rvI } from "./rv-i.js";
import { rvM } from "./rv-m.js";
import type { RiscvSemantics } from "./semantics.js";
import { floatSlots, integerSlots } from "./state.js";
import { zicsr, zifencei } from "./zicsr.js";

/** The extensions; one more is one more row here, and a file of instructions. */
// biome-ignore format: one extension a line
export const standardExtensions = [
  { name: "i", version: [2, 1], instructions: rvI, slots: integerSlots },
  { name: "m", version: [2, 0], instructions: rvM },
  { name: "a", version: [2, 1], instructions: rvA },
  { name: "f", version: [2, 2], requires: ["zicsr"], instructions: rvF, slots: floatSlots },
  { name: "d", version: [2, 2], requires: ["f"], instructions: rvD },
  { name: "c", version: [2, 0], instructions: rvC },
  { name: "zicntr", version: [2, 0], requires: ["zicsr"] },
  { name: "zicsr", version: [2, 0], instructions: zicsr },
  { name: "zifencei", version: [2, 0], instructions: zifencei },
  { name: "zba", version: [1, 0], instructions: zba },
  { name: "zbb", version: [1, 0], instructions: zbb },
  { name: "zbs", version: [1, 0], instructions: zbs },
  { name: "sm", version: [1, 13], isListed: false, requires: ["zicsr"], instructions: machineMode },
  { name: "ss", version: [1, 13], isListed: false, requires: ["sm"], instructions: supervisorMode },
  { name: "sstc", version: [1, 0], requires: ["ss"] },
  { name: "svadu", version: [1, 0], requires: ["ss"] },
  { name: "svinval", version: [1, 0], requires: ["ss"], instructions: svinval },
  // What is not valid is never kept, so that a kernel need not drop it when it becomes valid.
  { name: "svvptc", version: [1, 0], requires: ["ss"] },
] as const satisfies readonly RiscvExtension[];

/** Names of {@link standardExtensions}. */
export type StandardExtension = (typeof standardExtensions)[number]["name"];

/** The instruction set of {@link standardExtensions}. */
export const standardIsa: RiscvIsa = new RiscvIsa<RiscvExtension>(standardExtensions);

/** The instruction table of an ISA, {@link standardIsa} unless given. */
export const riscvTable = (xlen: 32 | 64, isa: RiscvIsa = standardIsa): InstructionTable<RiscvSemantics> =>
  isa.table(xlen);
