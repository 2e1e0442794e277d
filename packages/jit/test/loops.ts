/**
 * Generates programs that run in regions: loops in loops, branches, calls of functions that call others, with loads and
 * stores off a few pointers that move (across pages, into holes, off alignment), atomics, floating point and counters
 * of instructions. Whatever traps is stepped over. All instructions have four bytes.
 */
import type { RiscvCpu } from "../src/arch/riscv/index.js";
import { generator } from "./lockstep.js";

const DATA = 0x80040000;
const STACK = 0x8003f000;
const FUNCTIONS = 5;
const DEPTH = 3;

type Random = (limit: number) => number;

const temporaries = ["a0", "a1", "a2", "a3", "a4", "a5", "t0", "t1", "t2", "t3"];
const pointers = ["s0", "s1", "s2"];
const binaries = [
  "add",
  "sub",
  "xor",
  "or",
  "and",
  "sll",
  "srl",
  "sra",
  "slt",
  "sltu",
  "mul",
  "mulh",
  "mulhu",
];
const divisions = ["div", "divu", "rem", "remu", "mulhsu"];
const wideBinaries = ["addw", "subw", "sllw", "srlw", "sraw", "mulw", "divw", "remuw", "add.uw", "sh2add"];
const immediates = ["addi", "xori", "ori", "andi", "slti", "sltiu"];
const branches = ["beq", "bne", "blt", "bge", "bltu", "bgeu"];
const loads = ["lb", "lbu", "lh", "lhu", "lw"];
const stores = ["sb", "sh", "sw"];
const atomics = ["amoadd.w", "amoswap.w", "amomaxu.w", "amoxor.w"];

class Writer {
  private readonly lines: string[] = [];
  private labels = 0;

  constructor(
    private readonly xlen: 32 | 64,
    private readonly random: Random,
  ) {}

  program(): string {
    const wide = this.xlen === 64;
    this.line(
      ".option norvc",
      "j start",
      ".balign 8",
      "handler: csrrw t6, mscratch, t6",
      "csrr t6, mepc",
      "addi t6, t6, 4",
      "csrw mepc, t6",
      "csrrw t6, mscratch, t6",
      "mret",
      "start:",
    );
    // Each time around the pointers are elsewhere; some steps keep them aligned.
    this.line("forever:", `li sp, ${STACK}`, "addi s3, s3, 1");
    for (const pointer of pointers) {
      this.line(
        `li ${pointer}, ${this.pick([8, 24, 2040, 4096, 1001, 4])}`,
        `mul ${pointer}, ${pointer}, s3`,
      );
      this.line(
        "li t4, 0x5fff",
        `and ${pointer}, ${pointer}, t4`,
        `li t4, ${DATA}`,
        `add ${pointer}, ${pointer}, t4`,
      );
    }
    this.line("call f0", "j forever");
    for (let index = 0; index < FUNCTIONS; index++) {
      if (this.random(3) === 0) this.line(".balign 4096");
      this.line(`f${index}:`, "addi sp, sp, -16", wide ? "sd ra, 0(sp)" : "sw ra, 0(sp)");
      this.body(index, 0, 6 + this.random(6));
      this.line(wide ? "ld ra, 0(sp)" : "lw ra, 0(sp)", "addi sp, sp, 16", "ret");
    }
    return this.lines.join("\n");
  }

  private line(...lines: string[]): void {
    this.lines.push(...lines);
  }

  private pick<T>(list: readonly T[]): T {
    return list[this.random(list.length)]!;
  }

  private body(index: number, depth: number, statements: number): void {
    for (let at = 0; at < statements; at++) this.statement(index, depth);
  }

  private statement(index: number, depth: number): void {
    const { random } = this;
    const kind = random(24);
    const [a, b, c] = [this.pick(temporaries), this.pick(temporaries), this.pick(temporaries)];
    if (kind < 2 && depth < DEPTH) this.loop(index, depth);
    else if (kind < 4 && depth < DEPTH + 1) this.condition(index, depth, b, c);
    else if (kind < 6 && index + 1 < FUNCTIONS) {
      this.line(`call f${index + 1 + random(FUNCTIONS - index - 1)}`);
    } else if (kind < 12) this.access();
    else if (kind < 14) this.float();
    else if (kind < 15)
      this.line(`addi ${this.pick(pointers)}, ${this.pick(pointers)}, ${this.pick([8, 16, -8, 4, 64, 1])}`);
    else if (kind < 16) this.rare(a, b);
    else if (kind < 18) this.line(`${this.pick(immediates)} ${a}, ${b}, ${random(4096) - 2048}`);
    else if (kind < 19) this.line(`${this.pick(divisions)} ${a}, ${b}, ${c}`);
    else
      this.line(
        `${this.pick(this.xlen === 64 ? [...binaries, ...wideBinaries] : binaries)} ${a}, ${b}, ${c}`,
      );
  }

  private loop(index: number, depth: number): void {
    const label = `l${this.labels++}`;
    const counter = `s${4 + depth + 2 * (index % 2)}`;
    this.line(`li ${counter}, ${2 + this.random(depth === 0 ? 12 : 5)}`, `${label}:`);
    this.body(index, depth + 1, 1 + this.random(4));
    this.line(`addi ${counter}, ${counter}, -1`, `bgtz ${counter}, ${label}`);
  }

  private condition(index: number, depth: number, b: string, c: string): void {
    const label = this.labels++;
    this.line(`${this.pick(branches)} ${b}, ${c}, else${label}`);
    this.body(index, depth + 1, 1 + this.random(3));
    if (this.random(2) === 0) {
      this.line(`else${label}:`);
      return;
    }
    this.line(`j end${label}`, `else${label}:`);
    this.body(index, depth + 1, 1 + this.random(3));
    this.line(`end${label}:`);
  }

  /** One to four accesses off one pointer, near each other. */
  private access(): void {
    const { random } = this;
    const pointer = this.pick(pointers);
    const base = this.pick([0, 0, 8, 64, -16, 2040, -2048]);
    const wide = this.xlen === 64;
    for (let left = random(4); left >= 0; left--) {
      const offset = Math.max(-2048, Math.min(2047, base + (random(8) === 0 ? random(9) : 8 * random(4))));
      const value = this.pick(temporaries);
      const place = `${offset}(${pointer})`;
      const kind = random(8);
      if (kind < 3)
        this.line(`${this.pick(wide ? [...loads, "ld", "ld", "lwu"] : loads)} ${value}, ${place}`);
      else if (kind < 6)
        this.line(`${this.pick(wide ? [...stores, "sd", "sd"] : stores)} ${value}, ${place}`);
      else this.line(`${this.pick(["fld", "fsd", "flw", "fsw"])} f${random(8)}, ${place}`);
    }
  }

  private float(): void {
    const { random } = this;
    const f = () => `f${random(8)}`;
    const width = this.pick(["s", "d"]);
    const kind = random(10);
    if (kind < 4) this.line(`${this.pick(["fadd", "fsub", "fmul", "fdiv"])}.${width} ${f()}, ${f()}, ${f()}`);
    else if (kind < 6) this.line(`${this.pick(["fmadd", "fnmsub"])}.${width} ${f()}, ${f()}, ${f()}, ${f()}`);
    else if (kind < 7)
      this.line(`${this.pick(["feq", "flt"])}.${width} ${this.pick(temporaries)}, ${f()}, ${f()}`);
    else if (kind < 8)
      this.line(`fcvt.w.${width} ${this.pick(temporaries)}, ${f()}, ${this.pick(["rtz", "dyn"])}`);
    else if (kind < 9) this.line(`fcvt.${width}.w ${f()}, ${this.pick(temporaries)}`);
    else this.line(`${this.pick(["fmin", "fsgnjx", "fmax"])}.${width} ${f()}, ${f()}, ${f()}`);
  }

  private rare(a: string, b: string): void {
    const { random } = this;
    switch (random(9)) {
      case 0:
        return this.line(`csrr ${a}, minstret`);
      case 1:
        return this.line(`csrrw ${a}, frm, ${b}`);
      case 2:
        return this.line(`csrr ${a}, fcsr`);
      case 3:
        return this.line("fence.i");
      case 4:
        return this.line(`lr.w ${a}, (${this.pick(pointers)})`);
      case 5:
        return this.line(`sc.w ${a}, ${b}, (${this.pick(pointers)})`);
      case 6:
        return this.line("sfence.vma");
      case 7:
        return this.line(`csrw fflags, ${b}`);
      default:
        return this.line(`${this.pick(atomics)} ${a}, ${b}, (${this.pick(pointers)})`);
    }
  }
}

/** The source of a program, for the start of RAM. */
export const loopProgram = (xlen: 32 | 64, seed: number): string =>
  new Writer(xlen, generator(seed)).program();

const MTVEC = 0x305;
const SATP = 0x180;
const PMPCFG0 = 0x3a0;
const PMPADDR0 = 0x3b0;
const TABLES = 0x80060000;

/** Fills the data, and sets a program's mode: odd seeds run in S mode, under page tables with holes. */
export function prepareLoops(cpu: RiscvCpu, seed: number): void {
  const random = generator(seed + 5);
  const { guest } = cpu.options.memory;
  const { xlen } = cpu.options;
  guest.write(
    DATA,
    Uint8Array.from({ length: 0x5000 }, () => random(256)),
  );
  const set = (csr: number, lo: number, hi: number) => cpu.hart.csr.access(0, csr, lo, hi, true);
  set(MTVEC, 0x80000008 | 0, 0);
  if (seed % 2 === 0) return;
  const put = (gpa: number, entry: bigint) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, entry, true);
    guest.write(gpa, bytes.subarray(0, xlen / 8));
  };
  const entry = (gpa: number, flags: number) => (BigInt(gpa / 0x1000) << 10n) | BigInt(flags);
  const [bits, levels] = xlen === 64 ? [9, 3] : [10, 2];
  for (let level = levels - 1; level > 0; level--) {
    const index = Math.floor(0x80000000 / 0x1000 / 2 ** (level * bits)) % 2 ** bits;
    const table = TABLES + (levels - 1 - level) * 0x1000;
    put(table + (index * xlen) / 8, entry(table + 0x1000, 1));
  }
  for (let page = 0; page < 0x50; page++) {
    const data = page >= 0x40;
    const flags = !data ? 0xcf : random(6) === 0 ? 0 : random(5) === 0 ? 0x43 : random(3) === 0 ? 0x47 : 0xc7;
    put(
      TABLES + (levels - 1) * 0x1000 + (page * xlen) / 8,
      flags === 0 ? 0n : entry(0x80000000 + page * 0x1000, flags),
    );
  }
  set(PMPADDR0, -1, -1);
  set(PMPCFG0, 0x1f, 0);
  if (xlen === 64) set(SATP, TABLES / 0x1000, 8 << 28);
  else set(SATP, (1 << 31) | (TABLES / 0x1000), 0);
  cpu.hart.state.mode = 1;
  cpu.hart.selectTlbs();
}
