/**
 * Runs a command in a VM through its agent, as if it ran here: input, output and errors are this program's, signals that come
 * here go there, and the command's status becomes this program's. With a terminal every key goes to the command; Enter ~ . is
 * the way out of one that does not answer, as in ssh.
 */
import {
  type AgentCommand,
  AgentFailure,
  type AgentProcess,
  shellStatus,
  type TerminalSize,
} from "@hyperfile/machine/agent";
import type { Streams } from "../session.js";
import type { TerminalOutput } from "../terminal.js";
import type { GuestAgent } from "./guest-agent.js";

/** What a command is run with. */
export interface ExecFlags {
  /** Seconds after which it is given up. */
  readonly timeout?: number;
  /** `NAME=VALUE` each. */
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly user?: string;
  /** Whether it has a terminal. */
  readonly tty?: boolean;
  /** Whether it gets this program's input. */
  readonly input: boolean;
}

/** Signals that are passed on, by Linux's numbers, which the host's may differ from. */
const passedSignals = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGQUIT: 3, SIGUSR1: 10, SIGUSR2: 12 } as const;
/** Signals after which a command that goes on is given up. */
const PATIENCE = 3;
/** A program that is not there, or can't be run (POSIX, 2.8.2). */
const [NOT_FOUND, NOT_RUN] = [127, 126];
/** Linux: no such file or folder. */
const ENOENT = 2;
const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };
const [ENTER, LINE_FEED, TILDE, DOT] = [0x0d, 0x0a, 0x7e, 0x2e];

/** What is to be run, of the words and flags of a command line. */
export function commandOf(
  words: readonly string[],
  { env = [], cwd, user, tty }: ExecFlags,
  output: TerminalOutput,
): AgentCommand {
  const variables = Object.fromEntries(
    env.map((text) => {
      const at = text.indexOf("=");
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
  const { TERM } = process.env;
  return {
    words,
    variables: tty && TERM !== undefined ? { TERM, ...variables } : variables,
    folder: cwd,
    user,
    ...(tty ? { terminal: sizeOf(output) } : {}),
  };
}

const sizeOf = ({ columns, rows }: TerminalOutput): TerminalSize =>
  columns === undefined || rows === undefined ? DEFAULT_SIZE : { columns, rows };

/**
 * Runs a command to its end; gives its status.
 * @throws AgentError (the promise rejects) where there is no agent, and where the connection ends before the command
 */
export async function execInGuest(
  agent: GuestAgent,
  command: AgentCommand,
  flags: ExecFlags,
  streams: Streams,
): Promise<number> {
  const { output, errors } = streams;
  const limit = flags.timeout === undefined ? undefined : AbortSignal.timeout(flags.timeout * 1000);
  const running = agent.client.exec(
    command,
    { output: (bytes) => written(output, bytes), errors: (bytes) => written(errors ?? output, bytes) },
    { signal: limit },
  );
  let leave = () => {};
  let hasStarted = false;
  try {
    await running.started;
    hasStarted = true;
    leave = connectStreams(running, flags, streams);
    return shellStatus(await running.ended);
  } catch (error) {
    if (error instanceof AgentFailure) return notStarted(error, command, streams);
    // The program's status tells of output that nobody takes.
    if (output.failure !== undefined || errors?.failure !== undefined) return 0;
    if (limit?.aborted)
      throw new Error(
        hasStarted
          ? `${what(command)} goes on after ${flags.timeout} s: it was ended`
          : `${what(command)} has not begun after ${flags.timeout} s: the guest's agent has not taken it`,
      );
    throw error;
  } finally {
    leave();
  }
}

const what = ({ words }: AgentCommand): string => (words.length === 0 ? "the shell" : `"${words.join(" ")}"`);

/** Says why a command does not run, as a shell does. */
function notStarted(error: AgentFailure, { words }: AgentCommand, streams: Streams): number {
  const isMissing = error.errorNumber === ENOENT && error.message.startsWith("can't run ");
  const hint =
    isMissing && words.length === 1 && /\s/.test(words[0]!)
      ? "; words are passed as they are: for a line of the shell write sh -c '...'"
      : "";
  streams.error(`hyperfile: ${error.message}${hint}\n`);
  return isMissing ? NOT_FOUND : NOT_RUN;
}

/** Writes what a command has printed; nothing more is read before it is out. */
function written(output: TerminalOutput, bytes: Uint8Array): Promise<void> | undefined {
  output.write(bytes);
  return output.flush?.();
}

/** Connects this program's input, signals and terminal with a command; the result takes it back. */
function connectStreams(running: AgentProcess, flags: ExecFlags, streams: Streams): () => void {
  const { input, output, errors } = streams;
  const undo: (() => void)[] = [];
  const isTerminal = flags.tty === true;
  let count = 0;
  for (const [name, number] of Object.entries(passedSignals)) {
    const pass = () => {
      count++;
      if (count > PATIENCE) running.close();
      else running.signal(number);
    };
    process.on(name, pass);
    undo.push(() => process.off(name, pass));
  }
  const isGone = () => running.close();
  output.on("error", isGone);
  errors?.on("error", isGone);
  if (isTerminal) {
    const resize = () => running.resize(sizeOf(output));
    output.on("resize", resize);
    undo.push(() => output.off("resize", resize));
    // It may have changed since the command was sent.
    resize();
  }
  if (!flags.input) running.endInput();
  else undo.push(passInput(running, isTerminal, streams));
  if (isTerminal && input.isTTY === true && input.setRawMode !== undefined && flags.input) {
    const setRaw = (isRaw: boolean) => input.setRawMode?.(isRaw);
    const restore = () => setRaw(false);
    const goOn = () => {
      setRaw(false);
      setRaw(true);
    };
    process.on("exit", restore);
    process.on("SIGCONT", goOn);
    setRaw(true);
    undo.push(
      restore,
      () => process.off("exit", restore),
      () => process.off("SIGCONT", goOn),
    );
  }
  return () => {
    for (const step of undo) step();
  };
}

/** Passes input on as fast as the command takes it; the result ends that. */
function passInput(running: AgentProcess, isTerminal: boolean, { input }: Streams): () => void {
  const way = isTerminal && input.isTTY === true ? new WayOut() : undefined;
  let last = Promise.resolve();
  const onData = (bytes: Uint8Array) => {
    const keys = way?.filter(bytes) ?? bytes;
    if (keys === "leave") {
      running.close();
      return;
    }
    input.pause();
    last = last.then(() => running.write(keys)).then(() => void input.resume());
  };
  const onEnd = () => {
    last = last.then(() => running.endInput());
  };
  input.on("data", onData);
  input.on("end", onEnd);
  input.on("error", onEnd);
  input.resume();
  return () => {
    input.off("data", onData);
    input.off("end", onEnd);
    input.off("error", onEnd);
    input.pause();
  };
}

/** Finds Enter ~ . in what is typed; ~ ~ stands for one ~. */
export class WayOut {
  private state: "line" | "start" | "tilde" = "start";

  /** What goes to the command, or that the user leaves. */
  filter(bytes: Uint8Array): Uint8Array | "leave" {
    const keys: number[] = [];
    for (const byte of bytes) {
      if (this.state === "tilde") {
        if (byte === DOT) return "leave";
        if (byte !== TILDE) keys.push(TILDE);
      } else if (this.state === "start" && byte === TILDE) {
        this.state = "tilde";
        continue;
      }
      keys.push(byte);
      this.state = byte === ENTER || byte === LINE_FEED ? "start" : "line";
    }
    return Uint8Array.from(keys);
  }
}
