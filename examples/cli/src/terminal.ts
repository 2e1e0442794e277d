/**
 * Connects the user's terminal, or a pipe in its place, with the guest's console.
 *
 * On a terminal every key goes to the guest, Ctrl-C included, so there is one way out: Ctrl-A x, as in QEMU.
 * The terminal's mode is restored on every way out of the process: close, exit, exceptions and signals.
 * From a pipe, bytes flow as fast as the guest takes them, and the end of the input becomes Ctrl-D.
 *
 * Invariant: bytes reach the guest in the order in which they arrived; none is dropped.
 */

/** Where input comes from; standard input in the program. */
export interface TerminalInput {
  /** Whether it is a terminal. */
  isTTY?: boolean | undefined;
  /** Switches the terminal's raw mode. */
  setRawMode?(isRaw: boolean): unknown;
  on(event: "data", listener: (bytes: Uint8Array) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "data", listener: (bytes: Uint8Array) => void): unknown;
  off(event: "end", listener: () => void): unknown;
  off(event: "error", listener: (error: Error) => void): unknown;
  /** Stops `data` events until `resume`. */
  pause(): unknown;
  /** Starts `data` events. */
  resume(): unknown;
}

/** Where output goes; standard output in the program. */
export interface TerminalOutput {
  /** Width in characters, on a terminal. */
  columns?: number | undefined;
  /** Height in characters, on a terminal. */
  rows?: number | undefined;
  /** Why a write failed, after which nothing more is written. */
  failure?: Error | undefined;
  write(bytes: Uint8Array): unknown;
  /** Resolves when everything that was written is out, or has failed. */
  flush?(): Promise<void>;
  on(event: "resize", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "resize", listener: () => void): unknown;
}

/** What a terminal is made from. */
export interface TerminalOptions {
  /** Where input comes from. */
  input: TerminalInput;
  /** Where output goes. */
  output: TerminalOutput;
  /** Whether to take over the terminal; otherwise input is a stream of bytes even if it is one. */
  isRaw: boolean;
  /** Gives input to the guest; returns how many bytes it took, from the front. */
  send(bytes: Uint8Array): number;
  /** The terminal has this size in characters; called once at the start. */
  resize(columns: number, rows: number): void;
  /** The user asks to quit, or nobody reads the output any more. */
  quit(reason: "user" | "closed"): void;
  /** Shows a message of the program itself, beside the guest's output. */
  notice(text: string): void;
  /**
   * Text in the guest's output before which piped input is held back: what arrives before the guest has
   * opened its console is lost with the reset of the serial port's FIFO.
   */
  holdInputUntil?: string;
}

/** A connected terminal. */
export interface Terminal {
  /** Shows bytes that the guest's console writes. */
  write(bytes: Uint8Array): void;
  /** Disconnects and restores the terminal. Further calls do nothing. */
  close(): void;
}

/** The keys that the program keeps for itself, for help texts. */
export const escapeHelp = [
  "Ctrl-A x       quit: the machine is switched off at once",
  "Ctrl-A h       this help",
  "Ctrl-A Ctrl-A  send Ctrl-A to the guest (also Ctrl-A a)",
];

/** The one line that is shown at the start. */
export const escapeHint = "Ctrl-A x quits, Ctrl-A h shows help";

const escapeKey = 0x01;
const endOfTransmission = 0x04;
const newline = 0x0a;

/** How long to wait before offering input again that the guest's full FIFO didn't take, in milliseconds. */
const retryMilliseconds = 2;

/** Above this many bytes the source is paused. */
const highWaterBytes = 4096;

/** Signals that end the process and whose default action would leave the terminal in raw mode. */
const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/** Splits raw keyboard input into bytes for the guest and commands for the program. */
export class EscapeFilter {
  private isEscaped = false;

  /** The bytes of `input` that are the guest's; calls `command` for the others' meaning. */
  filter(input: Uint8Array, command: (name: "quit" | "help") => void): Uint8Array {
    const guest: number[] = [];
    for (const byte of input) {
      if (!this.isEscaped) {
        if (byte === escapeKey) this.isEscaped = true;
        else guest.push(byte);
        continue;
      }
      this.isEscaped = false;
      const key = String.fromCharCode(byte).toLowerCase();
      if (key === "x") command("quit");
      else if (key === "h" || key === "?") command("help");
      else if (key === "a" || byte === escapeKey) guest.push(escapeKey);
    }
    return Uint8Array.from(guest);
  }
}

/** Connects a terminal. */
export function openTerminal(options: TerminalOptions): Terminal {
  const { input, output, send, quit, notice } = options;
  const isRaw = options.isRaw && input.isTTY === true && input.setRawMode !== undefined;
  const filter = new EscapeFilter();
  const decoder = new TextDecoder("latin1");
  let marker = isRaw ? undefined : options.holdInputUntil;
  let recentOutput = "";
  let queue: Uint8Array[] = [];
  let queuedBytes = 0;
  let lastByte = newline;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let isOutputClosed = false;

  const pump = () => {
    timer = undefined;
    if (isClosed || marker !== undefined) return;
    while (queue.length > 0) {
      const chunk = queue[0];
      const taken = send(chunk);
      queuedBytes -= taken;
      if (taken < chunk.length) {
        queue[0] = chunk.subarray(taken);
        timer ??= setTimeout(pump, retryMilliseconds);
        break;
      }
      queue.shift();
    }
    if (queuedBytes <= highWaterBytes) input.resume();
  };
  const enqueue = (bytes: Uint8Array) => {
    if (bytes.length === 0) return;
    queue.push(bytes);
    queuedBytes += bytes.length;
    lastByte = bytes[bytes.length - 1];
    if (timer === undefined) pump();
    if (queuedBytes > highWaterBytes) input.pause();
  };

  const onData = (bytes: Uint8Array) => {
    if (!isRaw) {
      enqueue(bytes);
      return;
    }
    const forGuest = filter.filter(bytes, (name) => {
      if (name === "quit") quit("user");
      else notice(`\r\n${escapeHelp.join("\r\n")}\r\n`);
    });
    enqueue(forGuest);
  };
  // A line discipline takes Ctrl-D in the middle of a line as the end of that line, and a second one as the end.
  const onEnd = () => {
    if (isRaw) quit("closed");
    else
      enqueue(
        Uint8Array.from(lastByte === newline ? [endOfTransmission] : [endOfTransmission, endOfTransmission]),
      );
  };
  const onOutputError = () => {
    if (isOutputClosed) return;
    isOutputClosed = true;
    quit("closed");
  };
  const onResize = () => {
    if (output.columns && output.rows) options.resize(output.columns, output.rows);
  };
  const restore = () => {
    if (isRaw) input.setRawMode?.(false);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    close();
    process.kill(process.pid, signal);
  };
  const onContinue = () => {
    input.setRawMode?.(false);
    input.setRawMode?.(true);
  };
  const close = () => {
    if (isClosed) return;
    isClosed = true;
    clearTimeout(timer);
    queue = [];
    input.off("data", onData);
    input.off("end", onEnd);
    input.off("error", onEnd);
    output.off("resize", onResize);
    process.off("exit", restore);
    process.off("SIGCONT", onContinue);
    for (const signal of endingSignals) process.off(signal, onSignal);
    input.pause();
    restore();
  };

  output.on("error", onOutputError);
  output.on("resize", onResize);
  input.on("data", onData);
  input.on("end", onEnd);
  input.on("error", onEnd);
  if (isRaw) {
    process.on("exit", restore);
    process.on("SIGCONT", onContinue);
    for (const signal of endingSignals) process.on(signal, onSignal);
    input.setRawMode?.(true);
    notice(`hyperfile: ${escapeHint}\r\n`);
  }
  onResize();
  input.resume();

  return {
    write(bytes) {
      if (isClosed || isOutputClosed) return;
      output.write(bytes);
      if (marker === undefined) return;
      recentOutput += decoder.decode(bytes);
      if (recentOutput.includes(marker)) {
        marker = undefined;
        recentOutput = "";
        pump();
      } else {
        recentOutput = recentOutput.slice(-marker.length);
      }
    },
    close,
  };
}
