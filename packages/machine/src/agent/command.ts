/** A command that a guest's agent runs: its streams, signals, terminal and end. */
import { AgentConnection, type AgentLimits } from "./connection.js";
import { AgentError } from "./errors.js";
import { type Frame, FrameType, INPUT_WINDOW, MAX_PAYLOAD, numbersOf, Operation, words } from "./protocol.js";
import type { ConnectAgent } from "./stream.js";

/** A terminal's size in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** What is run. */
export interface AgentCommand {
  /** The program and its arguments, exactly; none at all stands for the user's shell as a login shell. */
  readonly words: readonly string[];
  /** Variables of its environment beside PATH, HOME, USER, LOGNAME and SHELL, or in their place. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Working folder; the user's home unless given. */
  readonly folder?: string | undefined;
  /** `USER` or `USER:GROUP`, names or numbers; root unless given. */
  readonly user?: string | undefined;
  /** It has a pseudo-terminal of this size: input, output and errors are one. */
  readonly terminal?: TerminalSize | undefined;
}

/** How a command ended. */
export type CommandEnding =
  | { readonly kind: "exited"; readonly status: number }
  | { readonly kind: "killed"; readonly signal: number };

/** Takes what a command prints; nothing more is read while a promise that it gives is pending. */
export interface CommandOutputs {
  readonly output: (bytes: Uint8Array) => unknown;
  readonly errors: (bytes: Uint8Array) => unknown;
}

/** A status as shells have it: 128 and the signal for a command that one ended (POSIX, 2.8.2). */
export const shellStatus = (end: CommandEnding): number =>
  end.kind === "exited" ? end.status : 128 + end.signal;

const textEncoder = new TextEncoder();
/** Bytes of input that are sent at once. */
const INPUT_PART = 65_536;
const HIGHEST_SIGNAL = 64;

/** A command that was sent to an agent. */
export class AgentProcess {
  /** Resolves with the process's id in the guest when it runs. */
  readonly started: Promise<number>;
  /**
   * How it ended, when all that it printed has been taken. Rejects with AgentError: `E_AGENT_FAILED` where it could not be
   * started (an `AgentFailure`), and what else a connection may throw.
   */
  readonly ended: Promise<CommandEnding>;
  private readonly connection: AgentConnection;
  private sent = 0;
  private taken = 0;
  private wakeInput: (() => void)[] = [];
  private inputIsOver = false;
  private isOver = false;

  /** @throws AgentError `E_AGENT_REQUEST` for a command that can't be */
  constructor(
    connect: ConnectAgent,
    command: AgentCommand,
    outputs: CommandOutputs,
    limits: AgentLimits = {},
  ) {
    const frames = framesOf(command);
    this.connection = new AgentConnection(connect, limits, Operation.exec);
    for (const { type, payload } of frames) this.connection.send(type, payload);
    this.started = this.start();
    this.ended = this.started.then(() => this.follow(outputs)).finally(() => this.finish());
    // Who waits for the end need not wait for the start.
    this.started.catch(() => {});
    this.ended.catch(() => {});
  }

  /**
   * Sends input; resolves when more may be sent. Input that nobody takes any more is dropped.
   * Calls must wait for each other.
   */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const room = INPUT_WINDOW - (this.sent - this.taken);
      if (this.isOver || this.inputIsOver) return;
      if (room === 0) {
        await new Promise<void>((resolve) => this.wakeInput.push(resolve));
        continue;
      }
      const part = bytes.subarray(at, at + Math.min(room, INPUT_PART));
      at += part.length;
      this.sent += part.length;
      await this.connection.send(FrameType.input, part);
    }
  }

  /** Ends the input, behind what was written. */
  endInput(): void {
    if (this.inputIsOver || this.isOver) return;
    this.inputIsOver = true;
    this.wake();
    this.connection.send(FrameType.inputEnd);
  }

  /**
   * Sends its process group a signal, by Linux's number.
   * @throws AgentError `E_AGENT_REQUEST` for a number that is none
   */
  signal(signal: number): void {
    if (!Number.isInteger(signal) || signal < 1 || signal > HIGHEST_SIGNAL)
      throw new AgentError("E_AGENT_REQUEST", `${signal} is no signal: Linux has 1 to ${HIGHEST_SIGNAL}`);
    if (!this.isOver) this.connection.send(FrameType.signal, words(signal));
  }

  /** Its terminal has another size. @throws AgentError `E_AGENT_REQUEST` for a size that is none */
  resize(size: TerminalSize): void {
    const payload = sizePayload(size);
    if (!this.isOver) this.connection.send(FrameType.size, payload);
  }

  /** Gives it up: its processes are ended. */
  close(): void {
    this.connection.close();
  }

  private async start(): Promise<number> {
    const frame = await this.connection.expect(FrameType.started);
    return this.numbers(frame, 4).getUint32(0, true);
  }

  private async follow({ output, errors }: CommandOutputs): Promise<CommandEnding> {
    for (;;) {
      const frame = await this.connection.frame();
      switch (frame.type) {
        case FrameType.output:
          await output(frame.payload);
          break;
        case FrameType.errors:
          await errors(frame.payload);
          break;
        case FrameType.taken:
          this.taken += this.numbers(frame, 4).getUint32(0, true);
          if (this.taken > this.sent) throw this.connection.refuse("it has taken more input than there was");
          this.wake();
          break;
        case FrameType.exit:
          return this.endOf(frame);
        default:
          throw this.connection.refuse(`a frame of type ${frame.type} is no part of a command`);
      }
    }
  }

  private endOf(frame: Frame): CommandEnding {
    const view = this.numbers(frame, 8);
    const [kind, value] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (kind === 0 && value <= 255) return { kind: "exited", status: value };
    if (kind === 1 && value >= 1 && value <= HIGHEST_SIGNAL) return { kind: "killed", signal: value };
    throw this.connection.refuse(`a command can't end with ${kind}, ${value}`);
  }

  private numbers(frame: Frame, length: number): DataView {
    try {
      return numbersOf(frame, length);
    } catch (error) {
      this.connection.close();
      throw error;
    }
  }

  private finish(): void {
    this.isOver = true;
    this.connection.close();
    this.wake();
  }

  private wake(): void {
    for (const wake of this.wakeInput.splice(0)) wake();
  }
}

function framesOf(command: AgentCommand): Frame[] {
  const { words: given, variables = {}, folder, user, terminal } = command;
  const text = (type: number, what: string, value: string): Frame => {
    const payload = textEncoder.encode(value);
    if (payload.includes(0))
      throw new AgentError("E_AGENT_REQUEST", `${what} has a zero character, which no program can be given`);
    if (payload.length >= MAX_PAYLOAD)
      throw new AgentError(
        "E_AGENT_REQUEST",
        `${what} has ${payload.length} bytes: Linux takes less than ${MAX_PAYLOAD} of each; write it into a file, or to the input`,
      );
    return { type, payload };
  };
  return [
    ...given.map((word, at) =>
      text(FrameType.argument, at === 0 ? "the program's name" : `argument ${at}`, word),
    ),
    ...Object.entries(variables).map(([name, value]) => {
      if (name === "" || name.includes("="))
        throw new AgentError("E_AGENT_REQUEST", `"${name}" is no name of a variable: write NAME=VALUE`);
      return text(FrameType.variable, `the variable ${name}`, `${name}=${value}`);
    }),
    ...(folder === undefined ? [] : [text(FrameType.folder, "the folder", folder)]),
    ...(user === undefined ? [] : [text(FrameType.user, "the user", user)]),
    ...(terminal === undefined ? [] : [{ type: FrameType.terminal, payload: sizePayload(terminal) }]),
    { type: FrameType.start, payload: new Uint8Array(0) },
  ];
}

function sizePayload({ columns, rows }: TerminalSize): Uint8Array {
  if ([columns, rows].some((count) => !Number.isInteger(count) || count < 0 || count > 0xffff))
    throw new AgentError("E_AGENT_REQUEST", `a terminal can't have ${columns} columns and ${rows} rows`);
  return words(columns | (rows << 16));
}
