/**
 * A command's output on a guest's console: what is between two marks. However the output is cut into chunks, every
 * character is looked at a fixed number of times beside the marks' length for each chunk; and what is kept has a limit: of
 * output without end the last part stays.
 *
 * Invariant: a line end or a mark may be cut anywhere between two chunks.
 */

/** Characters that are gathered before they become one block of what is kept. */
const BLOCK = 65_536;
/** A line of more characters is taken as it comes: no report of the embedded guest is as long. */
const LONGEST_LINE = 1024;
/** The status of a killed command. */
const KILLED = 137;
/** The status of a command that there isn't. */
const UNKNOWN = 127;

/** Text of which the last characters are kept. */
export class KeptText {
  private blocks: string[] = [];
  private last = "";
  private length = 0;
  private dropped = 0;

  /** @param most characters that are kept */
  constructor(private readonly most: number) {}

  add(text: string): void {
    this.last += text;
    this.length += text.length;
    if (this.last.length < BLOCK) return;
    this.blocks.push(this.last);
    this.last = "";
    while (this.length - this.blocks[0]!.length >= this.most) {
      const { length } = this.blocks.shift()!;
      this.length -= length;
      this.dropped += length;
    }
  }

  clear(): void {
    this.blocks = [];
    this.last = "";
    this.length = 0;
    this.dropped = 0;
  }

  /** What was kept, and how many characters before it were not. */
  take(): { readonly text: string; readonly omitted: number } {
    const whole = this.blocks.join("") + this.last;
    const extra = Math.max(0, whole.length - this.most);
    return { text: whole.slice(extra), omitted: this.dropped + extra };
  }
}

/** What a command left. */
export interface CommandEnd {
  readonly status: number;
  readonly text: string;
  /** Characters at the front of its output that are not in `text`. */
  readonly omitted: number;
}

/** A command's output on its way. */
export interface CommandOutput {
  /** Takes what the console shows next; how the command ended, once it has. */
  take(text: string): CommandEnd | undefined;
}

/** Finds what is between two marks. */
class Between {
  private pending: string;
  private begun = false;

  /**
   * @param start what stands before the first text
   * @param longest characters that a mark can have
   */
  constructor(
    private readonly begin: string,
    private readonly end: RegExp,
    private readonly longest: number,
    private readonly start: string,
    private readonly kept: { add(text: string): void; clear(): void },
  ) {
    this.pending = start;
  }

  /** The match of the end, once it is there; the text before it has been handed on then. */
  take(chunk: string): RegExpExecArray | undefined {
    let text = this.pending + chunk;
    if (!this.begun) {
      const at = text.indexOf(this.begin);
      if (at >= 0) {
        this.begun = true;
        this.kept.clear();
        text = this.start + text.slice(at + this.begin.length);
      }
    }
    const match = this.end.exec(text);
    // What may be the beginning of a mark is not handed on before that is known.
    const known = match === null ? Math.max(0, text.length - this.longest) : match.index;
    this.kept.add(text.slice(0, known));
    this.pending = text.slice(known);
    return match ?? undefined;
  }
}

/** Output of a POSIX shell between `hfMARK+` and `hfMARK-STATUS`, each with a line end. */
export function posixOutput(mark: string, most: number): CommandOutput {
  const kept = new KeptText(most);
  const end = new RegExp(`hf${mark}-(\\d{1,3})\\n`);
  const between = new Between(`hf${mark}+\n`, end, mark.length + 7, "", kept);
  return {
    take(text) {
      const match = between.take(text);
      return match === undefined ? undefined : { status: Number(match[1]), ...kept.take() };
    },
  };
}

/**
 * Output of the embedded guest's shell between lines `+MARK` and `-MARK`. That shell reports what did not end with 0, in
 * a line of its own.
 */
export function embeddedOutput(mark: string, most: number): CommandOutput {
  const lines = new ReportedLines(most);
  const between = new Between(`\n+${mark}\n`, new RegExp(`\\n-${mark}\\n`), mark.length + 3, "\n", lines);
  return {
    take(text) {
      if (between.take(text) === undefined) return undefined;
      return lines.end();
    },
  };
}

/** Lines of which those that report a status are taken out. The first character is the end of the line before. */
class ReportedLines {
  private readonly kept: KeptText;
  private line = "";
  private isFirst = true;
  private status = 0;

  constructor(most: number) {
    this.kept = new KeptText(most);
  }

  add(text: string): void {
    const lines = text.split("\n");
    for (const [at, part] of lines.entries()) {
      this.line += part;
      if (at < lines.length - 1) this.endLine();
      else if (this.line.length > LONGEST_LINE) {
        this.kept.add(this.line);
        this.line = "";
      }
    }
  }

  clear(): void {
    this.kept.clear();
    this.line = "";
    this.isFirst = true;
    this.status = 0;
  }

  end(): CommandEnd {
    // The mark's own line end is the one of the last line.
    this.endLine();
    return { status: this.status, ...this.kept.take() };
  }

  private endLine(): void {
    const { line } = this;
    this.line = "";
    if (this.isFirst) {
      this.isFirst = false;
      return;
    }
    const report = /^\w+ \(\d+\): (?:status (\d+)|killed)$/.exec(line);
    if (report !== null) this.status = report[1] === undefined ? KILLED : Number(report[1]);
    else this.kept.add(`${line}\n`);
    if (/^\S+: no such command: try help$/.test(line)) this.status = UNKNOWN;
  }
}
