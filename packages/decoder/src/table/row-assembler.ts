/**
 * An assembler for a CPU that is made of rows: its syntax is the rows' operand strings, as the front end prints them.
 * Labels, expressions and directives are those of `assembler.ts`; what they store is little-endian.
 */
import type { StateShape } from "../ir/state.js";
import { type Assembled, type AssemblerTarget, assembleFor, type Emission, fixed } from "./assembler.js";
import { type Expression, evaluate, parseExpression, type Symbols } from "./assembly-expression.js";
import { AssemblyError, type Cursor, type Token } from "./assembly-lexer.js";
import type { TableEntry } from "./instruction-table.js";
import { type FieldSpec, fieldHolds, insertField } from "./row.js";
import type { InsnBuilder, RowFrontEnd } from "./row-front-end.js";

/** Fields of more values than this have no names. */
const MOST_NAMES = 256;

/**
 * Assembles `source`, its first byte at address `origin`. Throws an {@link AssemblyError} that names line and column
 * for the first fault.
 *
 * @example
 * const { bytes, symbols } = assembleRows(frontEnd, "loop: addi r1, r1, -1\n bne r1, r0, loop", 0x100);
 */
export function assembleRows(frontEnd: RowFrontEnd, source: string, origin: number | bigint = 0): Assembled {
  return assembleFor(new RowTarget(frontEnd), source, BigInt(origin));
}

/** A field's value in a statement: fixed, or an expression, from which the instruction's address is taken or not. */
type Given =
  | { readonly spec: FieldSpec; readonly value: number }
  | { readonly spec: FieldSpec; readonly expression: Expression; readonly isAddress: boolean };

class RowTarget implements AssemblerTarget {
  readonly addressBits: number;
  private readonly named = new Map<string, TableEntry<InsnBuilder>[]>();

  constructor(private readonly frontEnd: RowFrontEnd) {
    this.addressBits = addressBits(frontEnd.shape);
    for (const entry of frontEnd.table.entries)
      this.named.set(entry.mnemonic, [...(this.named.get(entry.mnemonic) ?? []), entry]);
  }

  instruction(mnemonic: Token, cursor: Cursor, symbols: Symbols): Emission {
    const entry = this.named.get(mnemonic.text)?.[0];
    if (entry === undefined) throw new AssemblyError(`${mnemonic.text} is no instruction`, mnemonic);
    const { encoding, operands } = entry.row;
    const given: Given[] = [];
    for (const [, at, name, mark] of operands.matchAll(/(@?)\b([a-z]+\d?)\b|([^\s@])/g)) {
      const spec = encoding.fields.find((field) => field.name === name);
      if (spec !== undefined) given.push(this.operand(spec, at !== "", cursor, symbols));
      else if (mark !== undefined) cursor.expect(mark);
      else if (cursor.token.text !== name) cursor.fail(name!);
      else cursor.next();
    }
    return fixed(encoding.length, ({ address, round }, bytes) => {
      let bits = encoding.match;
      for (const each of given) bits |= this.bitsOf(each, address, round);
      for (let place = 0; place < bytes.length; place++) {
        const shift = this.frontEnd.byteOrder === "little" ? place : bytes.length - 1 - place;
        bytes[place] = bits >>> (8 * shift);
      }
    });
  }

  directive(): false {
    return false;
  }

  padding(size: number): Uint8Array {
    return new Uint8Array(size);
  }

  private operand(spec: FieldSpec, isAddress: boolean, cursor: Cursor, symbols: Symbols): Given {
    const values = isAddress ? 0 : 2 ** spec.width + spec.bias;
    const { text } = cursor.token;
    if (values <= MOST_NAMES && cursor.token.kind === "name") {
      for (let value = spec.bias; value < values; value++) {
        if (this.frontEnd.operand(spec.name, value, 0) !== text) continue;
        cursor.next();
        return { spec, value };
      }
    }
    if (!isAddress && Number.isNaN(Number(this.frontEnd.operand(spec.name, spec.bias, 0))))
      return cursor.fail(`a name like ${this.frontEnd.operand(spec.name, spec.bias, 0)}`);
    return { spec, expression: parseExpression(cursor, symbols), isAddress };
  }

  private bitsOf(given: Given, address: bigint, round: number): number {
    const { spec } = given;
    if ("value" in given) return insertField(spec, given.value);
    const number = evaluate(given.expression, round) - (given.isAddress ? address : 0n);
    const value = Number(BigInt.asIntN(this.addressBits, number));
    if (!Number.isSafeInteger(value) || !fieldHolds(spec, value))
      throw new AssemblyError(`${spec.name} can't be ${value}`, given.expression.token);
    return insertField(spec, value);
  }
}

const addressBits = (shape: StateShape): number => (shape.slots.get("pc")!.type === "i64" ? 64 : 32);
