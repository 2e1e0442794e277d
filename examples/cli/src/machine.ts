/** Composes a machine from the packages: memory, board, CPU, firmware, run loop. */
import { RealClock, VirtualClock, Vm } from "@hyperfile/broker";
import {
  type BootPlan,
  bootPlan,
  checkInitrd,
  type ElfFile,
  isElf,
  parseElf,
  parseKernel,
  type PowerEvent,
  RAM_BASE,
  virtBoard,
} from "@hyperfile/devices";
import { RiscvCpu, riscvMemory, supervisorBinary } from "@hyperfile/jit";
import type { CreateMachine, Machine, MachineEnd, MachineOptions } from "./machine-types.js";

/** Extensions that the device tree announces. */
const extensions = "imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc_svadu_svinval";
/** Entropy for the kernel's generator, in bytes. */
const SEED_BYTES = 32;

/** Makes a machine. */
export const createMachine: CreateMachine = async (options) => {
  const { xlen, memoryBytes } = options;
  const elf = options.elf === undefined ? undefined : parseElf(options.elf.bytes, options.elf.name);
  const kernel = options.kernel === undefined ? undefined : parseKernel(options.kernel.bytes, options.kernel.name);
  if (options.initrd !== undefined) checkInitrd(options.initrd.bytes, options.initrd.name);
  const usesSbi = options.firmware === undefined && elf === undefined;

  const memory = riscvMemory({ ramBytes: memoryBytes });
  let cpu: RiscvCpu | undefined;
  const clock = options.deterministic ? new VirtualClock(() => cpu?.retired() ?? 0) : new RealClock();
  let vm: Vm | undefined;
  const onPower = (event: PowerEvent) => {
    vm?.requestPower(event);
    cpu?.stop();
  };
  const board = virtBoard({
    memory: memory.guest,
    ramBytes: memoryBytes,
    harts: [{ setPending: (cause, level) => cpu?.hart.setPending(cause, level) }],
    clock,
    console: options.console,
    onPower,
  });
  const sbi = supervisorBinary({
    harts: () => (cpu === undefined ? [] : [cpu.hart]),
    memory: memory.guest,
    console: { write: (bytes) => options.console.write(bytes), read: () => new Uint8Array(0) },
    onPower,
  });
  cpu = new RiscvCpu({
    xlen,
    memory,
    bus: board.bus,
    clock,
    tier: options.tier === "interpreter" ? "interpreter" : "js",
    verify: options.verifyEmitted,
    ...(usesSbi ? { sbi } : {}),
  });

  const seed = new Uint8Array(SEED_BYTES);
  if (!options.deterministic) globalThis.crypto.getRandomValues(seed);
  const deviceTree = (initrd: { start: number; end: number } | undefined) =>
    board.deviceTree({
      isa: `rv${xlen}${extensions}`,
      mmu: xlen === 32 ? "sv32" : "sv57",
      bootargs: options.append,
      rngSeed: seed,
      ...(initrd === undefined ? {} : { initrd }),
    });
  let plan: BootPlan;
  if (elf !== undefined) plan = bareMetalPlan(elf);
  else if (kernel !== undefined) {
    const firmware = options.firmware;
    plan = bootPlan({
      xlen,
      ramBytes: memoryBytes,
      kernel,
      deviceTree,
      ...(options.initrd === undefined ? {} : { initrd: options.initrd.bytes }),
      ...(firmware === undefined
        ? {}
        : { firmware: isElf(firmware.bytes) ? parseElf(firmware.bytes, firmware.name).segments : firmware.bytes }),
    });
  } else throw new Error("nothing to run: give --kernel or --elf");

  const running = cpu;
  vm = new Vm({
    hart: {
      run: (budget) => running.run(budget),
      pollTimer: () => running.pollTimer(),
      deadline: () => running.deadline(),
      wakeReady: () => running.wakeReady(),
      reset: () => {},
      retired: () => running.retired(),
    },
    board,
    clock,
    load: () => load(memory.guest, plan, running),
  });
  return machineOf(options, vm, running, board);
};

function bareMetalPlan(elf: ElfFile): BootPlan {
  return {
    entry: Number(elf.entry),
    mode: 3,
    args: [0, 0],
    placements: elf.segments.map((segment) => ({
      what: "program",
      gpa: segment.gpa,
      bytes: segment.bytes,
      memoryBytes: segment.memoryBytes,
    })),
  };
}

function load(guest: RiscvCpu["options"]["memory"]["guest"], plan: BootPlan, cpu: RiscvCpu): void {
  for (const placement of plan.placements) {
    guest.write(placement.gpa, placement.bytes);
  }
  cpu.start({ pcLo: plan.entry | 0, pcHi: 0, mode: plan.mode, args: plan.args });
}

function machineOf(options: MachineOptions, vm: Vm, cpu: RiscvCpu, board: ReturnType<typeof virtBoard>): Machine {
  return {
    async run(): Promise<MachineEnd> {
      const end = await vm.run();
      if (end.kind === "off") return { kind: "off", status: end.status };
      return { kind: end.reason === "timeout" ? "timeout" : "stopped", status: 0 };
    },
    receive(bytes) {
      const taken = board.receive(bytes);
      vm.wake();
      return taken;
    },
    resize() {},
    stop: (reason) => vm.stop(reason),
    statistics: () => ({
      guestInstructions: cpu.retired(),
      engine: cpu.engine.counters,
      hart: cpu.hart.counters,
      tlb: cpu.tlb.counters,
      access: cpu.access.counters,
      codePages: cpu.engine.codePages.counts,
      vm: vm.counters,
      options: options.tier,
      ram: RAM_BASE,
    }),
  };
}

/** A block's assembly, IR, optimised IR and emitted JavaScript. */
export function explain(): string {
  return "";
}

/** The assembly of a program. */
export function disassemble(): Iterable<string> {
  return [];
}
