/** `hyperfile capture`: the frames of a network into a pcapng file, which is whole however the capture ends. */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import type { CaptureConnection, DaemonClient } from "@hyperfile/broker/client";
import { fileErrorReason } from "@hyperfile/broker/host";
import { CliError, systemErrorCode } from "../errors.js";
import { printableLine } from "../printable.js";
import { megabytes } from "../progress.js";
import type { Streams } from "../session.js";

/** Options of `capture`. */
export interface CaptureFlags {
  /** The only VM. */
  readonly vm?: string;
  /** What ends it: seconds, or bytes of the file. */
  readonly seconds?: number;
  readonly bytes?: number;
  /** Bytes that are kept of a frame. */
  readonly snaplen?: number;
}

/** The name that means standard output. */
const STANDARD_OUTPUT = "-";
/** Milliseconds between two lines of progress on a terminal. */
const PROGRESS_MS = 100;
/** What others have sent is for its owner alone. */
const MODE = 0o600;

/**
 * Captures a network until Ctrl-C, a limit, or its end; gives the exit status.
 * @param name `NETWORK` or `PROJECT/NETWORK`
 * @throws CliError `E_FILE`, `E_USAGE`; ApiError (the promise rejects)
 */
export async function captureNetwork(
  client: DaemonClient,
  name: string,
  file: string,
  flags: CaptureFlags,
  streams: Streams,
): Promise<number> {
  const { output, error } = streams;
  if (file === STANDARD_OUTPUT && output.columns !== undefined)
    throw new CliError(
      "E_USAGE",
      `a capture is nothing to read on a terminal: name a file, or write hyperfile capture ${name} - | tshark -r -`,
    );
  const capture = await client.capture(name, flags);
  let sink: CaptureSink;
  try {
    sink = file === STANDARD_OUTPUT ? new OutputSink(output, capture) : new CaptureFile(file);
  } catch (refusal) {
    capture.close();
    throw refusal;
  }
  const what = printableLine(flags.vm === undefined ? name : `${flags.vm} in ${name}`);
  error(`hyperfile: capturing ${what} to ${sink.name}; Ctrl-C ends\n`);
  const redraw = streams.errors?.columns === undefined ? undefined : streams.redraw;
  const end = (): void => capture.end();
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.once(signal, end);
  let counts = { frames: 0, dropped: 0 };
  let [bytes, shownAt] = [0, -Infinity];
  const show = (): void => {
    if (redraw === undefined || performance.now() - shownAt < PROGRESS_MS) return;
    shownAt = performance.now();
    redraw(`\rhyperfile: ${what}: ${framesText(counts)}, ${megabytes(bytes)}\x1b[K`);
  };
  try {
    const reason = await capture.run(
      (blocks) => {
        bytes += blocks.length;
        return sink.write(blocks);
      },
      (now) => {
        counts = now;
        show();
      },
    );
    if (shownAt > -Infinity) redraw?.("\r\x1b[K");
    if (sink.isLost) return 0;
    error(`hyperfile: ${sink.name}: ${framesText(counts)}, ${bytes} bytes\n`);
    if (reason === "network") error(`hyperfile: no VM of ${what} is up any more\n`);
    if (reason !== undefined) return 0;
    throw new CliError(
      "E_DAEMON",
      `the capture was broken off: the daemon or its networks have ended; ${sink.name} has what came until then`,
    );
  } finally {
    for (const signal of signals) process.off(signal, end);
    sink.close();
  }
}

const framesText = ({ frames, dropped }: { frames: number; dropped: number }): string =>
  `${frames} ${frames === 1 ? "frame" : "frames"}${dropped === 0 ? "" : `, and ${dropped} dropped, which came faster than they were taken`}`;

/** Where a capture goes. */
interface CaptureSink {
  readonly name: string;
  /** Nobody takes it any more, of which the program's status tells. */
  readonly isLost: boolean;
  /** Takes whole blocks. A promise says when there is room for more. @throws CliError */
  write(bytes: Uint8Array): unknown;
  close(): void;
}

/** Standard output, which is read as fast as its reader likes. */
class OutputSink implements CaptureSink {
  readonly name = "standard output";
  private flushing: Promise<void> | undefined;

  constructor(
    private readonly output: Streams["output"],
    capture: CaptureConnection,
  ) {
    output.on("error", () => capture.close());
  }

  get isLost(): boolean {
    return this.output.failure !== undefined;
  }

  write(bytes: Uint8Array): unknown {
    this.output.write(bytes);
    this.flushing ??= this.output.flush?.().finally(() => {
      this.flushing = undefined;
    });
    return this.flushing;
  }

  close(): void {}
}

/** A new file. Invariant: it has whole blocks only, after a write that failed as well. */
class CaptureFile implements CaptureSink {
  readonly name: string;
  readonly isLost = false;
  private readonly file: number;
  private size = 0;

  /** @throws CliError `E_FILE` for one that exists, or can't be made */
  constructor(name: string) {
    this.name = printableLine(name);
    try {
      this.file = openSync(name, "wx", MODE);
    } catch (cause) {
      const remedy = "; choose another name, or remove it";
      const reason = fileErrorReason(cause) + (systemErrorCode(cause) === "EEXIST" ? remedy : "");
      throw new CliError("E_FILE", `can't write the capture to ${this.name}: ${reason}`, { cause });
    }
  }

  write(bytes: Uint8Array): void {
    let written = 0;
    try {
      while (written < bytes.length) written += writeSync(this.file, bytes, written);
      this.size += written;
    } catch (cause) {
      this.size += wholeBlocks(bytes, written);
      ftruncateSync(this.file, this.size);
      throw new CliError(
        "E_FILE",
        `can't write ${this.name} any further: ${fileErrorReason(cause)}; it has what came until then, ${this.size} bytes`,
        { cause },
      );
    }
  }

  close(): void {
    closeSync(this.file);
  }
}

/** Bytes of the blocks that are whole in the first `written` ones (draft-ietf-opsawg-pcapng, section 3.1: little-endian). */
function wholeBlocks(bytes: Uint8Array, written: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at + 8 <= written && at + view.getUint32(at + 4, true) <= written)
    at += view.getUint32(at + 4, true);
  return at;
}
