/**
 * Runs an untrusted program in a disposable virtual machine: nothing but its own memory, a console and a power switch
 * is within its reach, and instructions, memory, output and time are limited. The VM is gone when the function
 * returns.
 *
 * The program is a bare-metal ELF file for RV64 or RV32 that starts in M mode at 0x80000000, prints through the UART
 * or `tohost`, and ends through the test finisher or `tohost`, as test programs for RISC-V do.
 */
import { type MachineClock, RealClock, VirtualClock, Vm } from "@hyperfile/broker";
import { parseElf, programPlan, virtBoard } from "@hyperfile/devices";
import { RiscvCpu, riscvMemory } from "@hyperfile/jit";

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
const WORD = 8;

/**
 * Runs a program.
 * @throws ImageError for bytes that are no such program, MemoryError for memory that can't be had
 * @example
 * const { output, status } = await runSandboxed(await readFile("program.elf"), { milliseconds: 500 });
 */
export async function runSandboxed(program: Uint8Array, limits: SandboxLimits = {}): Promise<SandboxResult> {
  const { memoryBytes = 2 ** 24, instructions = 1e9, milliseconds = 10_000, outputBytes = 2 ** 20 } = limits;
  const elf = parseElf(program, "the program");
  const plan = programPlan(elf, memoryBytes);
  const memory = riscvMemory({ ramBytes: memoryBytes });
  const printed: Uint8Array[] = [];
  let room = outputBytes;
  const print = (bytes: Uint8Array) => {
    printed.push(bytes.slice(0, room));
    if (bytes.length > room) vm.stop("output");
    room = Math.max(0, room - bytes.length);
  };
  const onPower = (event: { kind: "off"; status: number } | { kind: "reset" }) => {
    vm.requestPower(event.kind === "reset" ? { kind: "off", status: 0 } : event);
    cpu.stop();
  };
  const clock: MachineClock =
    limits.deterministic === false ? new RealClock() : new VirtualClock(() => cpu.retired());
  const board = virtBoard({
    memory: memory.guest,
    ramBytes: memoryBytes,
    harts: [{ setPending: (cause, level) => cpu.hart.setPending(cause, level) }],
    clock,
    console: { write: print },
    wallClock: () => 0,
    onPower,
    onWake: () => vm.interrupt(),
  });
  const cpu: RiscvCpu = new RiscvCpu({
    xlen: elf.xlen,
    memory,
    bus: board.bus,
    clock,
    tier: "auto",
    verify: "sampled",
  });
  const tohost = elf.symbols.get("tohost");
  const vm: Vm = new Vm({
    hart: {
      run(budget) {
        const end = cpu.run(Math.max(1, Math.min(budget, instructions - cpu.retired())));
        if (tohost !== undefined) pollTohost(memory.guest, Number(tohost), print, onPower);
        if (cpu.engine.stuck) vm.stop("stuck");
        else if (cpu.retired() >= instructions) vm.stop("instructions");
        return end;
      },
      pollTimer: () => cpu.pollTimer(),
      deadline: () => cpu.deadline(),
      wakeReady: () => cpu.wakeReady(),
      retired: () => cpu.retired(),
    },
    board,
    clock,
    slice: SLICE,
    load() {
      for (const { gpa, bytes } of plan.placements) memory.guest.write(gpa, bytes);
      const pcHi = Math.floor(plan.entry / 2 ** 32);
      cpu.start({ pcLo: plan.entry | 0, pcHi, mode: plan.mode, args: plan.args });
    },
  });
  const timer = setTimeout(() => vm.stop("milliseconds"), milliseconds);
  const end = await vm.run().finally(() => clearTimeout(timer));
  board.flush();
  return {
    end: end.kind === "off" ? "exit" : (end.reason as SandboxResult["end"]),
    status: end.kind === "off" ? end.status : 0,
    output: joined(printed),
    instructions: cpu.retired(),
    memoryBytes: memory.guest.usage().touched,
  };
}

/** The host-target interface of Berkeley's tools: an odd word is an exit code, device 1 command 1 prints a byte. */
function pollTohost(
  guest: { read(gpa: number, target: Uint8Array): boolean; write(gpa: number, source: Uint8Array): boolean },
  gpa: number,
  print: (bytes: Uint8Array) => void,
  onPower: (event: { kind: "off"; status: number }) => void,
): void {
  const word = new Uint8Array(WORD);
  if (!guest.read(gpa, word)) return;
  const value = new DataView(word.buffer).getBigUint64(0, true);
  if (value === 0n) return;
  if ((value & 1n) === 1n) {
    onPower({ kind: "off", status: Number(BigInt.asIntN(31, value >> 1n)) });
    return;
  }
  guest.write(gpa, new Uint8Array(WORD));
  if (value >> 48n === 0x0101n) print(Uint8Array.of(Number(value & 0xffn)));
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
