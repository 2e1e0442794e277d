/**
 * What a program knows of the guests that it makes: the kernels that come with it, and what reads commands in guests. The
 * broker knows none by itself.
 */

/** How a command that was typed has ended. */
export interface TypedCommandEnd {
  readonly status: number;
  /** The end of what it printed. */
  readonly text: string;
  /** Characters of what it printed before those. */
  readonly omitted: number;
}

/** What reads commands on a guest's console. */
export interface ConsoleShell {
  /** Text at the end of the output, without control sequences, that invites commands; at most 64 characters. */
  readonly prompt: RegExp;
  /** The command by which the guest powers itself off. */
  readonly shutdown: string;
  /**
   * What is typed, but for the last line end, to run a command of one line so that its output can be told from all else.
   * @param mark a few letters and digits, others for each command
   * @throws an Error whose message says how long a command may be
   */
  typed(command: string, mark: string): string;
  /** Finds the output of a command with that mark, of which the last `most` characters are kept. */
  output(
    mark: string,
    most: number,
  ): {
    /** Takes what the console shows next, without control sequences; how the command ended, once it has. */
    take(text: string): TypedCommandEnd | undefined;
  };
}

/** What there is. */
export interface GuestKinds {
  /** Instruction sets that a Hyperfile can name. */
  readonly isas: readonly string[];
  /** Kernels that need no file, by name, with the name of the shell that they come to. */
  readonly kernels: Readonly<Record<string, { readonly shell: string }>>;
  /** What reads commands, by name. */
  readonly shells: Readonly<Record<string, ConsoleShell>>;
  /** The shell of a guest that says nothing of it. */
  readonly usualShell: string;
}
