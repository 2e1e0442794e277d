/** A machine under a test: what it prints, and a shell on its console. */
import type { MachineEnd, RiscvVirt } from "../src/index.js";

/** Collects what a machine prints, and tells when it has printed something. */
export class Terminal {
  text = "";
  private readonly decoder = new TextDecoder();
  private waiting: { readonly text: string; readonly seen: () => void } | undefined;

  write(bytes: Uint8Array): void {
    this.text += this.decoder.decode(bytes, { stream: true });
    if (this.waiting === undefined || !this.text.includes(this.waiting.text)) return;
    const { seen } = this.waiting;
    this.waiting = undefined;
    seen();
  }

  /** Resolves once the text is there. */
  until(text: string): Promise<void> {
    return new Promise((seen) => {
      if (this.text.includes(text)) seen();
      else this.waiting = { text, seen };
    });
  }
}

/** A machine that runs, with a shell on its console. */
export class Session {
  private readonly ended: Promise<MachineEnd>;

  constructor(
    readonly machine: RiscvVirt,
    readonly terminal: Terminal,
  ) {
    this.ended = machine.run();
  }

  /** Waits until it has printed a text; rejects if it ends before. */
  async until(text: string): Promise<void> {
    const end = await Promise.race([this.terminal.until(text), this.ended]);
    if (end !== undefined)
      throw new Error(`${JSON.stringify(end)} before ${text}: ${this.terminal.text.slice(-500)}`);
  }

  /** Runs a command in a POSIX shell; gives what it printed. */
  async command(text: string): Promise<string> {
    this.terminal.text = "";
    // The echo of what is typed is not the answer.
    this.machine.receive(new TextEncoder().encode(`${text}; echo do''ne\n`));
    await this.until("done\r\n");
    const [, ...lines] = this.terminal.text.replaceAll("\r", "").split("\n");
    return lines.slice(0, lines.lastIndexOf("done")).join("\n");
  }

  /** Ends its run. */
  async stop(): Promise<MachineEnd> {
    this.machine.stop("the test is over");
    return this.ended;
  }
}
