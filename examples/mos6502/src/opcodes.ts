/**
 * The 6502's instruction set as data: which byte is which operation in which addressing mode, how long it is and how
 * many cycles it takes. Decoder, translator, disassembler and assembler all read this table.
 *
 * Cycles follow from the mode and from what the operation does with its operand, as the manual's tables do; the
 * instructions that work on the stack or jump have their own. Opcodes beyond the documented 151 are named as the NES
 * and C64 communities name them (nesdev wiki, "CPU unofficial opcodes"; Groepaz, "No More Secrets").
 */

/**
 * Addressing modes: bytes of the operand, cycles of an instruction that reads it, and how it is written, with `%` for
 * the number in hexadecimal.
 */
const modes = {
  imp: [0, 2, ""],
  imm: [1, 2, "#%"],
  zp: [1, 3, "%"],
  zpx: [1, 4, "%,x"],
  zpy: [1, 4, "%,y"],
  izx: [1, 6, "(%,x)"],
  izy: [1, 5, "(%),y"],
  rel: [1, 2, "%"],
  abs: [2, 4, "%"],
  abx: [2, 4, "%,x"],
  aby: [2, 4, "%,y"],
  ind: [2, 5, "(%)"],
} as const;

/** An addressing mode. */
export type Mode = keyof typeof modes;

/** How a mode's operand is written: `%` stands for the number, in hexadecimal. */
export const operandText = (mode: Mode): string => modes[mode][2];

/** What an operation does with its operand: `modify` reads it, and writes it back. */
export type Use = "read" | "store" | "modify" | "none";

/** An opcode. */
export interface Opcode {
  readonly byte: number;
  /** Mnemonic in lower case. */
  readonly name: string;
  readonly mode: Mode;
  readonly use: Use;
  /** Bytes of the instruction. */
  readonly length: number;
  /** Clock cycles without what crossing a page or a branch that is taken adds. */
  readonly cycles: number;
  /** Whether it takes a cycle more where indexing crosses a page. */
  readonly pageCost: boolean;
}

/** Opcodes by what they do with their operand; a mnemonic, then modes and bytes. The first byte of a mode is canonical. */
const rows: Readonly<Record<Use, string>> = {
  read: `
    adc imm 69 zp 65 zpx 75 abs 6d abx 7d aby 79 izx 61 izy 71
    and imm 29 zp 25 zpx 35 abs 2d abx 3d aby 39 izx 21 izy 31
    bit zp 24 abs 2c
    cmp imm c9 zp c5 zpx d5 abs cd abx dd aby d9 izx c1 izy d1
    cpx imm e0 zp e4 abs ec
    cpy imm c0 zp c4 abs cc
    eor imm 49 zp 45 zpx 55 abs 4d abx 5d aby 59 izx 41 izy 51
    lda imm a9 zp a5 zpx b5 abs ad abx bd aby b9 izx a1 izy b1
    ldx imm a2 zp a6 zpy b6 abs ae aby be
    ldy imm a0 zp a4 zpx b4 abs ac abx bc
    ora imm 09 zp 05 zpx 15 abs 0d abx 1d aby 19 izx 01 izy 11
    sbc imm e9 imm eb zp e5 zpx f5 abs ed abx fd aby f9 izx e1 izy f1
    lax zp a7 zpy b7 abs af aby bf izx a3 izy b3
    alr imm 4b
    anc imm 0b imm 2b
    ane imm 8b
    arr imm 6b
    las aby bb
    lxa imm ab
    sbx imm cb
    nop imm 80 imm 82 imm 89 imm c2 imm e2 zp 04 zp 44 zp 64 abs 0c
    nop zpx 14 zpx 34 zpx 54 zpx 74 zpx d4 zpx f4 abx 1c abx 3c abx 5c abx 7c abx dc abx fc`,
  store: `
    sta zp 85 zpx 95 abs 8d abx 9d aby 99 izx 81 izy 91
    stx zp 86 zpy 96 abs 8e
    sty zp 84 zpx 94 abs 8c
    sax zp 87 zpy 97 abs 8f izx 83
    sha aby 9f izy 93
    shx aby 9e
    shy abx 9c
    tas aby 9b`,
  modify: `
    asl zp 06 zpx 16 abs 0e abx 1e
    dec zp c6 zpx d6 abs ce abx de
    inc zp e6 zpx f6 abs ee abx fe
    lsr zp 46 zpx 56 abs 4e abx 5e
    rol zp 26 zpx 36 abs 2e abx 3e
    ror zp 66 zpx 76 abs 6e abx 7e
    dcp zp c7 zpx d7 abs cf abx df aby db izx c3 izy d3
    isc zp e7 zpx f7 abs ef abx ff aby fb izx e3 izy f3
    rla zp 27 zpx 37 abs 2f abx 3f aby 3b izx 23 izy 33
    rra zp 67 zpx 77 abs 6f abx 7f aby 7b izx 63 izy 73
    slo zp 07 zpx 17 abs 0f abx 1f aby 1b izx 03 izy 13
    sre zp 47 zpx 57 abs 4f abx 5f aby 5b izx 43 izy 53`,
  none: `
    asl imp 0a, lsr imp 4a, rol imp 2a, ror imp 6a, bcc rel 90, bcs rel b0, beq rel f0, bmi rel 30
    bne rel d0, bpl rel 10, bvc rel 50, bvs rel 70, brk imp 00, clc imp 18, cld imp d8, cli imp 58
    clv imp b8, dex imp ca, dey imp 88, inx imp e8, iny imp c8, jmp abs 4c ind 6c, jsr abs 20
    nop imp ea imp 1a imp 3a imp 5a imp 7a imp da imp fa, pha imp 48, php imp 08, pla imp 68, plp imp 28
    rti imp 40, rts imp 60, sec imp 38, sed imp f8, sei imp 78, tax imp aa, tay imp a8, tsx imp ba
    txa imp 8a, txs imp 9a, tya imp 98
    jam imp 02 imp 12 imp 22 imp 32 imp 42 imp 52 imp 62 imp 72 imp 92 imp b2 imp d2 imp f2`,
};

/** Cycles of instructions that work on the stack or jump. */
const special = new Map(
  "brk imp 7, jmp abs 3, jsr abs 6, pha imp 3, php imp 3, pla imp 4, plp imp 4, rti imp 6, rts imp 6"
    .split(", ")
    .map((row) => [row.slice(0, -2), Number(row.slice(-1))]),
);

const isIndexed = (mode: Mode): boolean => mode === "abx" || mode === "aby" || mode === "izy";

function cyclesOf(name: string, mode: Mode, use: Use): number {
  // A store or a modification can't tell whether the indexed address is right before it is: it always takes the cycle.
  const fixUp = isIndexed(mode) && (use === "store" || use === "modify") ? 1 : 0;
  return special.get(`${name} ${mode}`) ?? modes[mode][1] + fixUp + (use === "modify" ? 2 : 0);
}

function parse(): readonly Opcode[] {
  const found: Opcode[] = [];
  for (const use of ["read", "store", "modify", "none"] as const) {
    for (const row of rows[use].trim().split(/[\n,]/)) {
      const [name = "", ...pairs] = row.trim().split(" ");
      for (let at = 0; at < pairs.length; at += 2) {
        const mode = pairs[at] as Mode;
        const cycles = cyclesOf(name, mode, use);
        const pageCost = use === "read" && isIndexed(mode);
        const length = 1 + modes[mode][0];
        found.push({ byte: Number.parseInt(pairs[at + 1]!, 16), name, mode, use, length, cycles, pageCost });
      }
    }
  }
  return found;
}

const parsed = parse();

/** All 256 opcodes, by their byte. */
export const opcodes: readonly Opcode[] = Array.from(
  { length: 256 },
  (_, byte) => parsed.find((opcode) => opcode.byte === byte)!,
);

/** The opcode of an operation in a mode: of several that do the same the canonical one. */
export const findOpcode = (name: string, mode: Mode): Opcode | undefined =>
  parsed.find((opcode) => opcode.name === name && opcode.mode === mode);
