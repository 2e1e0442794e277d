/**
 * The instructions of one block: weighted templates, and encodings drawn at random from everything that the table
 * decodes. Each keeps to the rules that let a block end: reserved registers are never written, memory is reached only
 * through pointers, jumps go forwards or to where nothing can be fetched, loops count down in x31.
 */
import type { InstructionTable, RiscvSemantics, TableEntry } from "@hyperfile/decoder";
import { type CodeBuilder, X } from "./code-builder.js";
import { NOWHERE } from "./layout.js";
import type { Random } from "./random.js";

/** Privilege modes as `mstatus.MPP` encodes them. */
export const Mode = { user: 0, supervisor: 1, machine: 3 } as const;
export type Mode = (typeof Mode)[keyof typeof Mode];

/** What a block may rely on. */
export interface BlockContext {
  readonly mode: Mode;
  /** Offset from gp of the address of the window on the arena's page table; undefined if there is none. */
  readonly tableWindow: number | undefined;
  /** Offsets from gp of entries to write there. */
  readonly entries: readonly number[];
  /**
   * Distance from the block's code to the same code mapped for U mode; undefined if it must stay where it is. Where it
   * may go there are no LR and SC: pages that U mode can't reach make LR fault, and whether SC without a reservation
   * faults is left open.
   */
  readonly userDistance: number | undefined;
  /** `mstatus.TW`: WFI is illegal in S mode. */
  readonly timeoutWait: boolean;
}

const { sp, gp, tp, s0, s1 } = X;
const COUNTER = 31;
const reserved = new Set([sp, gp, tp, s0, s1, COUNTER]);
const free = Array.from({ length: 32 }, (_, register) => register).filter(
  (register) => !reserved.has(register),
);
const nonzero = free.filter((register) => register !== 0);
const loads = new Set(["lb", "lh", "lw", "ld", "lbu", "lhu", "lwu", "flw", "fld"]);
const stores = new Set(["sb", "sh", "sw", "sd", "fsw", "fsd"]);
const branches = ["beq", "bne", "blt", "bge", "bltu", "bgeu"] as const;
/** Instructions that QEMU 7.2 gets wrong: its `ctzw` counts zeros beyond bit 31. */
const excluded = new Set(["ctzw"]);
/** Instructions that only templates may place. */
const controlled = new Set([
  ...branches,
  ...[
    "jal",
    "jalr",
    "ecall",
    "mret",
    "sret",
    "wfi",
    "sfence.vma",
    "sinval.vma",
    "sfence.w.inval",
    "sfence.inval.ir",
  ],
  ...["csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci", "lr.w", "lr.d", "sc.w", "sc.d"],
]);
const isAtomic = (name: string): boolean => name.startsWith("amo");

type Entry = TableEntry<RiscvSemantics>;

/** Whether an instruction keeps the rules. */
function allowed(entry: Entry, fields: Readonly<Record<string, number>>): boolean {
  const { name, row } = entry;
  if (controlled.has(name) || excluded.has(name)) return false;
  const { rd, rs1 } = fields;
  if (rd !== undefined && !row.operands.includes("f(rd)") && reserved.has(rd)) return false;
  if (loads.has(name)) return rs1 === sp || rs1 === gp || rs1 === s0 || rs1 === s1;
  if (stores.has(name)) return rs1 === sp || rs1 === s0 || rs1 === s1;
  if (isAtomic(name)) return rs1 === s0 || rs1 === s1;
  return true;
}

/** CSRs that every mode may use for anything. */
const floatCsrs = [0x001, 0x002, 0x003];
/**
 * CSRs that hold what was written: sscratch, scause, stval; and in M mode mscratch, mcause, mtval. Not sepc and mepc:
 * QEMU 7.2 keeps their lowest bit, which is always zero (3.1.14).
 */
const supervisorScratch = [0x140, 0x142, 0x143];
const machineScratch = [...supervisorScratch, 0x340, 0x342, 0x343];
/** CSRs whose values must agree: sstatus, sie, stvec, scounteren, sepc, sip, satp; their like in M mode; PMP. */
const supervisorReadable = [0x100, 0x104, 0x105, 0x106, 0x141, 0x144, 0x180];
// biome-ignore format: one list
const machineReadable = [...supervisorReadable, 0x300, 0x302, 0x303, 0x304, 0x305, 0x306, 0x341, 0x3a0, 0x3b0, 0x3b1, 0xf14];
const SUM = 0x40000;
const MXR = 0x80000;
const MPRV = 0x20000;
const FS = 0x6000;
const SPP = 0x100;
const MPP_SHIFT = 11;

/** CSR numbers on whose existence implementations may differ, or that a mode may be let read by another CSR. */
function existenceDiffers(csr: number): boolean {
  const counters = (csr & 0xf00) === 0xc00 || (csr & 0xf00) === 0xb00 || (csr >= 0x320 && csr <= 0x33f);
  const triggers = csr >= 0x7a0 && csr <= 0x7bf;
  const configuration = csr === 0x30a || csr === 0x31a || csr === 0x10a || csr === 0xf15;
  const events = csr >= 0x720 && csr <= 0x73f;
  return counters || triggers || configuration || events;
}

/** Writes the instructions of one block. */
export class BlockWriter {
  private readonly table: InstructionTable<RiscvSemantics>;
  private readonly arithmetic: readonly Entry[];
  private readonly floats: readonly Entry[];
  private readonly accesses: readonly Entry[];
  private readonly atomics: readonly Entry[];
  private labels = 0;
  /** Of LR and SC: whether one pairs with the other at another width is left open. */
  private readonly width: "w" | "d";

  constructor(
    private readonly code: CodeBuilder,
    private readonly random: Random,
    private readonly context: BlockContext,
  ) {
    this.table = code.table;
    this.width = code.xlen === 64 && random.once(2) ? "d" : "w";
    const full = this.table.entries.filter(
      (entry) => entry.row.encoding.length === 4 && !excluded.has(entry.name),
    );
    const plain = full.filter(({ name }) => !controlled.has(name) && !isAtomic(name));
    this.accesses = plain.filter(({ name }) => loads.has(name) || stores.has(name));
    this.floats = plain.filter(
      (entry) => entry.row.operands.includes("f(") && !this.accesses.includes(entry),
    );
    this.arithmetic = plain.filter((entry) => !this.accesses.includes(entry) && !this.floats.includes(entry));
    this.atomics = full.filter(({ name }) => isAtomic(name));
  }

  /** Writes a block of at least `bytes` bytes. */
  write(bytes: number): void {
    this.refresh();
    const end = this.code.at + bytes;
    while (this.code.at < end) this.item(false);
  }

  /** Loads a few registers with constants; mostly with a valid rounding mode, or all that rounds is illegal. */
  private refresh(): void {
    const { random } = this;
    if (!random.once(8)) this.put("csrrwi", { rd: 0, csr: 0x002, uimm: random.below(5) });
    for (let times = random.below(5); times > 0; times--) this.constant(random.pick(nonzero));
    for (let times = random.below(4); times > 0; times--)
      this.put("fld", { rd: random.below(32), rs1: gp, imm: this.constantOffset() });
  }

  private constantOffset(): number {
    return 8 * this.random.below(512) - 2048;
  }

  private constant(rd: number): void {
    this.put(this.code.xlen === 64 ? "ld" : "lw", { rd, rs1: gp, imm: this.constantOffset() });
  }

  private put(name: string, fields: Readonly<Record<string, number>> = {}): void {
    this.code.emit(name, fields);
  }

  private raw(bits: number, length: number): void {
    if (length === 2) this.code.half(bits);
    else this.code.word(bits);
  }

  private jump(name: string, label: string, fields: Readonly<Record<string, number>> = {}): void {
    this.code.jump(name, label, fields);
  }

  private newLabel(): string {
    return `${this.code.at}.${this.labels++}`;
  }

  /** One instruction or template. Inside loops there are no loops. */
  private item(inLoop: boolean): void {
    const { random } = this;
    const kind = random.below(100);
    if (kind < 22) this.row(this.arithmetic);
    else if (kind < 40) this.row(this.floats);
    else if (kind < 54) this.row(this.accesses);
    else if (kind < 58) this.row(this.atomics);
    else if (kind < 68) this.randomHalf();
    else if (kind < 76) this.randomWord();
    else if (kind < 82) this.forward();
    else if (kind < 85) this.reservation();
    else if (kind < 91) this.csr();
    else if (kind < 93) this.modify();
    else if (kind < 95) this.privileged();
    else if (kind < 96) this.nowhere();
    else if (inLoop) this.row(this.arithmetic);
    else this.loop();
  }

  /** A row with random fields; registers and rounding modes are drawn until the rules hold. */
  private row(entries: readonly Entry[]): void {
    const entry = this.random.pick(entries);
    for (;;) {
      let bits = entry.row.encoding.match;
      for (const { name, pieces } of entry.row.encoding.fields) {
        for (const { at, width } of pieces) {
          let value = this.random.bits() & (2 ** width - 1);
          if (name === "rm" && !this.random.once(4)) value = this.random.pick([0, 1, 2, 3, 4, 7, 7, 7]);
          bits |= value << at;
        }
      }
      if (this.accept(bits, 4)) return;
    }
  }

  /** Appends an instruction if it keeps the rules. An illegal one does. */
  private accept(bits: number, length: number): boolean {
    const decoded = this.table.decode(bits, length);
    if (decoded !== undefined && !allowed(decoded.entry, decoded.fields)) return false;
    this.raw(bits, length);
    return true;
  }

  private randomHalf(): void {
    for (;;) {
      const bits = this.random.bits() & 0xffff;
      if ((bits & 3) !== 3 && (this.random.once(8) || this.table.decode(bits, 2) !== undefined)) {
        if (this.accept(bits, 2)) return;
      }
    }
  }

  private randomWord(): void {
    for (;;) {
      const bits = (this.random.bits() | 3) >>> 0;
      if ((bits & 31) === 31) continue; // encodings longer than 32 bits
      if (!this.random.once(64) && this.table.decode(bits, 4) === undefined) continue;
      if (this.accept(bits, 4)) return;
    }
  }

  private forward(): void {
    const { random } = this;
    const label = this.newLabel();
    switch (random.below(4)) {
      case 0:
        this.jump("jal", label, { rd: random.pick(free) });
        break;
      case 1: {
        const register = random.pick(nonzero);
        const rd = random.pick(free);
        const slots = 1 + random.below(4);
        this.put("auipc", { rd: register, imm: 0 });
        this.put("jalr", { rd, rs1: register, imm: 8 + 4 * slots + random.below(2) });
        for (let slot = 0; slot < slots; slot++) this.row(this.arithmetic);
        return;
      }
      default:
        this.jump(random.pick(branches), label, { rs1: random.below(32), rs2: random.below(32) });
    }
    for (let times = random.below(5); times > 0; times--) this.item(true);
    this.code.label(label);
  }

  private loop(): void {
    const { random } = this;
    const label = this.newLabel();
    this.put("addi", { rd: COUNTER, rs1: 0, imm: 1 + random.below(8) });
    this.code.label(label);
    for (let times = 1 + random.below(6); times > 0; times--) this.item(true);
    this.put("addi", { rd: COUNTER, rs1: COUNTER, imm: -1 });
    this.jump("bne", label, { rs1: COUNTER, rs2: 0 });
  }

  /** LR and SC on the page that is surely writable; rarely something between that makes SC fail. */
  private reservation(): void {
    const { random, context } = this;
    if (context.userDistance !== undefined) return this.row(this.accesses);
    const { width } = this;
    const order = () => ({ aq: random.below(2), rl: random.below(2) });
    if (!random.once(8)) this.put(`lr.${width}`, { rd: random.pick(free), rs1: s0, ...order() });
    const between = random.below(6);
    if (between < 2) this.row(this.arithmetic);
    else if (between === 2) this.put("sw", { rs2: random.below(32), rs1: s0, imm: random.pick([0, 4, 8]) });
    else if (between === 3) this.put("amoadd.w", { rd: random.pick(free), rs1: s0, rs2: random.below(32) });
    this.put(`sc.${width}`, { rd: random.pick(free), rs2: random.below(32), rs1: s0, ...order() });
  }

  private csr(): void {
    const { random, context } = this;
    const register = { rd: random.pick(free), rs1: random.below(32) };
    const choice = random.below(10);
    if (choice < 5) {
      const csr = random.pick(floatCsrs);
      if (random.once(2)) this.put(random.pick(["csrrw", "csrrs", "csrrc"]), { ...register, csr });
      else
        this.put(random.pick(["csrrwi", "csrrsi", "csrrci"]), {
          rd: register.rd,
          csr,
          uimm: random.below(32),
        });
    } else if (choice < 7) {
      const csr = random.pick(context.mode === Mode.supervisor ? supervisorScratch : machineScratch);
      this.put(random.pick(["csrrw", "csrrs", "csrrc"]), { ...register, csr });
    } else if (choice < 9) {
      const csr = random.pick(random.once(3) ? machineReadable : supervisorReadable);
      this.put("csrrs", { rd: register.rd, csr, rs1: 0 });
    } else {
      let csr: number;
      do csr = random.below(0x1000);
      while (existenceDiffers(csr));
      this.put("csrrs", { rd: 0, csr, rs1: 0 });
    }
  }

  /** Code that changes code: the instruction in a slot becomes another one, and back again the next time. */
  private modify(): void {
    const { random } = this;
    const [address, value, change] = [10, 11, 12];
    const plain = ["add", "sub", "xor", "sltu", "andn", "mul", "sh1add"] as const;
    const instance = () =>
      this.code.bits(random.pick(plain), {
        rd: random.pick(free),
        rs1: random.below(32),
        rs2: random.below(32),
      });
    const first = instance();
    this.code.li(change, first ^ instance());
    this.put("auipc", { rd: address, imm: 0 });
    this.put("lw", { rd: value, rs1: address, imm: 20 });
    this.put("xor", { rd: value, rs1: value, rs2: change });
    this.put("sw", { rs2: value, rs1: address, imm: 20 });
    this.put("fence.i");
    this.raw(first, 4);
  }

  private privileged(): void {
    const { random, context } = this;
    const { mode } = context;
    const status = mode === Mode.machine ? 0x300 : 0x100;
    switch (random.below(9)) {
      case 0:
        return this.put("sfence.vma", { rs1: random.below(32), rs2: random.below(32) });
      case 1:
        return this.put("ebreak");
      case 2:
        return this.changeStatus(status, random.pick([SUM, MXR, SUM | MXR]));
      case 3:
        if (mode === Mode.user || (mode === Mode.supervisor && context.timeoutWait)) return this.put("wfi");
        return this.put("fence.i");
      case 4:
        // Floating point off, or on again.
        return this.changeStatus(status, FS);
      case 5:
        return this.softwareInterrupt();
      case 6:
        return mode === Mode.machine ? this.borrowedMode() : this.put("mret");
      case 7:
        return mode === Mode.user ? this.put("sret") : this.trapReturn();
      default:
        return this.changeEntry();
    }
  }

  private changeStatus(csr: number, bits: number): void {
    const { random } = this;
    const register = random.pick(nonzero);
    this.put("lui", { rd: register, imm: bits & ~0xfff });
    this.put(random.pick(["csrrs", "csrrc"]), { rd: 0, csr, rs1: register });
  }

  private softwareInterrupt(): void {
    const csr = this.context.mode === Mode.machine ? 0x344 : 0x144;
    const status = this.context.mode === Mode.machine ? 0x300 : 0x100;
    if (this.random.once(2)) this.put("csrrsi", { rd: 0, csr: status, uimm: 2 });
    this.put("csrrsi", { rd: 0, csr, uimm: 2 });
    this.row(this.arithmetic);
    if (this.random.once(2)) this.put("csrrci", { rd: 0, csr: status, uimm: 2 });
  }

  /**
   * A load or store of M mode under the translation of a lower mode. Only one: if it traps, `mret` changes MPP, after
   * which QEMU 7.2 still has the old translations.
   */
  private borrowedMode(): void {
    const { random } = this;
    this.code.li(10, 3 << MPP_SHIFT);
    this.put("csrrc", { rd: 0, csr: 0x300, rs1: 10 });
    this.code.li(10, MPRV | (random.below(2) << MPP_SHIFT));
    this.put("csrrs", { rd: 0, csr: 0x300, rs1: 10 });
    this.row(this.accesses);
    this.put("lui", { rd: 10, imm: MPRV });
    this.put("csrrc", { rd: 0, csr: 0x300, rs1: 10 });
  }

  /** `mret` or `sret` to a place ahead, from S mode sometimes into U mode. */
  private trapReturn(): void {
    const { random, context } = this;
    const machine = context.mode === Mode.machine;
    const [status, epc] = machine ? [0x300, 0x341] : [0x100, 0x141];
    const distance = context.userDistance;
    const toUser = !machine && distance !== undefined && random.once(2);
    const bits = machine ? 3 << MPP_SHIFT : SPP;
    this.code.li(10, bits);
    this.put(toUser ? "csrrc" : "csrrs", { rd: 0, csr: status, rs1: 10 });
    this.code.li(12, toUser ? distance : 0);
    this.put("auipc", { rd: 11, imm: 0 });
    this.put("add", { rd: 11, rs1: 11, rs2: 12 });
    this.put("addi", { rd: 11, rs1: 11, imm: 24 });
    this.put("csrrw", { rd: 0, csr: epc, rs1: 11 });
    this.put(machine ? "mret" : "sret");
    this.row(this.arithmetic);
  }

  /** A new entry for a page of the arena. */
  private changeEntry(): void {
    const { random, context } = this;
    if (context.tableWindow === undefined) return this.put("fence.i");
    const wide = this.code.xlen === 64;
    const page = 4 + random.below(12);
    const width = wide ? "d" : "w";
    this.put(`l${width}`, { rd: 10, rs1: gp, imm: context.tableWindow });
    this.put(`l${width}`, { rd: 11, rs1: gp, imm: random.pick(context.entries) });
    this.put(`s${width}`, { rs1: 10, rs2: 11, imm: page * (wide ? 8 : 4) });
    this.put("sfence.vma", { rs1: 0, rs2: 0 });
  }

  /** A load from, or a jump to, an address where nothing is. */
  private nowhere(): void {
    const { random } = this;
    const register = random.pick(nonzero);
    this.put("lui", { rd: register, imm: NOWHERE | 0 });
    if (random.once(3)) this.put("jalr", { rd: random.pick(free), rs1: register, imm: 4 * random.below(16) });
    else if (random.once(2)) this.put("sw", { rs2: 5, rs1: register, imm: 4 * random.below(16) });
    else this.put("lw", { rd: random.pick(free), rs1: register, imm: 4 * random.below(16) });
  }
}
