/** Composes a machine from the packages: memory, board, CPU, firmware, run loop. */
import { RealClock, VirtualClock, Vm } from "@hyperfile/broker";
import {
  type BootPlan,
  bootPlan,
  checkInitrd,
  type ElfFile,
  isElf,
  type Kernel,
  type PowerEvent,
  parseElf,
  parseKernel,
  programPlan,
  virtBoard,
  virtioConsole,
  virtioRng,
  wallClockFrom,
} from "@hyperfile/devices";
import { type MachineMemory, RiscvCpu, riscvMemory, supervisorBinary } from "@hyperfile/jit";
import { attachDebugger, type Debugger } from "./debugger.js";
import { CliError } from "./errors.js";
import { Htif } from "./htif.js";
import type { CreateMachine, Machine, MachineEnd, MachineOptions } from "./machine-types.js";

export { disassemble, explain } from "./inspect.js";

/** Extensions that the device tree announces. */
const extensions = "imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc_svadu_svinval";
/** Entropy for the kernel's generator, in bytes. */
const SEED_BYTES = 32;
/** Where a deterministic machine's calendar begins: 2026-01-01T00:00:00Z in milliseconds. */
const DETERMINISTIC_EPOCH = 1_767_225_600_000;
/** Instructions between two looks at `tohost`: small programs end at once. */
const HTIF_SLICE = 5_000;
/** Instructions of a deterministic machine's slice: the host's speed must not show. */
const DETERMINISTIC_SLICE = 50_000;

/** Makes a machine. */
export const createMachine: CreateMachine = async (options) => {
  const { xlen, memoryBytes } = options;
  const elf = options.elf === undefined ? undefined : bareMetal(options.elf.bytes, options.elf.name, options);
  const kernel =
    options.kernel === undefined ? undefined : parseKernel(options.kernel.bytes, options.kernel.name);
  if (kernel?.kind === "elf" && kernel.elf.xlen !== xlen)
    throw wrongWidth(options.kernel!.name, kernel.elf.xlen, xlen);
  if (options.initrd !== undefined) checkInitrd(options.initrd.bytes, options.initrd.name);

  const memory = riscvMemory({ ramBytes: memoryBytes });
  const parts: { cpu?: RiscvCpu; vm?: Vm } = {};
  const clock = options.deterministic ? new VirtualClock(() => parts.cpu?.retired() ?? 0) : new RealClock();
  const onPower = (event: PowerEvent) => {
    parts.vm?.requestPower(event);
    parts.cpu?.stop();
  };
  const entropy = options.deterministic
    ? repeatable()
    : (bytes: Uint8Array) => void crypto.getRandomValues(bytes);
  const hvc = virtioConsole({ backend: { write: (bytes) => options.console.write(bytes) } });
  const board = virtBoard({
    memory: memory.guest,
    ramBytes: memoryBytes,
    harts: [{ setPending: (cause, level) => parts.cpu?.hart.setPending(cause, level) }],
    clock,
    console: options.console,
    virtio: [hvc.factory, virtioRng({ entropy })],
    ...(options.deterministic ? { wallClock: wallClockFrom(DETERMINISTIC_EPOCH, clock) } : {}),
    onPower,
  });
  const print = (bytes: Uint8Array) => {
    board.flush();
    options.console.write(bytes);
  };
  const sbi = supervisorBinary({
    harts: () => (parts.cpu === undefined ? [] : [parts.cpu.hart]),
    memory: memory.guest,
    console: { write: print, read: () => new Uint8Array(0) },
    onPower,
  });
  const cpu = new RiscvCpu({
    xlen,
    memory,
    bus: board.bus,
    clock,
    tier: options.tier,
    background: true,
    verify: options.verifyEmitted,
    ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
    ...(options.firmware === undefined && elf === undefined ? { sbi } : {}),
  });
  parts.cpu = cpu;

  const seed = new Uint8Array(SEED_BYTES);
  entropy(seed);
  const plan =
    elf !== undefined
      ? programPlan(elf, memoryBytes)
      : planOf(options, kernel, (initrd) =>
          board.deviceTree({
            isa: `rv${xlen}${extensions}`,
            mmu: xlen === 32 ? "sv32" : "sv57",
            bootargs: options.append,
            rngSeed: seed,
            ...(initrd === undefined ? {} : { initrd }),
          }),
        );
  const tohost = elf?.symbols.get("tohost");
  const fromhost = elf?.symbols.get("fromhost");
  const htif =
    tohost === undefined
      ? undefined
      : new Htif(
          memory.guest,
          Number(tohost),
          fromhost === undefined ? undefined : Number(fromhost),
          print,
          (code) => onPower({ kind: "off", status: code }),
        );
  let debug: Debugger | undefined;
  const vm = new Vm({
    hart: {
      run(budget) {
        const end = cpu.run(budget);
        htif?.poll();
        if (cpu.engine.stuck) vm.stop("stuck");
        debug?.afterSlice();
        return end;
      },
      pollTimer: () => cpu.pollTimer(),
      deadline: () => cpu.deadline(),
      wakeReady: () => cpu.wakeReady(),
      retired: () => cpu.retired(),
    },
    board,
    clock,
    load: () => load(memory, plan, cpu),
    ...(htif !== undefined
      ? { slice: HTIF_SLICE }
      : options.deterministic
        ? { slice: DETERMINISTIC_SLICE }
        : {}),
  });
  parts.vm = vm;
  if (options.gdbPort !== undefined) debug = await attachDebugger(cpu, vm, options.gdbPort);
  return machineOf(options, vm, cpu, board, {
    resize: (columns, rows) => hvc.resize(columns, rows),
    ended: () => debug?.exited(),
  });
};

const wrongWidth = (name: string, has: number, wanted: number): CliError =>
  new CliError(
    "E_USAGE",
    `${name} is a ${has}-bit program, the machine is ${wanted}-bit: give --isa rv${has}gc`,
  );

function bareMetal(bytes: Uint8Array, name: string, options: MachineOptions): ElfFile {
  const elf = parseElf(bytes, name);
  if (elf.xlen !== options.xlen) throw wrongWidth(name, elf.xlen, options.xlen);
  return elf;
}

/** Numbers that look random and repeat: xorshift32. */
function repeatable(): (bytes: Uint8Array) => void {
  let state = 0x2545f491;
  return (bytes) => {
    for (let at = 0; at < bytes.length; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      bytes[at] = state;
    }
  };
}

function planOf(
  options: MachineOptions,
  kernel: Kernel | undefined,
  deviceTree: (initrd: { start: number; end: number } | undefined) => Uint8Array,
): BootPlan {
  if (kernel === undefined) throw new CliError("E_USAGE", "nothing to run: give --kernel FILE or --elf FILE");
  const { firmware, initrd } = options;
  const firmwareParts =
    firmware === undefined || !isElf(firmware.bytes)
      ? firmware?.bytes
      : parseElf(firmware.bytes, firmware.name).segments;
  return bootPlan({
    xlen: options.xlen,
    ramBytes: options.memoryBytes,
    kernel,
    deviceTree,
    ...(initrd === undefined ? {} : { initrd: initrd.bytes }),
    ...(firmwareParts === undefined ? {} : { firmware: firmwareParts }),
  });
}

/** Puts the boot images into clean memory and the hart at its entry. */
function load({ guest }: MachineMemory, plan: BootPlan, cpu: RiscvCpu): void {
  guest.clearTouched();
  for (const placement of plan.placements) {
    if (guest.write(placement.gpa, placement.bytes)) continue;
    throw new CliError(
      "E_FILE",
      `the ${placement.what} has ${placement.bytes.length} bytes for 0x${placement.gpa.toString(16)}, which is not RAM: RAM is ${guest.bytes / 0x100000} MiB from 0x${guest.base.toString(16)}`,
    );
  }
  const pcHi = Math.floor(plan.entry / 0x100000000);
  cpu.start({ pcLo: plan.entry | 0, pcHi, mode: plan.mode, args: plan.args });
}

function machineOf(
  options: MachineOptions,
  vm: Vm,
  cpu: RiscvCpu,
  board: ReturnType<typeof virtBoard>,
  events: { resize(columns: number, rows: number): void; ended(): void },
): Machine {
  let started = 0;
  let wallSeconds = 0;
  return {
    async run(): Promise<MachineEnd> {
      started = performance.now();
      const end = await vm.run();
      board.flush();
      events.ended();
      wallSeconds = (performance.now() - started) / 1000;
      if (end.kind === "off") return { kind: options.elf === undefined ? "off" : "exit", status: end.status };
      if (end.reason === "stuck") return { kind: "error", status: 1, message: cpu.describeStuck() };
      return { kind: end.reason === "timeout" ? "timeout" : "stopped", status: 0 };
    },
    receive(bytes) {
      const taken = board.receive(bytes);
      vm.wake();
      return taken;
    },
    resize: events.resize,
    stop: (reason) => vm.stop(reason),
    statistics() {
      const { engine, hart, tlb, access } = cpu;
      const { counters } = engine;
      return {
        guestInstructions: cpu.retired(),
        wallSeconds,
        mips: cpu.retired() / wallSeconds / 1e6,
        instructionsByTier: { interpreter: counters.interpreted, js: counters.translated },
        translations: {
          count: counters.translations,
          instructions: counters.translatedInstructions,
          verified: counters.verified,
          compileSeconds: counters.compileMicroseconds / 1e6,
        },
        exits: {
          budget: counters.exitsBudget,
          fetch: counters.exitsFetch,
          hot: counters.exitsHot,
          crossing: counters.exitsCrossing,
          chainEnd: counters.exitsChainEnd,
          redirect: counters.exitsRedirect,
        },
        hart: hart.counters,
        tlb: { misses: access.counters.misses, ...tlb.counters },
        memory: access.counters,
        codePages: engine.codePages.counts,
        vm: vm.counters,
        devices: board.counters(),
      };
    },
  };
}
