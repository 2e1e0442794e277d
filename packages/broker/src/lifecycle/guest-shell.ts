/**
 * Runs commands on a guest's serial console and learns their status: each is sent between two markers, and what the
 * guest prints between them is the command's. The console's echo of the typed line must not look like a marker: a
 * POSIX shell gets them in two quoted halves, and of the embedded guest's output only whole lines count.
 *
 * Commands are run one after another. What is sent before the guest reads commands would be lost, so the first one
 * waits for a prompt.
 */
import { shortened } from "../hyperfile/message-text.js";
import type { ShellKind } from "../hyperfile/types.js";
import {
  type CommandEnd,
  type CommandOutput,
  embeddedOutput,
  PlainText,
  posixOutput,
} from "./command-output.js";
import { LifecycleError } from "./errors.js";
import { LongTimer } from "./waiting.js";

/** What a command left. */
export interface ExecResult {
  readonly status: number;
  /** What it printed, with line ends as `\n`: the last 4 Mi characters. */
  readonly output: string;
  /** How many characters it printed before those; missing if there are none. */
  readonly omitted?: number;
}

/** Text at the end of the output that invites commands. */
const prompts: Readonly<Record<ShellKind, RegExp>> = {
  embedded: /(^|\n)guest# $/,
  posix: /[#$%>] $|hyperfile: ready for commands\n$/,
};
/** Longest line that the embedded guest's editor takes. */
const EMBEDDED_LINE = 158;
/** Characters of a command that a POSIX shell gets in a line, four times as many if all are quotes (editors take 1024), and in all. */
const POSIX_PART = 240;
const POSIX_COMMAND = 65_536;
/** Characters of output that are kept for a command; more is cut from the front. */
const MOST_OUTPUT = 4 * 2 ** 20;
/** Characters at the end of the output in which a prompt is looked for. */
const LONGEST_PROMPT = 64;
const NEWLINE = 0x0a;

interface Waiting {
  /** Looks at what is new; true when it has what it waits for. */
  readonly look: () => boolean;
  readonly resolve: () => void;
}

/** A guest's console as a place to run commands. */
export class GuestShell {
  private readonly plain = new PlainText();
  /** The end of the output. */
  private recent = "";
  private command: CommandOutput | undefined;
  private ended: CommandEnd | undefined;
  private waiting: Waiting | undefined;
  private last: Promise<unknown> = Promise.resolve();
  private isReady = false;
  private count = 0;
  private closed: LifecycleError | undefined;

  /**
   * @param name of the VM, for messages
   * @param send types bytes on the guest's console
   * @param isCopy whether the guest was up before this console watched it: its prompt has been shown, and it takes an
   *   empty line to see it again
   */
  constructor(
    private readonly name: string,
    private readonly kind: ShellKind,
    private readonly send: (bytes: Uint8Array) => void,
    private readonly isCopy = false,
  ) {}

  /** The guest has printed something. */
  feed(bytes: Uint8Array): void {
    const text = this.plain.take(bytes);
    this.recent = (this.recent + text.slice(-LONGEST_PROMPT)).slice(-LONGEST_PROMPT);
    this.ended ??= this.command?.take(text);
    if (this.waiting?.look() === true) {
      const { resolve } = this.waiting;
      this.waiting = undefined;
      resolve();
    }
  }

  /** The guest is gone: commands under way fail. */
  close(why: string): void {
    this.closed = new LifecycleError("E_EXEC", `VM ${this.name} ${why}`);
    this.waiting?.resolve();
  }

  /** Waits until the guest reads commands. @throws LifecycleError `E_EXEC_TIMEOUT`, `E_EXEC` */
  async ready(timeoutMs: number): Promise<void> {
    if (this.isReady) return;
    const prompt = prompts[this.kind];
    if (this.isCopy && !prompt.test(this.recent)) this.send(Uint8Array.of(NEWLINE));
    await this.until(() => prompt.test(this.recent), timeoutMs, "the guest shows no prompt");
    this.isReady = true;
  }

  /**
   * Runs a command.
   * @throws LifecycleError `E_EXEC_TIMEOUT` if it takes longer, after sending it Ctrl-C; `E_EXEC` if it can't be sent,
   *   or the VM ends
   */
  run(command: string, timeoutMs: number): Promise<ExecResult> {
    const result = this.last.then(() => this.runNow(command, timeoutMs));
    this.last = result.catch(() => {});
    return result;
  }

  private async runNow(command: string, timeoutMs: number): Promise<ExecResult> {
    if ([...command].some((char) => (char < " " && char !== "\t") || char === "\x7f"))
      throw new LifecycleError(
        "E_EXEC",
        `a command for VM ${this.name} has control characters: give one line`,
      );
    const started = performance.now();
    await this.ready(timeoutMs);
    const mark = `${(this.count++ % 1000).toString(36)}${Math.floor(Math.random() * 46656).toString(36)}`;
    const line =
      this.kind === "posix" ? posixLines(command, mark, this.name) : embeddedLine(command, mark, this.name);
    this.ended = undefined;
    this.command = (this.kind === "posix" ? posixOutput : embeddedOutput)(mark, MOST_OUTPUT);
    this.send(new TextEncoder().encode(`${line}\n`));
    const left = timeoutMs - (performance.now() - started);
    try {
      await this.until(() => this.ended !== undefined, left, `"${shortened(command)}" goes on`);
    } catch (error) {
      // What runs is asked to end, so that the next command finds a prompt.
      if (this.closed === undefined) this.send(Uint8Array.of(3));
      throw error;
    } finally {
      this.command = undefined;
    }
    const { status, text, omitted } = this.ended!;
    this.ended = undefined;
    return { status, output: text, ...(omitted === 0 ? {} : { omitted }) };
  }

  private async until(look: () => boolean, timeoutMs: number, what: string): Promise<void> {
    if (this.closed !== undefined) throw this.closed;
    if (look()) return;
    let timer: LongTimer | undefined;
    const inTime = await new Promise<boolean>((resolve) => {
      this.waiting = { look, resolve: () => resolve(true) };
      timer = new LongTimer(Math.max(0, timeoutMs), () => resolve(false));
    });
    timer?.clear();
    this.waiting = undefined;
    if (this.closed !== undefined) throw this.closed;
    if (inTime) return;
    throw new LifecycleError(
      "E_EXEC_TIMEOUT",
      `VM ${this.name}: ${what} after ${Math.round(timeoutMs / 100) / 10} s: allow more time, or look at its console`,
    );
  }
}

/** The lines that run a command. */
function posixLines(command: string, mark: string, name: string): string {
  if (command.length > POSIX_COMMAND)
    throw new LifecycleError(
      "E_EXEC",
      `the command for VM ${name} is too long: it may have ${POSIX_COMMAND} characters`,
    );
  // In quotes, a command with a mistake in its syntax can't swallow what follows; `command` keeps the shell alive then
  // (POSIX.1-2024, XCU 2.8.1), and without a subshell its `cd` holds for the next one.
  const quoted = (part: string) => `'${part.replaceAll("'", "'\\''")}'`;
  const lines: string[] = [];
  let text = quoted(command);
  if (command.length > POSIX_PART) {
    for (let at = 0; at < command.length; at += POSIX_PART)
      lines.push(`hf=${at === 0 ? "" : '"$hf"'}${quoted(command.slice(at, at + POSIX_PART))}`);
    text = '"$hf"';
  }
  const half = `"hf""${mark}`;
  lines.push(`echo ${half}+"; command eval ${text} 2>&1; echo ${half}-$?"`);
  return lines.join("\n");
}

function embeddedLine(command: string, mark: string, name: string): string {
  const line = `echo +${mark};${command};echo -${mark}`;
  if (line.length > EMBEDDED_LINE) {
    throw new LifecycleError(
      "E_EXEC",
      `the command for VM ${name} is too long: the embedded guest takes ${EMBEDDED_LINE - line.length + command.length} characters`,
    );
  }
  return line;
}
