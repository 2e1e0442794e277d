/**
 * Lets a dump watch a RISC-V CPU: TLB fills, exceptions and interrupts. It stands in front of the methods that they
 * go through, so that a CPU which nobody watches has no code for it.
 */
import { AccessKind } from "../../mmu/ports.js";
import type { Dump } from "../../trace/dump.js";
import { addressOf, hex } from "../../trace/region-text.js";
import type { RiscvCpu } from "./cpu.js";
import { Wide } from "./hart-state.js";
import { RiscvMode } from "./privilege.js";
import { riscvSlotName } from "./slot-names.js";
import { exceptionNames, interruptNames, modeLetters } from "./trap-names.js";

/** What a TLB of each kind lets code do. */
const permissions: Readonly<Record<number, string>> = {
  [AccessKind.read]: "r--",
  [AccessKind.write]: "-w-",
  [AccessKind.fetch]: "--x",
};

/** Makes `dump` watch `cpu`, whose engine was made with the dump's trace. */
export function watchCpu(dump: Dump, cpu: RiscvCpu): void {
  const { hart } = cpu;
  const pc = () => addressOf(hart.pcLow, hart.pcHigh);
  const { memory, hartOffset } = cpu.options.memory;
  dump.watch({ frontEnd: cpu.frontEnd, slotName: riscvSlotName, hartOffset, memory, pc });
  if (dump.has("mmu")) watchTlb(dump, cpu);
  if (dump.has("irq")) watchTraps(dump, cpu, pc);
}

function watchTlb(dump: Dump, { tlb, hart }: RiscvCpu): void {
  const insert = tlb.insert.bind(tlb);
  tlb.insert = (kind, lo, hi, addend, extra) => {
    insert(kind, lo, hi, addend, extra);
    const va = addressOf(lo & -4096, hi);
    if (!dump.wants(va, 4096n)) return;
    const gpa = BigInt(hart.gpa - (hart.gpa % 4096));
    const pageKib = hart.pageBytes / 1024;
    dump.write(
      `mmu ${hex(va)} -> ${hex(gpa)} ${permissions[kind]} in ${modeLetters[hart.state.mode]} mode, page of ${pageKib} KiB`,
    );
  };
}

function watchTraps(dump: Dump, { hart }: RiscvCpu, pc: () => bigint): void {
  const entered = (what: string, from: number, epc: bigint, tval: bigint): void => {
    if (!dump.wants(epc)) return;
    const modes = `${modeLetters[from]} to ${modeLetters[hart.state.mode]} mode`;
    dump.write(`irq ${what}, epc ${hex(epc)}, tval ${hex(tval)}, ${modes}, handler ${hex(pc())}`);
  };
  const raise = hart.raise.bind(hart);
  hart.raise = (cause, lo, hi) => {
    const from = hart.state.mode;
    const epc = pc();
    raise(cause, lo, hi);
    entered(`exception ${cause} (${exceptionNames[cause] ?? "reserved"})`, from, epc, addressOf(lo, hi));
  };
  const takeInterrupt = hart.takeInterrupt.bind(hart);
  hart.takeInterrupt = () => {
    const from = hart.state.mode;
    const epc = pc();
    if (!takeInterrupt()) return false;
    const register = hart.state.mode === RiscvMode.machine ? Wide.mcause : Wide.scause;
    const cause = hart.state.wide[2 * register]! & 0x7fffffff;
    entered(`interrupt ${cause} (${interruptNames[cause] ?? "reserved"})`, from, epc, 0n);
    return true;
  };
}
