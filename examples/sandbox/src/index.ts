/**
 * Runs an untrusted program in a disposable virtual machine: nothing but its own memory, a console and a power switch
 * is within its reach, and instructions, memory, output and time are limited. The VM is gone when the function
 * returns.
 *
 * The program is a bare-metal ELF file for RV64 or RV32 that starts in M mode at 0x80000000, prints through the UART
 * or `tohost`, and ends through the test finisher or `tohost`, as test programs for RISC-V do.
 */
import { LongTimer } from "@hyperfile/broker";
import { riscvVirt } from "@hyperfile/machine";

/** What a program may use. */
export interface SandboxLimits {
  /** Bytes of memory, a multiple of 4096; 16 MiB unless given. */
  readonly memoryBytes?: number;
  /** Guest instructions; 1,000,000,000 unless given. */
  readonly instructions?: number;
  /** Milliseconds of the host's time; 10 seconds unless given. */
  readonly milliseconds?: number;
  /** Bytes of output; 1 MiB unless given. */
  readonly outputBytes?: number;
  /** Whether the guest's time follows its instructions, so that a run repeats bit for bit; true unless given. */
  readonly deterministic?: boolean;
}

/** How a program ended. */
export interface SandboxResult {
  /** `exit`: by itself; else by the limit of that name, or because it can't go on. */
  readonly end: "exit" | "instructions" | "milliseconds" | "output" | "stuck";
  /** Exit status where `end` is `exit`; 0 otherwise. */
  readonly status: number;
  /** What it printed. */
  readonly output: Uint8Array;
  /** Guest instructions retired. */
  readonly instructions: number;
  /** Memory that it touched, in bytes. */
  readonly memoryBytes: number;
}

/** Instructions between two looks at the limits and at `tohost`. */
const SLICE = 10_000;

/**
 * Runs a program.
 * @throws ImageError for bytes that are no such program, MemoryError for memory that can't be had
 * @example
 * const { output, status } = await runSandboxed(await readFile("program.elf"), { milliseconds: 500 });
 */
export async function runSandboxed(program: Uint8Array, limits: SandboxLimits = {}): Promise<SandboxResult> {
  const { memoryBytes = 2 ** 24, instructions = 1e9, milliseconds = 10_000, outputBytes = 2 ** 20 } = limits;
  const printed: Uint8Array[] = [];
  let room = outputBytes;
  const machine = riscvVirt({
    ramBytes: memoryBytes,
    boot: { program: { name: "the program", bytes: program } },
    console: {
      write(bytes) {
        printed.push(bytes.slice(0, room));
        if (bytes.length > room) machine.stop("output");
        room = Math.max(0, room - bytes.length);
      },
    },
    // Nothing on the board but what it needs.
    devices: [],
    clock: limits.deterministic === false ? "host" : "virtual",
    instructions,
    slice: SLICE,
    onReset: "end",
  });
  const timer = new LongTimer(milliseconds, () => machine.stop("milliseconds"));
  const end = await machine.run().finally(() => timer.clear());
  return {
    end: end.kind === "off" ? "exit" : end.kind === "stuck" ? "stuck" : (end.reason as SandboxResult["end"]),
    status: end.kind === "off" ? end.status : 0,
    output: joined(printed),
    instructions: machine.retired(),
    memoryBytes: machine.memory.guest.usage().touched,
  };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
