/**
 * Commands in guests by a program there that is for this, an agent, where a guest has one: their output and errors come apart,
 * many run at a time, and what goes on for too long is ended. The broker knows no agents: how one is asked is the program's
 * that composes machines.
 */
import { shortened } from "../hyperfile/message-text.js";
import { LifecycleError } from "./errors.js";
import type { GuestStream, GuestStreamEvents } from "./guest-port.js";
import type { ExecResult } from "./guest-shell.js";
import { LongTimer } from "./waiting.js";

/** Takes what a command prints. */
export interface GuestCommandOutputs {
  output(bytes: Uint8Array): void;
  errors(bytes: Uint8Array): void;
}

/**
 * Runs a line of the guest's shell through its agent, without input.
 * @param connect opens a stream to a port of the guest's
 * @param signal ends the command; the promise rejects then
 * @returns its status as shells have it; undefined where no agent answers, and nothing was run. Rejects with a one-line error
 *   for what else goes wrong
 */
export type RunByAgent = (
  connect: (port: number, events: GuestStreamEvents) => GuestStream,
  line: string,
  outputs: GuestCommandOutputs,
  signal: AbortSignal,
) => Promise<number | undefined>;

/** Characters that are kept of each, output and errors; more is cut from the front. */
const MOST_OUTPUT = 4 * 2 ** 20;

/** How a command is run. */
export interface GuestCommandOptions {
  /** Of the VM, for messages. */
  readonly name: string;
  readonly timeoutMs: number;
  /** Gives it up: it is ended. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a line of the guest's shell through its agent.
 * @returns undefined where there is none, and nothing was run
 * @throws LifecycleError (the promise rejects) `E_EXEC_TIMEOUT` if it takes longer, `E_EXEC` if it can't be run, is given up, or
 *   the VM ends; it is ended then
 */
export async function runByAgent(
  run: RunByAgent,
  connect: Parameters<RunByAgent>[0],
  line: string,
  { name, timeoutMs, signal }: GuestCommandOptions,
): Promise<ExecResult | undefined> {
  const [output, errors] = [new TextEnd(), new TextEnd()];
  const outputs = {
    output: (bytes: Uint8Array) => output.take(bytes),
    errors: (bytes: Uint8Array) => errors.take(bytes),
  };
  const ending = new AbortController();
  const end = () => ending.abort();
  let isLate = false;
  const timer = new LongTimer(timeoutMs, () => {
    isLate = true;
    end();
  });
  signal?.addEventListener("abort", end);
  if (signal?.aborted) end();
  try {
    const status = await run(connect, line, outputs, ending.signal);
    return status === undefined ? undefined : { status, ...output.result(), ...named(errors) };
  } catch (cause) {
    const what = `VM ${name}: "${shortened(line)}"`;
    if (isLate)
      throw new LifecycleError(
        "E_EXEC_TIMEOUT",
        `${what} goes on after ${Math.round(timeoutMs / 100) / 10} s, and was ended: allow more time`,
        { cause },
      );
    if (signal?.aborted) throw new LifecycleError("E_EXEC", `${what} was given up`, { cause });
    throw new LifecycleError("E_EXEC", `${what}: ${(cause as Error).message}`, { cause });
  } finally {
    timer.clear();
    signal?.removeEventListener("abort", end);
  }
}

function named(errors: TextEnd): Pick<ExecResult, "errors" | "errorsOmitted"> {
  const { output, omitted } = errors.result();
  return { errors: output, ...(omitted === undefined ? {} : { errorsOmitted: omitted }) };
}

/** The end of a text that comes as bytes of UTF-8. */
class TextEnd {
  private readonly decoder = new TextDecoder();
  private text = "";
  private omitted = 0;

  take(bytes: Uint8Array): void {
    this.text += this.decoder.decode(bytes, { stream: true });
    // Not each time: what is cut is copied.
    if (this.text.length > 2 * MOST_OUTPUT) this.cut();
  }

  result(): { readonly output: string; readonly omitted?: number } {
    this.text += this.decoder.decode();
    this.cut();
    return { output: this.text, ...(this.omitted === 0 ? {} : { omitted: this.omitted }) };
  }

  private cut(): void {
    const more = this.text.length - MOST_OUTPUT;
    if (more <= 0) return;
    this.omitted += more;
    this.text = this.text.slice(more);
  }
}
