/** `hyperfile cp`: files and folders into VMs, out of them, and from one into another, through their agents. */
import { posix } from "node:path";
import type { DaemonClient } from "@hyperfile/broker/client";
import type { CopyPart } from "@hyperfile/machine/agent";
import { readFiles, writeFiles } from "@hyperfile/machine/node";
import { CliError } from "../errors.js";
import { printableLine } from "../printable.js";
import { megabytes } from "../progress.js";
import { GuestAgent } from "./guest-agent.js";

/** A place of a copy: a path here, or in a VM. */
export interface CopyPlace {
  readonly vm?: string;
  readonly path: string;
}

/** Milliseconds between two lines of progress on a terminal. */
const PROGRESS_MS = 100;

/**
 * A place as it is written: `VM:PATH`, or a path here; `./a:b` is one with a colon.
 * @throws CliError `E_USAGE` for a VM without a path
 */
export function parsePlace(text: string): CopyPlace {
  const [, vm, path] = /^([A-Za-z0-9][A-Za-z0-9_.-]*):(.*)$/s.exec(text) ?? [];
  if (vm === undefined) return { path: text };
  if (path === "")
    throw new CliError("E_USAGE", `${text} names no file: write ${vm}:PATH, such as ${vm}:/root`);
  return { vm, path: path! };
}

/** The name that a guest's path gives its copy; never the guest's choice. */
export function nameOf(path: string): string {
  const name = posix.basename(posix.normalize(path));
  return name === "" || name === "." || name === ".." ? "files" : name;
}

/** How a copy goes, for those who watch it. */
export interface CopyReport {
  readonly files: number;
  readonly bytes: number;
  /** What was left out. */
  readonly warnings: number;
}

/** Copies. */
export class Copier {
  private readonly agents = new Map<string, GuestAgent>();
  private report = { files: 0, bytes: 0, warnings: 0 };
  private shownAt = 0;
  private isShown = false;

  /**
   * @param warn takes a line on what was left out
   * @param show redraws the line of progress; undefined where there is no terminal
   */
  constructor(
    private readonly daemon: DaemonClient,
    private readonly warn: (text: string) => void,
    private readonly show: ((text: string) => void) | undefined,
  ) {}

  /** Copies one file or folder. @throws AgentError, ApiError, CliError (the promise rejects) */
  async copy(source: CopyPlace, target: CopyPlace): Promise<void> {
    if (source.vm === undefined && target.vm === undefined)
      throw new CliError("E_USAGE", "neither place is in a VM: write VM:PATH for one of them, or use cp");
    const from = source.vm === undefined ? undefined : this.agent(source.vm);
    const to = target.vm === undefined ? undefined : this.agent(target.vm);
    const parts = this.watched(from?.client.copyOut(source.path) ?? readFiles(source.path), source.path);
    try {
      if (to === undefined) await writeFiles(parts, nameOf(source.path), target.path, this.leftOut);
      else await to.client.copyIn(parts, nameOf(source.path), target.path);
    } catch (error) {
      throw inVm(
        source.vm ?? target.vm!,
        from?.reasonOf(to?.reasonOf(error) ?? error) ?? to?.reasonOf(error),
      );
    } finally {
      if (this.isShown) this.show?.("\r\x1b[K");
      this.isShown = false;
    }
  }

  /** What was copied so far. */
  get done(): CopyReport {
    return this.report;
  }

  private agent(vm: string): GuestAgent {
    const agent = this.agents.get(vm) ?? new GuestAgent(this.daemon, vm);
    this.agents.set(vm, agent);
    return agent;
  }

  private readonly leftOut = (text: string): void => {
    this.report.warnings++;
    this.warn(text);
  };

  /** The parts, counted. */
  private async *watched(parts: AsyncIterable<CopyPart>, name: string): AsyncGenerator<CopyPart> {
    for await (const part of parts) {
      if (part.kind === "warning") this.leftOut(part.text);
      else yield part;
      if (part.kind === "end") this.report.files++;
      if (part.kind !== "data") continue;
      this.report.bytes += part.bytes.length;
      const now = performance.now();
      if (this.show === undefined || now - this.shownAt < PROGRESS_MS) continue;
      this.shownAt = now;
      this.isShown = true;
      const { files, bytes } = this.report;
      this.show(`\rhyperfile: ${printableLine(name)}: ${files} files, ${megabytes(bytes)}\x1b[K`);
    }
  }
}

/** An error, with the VM of which it is. */
function inVm(vm: string, error: unknown): unknown {
  const { code, message } = error as { code?: string; message?: string };
  if (code === "E_AGENT_ABSENT")
    return new CliError("E_DAEMON", `VM ${vm} can't copy: ${message}`, { cause: error });
  return error;
}
