/** Reads what the machine prints that builds an image: how far it is, and why it failed. */
import { DebianError } from "../errors.js";
import type { Progress } from "../progress.js";
import { BUILD_MARK } from "./build-script.js";

/** What is to be done, for the share that is. */
export interface BuildWork {
  /** Bytes of the archive that is laid out. */
  readonly archive: number;
  /** Bytes of each package that dpkg unpacks, by name. */
  readonly unpacked: ReadonlyMap<string, number>;
  /** Names of all packages. */
  readonly packages: ReadonlySet<string>;
}

/** Bytes that are laid out in the time in which a package is set up, about; all of these are as measured. */
const SETUP_BYTES = 2 << 20;
/** Bytes that are laid out in the time that dpkg takes to unpack a small package. */
const PACKAGE_BYTES = 8 << 20;
/** How much longer dpkg takes for the bytes of a package than it takes to lay them out. */
const DPKG_FACTOR = 2.5;
/** Characters of the log that are kept: a guest must not fill the host's memory. */
const MOST_TEXT = 8 << 20;

const unpackBytes = (bytes: number): number => PACKAGE_BYTES + DPKG_FACTOR * bytes;

/** The output of one build. */
export class BuildLog {
  private readonly decoder = new TextDecoder();
  private kept = "";
  private rest = "";
  private step = "start";
  private status: number | undefined;
  /** Names of the packages that are unpacked now, by the numbers of their files. */
  private group: readonly string[] = [];
  /** What was said last before the script ended. */
  private lastWords = "";
  /** What has been counted: each package once, however often dpkg names it. */
  private readonly counted = new Set<string>();
  private laidOut = 0;
  private done = 0;
  private readonly total: number;

  constructor(
    private readonly work: BuildWork,
    private readonly progress: Progress,
  ) {
    this.total = work.archive + work.packages.size * SETUP_BYTES;
    for (const bytes of work.unpacked.values()) this.total += unpackBytes(bytes);
  }

  /** All that was printed, without the oldest of what is far too much. */
  get text(): string {
    return this.kept;
  }

  /** Takes what the machine prints. */
  write(bytes: Uint8Array): void {
    const text = this.decoder.decode(bytes, { stream: true }).replaceAll("\r", "");
    this.kept = (this.kept + text).slice(-MOST_TEXT);
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop()!.slice(-MOST_TEXT);
    for (const line of lines) this.read(line);
  }

  /** The machine has read so many bytes of the archive, which it lays out at once. */
  hasRead(bytes: number): void {
    const step = Math.min(bytes, this.work.archive - this.laidOut);
    this.laidOut += step;
    this.advance(step);
  }

  private read(line: string): void {
    const mark = line.indexOf(BUILD_MARK);
    if (mark >= 0) {
      const [word, ...rest] = line.slice(mark + BUILD_MARK.length + 1).split(" ");
      if (word === "step") this.step = rest.join(" ");
      if (word === "group") this.group = rest;
      if (word === "end") {
        this.status = Number(rest[0]);
        this.lastWords = this.lastLine();
      }
      return;
    }
    const [, what, name] = /^(Unpacking|Setting up) ([a-z0-9][a-z0-9+.-]+)(?::\S+)? \(/.exec(line) ?? [];
    if (name === undefined || !this.work.packages.has(name) || this.counted.has(`${what} ${name}`)) return;
    this.counted.add(`${what} ${name}`);
    const bytes = this.work.unpacked.get(name);
    if (what === "Setting up") this.advance(SETUP_BYTES);
    else if (bytes !== undefined) this.advance(unpackBytes(bytes));
  }

  private advance(bytes: number): void {
    if (bytes === 0) return;
    this.done += bytes;
    this.progress.update(Math.min(1, this.done / this.total));
  }

  /** Why the build failed; undefined if it did not. `ending` is how the machine's run ended, in words. */
  failure(ending: string): DebianError | undefined {
    if (this.status === 0) return undefined;
    const { kept } = this;
    const [, name, how] = /^dpkg: error processing (?:package|archive) (\S+) \(--(\w+)\):/m.exec(kept) ?? [];
    if (name !== undefined) {
      const number = /(\d+)\.deb$/.exec(name)?.[1];
      const what = number === undefined ? name.replace(/:.*/, "") : (this.group[Number(number)] ?? name);
      const [, reason = ""] = /^dpkg: error processing [^\n]*:\n ([^\n]+)/m.exec(kept) ?? [];
      return new DebianError("E_IMAGE_BUILD", `dpkg can't ${how} the package ${what}: ${reason}`);
    }
    const why = this.status === undefined ? ending : this.lastWords;
    return new DebianError("E_IMAGE_BUILD", `the machine can't ${this.step}: ${why}`);
  }

  private lastLine(): string {
    const lines = this.kept.slice(0, this.kept.lastIndexOf(BUILD_MARK)).split("\n");
    return (
      lines.map((line) => line.trim()).findLast((line) => line !== "" && !line.includes(BUILD_MARK)) ??
      "it says nothing"
    );
  }
}
