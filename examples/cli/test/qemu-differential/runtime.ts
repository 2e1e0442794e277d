/**
 * The fixed part of every generated program: boot code, the machine's and the supervisor's trap handlers, and the
 * checkpoint that follows each block. A block ends with `ecall`; the checkpoint then hashes all registers and what
 * the last trap left, prints the hash over the UART, and enters the next block as its descriptor says. All other
 * exceptions are hashed, logged and stepped over; an instruction that can't be fetched ends its block.
 *
 * `tp` always holds the address of the state page, so that handlers need no scratch CSR and blocks may use them all.
 *
 * Output: a line of eight digits a checkpoint; `!` and the state page's first words after the wanted one; `m` and a
 * hash of the data after each pass, of the page tables at the end; then `t`, block instructions, and traps.
 */
import { CodeBuilder, X } from "./code-builder.js";
import {
  DATA,
  DATA_BYTES,
  DESCRIPTORS,
  Descriptor,
  LOG_ENTRIES,
  RUNTIME,
  RUNTIME_BYTES,
  STATE,
  State,
  TABLES,
  TABLES_BYTES,
} from "./layout.js";

const UART = 0x10000000;
const LINE_STATUS = 5;
const TRANSMITTER_EMPTY = 0x20;
const FINISHER = 0x100000;
const FINISHER_PASS = 0x5555;
const HASH_START = 0x811c9dc5 | 0;
const HASH_FACTOR = 0x01000193;
const FS_DIRTY = 0x6000;
const MPRV_MXR = 0xa0000;
const SUM_MXR = 0xc0000;
/** More traps than this end a block. */
const TRAP_LIMIT = 300;
const SUPERVISOR_SOFTWARE = 2;

const Csr = {
  fcsr: 0x003,
  sstatus: 0x100,
  stvec: 0x105,
  sscratch: 0x140,
  sepc: 0x141,
  scause: 0x142,
  stval: 0x143,
  sip: 0x144,
  satp: 0x180,
  mstatus: 0x300,
  medeleg: 0x302,
  mideleg: 0x303,
  mie: 0x304,
  mtvec: 0x305,
  mcounteren: 0x306,
  mepc: 0x341,
  mcause: 0x342,
  mtval: 0x343,
  mip: 0x344,
  pmpcfg0: 0x3a0,
  pmpaddr0: 0x3b0,
  minstret: 0xb02,
} as const;

const Cause = {
  fetchAccess: 1,
  breakpoint: 3,
  callUser: 8,
  callSupervisor: 9,
  callMachine: 11,
  fetchPage: 12,
};
/** Where the handlers begin; `mtvec` and `stvec` point at them. */
const HANDLER = RUNTIME + 0x400;
const SUPERVISOR_HANDLER = RUNTIME + 0x200;

const { tp, t0, t1, t2, s0, s1, a0, a1, sp, gp } = X;
/** More registers of the checkpoint, which keeps nothing in registers. */
const s2 = 18;
const s3 = 19;
const s4 = 20;
const s5 = 21;
const s6 = 22;

/** Instructions of `leave`: two for the counter, a load for each register but x0 and tp, `mret`. */
const LEAVING = 33;

/** PMP entries: the guarded region with these permissions, then everything. */
export interface Protection {
  /** R, W and X in bits 0 to 2. */
  readonly permissions: number;
  /** Start of the two guarded pages. */
  readonly region: number;
}

/** Assembles the runtime for `descriptors` blocks. */
export function runtime(xlen: 32 | 64, descriptors: number, protection: Protection): Uint8Array {
  const code = new CodeBuilder(xlen, RUNTIME, RUNTIME_BYTES);
  boot(code, protection);
  supervisorHandler(code);
  machineHandler(code);
  leave(code);
  checkpoint(code, DESCRIPTORS + descriptors * Descriptor.bytes);
  output(code);
  return code.finish();
}

function boot(code: CodeBuilder, { permissions, region }: Protection): void {
  const NAPOT = 0x18;
  code.la(tp, STATE).li(t0, FS_DIRTY).csrs(Csr.mstatus, t0);
  // An address as pmpaddr holds it has no sign bit to extend: 34 bits in a register of 32 or 64.
  code.li(t0, (region >>> 2) | 0x3ff).csrw(Csr.pmpaddr0, t0);
  code.li(t0, -1);
  if (code.xlen === 64) code.emit("srli", { rd: t0, rs1: t0, shamt: 10 });
  code.csrw(Csr.pmpaddr0 + 1, t0);
  code.li(t0, NAPOT | permissions | ((NAPOT | 7) << 8)).csrw(Csr.pmpcfg0, t0);
  code.csrw(Csr.mcounteren, 0).li(t0, SUPERVISOR_SOFTWARE).csrw(Csr.mie, t0);
  code.la(t0, HANDLER).csrw(Csr.mtvec, t0);
  code.la(t0, SUPERVISOR_HANDLER).csrw(Csr.stvec, t0);
  for (let register = 0; register < 32; register++)
    code.emit("fld", { rd: register, rs1: tp, imm: State.f + 8 * register });
  code.la(t0, DESCRIPTORS).jump("jal", "enter", { rd: 0 });
}

/** Mixes registers into the hash of all traps, and writes them to the log. Clobbers t0, t1 and t2. */
function record(code: CodeBuilder, registers: readonly number[]): void {
  code.loadX(t1, tp, State.trapHash).li(t2, HASH_FACTOR);
  for (const register of registers)
    code.emit("xor", { rd: t1, rs1: t1, rs2: register }).emit("mul", { rd: t1, rs1: t1, rs2: t2 });
  code.storeX(t1, tp, State.trapHash);
  code
    .emit("lw", { rd: t0, rs1: tp, imm: State.traps })
    .emit("andi", { rd: t1, rs1: t0, imm: LOG_ENTRIES - 1 });
  code.emit("slli", { rd: t1, rs1: t1, shamt: 5 }).emit("add", { rd: t1, rs1: t1, rs2: tp });
  registers.forEach((register, position) => {
    code.storeX(register, t1, State.log + 8 * position);
  });
  code.emit("addi", { rd: t0, rs1: t0, imm: 1 }).emit("sw", { rs2: t0, rs1: tp, imm: State.traps });
  code.emit("lw", { rd: t1, rs1: tp, imm: State.allTraps }).emit("addi", { rd: t1, rs1: t1, imm: 1 });
  code.emit("sw", { rs2: t1, rs1: tp, imm: State.allTraps });
}

/** Drops a reservation, as QEMU does on every change of mode. Clobbers t0. */
function dropReservation(code: CodeBuilder): void {
  code.emit("addi", { rd: t0, rs1: tp, imm: State.dummy }).emit("sc.w", { rd: 0, rs1: t0, rs2: 0 });
}

/** Sets `program counter` (a0) behind the instruction whose first half is in t1. Clobbers t0 and t1. */
function stepOver(code: CodeBuilder): void {
  code.emit("andi", { rd: t1, rs1: t1, imm: 3 }).emit("addi", { rd: a0, rs1: a0, imm: 2 }).li(t0, 3);
  code.emit("bne", { rs1: t1, rs2: t0, imm: 8 }).emit("addi", { rd: a0, rs1: a0, imm: 2 });
}

/** The trap value of a breakpoint may be zero or its address (3.1.16): it becomes zero. */
function forgiveBreakpoint(code: CodeBuilder, tval: number): void {
  code.li(t0, Cause.breakpoint).emit("bne", { rs1: s1, rs2: t0, imm: 12 }).li(a1, 0).csrw(tval, a1);
}

const supervisorRegisters = [t0, t1, t2, s0, s1, a0, a1];

function supervisorHandler(code: CodeBuilder): void {
  code.at = SUPERVISOR_HANDLER - RUNTIME;
  const start = code.at;
  /** Takes the handler's instructions off the blocks': those so far, these, and those that restore. */
  const discount = (instructions: number) => {
    const more = 3 + supervisorRegisters.length + 1;
    code.emit("lw", { rd: t0, rs1: tp, imm: State.retired });
    code.emit("addi", { rd: t0, rs1: t0, imm: -(instructions + more) });
    code.emit("sw", { rs2: t0, rs1: tp, imm: State.retired });
  };
  code.la(tp, STATE);
  supervisorRegisters.forEach((register, at) => {
    code.storeX(register, tp, State.supervisor + 8 * at);
  });
  code.csrr(s0, Csr.sstatus).csrr(s1, Csr.scause).csrr(a0, Csr.sepc).csrr(a1, Csr.stval);
  dropReservation(code);
  forgiveBreakpoint(code, Csr.stval);
  record(code, [s1, a1, a0, s0]);
  code.li(t1, TRAP_LIMIT).jump("bge", "give up", { rs1: t0, rs2: t1 });
  code.jump("bge", "supervisor exception", { rs1: s1, rs2: 0 });
  code.emit("csrrci", { rd: 0, csr: Csr.sip, uimm: SUPERVISOR_SOFTWARE });
  discount((code.at - start) / 4 - 2);
  code.jump("jal", "supervisor leave", { rd: 0 });
  code.label("supervisor exception");
  for (const cause of [Cause.fetchAccess, Cause.fetchPage])
    code.li(t0, cause).jump("beq", "give up", { rs1: s1, rs2: t0 });
  code.li(t0, SUM_MXR).csrs(Csr.sstatus, t0).emit("lhu", { rd: t1, rs1: a0, imm: 0 });
  code.csrw(Csr.sstatus, s0);
  stepOver(code);
  code.csrw(Csr.sepc, a0);
  // Not executed on this way: two instructions for breakpoints, five for interrupts.
  discount((code.at - start) / 4 - 7);
  code.label("supervisor leave");
  const restore = () => {
    supervisorRegisters.forEach((register, at) => {
      code.loadX(register, tp, State.supervisor + 8 * at);
    });
  };
  restore();
  code.emit("sret").label("give up");
  // Also reached behind an `sret` that `mstatus.TSR` made illegal.
  restore();
  code.emit("ecall");
}

/** Restores the registers and returns to the block. */
function leave(code: CodeBuilder): void {
  code.label("leave");
  code.csrr(t0, Csr.minstret).storeX(t0, tp, State.entered);
  for (let register = 1; register < 32; register++)
    if (register !== tp) code.loadX(register, tp, State.x + 8 * register);
  code.emit("mret");
}

function machineHandler(code: CodeBuilder): void {
  code.at = HANDLER - RUNTIME;
  code.la(tp, STATE);
  for (let register = 1; register < 32; register++) code.storeX(register, tp, State.x + 8 * register);
  const entering = (code.at - (HANDLER - RUNTIME)) / 4;
  code.csrr(t0, Csr.minstret).loadX(t1, tp, State.entered).emit("sub", { rd: t0, rs1: t0, rs2: t1 });
  code.emit("addi", { rd: t0, rs1: t0, imm: -(entering + LEAVING) });
  code.emit("lw", { rd: t1, rs1: tp, imm: State.retired }).emit("add", { rd: t0, rs1: t0, rs2: t1 });
  code.emit("sw", { rs2: t0, rs1: tp, imm: State.retired });
  code.csrr(s0, Csr.mstatus).csrr(s1, Csr.mcause).csrr(a0, Csr.mepc).csrr(a1, Csr.mtval);
  dropReservation(code);
  for (const cause of [Cause.callUser, Cause.callSupervisor, Cause.callMachine])
    code.li(t0, cause).jump("beq", "is checkpoint", { rs1: s1, rs2: t0 });
  forgiveBreakpoint(code, Csr.mtval);
  record(code, [s1, a1, a0, s0]);
  code.li(t1, TRAP_LIMIT).jump("bge", "end block", { rs1: t0, rs2: t1 });
  code.jump("bge", "exception", { rs1: s1, rs2: 0 });
  code.emit("csrrci", { rd: 0, csr: Csr.mip, uimm: SUPERVISOR_SOFTWARE }).jump("jal", "leave", { rd: 0 });
  code.label("exception");
  for (const cause of [Cause.fetchAccess, Cause.fetchPage])
    code.li(t1, cause).jump("beq", "end block", { rs1: s1, rs2: t1 });
  // Reads the instruction as the block's mode would fetch it.
  code.li(t0, MPRV_MXR).csrs(Csr.mstatus, t0).emit("lhu", { rd: t1, rs1: a0, imm: 0 });
  code.csrw(Csr.mstatus, s0);
  stepOver(code);
  code.csrw(Csr.mepc, a0).jump("jal", "leave", { rd: 0 });
  // Where not even the end can be fetched, the program gives up.
  code
    .label("end block")
    .li(t1, 2 * TRAP_LIMIT)
    .jump("bge", "is over", { rs1: t0, rs2: t1 });
  code.loadX(t0, tp, State.descriptor);
  code.loadX(t1, t0, Descriptor.mstatus).csrw(Csr.mstatus, t1);
  code.loadX(t1, t0, Descriptor.end).csrw(Csr.mepc, t1).jump("jal", "leave", { rd: 0 });
  code.label("is over").jump("jal", "finish", { rd: 0 });
  code.label("is checkpoint").jump("jal", "checkpoint", { rd: 0 });
}

function checkpoint(code: CodeBuilder, descriptorsEnd: number): void {
  code.label("checkpoint");
  code.storeX(s0, tp, State.mstatus).storeX(s1, tp, State.mcause);
  code.storeX(a0, tp, State.mepc).storeX(a1, tp, State.mtval);
  code.li(t0, FS_DIRTY).csrs(Csr.mstatus, t0).csrr(t0, Csr.fcsr).storeX(t0, tp, State.fcsr);
  for (let register = 0; register < 32; register++)
    code.emit("fsd", { rs2: register, rs1: tp, imm: State.f + 8 * register });
  code.emit("addi", { rd: s2, rs1: tp, imm: 0 }).emit("addi", { rd: s3, rs1: tp, imm: State.end });
  code.jump("jal", "hash", { rd: s6 }).jump("jal", "print", { rd: s6 }).jump("jal", "line end", { rd: s6 });
  code.emit("lw", { rd: t0, rs1: tp, imm: State.index }).emit("lw", { rd: t1, rs1: tp, imm: State.wanted });
  code.emit("addi", { rd: t2, rs1: t0, imm: 1 }).emit("sw", { rs2: t2, rs1: tp, imm: State.index });
  code.jump("bne", "unwanted", { rs1: t0, rs2: t1 });
  code.li(s5, "!".charCodeAt(0)).jump("jal", "put", { rd: s6 });
  code.emit("addi", { rd: s2, rs1: tp, imm: 0 }).li(s3, State.log + 32 * LOG_ENTRIES);
  code.emit("add", { rd: s3, rs1: s3, rs2: tp }).label("dump");
  code.emit("lw", { rd: s4, rs1: s2, imm: 0 }).jump("jal", "print", { rd: s6 });
  code.emit("addi", { rd: s2, rs1: s2, imm: 4 }).jump("bne", "dump", { rs1: s2, rs2: s3 });
  code.jump("jal", "line end", { rd: s6 }).label("unwanted");
  code.emit("sw", { rs2: 0, rs1: tp, imm: State.traps });
  code.loadX(t0, tp, State.descriptor).emit("addi", { rd: t0, rs1: t0, imm: Descriptor.bytes });
  code.la(t1, descriptorsEnd).jump("bne", "enter", { rs1: t0, rs2: t1 });
  printHash(code, DATA, DATA_BYTES);
  code.emit("lw", { rd: t0, rs1: tp, imm: State.passes }).emit("addi", { rd: t0, rs1: t0, imm: -1 });
  code.emit("sw", { rs2: t0, rs1: tp, imm: State.passes }).jump("beq", "finish", { rs1: t0, rs2: 0 });
  code.la(t0, DESCRIPTORS).label("enter").storeX(t0, tp, State.descriptor);
  for (const [field, csr] of [
    [Descriptor.satp, Csr.satp],
    [Descriptor.mstatus, Csr.mstatus],
    [Descriptor.medeleg, Csr.medeleg],
    [Descriptor.mideleg, Csr.mideleg],
    [Descriptor.entry, Csr.mepc],
  ] as const)
    code.loadX(t1, t0, field).csrw(csr, t1);
  code.emit("sfence.vma").csrw(Csr.sscratch, 0);
  for (const [field, register] of [
    [Descriptor.sp, sp],
    [Descriptor.s0, s0],
    [Descriptor.s1, s1],
    [Descriptor.gp, gp],
  ] as const)
    code.loadX(t1, t0, field).storeX(t1, tp, State.x + 8 * register);
  code.jump("jal", "leave", { rd: 0 });
  code.label("finish");
  printHash(code, TABLES, TABLES_BYTES);
  code.li(s5, "t".charCodeAt(0)).jump("jal", "put", { rd: s6 });
  for (const field of [State.retired, State.allTraps])
    code.emit("lw", { rd: s4, rs1: tp, imm: field }).jump("jal", "print", { rd: s6 });
  code.jump("jal", "line end", { rd: s6 });
  code.li(t0, FINISHER).li(t1, FINISHER_PASS).emit("sw", { rs1: t0, rs2: t1, imm: 0 });
  code.label("off").jump("jal", "off", { rd: 0 });
}

function printHash(code: CodeBuilder, from: number, bytes: number): void {
  code.li(s5, "m".charCodeAt(0)).jump("jal", "put", { rd: s6 });
  code.la(s2, from).la(s3, from + bytes);
  code.jump("jal", "hash", { rd: s6 }).jump("jal", "print", { rd: s6 }).jump("jal", "line end", { rd: s6 });
}

/** Subroutines, which return by s6; `print` and `line end` call `put` by ra. */
function output(code: CodeBuilder): void {
  const ra = X.ra;
  const back = () => code.emit("jalr", { rd: 0, rs1: s6, imm: 0 });
  // s4 = hash of the words from s2 to s3.
  code.label("hash").li(s4, HASH_START).li(a0, HASH_FACTOR).label("hash word");
  code.emit("lw", { rd: a1, rs1: s2, imm: 0 }).emit("xor", { rd: s4, rs1: s4, rs2: a1 });
  code.emit(code.xlen === 64 ? "mulw" : "mul", { rd: s4, rs1: s4, rs2: a0 });
  code.emit("addi", { rd: s2, rs1: s2, imm: 4 }).jump("bne", "hash word", { rs1: s2, rs2: s3 });
  back();
  // Eight digits of s4.
  code.label("print").li(a0, 28).label("digit");
  code
    .emit(code.xlen === 64 ? "srlw" : "srl", { rd: s5, rs1: s4, rs2: a0 })
    .emit("andi", { rd: s5, rs1: s5, imm: 15 });
  code.li(t0, 10).emit("addi", { rd: t1, rs1: s5, imm: 48 });
  code.emit("blt", { rs1: s5, rs2: t0, imm: 8 }).emit("addi", { rd: t1, rs1: s5, imm: 87 });
  code.emit("addi", { rd: s5, rs1: t1, imm: 0 }).jump("jal", "put byte", { rd: ra });
  code.emit("addi", { rd: a0, rs1: a0, imm: -4 }).jump("bge", "digit", { rs1: a0, rs2: 0 });
  back();
  code.label("line end").li(s5, 10).label("put").jump("jal", "put byte", { rd: ra });
  back();
  // The byte in s5.
  code.label("put byte").li(t0, UART).emit("lbu", { rd: t1, rs1: t0, imm: LINE_STATUS });
  code.emit("andi", { rd: t1, rs1: t1, imm: TRANSMITTER_EMPTY }).emit("beq", { rs1: t1, rs2: 0, imm: -8 });
  code.emit("sb", { rs1: t0, rs2: s5, imm: 0 }).emit("jalr", { rd: 0, rs1: ra, imm: 0 });
}
