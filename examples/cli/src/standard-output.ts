/**
 * Standard output and standard error as the commands write to them. A write that fails is remembered: the command's
 * status and one line tell of it at the end, so that output which nobody got never looks like success. Only a closed pipe
 * is quiet, since its reader chose to go away, as that of `head -1` does.
 *
 * Invariant: after the first failure nothing more is written, `error` has been emitted once, and `write` never throws.
 */

import { EventEmitter } from "node:events";
import { fstatSync, writeFileSync } from "node:fs";
import { fileErrorReason } from "@hyperfile/broker/host";
import { systemErrorCode } from "./errors.js";

/** A stream of the process, or a test's. */
export interface OutputStream {
  readonly fd?: number | undefined;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  write(data: string | Uint8Array, done: (error?: Error | null) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "resize", listener: () => void): unknown;
}

/** The status of a program whose reader went away, as shells report it: 128 and the number of SIGPIPE. */
export const CLOSED_PIPE_STATUS = 141;
/** The status where output could not be written for another reason. */
const FAILED_STATUS = 1;

/** One of the process's outputs. */
export class StandardOutput extends EventEmitter<{ error: [Error]; resize: [] }> {
  /** Why the first write failed; undefined while all has gone well. */
  failure: Error | undefined;
  private readonly file: number | undefined;
  private pending = 0;
  private settled: (() => void) | undefined;

  constructor(private readonly stream: OutputStream) {
    super();
    this.file = fileOf(stream);
    stream.on("error", (error) => this.fail(error));
    stream.on("resize", () => this.emit("resize"));
    // Without a listener an emitter throws: the failure is remembered, whoever else wants to hear of it.
    this.on("error", () => {});
  }

  get isTTY(): boolean {
    return this.stream.isTTY === true;
  }

  get columns(): number | undefined {
    return this.stream.columns;
  }

  get rows(): number | undefined {
    return this.stream.rows;
  }

  /** Writes all of it, sooner or later; nothing after a failure. */
  write(data: string | Uint8Array): void {
    if (this.failure !== undefined || data.length === 0) return;
    if (this.file !== undefined) {
      try {
        // The stream would take part of a write for the whole, as it is on a disk that fills.
        writeFileSync(this.file, data);
      } catch (error) {
        this.fail(error as Error);
      }
      return;
    }
    this.pending++;
    this.stream.write(data, (error) => {
      if (error !== undefined && error !== null) this.fail(error);
      this.pending--;
      if (this.pending === 0) this.settled?.();
    });
  }

  /** Resolves when everything that was written is out, or has failed. */
  async flush(): Promise<void> {
    if (this.pending === 0) return;
    await new Promise<void>((resolve) => {
      this.settled = resolve;
    });
  }

  /** Whether writing failed because the reader went away. */
  get isClosed(): boolean {
    return systemErrorCode(this.failure) === "EPIPE";
  }

  private fail(error: Error): void {
    if (this.failure !== undefined) return;
    this.failure = error;
    this.emit("error", error);
  }
}

/** The descriptor of an output that is a file or a device, but no terminal. */
function fileOf({ fd, isTTY }: OutputStream): number | undefined {
  if (fd === undefined || isTTY === true) return undefined;
  try {
    // With plain numbers the kind of a pipe stays in a buffer of Node 20's, where `realpathSync` takes it for that of the
    // file it is at, and modules are looked for at names with links in them.
    const kind = fstatSync(fd, { bigint: true });
    return kind.isFile() || kind.isCharacterDevice() ? fd : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The program's status in view of what became of its output.
 *
 * - All was written: the command's own.
 * - The reader went away: the command's own if that is not 0, as the status of a guest that ended; else
 *   {@link CLOSED_PIPE_STATUS}, and nothing is said.
 * - Anything else: 1, after one line.
 */
export function statusOfOutput(
  status: number,
  output: StandardOutput,
  errors: StandardOutput,
): { readonly status: number; readonly line?: string } {
  const failed = [output, errors].find(({ failure, isClosed }) => failure !== undefined && !isClosed);
  if (failed !== undefined) {
    const what = failed === output ? "standard output" : "standard error";
    return {
      status: FAILED_STATUS,
      line: `hyperfile: can't write ${what}: ${fileErrorReason(failed.failure)}; part of it is lost\n`,
    };
  }
  return { status: status === 0 && output.isClosed ? CLOSED_PIPE_STATUS : status };
}
