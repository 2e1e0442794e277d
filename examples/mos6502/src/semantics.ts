/**
 * What the 6502's operations mean, in IR.
 *
 * Registers are slots of 32 bits that hold 8-bit values. The flags N, V and Z are not computed: the slots `n` and `v`
 * hold a value whose bit 7 is the flag, `z` one that is zero if the flag is set. What a later instruction overwrites
 * unread, the translator's passes remove, and what it reads is one operation away. `c`, `d` and `i` are 0 or 1.
 *
 * What pushes two bytes pushes them at once, through a window in which the stack's page appears twice in a row: a push
 * at its lower end wraps around to its upper end.
 */
import type { Field, Helper, Target, Type, Value } from "@hyperfile/decoder";
import { BlockBuilder, stateShape } from "@hyperfile/decoder";

/** The stack's page, twice, as instructions that push two bytes see it. */
export const STACK_WINDOW = 0x20000;

/** Exception number of an opcode that locks the CPU up. */
export const JAM = 1;

/** The registers; see the module's comment. */
export const shape = stateShape(
  ["a", "x", "y", "s", "pc", "c", "z", "n", "v", "d", "i"].map((name) => ({ name, type: "i32", length: 1 })),
);

const helper = (name: string, writes: boolean, ...parameters: Type[]): Helper => ({
  name,
  parameters,
  result: null,
  effects: { reads: true, writes, exits: true },
});
/** BRK, all of it. */
const brk = helper("brk", true);
/** The end of RTI: control goes to its argument. */
const rti = helper("rti", true, "i32");
/** The interrupt mask was written by CLI, SEI or PLP. */
const masked = helper("masked", false);

/**
 * What some chips add to A in ANE and LXA, depending on their temperature: with all bits set the operations depend on A
 * least.
 */
const MAGIC = 0xff;

type Register = "a" | "x" | "y" | "s";

/** A builder of blocks that knows the registers. */
export class Cpu extends BlockBuilder {
  /** Bytes from the block's start to this instruction. */
  offset = 0;
  length = 0;

  /** @param decimal whether the flag D makes ADC and SBC work on decimal digits; the NES's chip has no such mode */
  constructor(private readonly decimal: boolean) {
    super(shape, "i32");
  }

  /** Starts an instruction. */
  begin(offset: number, length: number, cycles: number): void {
    this.offset = offset;
    this.length = length;
    this.insn(offset, length, cycles);
  }

  // -- shorthands

  readonly of = (name: string): Value => this.get(name);
  readonly to = (name: string, value: Value): void => this.set(name, 0, value);
  readonly and = (a: Value, mask: number): Value => this.binary("and", a, this.const32(mask));
  readonly add = (a: Value, constant: number): Value => this.binary("add", a, this.const32(constant));
  readonly byte = (a: Value): Value => this.and(a, 0xff);
  readonly left = (a: Value, by: number): Value => this.shift("shl", a, this.const32(by));
  readonly right = (a: Value, by: number): Value => this.shift("shru", a, this.const32(by));
  readonly or = (a: Value, b: Value): Value => this.binary("or", a, b);
  readonly isZero = (a: Value): Value => this.compare("eq", a, this.const32(0));
  readonly load8 = (address: Value): Value => this.load("i32", 8, address, false);
  /** Sets N and Z by a byte, and gives it. */
  flags(value: Value): Value {
    this.to("n", value);
    this.to("z", value);
    return value;
  }
  /** Writes a register, and N and Z. */
  readonly result = (register: Register, value: Value): void => this.to(register, this.flags(value));
  mask(value: 0 | 1): void {
    this.to("i", this.const32(value));
    this.call(masked, []);
  }

  // -- the stack

  push(value: Value): void {
    const s = this.of("s");
    this.to("s", this.byte(this.add(s, -1)));
    this.store(8, this.or(s, this.const32(0x100)), value);
  }
  pull(): Value {
    const s = this.byte(this.add(this.of("s"), 1));
    this.to("s", s);
    return this.load8(this.or(s, this.const32(0x100)));
  }
  /** The word of two bytes that are pulled. */
  pullWord(): Value {
    const low = this.pull();
    return this.or(low, this.left(this.pull(), 8));
  }
  /** P as it is pushed: with the bits that have no flag. */
  status(): Value {
    const bits = [
      this.and(this.of("n"), 0x80),
      this.right(this.and(this.of("v"), 0x80), 1),
      this.const32(0x30),
      this.left(this.of("d"), 3),
      this.left(this.of("i"), 2),
      this.left(this.isZero(this.of("z")), 1),
      this.of("c"),
    ];
    return bits.reduce((sum, bit) => this.or(sum, bit));
  }
  setStatus(p: Value): void {
    this.to("n", p);
    this.to("v", this.left(p, 1));
    this.to("d", this.and(this.right(p, 3), 1));
    this.to("i", this.and(this.right(p, 2), 1));
    this.to("z", this.binary("xor", this.and(p, 2), this.const32(2)));
    this.to("c", this.and(p, 1));
  }

  // -- arithmetic

  /** A + value + C, and the flags. */
  adc(value: Value): void {
    const a = this.of("a");
    const c = this.of("c");
    const sum = this.sum(a, value, c);
    const d = this.decimal ? this.of("d") : undefined;
    if (d === undefined) return this.binarySum(a, value, sum);
    // Bruce Clark, "Decimal Mode in NMOS 6500 series", sequence 1: N and V come from the sum before its last correction.
    const digits = this.sum(this.and(a, 0x0f), this.and(value, 0x0f), c);
    const low = this.select(
      this.compare("ge", digits, this.const32(10)),
      this.add(this.and(this.add(digits, 6), 0x0f), 0x10),
      digits,
    );
    const high = this.sum(this.and(a, 0xf0), this.and(value, 0xf0), low);
    const full = this.select(this.compare("ge", high, this.const32(0xa0)), this.add(high, 0x60), high);
    const either = (decimal: Value, binary: Value) => this.select(d, decimal, binary);
    this.to("z", this.byte(sum));
    this.to("n", either(high, sum));
    this.to("v", this.overflow(a, value, either(high, sum)));
    this.to("c", this.compare("ge", either(full, sum), this.const32(0x100)));
    this.to("a", this.byte(either(full, sum)));
  }

  /** A - value - (1 - C), and the flags, which are those of the binary difference. */
  sbc(value: Value): void {
    const a = this.of("a");
    const c = this.of("c");
    const complement = this.binary("xor", value, this.const32(0xff));
    this.binarySum(a, complement, this.sum(a, complement, c));
    if (!this.decimal) return;
    const difference = (mask: number) => this.binary("sub", this.and(a, mask), this.and(value, mask));
    const digits = this.binary("sub", this.binary("add", difference(0x0f), c), this.const32(1));
    const isNegative = (of: Value) => this.compare("lt", of, this.const32(0));
    const low = this.select(
      isNegative(digits),
      this.add(this.and(this.add(digits, -6), 0x0f), -0x10),
      digits,
    );
    const high = this.binary("add", difference(0xf0), low);
    const full = this.byte(this.select(isNegative(high), this.add(high, -0x60), high));
    this.to("a", this.select(this.of("d"), full, this.of("a")));
  }

  /** register - value: the flags only, but for what it gives. */
  cmp(register: Value, value: Value): Value {
    const difference = this.binary("sub", register, value);
    this.to("c", this.compare("geu", register, value));
    return this.flags(this.byte(difference));
  }

  private readonly sum = (a: Value, b: Value, c: Value): Value =>
    this.binary("add", this.binary("add", a, b), c);
  private readonly overflow = (a: Value, b: Value, sum: Value): Value =>
    this.binary("and", this.binary("xor", a, sum), this.binary("xor", b, sum));
  private binarySum(a: Value, b: Value, sum: Value): void {
    this.to("v", this.overflow(a, b, sum));
    this.to("c", this.right(sum, 8));
    this.result("a", this.byte(sum));
  }

  /** AND with A, then ROR, with C and V from the adder that the chip uses meanwhile. */
  arr(value: Value): void {
    const both = this.binary("and", this.of("a"), value);
    const c = this.of("c");
    const turned = this.or(this.right(both, 1), this.left(c, 7));
    this.flags(turned);
    if (!this.decimal) {
      this.to("c", this.and(this.right(turned, 6), 1));
      this.to("v", this.binary("xor", this.left(turned, 1), this.left(turned, 2)));
      return this.to("a", turned);
    }
    const d = this.of("d");
    // "No More Secrets", ARR: in decimal mode each digit is corrected if what went into the shift was 5 or more.
    const above = (mask: number, bit: number, limit: number) =>
      this.compare(
        "geu",
        this.binary("add", this.and(both, mask), this.and(both, bit)),
        this.const32(limit + 1),
      );
    const low = this.or(this.and(turned, 0xf0), this.and(this.add(turned, 6), 0x0f));
    const fixed = this.select(above(0x0f, 0x01, 5), low, turned);
    const carry = above(0xf0, 0x10, 0x50);
    const full = this.select(carry, this.byte(this.add(fixed, 0x60)), fixed);
    const plain = this.binary("xor", this.left(turned, 1), this.left(turned, 2));
    this.to("v", this.select(d, this.left(this.binary("xor", both, turned), 1), plain));
    this.to("c", this.select(d, carry, this.and(this.right(turned, 6), 1)));
    this.to("a", this.select(d, full, turned));
  }

  // -- control

  /** Branches where `condition` says so: a taken branch costs `extra` cycles. */
  branchTo(condition: Value, target: Target, extra: Field, next: Target): void {
    this.charge(this.select(condition, this.field(extra), this.const32(0)), 2);
    this.branch(condition, target, next);
  }
  jsr(target: Value): void {
    const s = this.of("s");
    this.to("s", this.byte(this.add(s, -2)));
    this.store(16, this.add(s, STACK_WINDOW + 0xff), this.add(this.pc(this.offset), 2));
    this.jumpIndirect(target, this.offset + 3);
  }
  /** Calls a helper that decides where to go on. */
  leaveBy(helper: Helper, ...args: Value[]): void {
    this.call(helper, args);
    this.leave();
  }
}

/** Where an operand is: its address, and what the addressing found on the way there. */
export interface Place {
  readonly address: Value;
  /** The address before it was indexed. */
  readonly base: Value;
}

/** Shifts of a byte: the new one; C is the bit that falls out. */
const shifts = {
  asl: (m: Cpu, value: Value) => {
    m.to("c", m.right(value, 7));
    return m.flags(m.byte(m.left(value, 1)));
  },
  lsr: (m: Cpu, value: Value) => {
    m.to("c", m.and(value, 1));
    return m.flags(m.right(value, 1));
  },
  rol: (m: Cpu, value: Value) => {
    const turned = m.byte(m.or(m.left(value, 1), m.of("c")));
    m.to("c", m.right(value, 7));
    return m.flags(turned);
  },
  ror: (m: Cpu, value: Value) => {
    const turned = m.or(m.right(value, 1), m.left(m.of("c"), 7));
    m.to("c", m.and(value, 1));
    return m.flags(turned);
  },
} as const;

const inc = (m: Cpu, value: Value): Value => m.flags(m.byte(m.add(value, 1)));
const dec = (m: Cpu, value: Value): Value => m.flags(m.byte(m.add(value, -1)));
const logic =
  (op: "and" | "or" | "xor") =>
  (m: Cpu, value: Value): void =>
    m.result("a", m.binary(op, m.of("a"), value));
const loads =
  (...registers: Register[]) =>
  (m: Cpu, value: Value): void => {
    for (const register of registers) m.result(register, value);
  };
const both = (m: Cpu): Value => m.binary("and", m.of("a"), m.of("x"));
/** An operation on memory, and then one with A on what it made. */
const then =
  (first: (m: Cpu, value: Value) => Value, second: (m: Cpu, value: Value) => void) =>
  (m: Cpu, value: Value): Value => {
    const made = first(m, value);
    second(m, made);
    return made;
  };
const adc = (m: Cpu, value: Value): void => m.adc(value);
const sbc = (m: Cpu, value: Value): void => m.sbc(value);
const compare = (register: Register) => (m: Cpu, value: Value) => void m.cmp(m.of(register), value);

/** Operations that read their operand. */
const reads: Readonly<Record<string, (m: Cpu, value: Value) => void>> = {
  adc,
  sbc,
  and: logic("and"),
  eor: logic("xor"),
  ora: logic("or"),
  lda: loads("a"),
  ldx: loads("x"),
  ldy: loads("y"),
  lax: loads("a", "x"),
  cmp: compare("a"),
  cpx: compare("x"),
  cpy: compare("y"),
  bit: (m, value) => {
    m.to("n", value);
    m.to("v", m.left(value, 1));
    m.to("z", m.binary("and", value, m.of("a")));
  },
  nop: () => {},
  alr: (m, value) => m.to("a", shifts.lsr(m, m.binary("and", m.of("a"), value))),
  anc: (m, value) => {
    logic("and")(m, value);
    m.to("c", m.right(m.of("a"), 7));
  },
  ane: (m, value) =>
    m.result("a", m.binary("and", m.binary("and", m.or(m.of("a"), m.const32(MAGIC)), m.of("x")), value)),
  arr: (m, value) => m.arr(value),
  las: (m, value) => loads("a", "x", "s")(m, m.binary("and", m.of("s"), value)),
  lxa: (m, value) => loads("a", "x")(m, m.binary("and", m.or(m.of("a"), m.const32(MAGIC)), value)),
  sbx: (m, value) => m.to("x", m.cmp(both(m), value)),
};

const stored = (register: Register) => (m: Cpu) => m.of(register);
/** Operations that store: what they store. */
const stores: Readonly<Record<string, (m: Cpu) => Value>> = {
  sta: stored("a"),
  stx: stored("x"),
  sty: stored("y"),
  sax: both,
  sha: both,
  shx: stored("x"),
  shy: stored("y"),
  tas: (m) => {
    m.to("s", both(m));
    return m.of("s");
  },
};

/** Stores whose value is masked by the high byte of the unindexed address plus 1, which also spoils the address. */
const unstable: ReadonlySet<string> = new Set(["sha", "shx", "shy", "tas"]);

/** Operations on memory: the new value. */
const modifies: Readonly<Record<string, (m: Cpu, value: Value) => Value>> = {
  ...shifts,
  inc,
  dec,
  dcp: then(dec, compare("a")),
  isc: then(inc, sbc),
  rla: then(shifts.rol, logic("and")),
  rra: then(shifts.ror, adc),
  slo: then(shifts.asl, logic("or")),
  sre: then(shifts.lsr, logic("xor")),
};

const onA = (shift: keyof typeof shifts) => (m: Cpu) => m.to("a", shifts[shift](m, m.of("a")));
const move = (from: Register, to: Register) => (m: Cpu) => m.result(to, m.of(from));

/** Operations without an operand. */
const implied: Readonly<Record<string, (m: Cpu) => void>> = {
  asl: onA("asl"),
  lsr: onA("lsr"),
  rol: onA("rol"),
  ror: onA("ror"),
  clc: (m) => m.to("c", m.const32(0)),
  cld: (m) => m.to("d", m.const32(0)),
  cli: (m) => m.mask(0),
  clv: (m) => m.to("v", m.const32(0)),
  sec: (m) => m.to("c", m.const32(1)),
  sed: (m) => m.to("d", m.const32(1)),
  sei: (m) => m.mask(1),
  dex: (m) => m.to("x", dec(m, m.of("x"))),
  dey: (m) => m.to("y", dec(m, m.of("y"))),
  inx: (m) => m.to("x", inc(m, m.of("x"))),
  iny: (m) => m.to("y", inc(m, m.of("y"))),
  nop: () => {},
  pha: (m) => m.push(m.of("a")),
  php: (m) => m.push(m.status()),
  pla: (m) => m.result("a", m.pull()),
  plp: (m) => {
    m.setStatus(m.pull());
    m.call(masked, []);
  },
  tax: move("a", "x"),
  tay: move("a", "y"),
  tsx: move("s", "x"),
  txa: move("x", "a"),
  tya: move("y", "a"),
  txs: (m) => m.to("s", m.of("x")),
  brk: (m) => m.leaveBy(brk),
  rti: (m) => {
    m.setStatus(m.pull());
    m.leaveBy(rti, m.pullWord());
  },
  rts: (m) => m.jumpIndirect(m.and(m.add(m.pullWord(), 1), 0xffff)),
  jam: (m) => m.trap(JAM, m.const32(0)),
};

/** When branches are taken. */
const conditions: Readonly<Record<string, (m: Cpu) => Value>> = {
  bcc: (m) => m.isZero(m.of("c")),
  bcs: (m) => m.of("c"),
  beq: (m) => m.isZero(m.of("z")),
  bne: (m) => m.compare("ne", m.of("z"), m.const32(0)),
  bmi: (m) => m.and(m.of("n"), 0x80),
  bpl: (m) => m.isZero(m.and(m.of("n"), 0x80)),
  bvs: (m) => m.and(m.of("v"), 0x80),
  bvc: (m) => m.isZero(m.and(m.of("v"), 0x80)),
};

/** What all operations do, by how they use their operand. */
export const operations = { reads, stores, unstable, modifies, implied, conditions } as const;
