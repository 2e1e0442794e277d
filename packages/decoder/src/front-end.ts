/**
 * What a CPU must supply to run on the translator: its registers, how its bytes decode, and what its instructions
 * mean in IR. Nothing here knows any particular CPU.
 */
import type { StateShape } from "./ir/state.js";
import type { Block } from "./ir/types.js";

/** A decoded instruction. */
export interface GuestInsn {
  /** Index of its template in {@link FrontEnd.templates}. */
  readonly opcode: number;
  /** Length in bytes, 1 to 15. */
  readonly length: number;
  /** Values of the template's fields. */
  readonly fields: Readonly<Record<string, number>>;
}

/** A decoded instruction with its place. */
export interface PlacedInsn {
  /** Bytes from the start of the code. */
  readonly offset: number;
  readonly insn: GuestInsn;
}

/** A field of a template: how many bits a pre-decoded operation must keep for it. */
export interface TemplateField {
  readonly name: string;
  /** Bits that hold every value of the field; 32 at most. */
  readonly width: number;
  readonly signed: boolean;
  /** Largest value; unless given, what the bits hold. An element of a slot that a field numbers must be there. */
  readonly maximum?: number;
  /** A power of two of which every value is a multiple, for fields that jumps go by; 1 unless given. */
  readonly multipleOf?: number;
  /** Value kept in place of 0, for registers whose number 0 takes no writes; undefined if 0 is kept. */
  readonly zeroBecomes: number | undefined;
}

/** The meaning of one instruction with symbolic fields: the source of an interpreter's handler. */
export interface Template {
  /** Mnemonic, unique among the templates. */
  readonly name: string;
  readonly fields: readonly TemplateField[];
  /** Lengths in bytes that the instruction comes in: an interpreter has a handler for each. */
  readonly lengths: readonly number[];
  readonly block: Block;
}

/** A guest CPU's instruction set. */
export interface FrontEnd {
  /** For messages and dumps, for instance `"mos6502"`. */
  readonly name: string;
  /** The guest's slots; one must be called `pc` and have `addressType`. */
  readonly shape: StateShape;
  /** Type of a guest address. */
  readonly addressType: "i32" | "i64";
  /** log2 of the unit in bytes in which decoded code is kept: 1 for half-words, 0 for bytes. */
  readonly granularity: number;
  /** Bytes of which every instruction's address is a multiple: a power of two up to 16; 2 ** granularity unless given. */
  readonly alignment?: number;
  /**
   * What a jump does that leads to no such multiple: `fault`, the default, raises a fetch fault there, with the program
   * counter at that address; `mask` goes on at the multiple below. It holds for every way to get there, in every tier.
   */
  readonly misaligned?: "fault" | "mask";
  /** Longest instruction in bytes. */
  readonly maximumLength: number;
  /** One template an instruction; total: illegal instructions have one too. */
  readonly templates: readonly Template[];
  /**
   * Bytes of the pages in which loads and stores are translated, a power of two from 256 to 4096; 4096 unless given.
   * Devices, mirrors and code are then told apart from RAM that finely.
   */
  readonly pageBytes?: number;
  /**
   * Decodes the instruction at `bytes[at]`; null if it needs more than `available` bytes. Never throws.
   * @param offset the low 12 bits of its address, 0 unless given
   */
  decode(bytes: Uint8Array, at: number, available: number, offset?: number): GuestInsn | null;
  /** Whether control never falls from `insn` to the instruction after it within a block. */
  endsBlock(insn: GuestInsn): boolean;
  /** The meaning of consecutive instructions as one block. */
  translate(insns: readonly GuestInsn[]): Block;
  /** The instruction as assembly text; `pc` is its address, in the low and the high half. */
  format(insn: GuestInsn, pcLo: number, pcHi: number): string;
}

/**
 * Decodes code from its start on, one instruction after another; an instruction that it ends in is left out.
 * @param origin address of the first byte, for CPUs whose instructions depend on where they lie
 */
export function decodeAll(frontEnd: FrontEnd, code: Uint8Array, origin = 0): PlacedInsn[] {
  const insns: PlacedInsn[] = [];
  for (let offset = 0; offset < code.length; ) {
    const insn = frontEnd.decode(code, offset, code.length - offset, (origin + offset) % 4096);
    if (insn === null) break;
    insns.push({ offset, insn });
    offset += insn.length;
  }
  return insns;
}
