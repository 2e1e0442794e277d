/**
 * Runs commands on a guest's serial console and learns their status, as far as what reads commands there
 * (`ConsoleShell`) tells the output of one from all else.
 *
 * Commands are run one after another. What is sent before the guest reads commands would be lost, so the first one
 * waits for a prompt.
 */
import type { ConsoleShell, TypedCommandEnd } from "../hyperfile/guest-kinds.js";
import { shortened } from "../hyperfile/message-text.js";
import { LifecycleError } from "./errors.js";
import { PlainText } from "./plain-text.js";
import { LongTimer } from "./waiting.js";

/** What a command left. */
export interface ExecResult {
  readonly status: number;
  /** What it printed, on a console with line ends as `\n`: the last 4 Mi characters. */
  readonly output: string;
  /** How many characters it printed before those; missing if there are none. */
  readonly omitted?: number;
  /** What it printed as errors, as far as those come apart, else missing: the last 4 Mi characters. */
  readonly errors?: string;
  /** How many characters of errors it printed before those; missing if there are none. */
  readonly errorsOmitted?: number;
}

/** Characters of output that are kept for a command; more is cut from the front. */
const MOST_OUTPUT = 4 * 2 ** 20;
/** Characters at the end of the output in which a prompt is looked for. */
const LONGEST_PROMPT = 64;
const NEWLINE = 0x0a;
/** Milliseconds after which an empty line is typed again: a guest may take the first one for the rest of `\r\n`. */
const ASK_AGAIN_MS = 1000;

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
  private command: ReturnType<ConsoleShell["output"]> | undefined;
  private ended: TypedCommandEnd | undefined;
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
    private readonly shell: ConsoleShell,
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

  /** Whether the guest has read commands. */
  get hasPrompt(): boolean {
    return this.isReady;
  }

  /** Waits for its turn, and until the guest reads commands. @throws LifecycleError `E_EXEC_TIMEOUT`, `E_EXEC` */
  untilPrompt(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return this.inTurn(() => this.ready(timeoutMs, signal), "what waits for it", signal);
  }

  private async ready(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (this.isReady) return;
    const { prompt } = this.shell;
    const hasPrompt = () => prompt.test(this.recent);
    const ask = () => this.send(Uint8Array.of(NEWLINE));
    let again: ReturnType<typeof setTimeout> | undefined;
    if (this.isCopy && !hasPrompt()) {
      ask();
      again = setTimeout(ask, ASK_AGAIN_MS);
    }
    try {
      await this.until(hasPrompt, timeoutMs, "the guest shows no prompt", signal);
    } finally {
      clearTimeout(again);
    }
    this.isReady = hasPrompt();
  }

  /**
   * Runs a command.
   * @param signal gives it up: one that waits for its turn is never run, one that runs gets Ctrl-C
   * @throws LifecycleError `E_EXEC_TIMEOUT` if it takes longer, after sending it Ctrl-C; `E_EXEC` if it can't be sent,
   *   is given up, or the VM ends
   */
  run(command: string, timeoutMs: number, signal?: AbortSignal): Promise<ExecResult> {
    return this.inTurn(() => this.runNow(command, timeoutMs, signal), command, signal);
  }

  private inTurn<Result>(
    act: () => Promise<Result>,
    command: string,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    const result = this.last.then(act);
    this.last = result.catch(() => {});
    if (signal === undefined) return result;
    // Who gives up waits for nobody's turn.
    return new Promise((resolve, reject) => {
      const giveUp = () => reject(this.givenUp(command));
      signal.addEventListener("abort", giveUp);
      if (signal.aborted) giveUp();
      result.then(resolve, reject).finally(() => signal.removeEventListener("abort", giveUp));
    });
  }

  private async runNow(command: string, timeoutMs: number, signal?: AbortSignal): Promise<ExecResult> {
    if (signal?.aborted) throw this.givenUp(command);
    if ([...command].some((char) => (char < " " && char !== "\t") || char === "\x7f"))
      throw new LifecycleError(
        "E_EXEC",
        `a command for VM ${this.name} has control characters: give one line`,
      );
    const started = performance.now();
    await this.ready(timeoutMs, signal);
    if (signal?.aborted) throw this.givenUp(command);
    const mark = `${(this.count++ % 1000).toString(36)}${Math.floor(Math.random() * 46656).toString(36)}`;
    const line = this.typed(command, mark);
    this.ended = undefined;
    this.command = this.shell.output(mark, MOST_OUTPUT);
    this.send(new TextEncoder().encode(`${line}\n`));
    const left = timeoutMs - (performance.now() - started);
    try {
      await this.until(() => this.ended !== undefined, left, `"${shortened(command)}" goes on`, signal);
      if (this.ended === undefined) throw this.givenUp(command);
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

  private givenUp(command: string): LifecycleError {
    return new LifecycleError("E_EXEC", `VM ${this.name}: "${shortened(command)}" was given up`);
  }

  private typed(command: string, mark: string): string {
    try {
      return this.shell.typed(command, mark);
    } catch (cause) {
      const why = (cause as Error).message;
      throw new LifecycleError("E_EXEC", `the command for VM ${this.name} is too long: ${why}`, { cause });
    }
  }

  /** Waits until something is so, or the signal comes. */
  private async until(
    look: () => boolean,
    timeoutMs: number,
    what: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (this.closed !== undefined) throw this.closed;
    if (look()) return;
    let timer: LongTimer | undefined;
    let giveUp = () => {};
    const inTime = await new Promise<boolean>((resolve) => {
      giveUp = () => resolve(true);
      this.waiting = { look, resolve: giveUp };
      timer = new LongTimer(Math.max(0, timeoutMs), () => resolve(false));
      signal?.addEventListener("abort", giveUp);
      if (signal?.aborted) giveUp();
    });
    timer?.clear();
    signal?.removeEventListener("abort", giveUp);
    this.waiting = undefined;
    if (this.closed !== undefined) throw this.closed;
    if (inTime) return;
    throw new LifecycleError(
      "E_EXEC_TIMEOUT",
      `VM ${this.name}: ${what} after ${Math.round(timeoutMs / 100) / 10} s: allow more time, or look at its console`,
    );
  }
}
