/** Stand-ins for the machine around a device: each does the least that its port asks, and records what it was told. */
import type { Clock, ConsoleBackend, DmaMemory, HartInterrupts, IrqLine } from "../src/ports.js";

/** A clock that stands until it is moved. */
export class FakeClock implements Clock {
  constructor(public ticks = 0) {}

  now(): number {
    return this.ticks;
  }
}

/** An interrupt line that remembers its level. */
export class FakeIrq implements IrqLine {
  level = false;

  set(level: boolean): void {
    this.level = level;
  }
}

/** A hart's inputs, with the causes that are pending in ascending order. */
export class FakeHart implements HartInterrupts {
  private readonly causes = new Set<number>();

  get pending(): number[] {
    return [...this.causes].sort((a, b) => a - b);
  }

  setPending(cause: number, level: boolean): void {
    if (level) this.causes.add(cause);
    else this.causes.delete(cause);
  }
}

/** A terminal that keeps what was printed, one entry a write. */
export class FakeConsole implements ConsoleBackend {
  readonly writes: string[] = [];

  write(bytes: Uint8Array): void {
    this.writes.push(new TextDecoder().decode(bytes));
  }
}

/** Memory without a single byte. */
export const noMemory: DmaMemory = { read: () => false, write: () => false };
