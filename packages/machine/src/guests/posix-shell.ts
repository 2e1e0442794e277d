/**
 * A POSIX shell on a console. The echo of the typed line must not look like a mark, so the shell gets each in two quoted
 * halves.
 */
import { MachineError } from "../errors.js";
import { type CommandOutput, posixOutput } from "./command-output.js";

/** Characters of a command that it gets in a line, four times as many if all are quotes (editors take 1024), and in all. */
const PART = 240;
const LONGEST = 65_536;

const quoted = (part: string) => `'${part.replaceAll("'", "'\\''")}'`;

/** What reads commands on the consoles of Debian and most others. */
export const posixShell = {
  prompt: /[#$%>] $|hyperfile: ready for commands\n$/,
  shutdown: "poweroff -f",

  /** @throws MachineError `E_COMMAND` for one that is too long */
  typed(command: string, mark: string): string {
    if (command.length > LONGEST) throw new MachineError("E_COMMAND", `it may have ${LONGEST} characters`);
    // In quotes, a command with a mistake in its syntax can't swallow what follows; `command` keeps the shell alive then
    // (POSIX.1-2024, XCU 2.8.1), and without a subshell its `cd` holds for the next one.
    const lines: string[] = [];
    let text = quoted(command);
    if (command.length > PART) {
      for (let at = 0; at < command.length; at += PART)
        lines.push(`hf=${at === 0 ? "" : '"$hf"'}${quoted(command.slice(at, at + PART))}`);
      text = '"$hf"';
    }
    const half = `"hf""${mark}`;
    lines.push(`echo ${half}+"; command eval ${text} 2>&1; echo ${half}-$?"`);
    return lines.join("\n");
  },

  output: (mark: string, most: number): CommandOutput => posixOutput(mark, most),
} as const;
