/** What the guest's tests share: the folder, the outside tools, and a QEMU whose console a test can drive. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** How long a guest may be silent before it counts as hung. */
const HANG_MILLISECONDS = 30_000;

/** The guest's folder. */
export const guestFolder = fileURLToPath(new URL("..", import.meta.url));

/** The prefix of the cross compiler, as the Makefile has it. */
export const compilerPrefix = process.env.CROSS ?? "riscv64-unknown-elf-";

/** The first line that a tool prints for `--version`, or undefined where the tool is not installed. */
export function versionOf(tool: string): string | undefined {
  const run = spawnSync(tool, ["--version"], { encoding: "utf8" });
  return run.status === 0 ? run.stdout.split("\n")[0] : undefined;
}

/** Runs a tool in the guest's folder and fails with its output where it fails. */
export function runTool(tool: string, args: readonly string[]): void {
  const run = spawnSync(tool, args, { cwd: guestFolder, encoding: "utf8" });
  if (run.status !== 0) throw new Error(`${tool} ${args.join(" ")} failed:\n${run.stdout}${run.stderr}`);
}

/** A guest under QEMU: its output so far, and a cursor that `until` moves along it. */
export class QemuGuest {
  readonly #process: ChildProcess;
  readonly #ended: Promise<number | null>;
  #output = "";
  #seen = 0;
  #isEnded = false;
  #notify = () => {};

  constructor(xlen: 32 | 64, args: readonly string[], input?: string) {
    const common = [
      "-M",
      "virt",
      "-display",
      "none",
      "-serial",
      "stdio",
      "-monitor",
      "none",
      "-kernel",
      `bin/guest${xlen}.elf`,
    ];
    const hasMemory = args.includes("-m");
    this.#process = spawn(
      `qemu-system-riscv${xlen}`,
      [...common, ...(hasMemory ? [] : ["-m", "64M"]), ...args],
      {
        cwd: guestFolder,
        stdio: ["pipe", "pipe", "inherit"],
      },
    );
    this.#process.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text.replaceAll("\r", "");
      this.#notify();
    });
    this.#ended = new Promise((resolve) =>
      this.#process.on("close", (status) => {
        this.#isEnded = true;
        this.#notify();
        resolve(status);
      }),
    );
    if (input !== undefined) this.send(input);
  }

  /** Everything printed so far, without carriage returns. */
  get output(): string {
    return this.#output;
  }

  /** Types the text. */
  send(text: string): void {
    this.#process.stdin?.write(text);
  }

  /** Waits until the text appears after what was seen before, and returns what came ahead of it. */
  async until(text: string): Promise<string> {
    for (;;) {
      const at = this.#output.indexOf(text, this.#seen);
      if (at >= 0) {
        const before = this.#output.slice(this.#seen, at);
        this.#seen = at + text.length;
        return before;
      }
      if (this.#isEnded) throw new Error(`QEMU ended before "${text}" appeared:\n${this.#output}`);
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`"${text}" does not appear:\n${this.#output}`)),
          HANG_MILLISECONDS,
        );
        this.#notify = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** Runs one command at the prompt and returns its output. */
  async run(command: string): Promise<string> {
    this.send(`${command}\n`);
    await this.until(`${command}\n`);
    return this.until("guest# ");
  }

  /** The status that QEMU ends with. */
  status(): Promise<number | null> {
    return this.#ended;
  }

  /** Ends QEMU, whatever the guest does. */
  async stop(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#ended;
  }
}
