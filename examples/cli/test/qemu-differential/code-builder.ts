/**
 * Machine code with labels: instructions by their rows' names and fields, into a growing buffer at a fixed address.
 * Deliberately small: what generated programs need to place their own instructions exactly where they want them.
 */
import { encode, type InstructionTable, type RiscvSemantics, riscvTable } from "@hyperfile/decoder";

/** Registers by number, under the names that the runtime's code uses. */
export const X = { zero: 0, ra: 1, sp: 2, gp: 3, tp: 4, t0: 5, t1: 6, t2: 7, s0: 8, s1: 9, a0: 10, a1: 11 };

/** Rows whose names tell the two register widths apart. */
const shiftNames = new Set(["slli", "srli", "srai", "rori", "bclri", "bexti", "binvi", "bseti"]);

/** A reference to a label, to be filled in. */
interface Fixup {
  readonly at: number;
  readonly name: string;
  readonly fields: Readonly<Record<string, number>>;
  readonly label: string;
}

/** Code under construction. */
export class CodeBuilder {
  readonly table: InstructionTable<RiscvSemantics>;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly labels = new Map<string, number>();
  private readonly fixups: Fixup[] = [];
  /** Offset of the next instruction. */
  at = 0;

  /**
   * @param xlen width of the registers
   * @param origin address of the first byte
   * @param capacity bytes that there is room for
   */
  constructor(
    readonly xlen: 32 | 64,
    readonly origin: number,
    capacity: number,
  ) {
    this.table = riscvTable(xlen);
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
  }

  /** The bits of an instruction. */
  bits(name: string, fields: Readonly<Record<string, number>> = {}): number {
    const row = this.xlen === 32 && shiftNames.has(name) ? `${name}32` : name;
    return encode(this.table.entry(row).row.encoding, fields);
  }

  /** Appends an instruction. */
  emit(name: string, fields: Readonly<Record<string, number>> = {}): this {
    return this.word(this.bits(name, fields));
  }

  /** Appends 32 bits. */
  word(bits: number): this {
    this.half(bits & 0xffff);
    return this.half(bits >>> 16);
  }

  /** Appends 16 bits. */
  half(bits: number): this {
    this.view.setUint16(this.at, bits, true);
    this.at += 2;
    return this;
  }

  /** Names the next instruction. */
  label(name: string): this {
    this.labels.set(name, this.at);
    return this;
  }

  /** Address of a label. */
  address(name: string): number {
    const offset = this.labels.get(name);
    if (offset === undefined) throw new Error(`there is no label ${name}`);
    return this.origin + offset;
  }

  /** Appends a branch or `jal` to a label. */
  jump(name: string, label: string, fields: Readonly<Record<string, number>> = {}): this {
    this.fixups.push({ at: this.at, name, fields, label });
    return this.word(0);
  }

  /** Loads a 32-bit number, sign-extended. */
  li(rd: number, value: number): this {
    const low = (value << 20) >> 20;
    const high = (value - low) | 0;
    if (high === 0) return this.emit("addi", { rd, rs1: 0, imm: low });
    this.emit("lui", { rd, imm: high });
    return low === 0 ? this : this.emit(this.xlen === 64 ? "addiw" : "addi", { rd, rs1: rd, imm: low });
  }

  /** Loads an address in the program by its distance from here. */
  la(rd: number, address: number): this {
    const distance = address - (this.origin + this.at);
    const low = (distance << 20) >> 20;
    this.emit("auipc", { rd, imm: (distance - low) | 0 });
    return this.emit("addi", { rd, rs1: rd, imm: low });
  }

  /** Loads or stores a whole integer register. */
  loadX(rd: number, rs1: number, imm: number): this {
    return this.emit(this.xlen === 64 ? "ld" : "lw", { rd, rs1, imm });
  }
  storeX(rs2: number, rs1: number, imm: number): this {
    return this.emit(this.xlen === 64 ? "sd" : "sw", { rs2, rs1, imm });
  }

  /** `csrrw`, `csrrs` and `csrrc` without an old value, and a plain read. */
  csrw(csr: number, rs1: number): this {
    return this.emit("csrrw", { rd: 0, csr, rs1 });
  }
  csrs(csr: number, rs1: number): this {
    return this.emit("csrrs", { rd: 0, csr, rs1 });
  }
  csrc(csr: number, rs1: number): this {
    return this.emit("csrrc", { rd: 0, csr, rs1 });
  }
  csrr(rd: number, csr: number): this {
    return this.emit("csrrs", { rd, csr, rs1: 0 });
  }

  /** The finished code, with all labels resolved. */
  finish(): Uint8Array {
    for (const { at, name, fields, label } of this.fixups) {
      const imm = this.address(label) - (this.origin + at);
      this.view.setInt32(at, this.bits(name, { ...fields, imm }), true);
    }
    return this.bytes.slice(0, this.at);
  }
}
