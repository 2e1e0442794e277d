/** Stand-ins for the terminal and for a machine. */
import { EventEmitter } from "node:events";
import type { Machine, MachineEnd, MachineOptions } from "../src/machine-types.js";
import type { TerminalInput, TerminalOutput } from "../src/terminal.js";

/** An input that records its mode and emits what a test gives it. */
export class FakeInput extends EventEmitter implements TerminalInput {
  isRaw = false;
  isPaused = true;
  constructor(readonly isTTY: boolean) {
    super();
  }
  setRawMode(isRaw: boolean): void {
    this.isRaw = isRaw;
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
}

/** An output that records what it gets. */
export class FakeOutput extends EventEmitter implements TerminalOutput {
  columns: number | undefined;
  rows: number | undefined;
  text = "";
  write(bytes: Uint8Array): void {
    this.text += Buffer.from(bytes).toString("latin1");
  }
}

/** A machine that ends when a test or {@link Machine.stop} says so. */
export class FakeMachine implements Machine {
  received = "";
  end!: (end: MachineEnd) => void;
  private readonly ended = new Promise<MachineEnd>((resolve) => {
    this.end = resolve;
  });
  constructor(readonly options: MachineOptions) {}
  run(): Promise<MachineEnd> {
    return this.ended;
  }
  receive(bytes: Uint8Array): number {
    this.received += Buffer.from(bytes).toString("latin1");
    return bytes.length;
  }
  resize(): void {}
  stop(reason: "timeout" | "user"): void {
    this.end({ kind: reason === "timeout" ? "timeout" : "stopped", status: 0 });
  }
  statistics(): Record<string, unknown> {
    return { instructions: 42 };
  }
  profile(): undefined {
    return undefined;
  }
}
