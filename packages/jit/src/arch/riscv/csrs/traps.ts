/** Trap handlers, causes, delegation and interrupts (privileged manual, 3.1.7 to 3.1.17 and 12.1.2 to 12.1.9). */
import { RiscvInterrupt } from "../privilege.js";
import { type CsrFile, CsrOutcome, type CsrRow } from "./csr-file.js";
import { csr, field, register, wordRegister } from "./row.js";

/** Interrupts that there are: external, timer and software, of M and of S mode. */
export const MACHINE_INTERRUPTS = 0xaaa;
/** Those of S mode, which may be delegated. */
export const SUPERVISOR_INTERRUPTS = 0x222;
/** Exceptions that may be delegated: all but `ecall` from M mode and the reserved ones. */
const DELEGABLE = 0xb3ff;
const SUPERVISOR_TIMER = 1 << RiscvInterrupt.supervisorTimer;
const SUPERVISOR_SOFTWARE = 1 << RiscvInterrupt.supervisorSoftware;

/** Bit 1 of a handler's mode is reserved, bit 0 of an address is none. */
const handler = (name: string): CsrRow => register(name, 2, "a base address and a mode of 0 or 1");
const address = (name: string): CsrRow => register(name, 1, "even");

export const machineTraps: readonly CsrRow[] = [
  wordRegister("medeleg", "medeleg", DELEGABLE, "exceptions that can be delegated"),
  wordRegister("mideleg", "mideleg", SUPERVISOR_INTERRUPTS, "interrupts of S mode"),
  wordRegister("mie", "mie", MACHINE_INTERRUPTS, "interrupts that there are"),
  csr("mip", {
    read: (file) => file.give(file.hart.pending, 0),
    write: (file, lo) =>
      writePending(file, lo, SUPERVISOR_INTERRUPTS & ~(file.supervisorTimerEnabled ? SUPERVISOR_TIMER : 0)),
    modifies: softwareBits,
    saved: field("software", SUPERVISOR_INTERRUPTS, "interrupts of S mode"),
  }),
  handler("mtvec"),
  register("mscratch"),
  address("mepc"),
  register("mcause"),
  register("mtval"),
];

export const supervisorTraps: readonly CsrRow[] = [
  csr("sie", {
    read: (file) => file.give(file.hart.state.mie & file.hart.state.mideleg, 0),
    write: ({ hart: { state } }, lo) => {
      state.mie = (state.mie & ~state.mideleg) | (lo & state.mideleg & SUPERVISOR_INTERRUPTS);
      return CsrOutcome.done;
    },
  }),
  csr("sip", {
    read: (file) => file.give(file.hart.pending & file.hart.state.mideleg, 0),
    write: (file, lo) => writePending(file, lo, SUPERVISOR_SOFTWARE & file.hart.state.mideleg),
    modifies: softwareBits,
  }),
  handler("stvec"),
  register("sscratch"),
  address("sepc"),
  register("scause"),
  register("stval"),
];

/** Setting and clearing `SEIP` works on the software bit alone (3.1.9). */
function softwareBits(file: CsrFile): number {
  return file.hart.state.software;
}

function writePending({ hart: { state } }: CsrFile, lo: number, mask: number): CsrOutcome {
  state.software = (state.software & ~mask) | (lo & mask);
  return CsrOutcome.done;
}
