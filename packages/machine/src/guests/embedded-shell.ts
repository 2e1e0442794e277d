/** The shell of the embedded guest, of whose output whole lines are marks: the echo of the typed line is none. */
import { MachineError } from "../errors.js";
import { type CommandOutput, embeddedOutput } from "./command-output.js";

/** Longest line that its editor takes. */
const LONGEST_LINE = 158;

/** What reads commands in the embedded guest. */
export const embeddedShell = {
  prompt: /(^|\n)guest# $/,
  shutdown: "poweroff",

  /** @throws MachineError `E_COMMAND` for one that is too long */
  typed(command: string, mark: string): string {
    const line = `echo +${mark};${command};echo -${mark}`;
    if (line.length <= LONGEST_LINE) return line;
    const most = LONGEST_LINE - line.length + command.length;
    throw new MachineError("E_COMMAND", `the embedded guest takes ${most} characters`);
  },

  output: (mark: string, most: number): CommandOutput => embeddedOutput(mark, most),
} as const;
