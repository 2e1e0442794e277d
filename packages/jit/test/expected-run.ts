/**
 * Programs whose every register, count and device access is known without a CPU: the test makes a list of operations,
 * writes it as RISC-V instructions and carries it out itself, on plain numbers. What the list exercises is where
 * instructions are counted: reads of counters and device accesses whose instruction lies in two pages, or whose bytes do,
 * among code of both lengths, in loops that become regions.
 *
 * The program is a ring: a chain of blocks, each in a page of its own or across two, that ends where it begins. A block
 * is a counted loop around its operations.
 */
import { assemble } from "@hyperfile/decoder";
import { RiscvCpu, riscvMemory } from "../src/arch/riscv/index.js";
import type { Tier } from "../src/index.js";
import { generator } from "./lockstep.js";

const RAM = 0x80000000;
const RAM_BYTES = 0x40000;
const PAGE = 0x1000;
const DATA = RAM + 0x20000;
/** The bus has a page of registers here, and the one after it. */
const DEVICE = 0x10000000;
const BLOCKS = 6;

/** Registers that operations compute with: a0 to a5. */
const FIRST = 10;
const COUNT = 6;
/** Loop counter, pointers to RAM, to the device, and to the last bytes of the device's first page. */
const [COUNTER, DATA_POINTER, DEVICE_POINTER, EDGE_POINTER] = [9, 18, 19, 20];
const nameOf = (register: number): string => `x${register}`;

/** An operation, as text for the assembler and as what it does. */
interface Operation {
  readonly text: string;
  /** Bytes of its instruction. */
  readonly length: 2 | 4;
  readonly run: (machine: Expectation) => void;
  /** Whether it looks at how many instructions have retired. */
  readonly looks?: boolean;
}

/** An operation at its place. */
interface Step {
  readonly address: number;
  readonly run: (machine: Expectation) => void;
}

/** A device access: what the bus saw, and how many instructions had retired then. */
export type Access = readonly [kind: string, address: number, size: number, value: number, retired: number];

/** What the device answers: it depends on the place, the size and the time. */
const answerOf = (address: number, size: number, retired: number): number => {
  const mixed = Math.imul(address ^ (retired * 0x9e37), 0x85ebca6b) ^ size;
  return size === 4 ? mixed | 0 : mixed & (2 ** (8 * size) - 1);
};

/** The registers, memory and device accesses as they must be, from the operations alone. */
export class Expectation {
  readonly x: bigint[] = new Array(32).fill(0n);
  retired = 0;
  /** Index of the next step. */
  at = 0;
  readonly memory = new DataView(new ArrayBuffer(PAGE));
  readonly accesses: Access[] = [];

  constructor(
    readonly steps: readonly Step[],
    private readonly xlen: 32 | 64,
  ) {}

  set(register: number, value: bigint): void {
    this.x[register] = BigInt.asUintN(this.xlen, value);
  }

  /** Reads the device as the bus is asked: in aligned pieces of at most four bytes, of which it takes no more at once. */
  readDevice(address: number, size: number): bigint {
    let value = 0n;
    for (let at = 0; at < size; ) {
      const piece = pieceAt(address + at, size - at);
      const part = answerOf(address + at, piece, this.retired);
      this.accesses.push(["read", address + at, piece, part, this.retired]);
      value |= BigInt.asUintN(8 * piece, BigInt(part)) << BigInt(8 * at);
      at += piece;
    }
    return BigInt.asIntN(8 * size, value);
  }

  writeDevice(address: number, size: number, value: bigint): void {
    for (let at = 0; at < size; ) {
      const piece = pieceAt(address + at, size - at);
      const part = BigInt.asUintN(8 * piece, value >> BigInt(8 * at));
      this.accesses.push(["write", address + at, piece, Number(part) | 0, this.retired]);
      at += piece;
    }
  }

  /** Carries out instructions. */
  run(instructions: number): void {
    for (let left = instructions; left > 0; left--) {
      const step = this.steps[this.at]!;
      this.at = (this.at + 1) % this.steps.length;
      step.run(this);
      this.retired++;
    }
  }
}

/** Bytes of the largest aligned piece at an address: a bus takes 1, 2 or 4. */
const pieceAt = (address: number, bytes: number): number => {
  if (address % 2 !== 0 || bytes < 2) return 1;
  return address % 4 !== 0 || bytes < 4 ? 2 : 4;
};

/** A random operation on the registers, or one that looks at the time. */
function randomOperation(random: (limit: number) => number, xlen: 32 | 64): Operation {
  const register = () => FIRST + random(COUNT);
  const [rd, rs1, rs2] = [register(), register(), register()];
  const binary = (name: string, run: (a: bigint, b: bigint) => bigint): Operation => ({
    text: `${name} ${nameOf(rd)}, ${nameOf(rs1)}, ${nameOf(rs2)}`,
    length: 4,
    run: (m) => m.set(rd, run(m.x[rs1]!, m.x[rs2]!)),
  });
  switch (random(13)) {
    case 0:
      return binary("add", (a, b) => a + b);
    case 1:
      return binary("xor", (a, b) => a ^ b);
    case 2:
      return binary("sub", (a, b) => a - b);
    case 3:
      return binary("mul", (a, b) => a * b);
    case 4: {
      const imm = random(31) + 1;
      return {
        text: `.option rvc\nc.addi ${nameOf(rd)}, ${imm}\n.option norvc`,
        length: 2,
        run: (m) => m.set(rd, m.x[rd]! + BigInt(imm)),
      };
    }
    case 5:
      return {
        text: `.option rvc\nc.mv ${nameOf(rd)}, ${nameOf(rs1)}\n.option norvc`,
        length: 2,
        run: (m) => m.set(rd, m.x[rs1]!),
      };
    case 6: {
      const offset = 4 * random(256);
      return {
        text: `sw ${nameOf(rs1)}, ${offset}(${nameOf(DATA_POINTER)})`,
        length: 4,
        run: (m) => m.memory.setUint32(offset, Number(BigInt.asUintN(32, m.x[rs1]!)), true),
      };
    }
    case 7: {
      const offset = random(1000);
      return {
        text: `lw ${nameOf(rd)}, ${offset}(${nameOf(DATA_POINTER)})`,
        length: 4,
        run: (m) => m.set(rd, BigInt(m.memory.getInt32(offset, true))),
      };
    }
    case 8:
    case 9: {
      const counter = ["minstret", "mcycle", "instret", "cycle", "time"][random(5)]!;
      return {
        text: `csrr ${nameOf(rd)}, ${counter}`,
        length: 4,
        looks: true,
        run: (m) => m.set(rd, BigInt(m.retired)),
      };
    }
    case 10: {
      // At the edge, the bytes of the access lie in two pages, too.
      const [pointer, base] = random(2) === 0 ? [DEVICE_POINTER, DEVICE] : [EDGE_POINTER, DEVICE + PAGE - 8];
      const offset = pointer === EDGE_POINTER ? 1 + random(10) : 4 * random(64);
      const isWide = xlen === 64 && random(2) === 0;
      return {
        text: `${isWide ? "ld" : "lw"} ${nameOf(rd)}, ${offset}(${nameOf(pointer)})`,
        length: 4,
        looks: true,
        run: (m) => m.set(rd, m.readDevice(base + offset, isWide ? 8 : 4)),
      };
    }
    case 11: {
      const [pointer, base] = random(2) === 0 ? [DEVICE_POINTER, DEVICE] : [EDGE_POINTER, DEVICE + PAGE - 8];
      const [name, size] = (
        [
          ["sw", 4],
          ["sh", 2],
          ["sb", 1],
          ["sd", 8],
        ] as const
      )[random(xlen === 64 ? 4 : 3)]!;
      const offset = pointer === EDGE_POINTER ? 1 + random(10) : 4 * random(64);
      return {
        text: `${name} ${nameOf(rs1)}, ${offset}(${nameOf(pointer)})`,
        length: 4,
        looks: true,
        run: (m) => m.writeDevice(base + offset, size, m.x[rs1]!),
      };
    }
    default:
      return {
        text: `sltu ${nameOf(rd)}, ${nameOf(rs1)}, ${nameOf(rs2)}`,
        length: 4,
        run: (m) => m.set(rd, m.x[rs1]! < m.x[rs2]! ? 1n : 0n),
      };
  }
}

/** A program, and what it does. */
export interface ExpectedProgram {
  readonly source: string;
  readonly expectation: Expectation;
}

/** Makes a program from a seed. In each block an instruction that looks at the time lies in two pages. */
export function expectedProgram(xlen: 32 | 64, seed: number): ExpectedProgram {
  const random = generator(seed + 13);
  const lines: string[] = [".option norvc"];
  const steps: Step[] = [];
  for (let block = 0; block < BLOCKS; block++) {
    const times = 3 + random(40);
    const body = Array.from({ length: 4 + random(8) }, () => randomOperation(random, xlen));
    let straddler = randomOperation(random, xlen);
    while (straddler.looks !== true) straddler = randomOperation(random, xlen);
    const position = random(body.length + 1);
    const before = body.slice(0, position).reduce((sum, { length }) => sum + length, 4);
    body.splice(position, 0, straddler);
    let offset = (block + 2) * PAGE - 2 - before;
    const first = steps.length + 1;
    const add = ({ text, length, run }: Operation) => {
      lines.push(text);
      steps.push({ address: RAM + offset, run });
      offset += length;
    };
    const counter = nameOf(COUNTER);
    lines.push(`.org ${offset}`, `b${block}:`);
    add({
      text: `addi ${counter}, x0, ${times}\nl${block}:`,
      length: 4,
      run: (m) => m.set(COUNTER, BigInt(times)),
    });
    body.forEach(add);
    add({
      text: `addi ${counter}, ${counter}, -1`,
      length: 4,
      run: (m) => m.set(COUNTER, m.x[COUNTER]! - 1n),
    });
    add({
      text: `bne ${counter}, x0, l${block}`,
      length: 4,
      run: (m) => {
        if (m.x[COUNTER] !== 0n) m.at = first;
      },
    });
    add({ text: `j b${(block + 1) % BLOCKS}`, length: 4, run: () => {} });
  }
  return { source: lines.join("\n"), expectation: new Expectation(steps, xlen) };
}

/** A CPU with the program in place, and the accesses that its device has seen. */
export function expectedCpu(
  xlen: 32 | 64,
  { source, expectation }: ExpectedProgram,
  seed: number,
  tier: Tier,
): { readonly cpu: RiscvCpu; readonly accesses: Access[] } {
  const random = generator(seed + 29);
  const memory = riscvMemory({ ramBytes: RAM_BYTES, codePages: 16 });
  memory.guest.write(RAM, assemble(source, { xlen, origin: RAM }).bytes);
  const accesses: Access[] = [];
  const inside = (gpa: number) => gpa >= DEVICE && gpa < DEVICE + 2 * PAGE;
  const cpu: RiscvCpu = new RiscvCpu({
    xlen,
    memory,
    bus: {
      read: (gpa, size) => {
        if (!inside(gpa)) return undefined;
        const value = answerOf(gpa, size, cpu.retired());
        accesses.push(["read", gpa, size, value, cpu.retired()]);
        return value;
      },
      write: (gpa, size, value) => {
        if (!inside(gpa)) return false;
        accesses.push(["write", gpa, size, value | 0, cpu.retired()]);
        return true;
      },
    },
    // Time is what has retired: so `time` is exact where counters are.
    clock: { now: () => cpu.retired() },
    tier,
    verify: "all",
    hotThreshold: 20,
  });
  cpu.start({ pcLo: expectation.steps[0]!.address | 0, pcHi: 0, mode: 3, args: [] });
  const write = (register: number, value: bigint) => {
    expectation.set(register, value);
    const high = xlen === 64 ? Number(BigInt.asIntN(32, value >> 32n)) : 0;
    cpu.hart.writeX(register, Number(BigInt.asIntN(32, value)), high);
  };
  for (let register = FIRST; register < FIRST + COUNT; register++)
    write(register, BigInt(random(0x40000000)) * 0x12345n);
  write(DATA_POINTER, BigInt(DATA));
  write(DEVICE_POINTER, BigInt(DEVICE));
  write(EDGE_POINTER, BigInt(DEVICE + PAGE - 8));
  return { cpu, accesses };
}
