/**
 * One run of a machine in the user's terminal: connects console and terminal, keeps the time limit, writes
 * the statistics, and turns the way the run ended into the program's exit status.
 */
import { closeSync, writeFileSync } from "node:fs";

import { fileErrorReason, LongTimer } from "@hyperfile/broker/host";
import type { DumpOptions } from "@hyperfile/jit/trace";

import { openDumpSink } from "./dump-file.js";
import { CliError, errorLine } from "./errors.js";
import type { CreateMachine, Machine, MachineEnd, MachineOptions } from "./machine-types.js";
import { openOutput } from "./output-file.js";
import { PROFILE_INTERVAL, type Profile, requireProfilePlace, writeProfile } from "./profile-file.js";
import { openTerminal, type TerminalInput, type TerminalOutput } from "./terminal.js";

/** The process's surroundings, which tests replace. */
export interface Streams {
  /** Standard input. */
  input: TerminalInput;
  /** Standard output. */
  output: TerminalOutput;
  /** Writes text to standard error. */
  error(text: string): void;
  /** Standard error, for the bytes of others. */
  errors?: TerminalOutput;
  /** Writes to standard error what moves the cursor; text of others must be made printable before. */
  redraw?(text: string): void;
}

/** How to run a machine, beside what it is made from. */
export interface SessionOptions {
  /** What runs, by the name of its file. */
  program: string;
  /** Whether the terminal may be taken over. */
  tty: boolean;
  /** Seconds after which the run is ended; undefined for no limit. */
  timeout: number | undefined;
  /** File for the statistics; undefined for none. */
  stats: string | undefined;
  /** File for the profile; undefined for none. */
  profile?: string;
  /** What to dump; to standard error if no file is named. */
  dump?: Pick<DumpOptions, "kinds" | "filter"> & { file: string | undefined };
  /** See `TerminalOptions.holdInputUntil`. */
  holdInputUntil: string | undefined;
}

/** The exit status after a timeout, as `timeout(1)` has it. */
export const timeoutStatus = 124;

/** Whether a session on these streams takes over a terminal. */
export function isInteractive(streams: Streams, tty: boolean): boolean {
  return tty && streams.input.isTTY === true;
}

/**
 * Runs a machine to its end; gives the exit status.
 * @throws CliError `E_STATS` when the statistics can't be written, and whatever the machine's making throws
 */
export async function runSession(
  createMachine: CreateMachine,
  machineOptions: Omit<MachineOptions, "console" | "dump" | "profile">,
  options: SessionOptions,
  streams: Streams,
): Promise<number> {
  if (options.profile !== undefined) requireProfilePlace(options.profile);
  const statistics = options.stats === undefined ? undefined : openStatistics(options.stats);
  const dump =
    options.dump === undefined ? undefined : openDumpSink(options.dump.file, (text) => streams.error(text));
  try {
    let early: Uint8Array[] = [];
    let write = (bytes: Uint8Array): void => {
      early.push(bytes.slice());
    };
    const machine = await createMachine({
      ...machineOptions,
      console: { write: (bytes) => write(bytes) },
      ...(options.profile === undefined ? {} : { profile: true }),
      ...(options.dump === undefined || dump === undefined
        ? {}
        : { dump: { ...options.dump, write: (text: string) => dump.write(text) } }),
    });
    const profile =
      options.profile === undefined
        ? undefined
        : keepProfile(options.profile, options.program, machine, streams);
    const terminal = openTerminal({
      input: streams.input,
      output: streams.output,
      isRaw: options.tty,
      send: (bytes) => machine.receive(bytes),
      resize: (columns, rows) => machine.resize(columns, rows),
      quit: () => machine.stop("user"),
      notice: (text) => streams.error(text),
      ...(options.holdInputUntil === undefined ? {} : { holdInputUntil: options.holdInputUntil }),
    });
    for (const bytes of early) terminal.write(bytes);
    early = [];
    write = (bytes) => terminal.write(bytes);
    const { timeout } = options;
    const timer =
      timeout === undefined ? undefined : new LongTimer(timeout * 1000, () => machine.stop("timeout"));
    let end: MachineEnd;
    try {
      end = await machine.run();
    } finally {
      timer?.clear();
      terminal.close();
    }
    profile?.end();
    statistics?.write(machine.statistics());
    return reportEnd(end, timeout, streams);
  } finally {
    statistics?.close();
    dump?.close();
  }
}

/**
 * Writes a machine's profile now and then, until it is told that the run has ended. A profile that can't be written ends
 * no run: the end throws what was in the way.
 * @throws CliError `E_PROFILE`, also from `end`
 */
function keepProfile(name: string, program: string, machine: Machine, streams: Streams): { end(): void } {
  const write = (state: Profile["state"]) => {
    const report = machine.profile();
    if (report === undefined) return;
    writeProfile(name, {
      format: "hyperfile-profile",
      version: 1,
      program,
      pid: process.pid,
      state,
      interval: PROFILE_INTERVAL,
      report,
      statistics: machine.statistics(),
    });
  };
  write("running");
  streams.error(`hyperfile: the profile is in ${name}; see it with hyperfile top --follow ${name}\n`);
  const timer = setInterval(() => {
    try {
      write("running");
    } catch {
      // A disk that is full now may have room a second later; the last profile is what counts.
    }
  }, PROFILE_INTERVAL);
  return {
    end() {
      clearInterval(timer);
      write("ended");
    },
  };
}

/** Tells the user how the run ended where that isn't plain; gives the exit status. */
function reportEnd(end: MachineEnd, timeout: number | undefined, streams: Streams): number {
  switch (end.kind) {
    case "timeout":
      streams.error(
        `${errorLine(new Error(`stopped after ${timeout} seconds, the limit set with --timeout`))}\n`,
      );
      return timeoutStatus;
    case "error":
      streams.error(`${errorLine(new Error(end.message ?? "the machine stopped with an error"))}\n`);
      return end.status || 1;
    default:
      if (end.message !== undefined) streams.error(`${errorLine(new Error(end.message))}\n`);
      return end.status;
  }
}

/** Opens the statistics file before the run, so that a bad name doesn't cost one. */
function openStatistics(name: string): { write(statistics: Record<string, unknown>): void; close(): void } {
  const attempt = <Result>(action: () => Result): Result => {
    try {
      return action();
    } catch (error) {
      throw new CliError("E_STATS", `can't write the statistics to ${name}: ${fileErrorReason(error)}`, {
        cause: error,
      });
    }
  };
  const file = attempt(() => openOutput(name));
  return {
    write: (statistics) =>
      attempt(() => writeFileSync(file, `${JSON.stringify(statistics, undefined, 2)}\n`)),
    close: () => attempt(() => closeSync(file)),
  };
}
