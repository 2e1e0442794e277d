/**
 * The IR: a basic block of guest code as a list of typed operations in SSA form.
 *
 * A value is the index of the operation that makes it, so a block is one array and every argument points
 * backwards. Guest state is named slots that a front end declares (`state.ts`); memory is reached only through
 * `load`, `store`, `amo`, `lr` and `sc`; everything else that touches the machine is a `call` of a helper whose
 * effects are declared. A block ends with exactly one exit. Nothing here knows any particular CPU.
 *
 * A *template* is the same thing for one instruction whose fields are not known yet: `field` operations stand for
 * them and slot indices may be fields. The interpreter is generated from templates, translations from blocks.
 */

/** Type of a value. Floating-point values are IEEE 754 bit patterns: NaN payloads survive every move. */
export type Type = "i32" | "i64" | "f32" | "f64";

/** A value: the index, in its block, of the operation that makes it. */
export type Value = number & { readonly __value: unique symbol };

/** A 64-bit constant as two signed 32-bit halves. */
export interface Wide {
  readonly lo: number;
  readonly hi: number;
}

/** A field of an instruction: its value where it is known, its name inside a template. */
export type Field = { readonly name: string; readonly value: number | undefined };

/** Where a block's exit leads: a byte distance from the address of the block's first instruction. */
export type Target = number | { readonly field: string };

/** What a helper may do besides computing its result. */
export interface Effects {
  /** It may read any slot: pending slot writes must be visible to it. */
  readonly reads: boolean;
  /** It may write slots: values read earlier are stale. */
  readonly writes: boolean;
  /** It may leave the block: by a trap, or after the instruction (the engine's exit flag is then set). */
  readonly exits: boolean;
}

/** A function outside the block that a `call` operation names. */
export interface Helper {
  /** Identifier under which the backends bind it. */
  readonly name: string;
  /** Types of its arguments. */
  readonly parameters: readonly Type[];
  /** Type of its result, or null. */
  readonly result: Type | null;
  /** What else it does. */
  readonly effects: Effects;
}

/** Width of a memory access in bits. */
export type Width = 8 | 16 | 32 | 64;

/** Read-modify-write operations on memory. */
export type AmoKind = "swap" | "add" | "xor" | "and" | "or" | "min" | "max" | "minu" | "maxu";

/** One operation. `args` are values defined earlier in the same block. */
export interface Operation {
  /** Name in the opcode table. */
  readonly op: string;
  /** Type of the value it makes, or null if it makes none. */
  readonly type: Type | null;
  /** The values it takes. */
  readonly args: readonly Value[];
  /** Constant of `const`; byte distance of `pc`. */
  readonly constant?: number | Wide;
  /** Name of the field, for `field`. */
  readonly field?: string;
  /** Slot of `get` and `set`, with its index for a slot array. */
  readonly slot?: string;
  /** Index into the slot array: a number, or the name of a field inside a template. */
  readonly index?: number | { readonly field: string };
  /** Bits that a memory operation moves. */
  readonly width?: Width;
  /** Whether a narrow `load` extends the sign. */
  readonly signed?: boolean;
  /** Which read-modify-write an `amo` is. */
  readonly amo?: AmoKind;
  /** The helper of a `call`. */
  readonly helper?: Helper;
  /** Exception number of `trap` and `trapif`. */
  readonly cause?: number;
  /** Targets of `jump` (one) and `branch` (taken, not taken). */
  readonly targets?: readonly Target[];
  /** Of `insn`: byte distance from the block's start, length in bytes, and how many came before it. */
  readonly at?: InsnMark;
  /** Most that a `charge` adds. */
  readonly most?: number;
  /** Of `jump` and `jumpr`: they call, and what they call returns to this byte distance from the block's start. */
  readonly link?: number;
}

/** The guest instruction that the following operations belong to. */
export interface InsnMark {
  /** Byte distance from the address of the block's first instruction. */
  readonly offset: number;
  /** Its length in bytes. */
  readonly length: number;
  /** Instructions of this block before it. */
  readonly ordinal: number;
  /** Budget units that it costs, 1 to {@link MAXIMUM_COST}; 1 unless given. */
  readonly cost?: number;
  /** Budget units that the instructions before it cost; `ordinal` unless given. */
  readonly charged?: number;
}

/** Most budget units that one instruction costs, `charge` operations not counted. */
export const MAXIMUM_COST = 31;

/** Most units that one `charge` takes. */
export const MAXIMUM_CHARGE = 0xffff;

/** A basic block, or a template of one instruction. */
export interface Block {
  /** The operations; the last one, and no other, is an exit. */
  readonly operations: readonly Operation[];
  /** Guest instructions in the block. */
  readonly instructions: number;
  /** Guest bytes that the block was made from. */
  readonly bytes: number;
  /** Budget units that its instructions cost; `instructions` unless given. */
  readonly cost?: number;
  /** Budget units that it takes at most, `charge` operations included; the cost unless given. */
  readonly most?: number;
}

/** Budget units that the instructions of a block cost. */
export const costOf = ({ cost, instructions }: Block): number => cost ?? instructions;

/** Budget units that a block takes at most. */
export const mostOf = (block: Block): number => block.most ?? costOf(block);

/** Budget units that an instruction costs. */
export const costOfInsn = ({ cost }: InsnMark): number => cost ?? 1;

/** Budget units that the instructions before an instruction cost. */
export const chargedBefore = ({ charged, ordinal }: InsnMark): number => charged ?? ordinal;
