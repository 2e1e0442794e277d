/** `hyperfile explain` and `hyperfile disasm`: what the decoder and the translator make of a program. */
import { isaWidths } from "@hyperfile/machine/guests";
import type { ExplainedBackend, MachineModule } from "../machine-types.js";
import { readNamedFile } from "./options.js";

/** The options of `explain` and `disasm`. */
export interface InspectFlags {
  /** Address of the block to explain. */
  at?: bigint;
  /** Whose code `explain` shows. */
  backend?: ExplainedBackend;
  /** Whether `explain` writes JSON. */
  json?: boolean;
  /** Instruction set of a file that doesn't declare its own. */
  isa?: keyof typeof isaWidths;
}

/** Writes the stages of translation of the code at one address through `write`; gives the exit status. */
export async function explain(
  file: string,
  flags: InspectFlags,
  machine: () => Promise<MachineModule>,
  write: (text: string) => void,
): Promise<number> {
  const program = await readNamedFile("program", file);
  const explanation = (await machine()).explain(program, {
    xlen: flags.isa && isaWidths[flags.isa],
    at: flags.at,
    backend: flags.backend ?? "both",
  });
  if (flags.json) write(`${JSON.stringify(explanation, undefined, 2)}\n`);
  else {
    const stages = explanation.stages.map(({ name, lines }) => `== ${name}\n${lines.join("\n")}\n`);
    write(stages.join("\n"));
  }
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
  for (const line of disassemble(program, { xlen: flags.isa && isaWidths[flags.isa] })) {
    pending += `${line}\n`;
    if (pending.length > 1 << 16) {
      write(pending);
      pending = "";
    }
  }
  write(pending);
  return 0;
}
