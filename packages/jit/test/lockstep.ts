/**
 * Lockstep: two CPUs on memories of their own run the same program slice by slice, and every slice must leave the
 * same registers, program counter, CSRs and memory. Programs are generated: straight code with loops, calls, loads
 * and stores (aligned or not, across pages), atomics, floating point, CSR accesses, illegal patterns and stores
 * into their own code; a trap handler skips whatever faults and goes on.
 */
import { type InstructionTable, type RiscvSemantics, riscvTable, type TableEntry } from "@hyperfile/decoder";
import { RiscvCpu, riscvMemory } from "../src/index.js";

/** Start of RAM and of the generated program. */
const RAM = 0x80000000;
const CODE_BYTES = 0x3000;
const DATA = RAM + 0x8000;
const DATA_BYTES = 0x2000;
const RAM_BYTES = 0x20000;

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
  const usable = table.entries.filter((entry) => !excluded.has(entry.mnemonic));
  const memory = usable.filter((entry) =>
    /^(lb|lh|lw|ld|lbu|lhu|lwu|sb|sh|sw|sd|fl[wd]|fs[wd])$/.test(entry.mnemonic),
  );
  const atomic = usable.filter((entry) => /^(amo|lr\.|sc\.)/.test(entry.mnemonic));
  const branches = ["beq", "bne", "blt", "bge", "bltu", "bgeu"];
  const bytes = new Uint8Array(CODE_BYTES);
  const view = new DataView(bytes.buffer);
  // The handler at 0: mscratch keeps x5; mepc += 4 or 2, told from the low bits of the instruction where it can be
  // read, else 4.
  const handler = [
    insn("csrrw", { rd: 5, csr: 0x340, rs1: 5 }),
    insn("csrrs", { rd: 5, csr: 0x341, rs1: 0 }),
    insn("addi", { rd: 5, rs1: 5, imm: 4 }),
    insn("andi", { rd: 5, rs1: 5, imm: -4 }),
    insn("csrrw", { rd: 0, csr: 0x341, rs1: 5 }),
    insn("csrrw", { rd: 5, csr: 0x340, rs1: 5 }),
    insn("mret", {}),
  ];
  let at = 0;
  const word = (bits: number) => {
    view.setInt32(at, bits, true);
    at += 4;
  };
  handler.forEach(word);
  at = 0x40;
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
    } else if (kind < 16)
      word((randomInsn(atomic[random(atomic.length)]!, random) & ~(31 << 15)) | ((28 + random(2)) << 15));
    else if (kind < 17) word(insn("sw", { rs1: 31, rs2: random(32), imm: 4 * random(64) }));
    else if (kind < 18) word(random(0x40000000) * 4 + random(4));
    else if (kind < 20) {
      // Two compressed instructions keep the rest aligned to words.
      view.setUint16(at, random(0x10000), true);
      view.setUint16(at + 2, random(0x10000), true);
      at += 4;
    } else {
      const entry = usable[random(usable.length)]!;
      if (entry.row.encoding.length === 4) word(randomInsn(entry, random));
    }
  }
  while (at < CODE_BYTES) word(insn("jal", { rd: 0, imm: 0x40 - at }));
  return bytes;
}

/** What must be equal after every slice. */
function snapshot(cpu: RiscvCpu): string {
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

/** Makes a CPU with a program in place and registers filled from the seed. */
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
  cpu.start({ pcLo: (RAM + 0x40) | 0, pcHi: 0, mode: 3, args: [] });
  cpu.hart.state.wide[0] = RAM | 0;
  cpu.hart.state.status |= 0;
  for (let register = 1; register < 28; register++) {
    const small = random(2) === 0;
    cpu.hart.writeX(
      register,
      small ? random(64) : random(0x40000000) * 4,
      small ? 0 : random(0x40000000) * 4,
    );
  }
  cpu.hart.writeX(28, (DATA + 0x800) | 0, 0);
  cpu.hart.writeX(29, (DATA + 0x1000 - 16 + random(32)) | 0, 0);
  cpu.hart.writeX(30, (DATA + 0x400 + random(8)) | 0, 0);
  cpu.hart.writeX(31, (RAM + 0x400) | 0, 0);
  memory.memory.i32[(0x100 + cpu.frontEnd.shape.slots.get("fs")!.offset) >> 2] = 3;
  return cpu;
}

/** How a run went. */
export interface LockstepResult {
  /** Instructions that both retired. */
  readonly instructions: number;
  /** Instructions that ran as translations. */
  readonly translated: number;
  /** Exceptions taken. */
  readonly exceptions: number;
  /** The first slice after which the two differ, with both states; undefined if none. */
  readonly divergence: string | undefined;
}

/** Runs one program in the interpreter and in translations, `slices` slices of `slice` instructions. */
export function lockstep(xlen: 32 | 64, seed: number, slices: number, slice: number): LockstepResult {
  const program = randomProgram(xlen, seed);
  const left = lockstepCpu(xlen, program, seed, { tier: "interpreter" });
  const right = lockstepCpu(xlen, program, seed, { tier: "js", hotThreshold: 2 });
  let divergence: string | undefined;
  for (let at = 0; at < slices && divergence === undefined; at++) {
    const before = snapshot(left);
    const start = left.hart.pcLow;
    const ends = [left.run(slice), right.run(slice)];
    const [a, b] = [snapshot(left), snapshot(right)];
    if (a !== b || ends[0] !== ends[1]) {
      divergence = `xlen ${xlen} seed ${seed} slice ${at} from pc 0x${(start >>> 0).toString(16)}\nbefore ${before}\ninterpreter ${a}\ntranslated ${b}`;
    }
    if (left.engine.stuck || right.engine.stuck) break;
  }
  const bytes = [left, right].map((cpu) => {
    const all = new Uint8Array(RAM_BYTES);
    cpu.options.memory.guest.read(RAM, all);
    return all;
  });
  const place = bytes[0]!.findIndex((byte, index) => byte !== bytes[1]![index]);
  if (place >= 0)
    divergence ??= `xlen ${xlen} seed ${seed}: memory differs at 0x${(RAM + place).toString(16)}`;
  return {
    instructions: left.retired(),
    translated: right.engine.counters.translated,
    exceptions: left.hart.counters.exceptions,
    divergence,
  };
}
