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
import {
  Dump,
  type MachineMemory,
  mergeTraces,
  modeLetters,
  Profiler,
  RiscvCpu,
  riscvMemory,
  supervisorBinary,
  watchCpu,
} from "@hyperfile/jit";
import { attachDebugger, type Debugger } from "./debugger.js";
import { CliError } from "./errors.js";
import { Htif } from "./htif.js";
import type { CreateMachine, Machine, MachineEnd, MachineOptions } from "./machine-types.js";

import { symbolFinder } from "./symbols.js";

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
  const dump = options.dump === undefined ? undefined : new Dump(options.dump);
  const profiler = options.profile
    ? profilerOf(elf ?? (kernel?.kind === "elf" ? kernel.elf : undefined))
    : undefined;
  const traces = [dump?.trace, profiler?.trace].filter((trace) => trace !== undefined);
  const cpu = new RiscvCpu({
    xlen,
    memory,
    bus: board.bus,
    clock,
    tier: options.tier,
    background: true,
    verify: options.verifyEmitted,
    ...(options.chain === undefined ? {} : { chain: options.chain }),
    ...(traces.length === 0 ? {} : { trace: mergeTraces(...traces) }),
    ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
    ...(options.firmware === undefined && elf === undefined ? { sbi } : {}),
  });
  parts.cpu = cpu;
  if (dump !== undefined) watchCpu(dump, cpu);
  profiler?.watch({
    frontEnd: cpu.frontEnd,
    engine: cpu.engine,
    memory: memory.memory,
    pcLow: () => cpu.hart.pcLow,
    pcHigh: () => cpu.hart.pcHigh,
    mode: () => modeLetters[cpu.hart.state.mode] ?? "?",
    run: (budget) => cpu.run(budget),
    retired: () => cpu.retired(),
  });
  const source = profiler ?? cpu;

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
        const end = source.run(budget);
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
  return machineOf(options, vm, cpu, board, profiler, {
    resize: (columns, rows) => hvc.resize(columns, rows),
    ended: () => debug?.exited(),
  });
};

/** A word of a code page has half a counter beside it. */
const BYTES_PER_CODE_WORD = 6;
/** What a profile's file has of code: it is written every second. */
const PROFILE_LIMITS = { units: 500, assembly: 50 };

const profilerOf = (elf: ElfFile | undefined): Profiler =>
  new Profiler(elf === undefined ? undefined : symbolFinder(elf.symbols));

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
  profiler: Profiler | undefined,
  events: { resize(columns: number, rows: number): void; ended(): void },
): Machine {
  let started = performance.now();
  let cpuBefore = process.cpuUsage();
  let spent: { wallSeconds: number; cpuSeconds: number } | undefined;
  /** Wall time, and CPU time of all the process's threads, since the run began; while it runs, until now. */
  const spentNow = () => {
    const { user, system } = process.cpuUsage(cpuBefore);
    return { wallSeconds: (performance.now() - started) / 1000, cpuSeconds: (user + system) / 1e6 };
  };
  return {
    async run(): Promise<MachineEnd> {
      started = performance.now();
      cpuBefore = process.cpuUsage();
      const end = await vm.run();
      board.flush();
      events.ended();
      spent = spentNow();
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
      const { wallSeconds, cpuSeconds } = spent ?? spentNow();
      const wasm = engine.tier === "wasm" || engine.tier === "wasm-interpreter";
      const regions = engine.regionStatistics();
      const codePages = engine.codePages.counts.pages - engine.codePages.counts.evicted;
      return {
        tier: engine.tier,
        guestInstructions: cpu.retired(),
        wallSeconds,
        cpuSeconds,
        mips: cpu.retired() / wallSeconds / 1e6,
        instructionsByTier: {
          jsInterpreter: wasm ? 0 : counters.interpreted,
          wasmInterpreter: wasm ? counters.interpreted : 0,
          jsTranslations: wasm ? 0 : counters.translated,
          wasmRegions: wasm ? counters.translated : 0,
        },
        translations: {
          count: counters.translations,
          instructions: counters.translatedInstructions,
          verified: counters.verified,
          compileSeconds: counters.compileMicroseconds / 1e6,
        },
        regions: {
          count: regions.regions,
          dropped: counters.regionsDropped,
          modules: regions.modules,
          compileSeconds: regions.moduleMicroseconds / 1e6,
        },
        cache: {
          codePages,
          codePageBytes: codePages * engine.codePages.pageWords * BYTES_PER_CODE_WORD,
          regionBytes: regions.bytes,
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
    profile: () => profiler?.report(PROFILE_LIMITS),
  };
}
