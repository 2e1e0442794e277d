/** What the runner learns from the guest's console: when each program's work began and ended, and its result. */
import { MARK } from "./init-script.js";

/** One program's work, as the console told it. */
export interface ConsoleRun {
  readonly name: string;
  /** Seconds on the host's clock. */
  readonly seconds: number;
  /** Seconds on the guest's clock, to a hundredth. */
  readonly guestSeconds: number;
  /** Seconds of the host's processors. */
  readonly cpuSeconds: number;
  /** Exit status of the work. */
  readonly status: number;
  /** Lines of the result. */
  readonly result: readonly string[];
}

/** The clocks of the host, read when a line arrives. */
export interface Clocks {
  /** Seconds since any fixed moment. */
  readonly wall: number;
  /** Seconds of processor time of the engine's process; NaN where the host doesn't tell. */
  readonly cpu: number;
}

interface Begun {
  readonly clocks: Clocks;
  readonly uptime: number;
}

/** Reads a guest's console as it arrives. */
export class ConsoleReader {
  private rest = "";
  private readonly begun = new Map<string, Begun>();
  private readonly ended = new Map<string, ConsoleRun & { readonly result: string[] }>();
  /** Whether the guest has said that all is done. */
  done = false;

  constructor(private readonly clocks: () => Clocks) {}

  /** Takes what the console printed, in pieces of any size. */
  write(text: string): void {
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop()!;
    for (const line of lines) this.line(line.replace(/\r$/, ""));
  }

  /** The work that has ended, in order. */
  get runs(): readonly ConsoleRun[] {
    return [...this.ended.values()];
  }

  private line(line: string): void {
    const at = line.indexOf(`${MARK} `);
    if (at < 0) return;
    const [kind, name = "", ...words] = line.slice(at + MARK.length + 1).split(" ");
    const uptime = Number(words[0]);
    if (kind === "begin") this.begun.set(name, { clocks: this.clocks(), uptime });
    else if (kind === "end") {
      const begun = this.begun.get(name);
      if (begun === undefined) return;
      const { wall, cpu } = this.clocks();
      this.ended.set(name, {
        name,
        seconds: wall - begun.clocks.wall,
        guestSeconds: uptime - begun.uptime,
        cpuSeconds: cpu - begun.clocks.cpu,
        status: Number(words[1]),
        result: [],
      });
    } else if (kind === "result") this.ended.get(name)?.result.push(words.join(" "));
    else if (kind === "done") this.done = true;
  }
}
