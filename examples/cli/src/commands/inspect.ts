/** `hyperfile explain` and `hyperfile disasm`: what the decoder and the translator make of a program. */
import type { MachineModule } from "../machine-types.js";
import { isaWidths, readNamedFile } from "./options.js";

/** The options of `explain` and `disasm`. */
export interface InspectFlags {
  /** Address of the block to explain. */
  at?: bigint;
  /** Instruction set of a file that doesn't declare its own. */
  isa?: keyof typeof isaWidths;
}

/** Writes the stages of one block's translation through `write`; gives the exit status. */
export async function explain(
  file: string,
  flags: InspectFlags,
  machine: () => Promise<MachineModule>,
  write: (text: string) => void,
): Promise<number> {
  const program = await readNamedFile("program", file);
  const text = (await machine()).explain(program, { xlen: flags.isa && isaWidths[flags.isa], at: flags.at });
  write(text.endsWith("\n") ? text : `${text}\n`);
  return 0;
}

/** Writes the assembly of a program's executable parts through `write`; gives the exit status. */
export async function disasm(
  file: string,
  flags: InspectFlags,
  machine: () => Promise<MachineModule>,
  write: (text: string) => void,
): Promise<number> {
  const program = await readNamedFile("program", file);
  const { disassemble } = await machine();
  let pending = "";
  for (const line of disassemble(program, { xlen: flags.isa && isaWidths[flags.isa], at: undefined })) {
    pending += `${line}\n`;
    if (pending.length > 1 << 16) {
      write(pending);
      pending = "";
    }
  }
  write(pending);
  return 0;
}
