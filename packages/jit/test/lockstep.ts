/**
 * Lockstep: two CPUs on memories of their own run the same program slice by slice, and every slice must leave the
 * same registers, program counter, CSRs and memory. Programs are generated: straight code with loops, calls, loads
 * and stores (aligned or not, across pages), atomics, floating point, CSR accesses, illegal patterns and stores
 * into their own code; a trap handler skips whatever faults and goes on. They run in M mode, or in S or U mode under
 * page tables whose data pages differ in permissions and in their A and D bits.
 */
import { type InstructionTable, type RiscvSemantics, riscvTable, type TableEntry } from "@hyperfile/decoder";
import { RiscvCpu, RiscvMode, riscvMemory } from "../src/arch/riscv/index.js";
import type { Tier } from "../src/index.js";
import type { MachineMemory } from "../src/memory/index.js";

/** Start of RAM and of the generated program. */
const RAM = 0x80000000;
const CODE_BYTES = 0x3000;
/** Offset of the program behind its trap handler. */
const START = 0x80;
const DATA = RAM + 0x8000;
const DATA_BYTES = 0x2000;
const RAM_BYTES = 0x20000;

/** Slices after which a run goes on elsewhere in its program. */
const SLICES_IN_PLACE = 2;
/** Page tables, and the bits of their entries. */
const TABLES = RAM + 0x10000;
const PAGE = 0x1000;
const VALID = 1;
const READ = 2;
const WRITE = 4;
const EXECUTE = 8;
const USER = 16;
const ACCESSED = 64;
const DIRTY = 128;

/** CSRs that a program in S or U mode needs set beforehand. */
const SATP = 0x180;
const PMPCFG0 = 0x3a0;
const PMPADDR0 = 0x3b0;
const NAPOT_ALL = 0x1f;

/** The modes that programs run in, in turn. */
const modes = [RiscvMode.machine, RiscvMode.supervisor, RiscvMode.user] as const;

/** Numbers from a seed: xorshift32. */
export function generator(seed: number): (limit: number) => number {
  let state = (Math.imul(seed + 1, 0x9e3779b1) | 1) >>> 0;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % limit;
  };
}

/** Instructions that would end or stall a program: they are tested by themselves. */
const excluded = new Set(["wfi", "mret", "sret", "ecall"]);

/** Encodes an instruction by its mnemonic and fields; fields left out are zero. */
export function encode(
  table: InstructionTable<RiscvSemantics>,
  name: string,
  fields: Record<string, number>,
): number {
  const { encoding } = table.entry(name).row;
  let bits = encoding.match;
  for (const field of encoding.fields) {
    for (const piece of field.pieces) {
      bits |= ((((fields[field.name] ?? 0) - field.bias) >>> piece.to) & (2 ** piece.width - 1)) << piece.at;
    }
  }
  return bits;
}

/** A random instance of a row: registers and immediates that make memory accesses land near the data. */
function randomInsn(entry: TableEntry<RiscvSemantics>, random: (limit: number) => number): number {
  let bits = entry.row.encoding.match;
  for (const field of entry.row.encoding.fields) {
    for (const piece of field.pieces) {
      let value = random(2 ** Math.min(piece.width, 30));
      // x28 to x31 hold data and code pointers: rarely a destination.
      if (field.name === "rd" && piece.width === 5 && value >= 28 && random(16) !== 0) value = random(28);
      bits |= value << piece.at;
    }
  }
  return bits;
}

/** A program's bytes. The handler comes first: it steps over the faulting instruction. */
export function randomProgram(xlen: 32 | 64, seed: number): Uint8Array {
  const random = generator(seed);
  const table = riscvTable(xlen);
  const insn = (name: string, fields: Record<string, number>) => encode(table, name, fields);
  const pick = (names: readonly string[]) => names[random(names.length)]!;
  /** Replaces the base register by one that points to data. */
  const dataPointer = (bits: number) => (bits & ~(31 << 15)) | ((28 + random(2)) << 15);
  const usable = table.entries.filter((entry) => !excluded.has(entry.mnemonic));
  const memory = usable.filter((entry) =>
    /^(lb|lh|lw|ld|lbu|lhu|lwu|sb|sh|sw|sd|fl[wd]|fs[wd])$/.test(entry.mnemonic),
  );
  const atomic = usable.filter((entry) => /^(amo|lr\.|sc\.)/.test(entry.mnemonic));
  const branches = ["beq", "bne", "blt", "bge", "bltu", "bgeu"];
  const bytes = new Uint8Array(CODE_BYTES);
  const view = new DataView(bytes.buffer);
  // The handler at 0: mscratch keeps x5. It steps over the faulting instruction: mepc + 4, aligned. Where fetching
  // faults there is nothing to step over, and it goes to one place or another among the first of the program.
  const [MSCRATCH, MEPC, MCAUSE, MTVEC, MINSTRET] = [0x340, 0x341, 0x342, 0x305, 0xb02];
  const handler = [
    insn("csrrw", { rd: 5, csr: MSCRATCH, rs1: 5 }),
    insn("csrrs", { rd: 5, csr: MCAUSE, rs1: 0 }),
    insn("addi", { rd: 5, rs1: 5, imm: -1 }),
    insn("beq", { rs1: 5, rs2: 0, imm: 36 }),
    insn("addi", { rd: 5, rs1: 5, imm: -11 }),
    insn("beq", { rs1: 5, rs2: 0, imm: 28 }),
    insn("csrrs", { rd: 5, csr: MEPC, rs1: 0 }),
    insn("addi", { rd: 5, rs1: 5, imm: 4 }),
    insn("andi", { rd: 5, rs1: 5, imm: -4 }),
    insn("csrrw", { rd: 0, csr: MEPC, rs1: 5 }),
    insn("csrrw", { rd: 5, csr: MSCRATCH, rs1: 5 }),
    insn("mret", {}),
    insn("csrrs", { rd: 5, csr: MINSTRET, rs1: 0 }),
    insn("andi", { rd: 5, rs1: 5, imm: 0x7c0 }),
    insn("ori", { rd: 5, rs1: 5, imm: START }),
    insn("csrrw", { rd: 0, csr: MEPC, rs1: 5 }),
    insn("csrrs", { rd: 5, csr: MTVEC, rs1: 0 }),
    insn("csrrs", { rd: 0, csr: MEPC, rs1: 5 }),
    insn("csrrw", { rd: 5, csr: MSCRATCH, rs1: 5 }),
    insn("mret", {}),
  ];
  let at = 0;
  const word = (bits: number) => {
    view.setInt32(at, bits, true);
    at += 4;
  };
  handler.forEach(word);
  at = START;
  while (at < CODE_BYTES - 8) {
    const kind = random(32);
    const remaining = CODE_BYTES - 8 - at;
    if (kind < 5) {
      // Forward branches mostly, a few short loops: budgets end those.
      const back = random(6) === 0 && at > 0x100;
      const distance = back
        ? -4 * (1 + random(16))
        : 4 * (1 + random(Math.max(1, Math.min(24, remaining >> 2))));
      word(insn(pick(branches), { rs1: random(32), rs2: random(32), imm: distance }));
    } else if (kind < 6)
      word(insn("jal", { rd: random(2), imm: 4 * (1 + random(Math.max(1, Math.min(30, remaining >> 2)))) }));
    else if (kind < 14) {
      const entry = memory[random(memory.length)]!;
      const bits = randomInsn(entry, random) & ~(31 << 15);
      word(bits | ((28 + random(3)) << 15));
    } else if (kind < 16) word(dataPointer(randomInsn(atomic[random(atomic.length)]!, random)));
    else if (kind < 17) word(insn("sw", { rs1: 31, rs2: random(32), imm: 4 * random(64) }));
    else if (kind < 18) word(random(0x40000000) * 4 + random(4));
    else if (kind < 20) {
      // Two compressed instructions keep the rest aligned to words.
      view.setUint16(at, random(0x10000), true);
      view.setUint16(at + 2, random(0x10000), true);
      at += 4;
    } else {
      const entry = usable[random(usable.length)]!;
      if (entry.row.encoding.length !== 4) continue;
      const bits = randomInsn(entry, random);
      word(atomic.includes(entry) ? dataPointer(bits) : bits);
    }
  }
  while (at < CODE_BYTES) word(insn("jal", { rd: 0, imm: START - at }));
  return bytes;
}

/** Entry of a data page: writable mostly, and readable but for a few that are not there. */
function dataEntry(random: (limit: number) => number): number {
  if (random(6) === 0) return 0;
  const used = (random(2) * ACCESSED) | (random(2) * DIRTY);
  return VALID | READ | (random(4) === 0 ? 0 : WRITE) | used | (random(8) === 0 ? USER : 0);
}

/**
 * Writes page tables that map the first 32 pages of RAM to themselves, in a scheme drawn at random; now and then as one
 * superpage. Gives the value of `satp` in halves.
 */
function pageTables(
  xlen: 32 | 64,
  { guest }: MachineMemory,
  mode: RiscvMode,
  random: (limit: number) => number,
): [lo: number, hi: number] {
  const indexBits = xlen === 32 ? 10 : 9;
  const levels = xlen === 32 ? 2 : 3 + random(3);
  const put = (table: number, index: number, gpa: number, flags: number) => {
    const entry = (BigInt(gpa / PAGE) << 10n) | BigInt(flags);
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, entry, true);
    guest.write(table + index * (xlen / 8), bytes.subarray(0, xlen / 8));
  };
  const user = mode === RiscvMode.user ? USER : 0;
  const everything = VALID | READ | WRITE | EXECUTE | user;
  let table = TABLES;
  for (let level = levels - 1; level > 0; level--) {
    const index = Math.floor(RAM / PAGE / 2 ** (level * indexBits)) % 2 ** indexBits;
    if (level === 1 && random(5) === 0) {
      put(table, index, RAM, everything);
      break;
    }
    put(table, index, table + PAGE, VALID);
    table += PAGE;
    if (level > 1) continue;
    for (let page = 0; page < 32; page++) {
      const code = page < CODE_BYTES / PAGE;
      const flags = code ? everything | (random(2) * ACCESSED) : dataEntry(random) ^ user;
      put(table, page, RAM + page * PAGE, (flags & VALID) === 0 ? 0 : flags);
    }
  }
  const scheme = xlen === 32 ? 1 : 5 + levels;
  const root = TABLES / PAGE;
  return xlen === 32 ? [(scheme << 31) | root, 0] : [root, scheme << 28];
}

/** A CPU's registers, program counter and CSRs as text: what must be equal after every slice. */
export function snapshot(cpu: RiscvCpu): string {
  const { i32 } = cpu.options.memory.memory;
  const from = 0x100 >> 2;
  const state = i32.subarray(from, from + (cpu.frontEnd.shape.size >> 2));
  const { wide: _, ...rest } = cpu.hart.state;
  const registers = Array.from(state, (word) => (word >>> 0).toString(16));
  // Element 32 of x takes an interpreter's writes to x0; translations drop them.
  const words = cpu.options.xlen === 64 ? 2 : 1;
  registers.splice(32 * words, words);
  return `${registers.join(" ")} ${Array.from(cpu.hart.state.wide).join(" ")} ${JSON.stringify(rest)}`;
}

/** Makes a CPU with a program in place and registers filled from the seed, in the mode of the seed's turn. */
export function lockstepCpu(
  xlen: 32 | 64,
  program: Uint8Array,
  seed: number,
  options: Partial<RiscvCpu["options"]>,
): RiscvCpu {
  const random = generator(seed + 77);
  const memory = riscvMemory({ ramBytes: RAM_BYTES, codePages: 32 });
  memory.guest.write(RAM, program);
  const data = Uint8Array.from({ length: DATA_BYTES }, () => random(256));
  memory.guest.write(DATA, data);
  const cpu: RiscvCpu = new RiscvCpu({
    xlen,
    memory,
    bus: { read: () => undefined, write: () => false },
    clock: { now: () => Math.floor(cpu.retired() / 10) },
    verify: "all",
    ...options,
  });
  cpu.start({ pcLo: (RAM + START) | 0, pcHi: 0, mode: 3, args: [] });
  cpu.hart.state.wide[0] = RAM | 0;
  const mode = modes[seed % modes.length]!;
  if (mode !== RiscvMode.machine) {
    const set = (csr: number, lo: number, hi: number) => cpu.hart.csr.access(0, csr, lo, hi, true);
    set(PMPADDR0, -1, -1);
    set(PMPCFG0, NAPOT_ALL, 0);
    set(SATP, ...pageTables(xlen, memory, mode, random));
    cpu.hart.state.mode = mode;
    cpu.hart.selectTlbs();
  }
  for (let register = 1; register < 28; register++) {
    const small = random(2) === 0;
    cpu.hart.writeX(
      register,
      small ? random(64) : random(0x40000000) * 4,
      small ? 0 : random(0x40000000) * 4,
    );
  }
  restart(cpu, START, random(32));
  memory.memory.i32[(0x100 + cpu.frontEnd.shape.slots.get("fs")!.offset) >> 2] = 3;
  return cpu;
}

/** Puts a CPU at a place of its program, with pointers to data and code: programs run into small endless loops. */
function restart(cpu: RiscvCpu, offset: number, skew: number): void {
  cpu.hart.setPc((RAM + offset) | 0, 0);
  cpu.hart.writeX(28, (DATA + 0x800) | 0, 0);
  cpu.hart.writeX(29, (DATA + 0x1000 - 16 + skew) | 0, 0);
  cpu.hart.writeX(30, (DATA + 0x400 + (skew & 7)) | 0, 0);
  cpu.hart.writeX(31, (RAM + 0x400) | 0, 0);
}

/** How a run went. */
export interface LockstepResult {
  /** Walks of page tables. */
  readonly walks: number;
  /** Instructions that both retired. */
  readonly instructions: number;
  /** Instructions that ran as translations. */
  readonly translated: number;
  /** Exceptions taken. */
  readonly exceptions: number;
  /**
   * Whether the run ended early because an atomic access changed code that was being run. Translations see that at
   * the latest at their end, the interpreter at once; both are right before a `fence.i` (unprivileged manual,
   * chapter "Zifencei").
   */
  readonly ambiguous: boolean;
  /** The first slice after which the two differ, with both states; undefined if none. */
  readonly divergence: string | undefined;
}

/** How the second CPU of a run works. */
export interface LockstepOptions {
  readonly tier: Tier;
  /** Arrivals at a jump target before it is translated; 2 if not given, so that most code is. */
  readonly hotThreshold?: number;
  readonly chain?: boolean;
  readonly background?: boolean;
  readonly regions?: number;
}

/** Runs one program in the interpreter and in another tier, `slices` slices of `slice` instructions. */
export function lockstep(
  xlen: 32 | 64,
  seed: number,
  slices: number,
  slice: number,
  options: LockstepOptions,
): LockstepResult {
  const run = lockstepRun(xlen, seed, slices, slice, options);
  for (;;) {
    const { done, value } = run.next();
    if (done === true) return value;
  }
}

/** {@link lockstep} with a visit to the host's event loop after each slice: regions come from the background. */
export async function lockstepInBackground(
  xlen: 32 | 64,
  seed: number,
  slices: number,
  slice: number,
  options: LockstepOptions,
): Promise<LockstepResult> {
  const run = lockstepRun(xlen, seed, slices, slice, { ...options, background: true });
  for (;;) {
    const { done, value } = run.next();
    if (done === true) return value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function* lockstepRun(
  xlen: 32 | 64,
  seed: number,
  slices: number,
  slice: number,
  options: LockstepOptions,
): Generator<undefined, LockstepResult> {
  const program = randomProgram(xlen, seed);
  const random = generator(seed + 99);
  const left = lockstepCpu(xlen, program, seed, { tier: "interpreter", verify: "off" });
  const right = lockstepCpu(xlen, program, seed, { hotThreshold: 2, ...options });
  const before = { ...left.hart.counters };
  let ambiguous = false;
  const { engine } = right;
  const invalidate = engine.invalidate.bind(engine);
  engine.invalidate = (gpa, length, leavesBlock = false, ...rest) => {
    const dropped = invalidate(gpa, length, leavesBlock, ...rest);
    ambiguous ||= dropped && !leavesBlock;
    return dropped;
  };
  let divergence: string | undefined;
  for (let at = 0; at < slices; at++) {
    const state = snapshot(left);
    const start = left.hart.pcLow;
    const ends = [left.run(slice), right.run(slice)];
    let [a, b] = [snapshot(left), snapshot(right)];
    if (a !== b) {
      // An exception retires nothing, so a slice may end before it or after it: one more instruction settles that.
      left.run(1);
      right.run(1);
      [a, b] = [snapshot(left), snapshot(right)];
    }
    if (ambiguous) break;
    if (a !== b || ends[0] !== ends[1]) {
      divergence = `xlen ${xlen} seed ${seed} slice ${at} from pc 0x${(start >>> 0).toString(16)}\nbefore ${state}\ninterpreter ${a}\ntranslated ${b}`;
      break;
    }
    yield;
    if (left.engine.stuck || right.engine.stuck) break;
    if (at % SLICES_IN_PLACE !== 0) continue;
    const [offset, skew] = [START + 4 * random((CODE_BYTES - START) / 4), random(32)];
    restart(left, offset, skew);
    restart(right, offset, skew);
  }
  const bytes = [left, right].map((cpu) => {
    const all = new Uint8Array(RAM_BYTES);
    cpu.options.memory.guest.read(RAM, all);
    return all;
  });
  const place = bytes[0]!.findIndex((byte, index) => byte !== bytes[1]![index]);
  if (place >= 0 && !ambiguous)
    divergence ??= `xlen ${xlen} seed ${seed}: memory differs at 0x${(RAM + place).toString(16)}`;
  const { translationsFailed } = right.engine.counters;
  if (translationsFailed > 0)
    divergence ??= `xlen ${xlen} seed ${seed}: the host refused ${translationsFailed} translations`;
  return {
    instructions: left.retired(),
    translated: right.engine.counters.translated,
    exceptions: left.hart.counters.exceptions - before.exceptions,
    walks: left.hart.counters.pageWalks - before.pageWalks,
    ambiguous,
    divergence,
  };
}
