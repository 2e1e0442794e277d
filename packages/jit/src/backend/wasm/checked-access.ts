/**
 * Loads and stores as functions, for accesses whose page emitted code does not know: they look the address up in the TLB
 * and call the slow path of `mmu/access.ts` where it is not there. Emitted code that only calls one is a fraction of the
 * size of code that does the same inline, and the host's optimising compiler takes time by size.
 *
 * A function is named after its slow path and takes the remaining budget, the address, what is stored, and the call
 * site. What the slow path asks for stands in `header.exit` afterwards, as if it had been called directly; a store gives it
 * as well.
 *
 * A slow path takes the page of the instruction from the program counter in memory. Far functions are for code in another
 * page than that: they take the distance in bytes as well, and leave the program counter as it was if the code goes on.
 */
import { header } from "../../memory/layout.js";
import { lateName } from "../../mmu/ports.js";
import { tagMask } from "../../mmu/tlb-layout.js";
import { type FunctionWriter, Op, type Signature, ValueType } from "./encoder.js";
import { loadTlbTag, loadTlbWord, writeTlbEntry } from "./tlb.js";

const { i32, i64 } = ValueType;

/** What the functions depend on. */
export interface AccessContext {
  /** Byte offset of the hart's block in linear memory. */
  readonly hartOffset: number;
  /** Whether guest addresses are i64. */
  readonly wideAddresses: boolean;
  /** Bytes of the pages in which loads and stores are translated. */
  readonly pageBytes: number;
  /** Byte offset in linear memory of the program counter slot. */
  readonly pcOffset: number;
}

/** Name of the function around a slow path. */
export const checkedName = (slowPath: string, isFar = false): string =>
  `checked_${isFar ? "far_" : ""}${slowPath}`;

/** An access. */
interface Access {
  readonly slowPath: string;
  readonly bytes: 1 | 2 | 4 | 8;
  /** The load's or store's opcode; values of less than 64 bits are i32. */
  readonly opcode: number;
  readonly isStore: boolean;
  readonly isFar?: boolean;
}

const loads: readonly Access[] = [
  { slowPath: "ld8s", bytes: 1, opcode: Op.i32_load8_s, isStore: false },
  { slowPath: "ld8u", bytes: 1, opcode: Op.i32_load8_u, isStore: false },
  { slowPath: "ld16s", bytes: 2, opcode: Op.i32_load16_s, isStore: false },
  { slowPath: "ld16u", bytes: 2, opcode: Op.i32_load16_u, isStore: false },
  { slowPath: "ld32", bytes: 4, opcode: Op.i32_load, isStore: false },
  { slowPath: "ld64", bytes: 8, opcode: Op.i64_load, isStore: false },
];
const stores: readonly Access[] = [
  { slowPath: "st8", bytes: 1, opcode: Op.i32_store8, isStore: true },
  { slowPath: "st16", bytes: 2, opcode: Op.i32_store16, isStore: true },
  { slowPath: "st32", bytes: 4, opcode: Op.i32_store, isStore: true },
  { slowPath: "st64", bytes: 8, opcode: Op.i64_store, isStore: true },
];
const lateStores = stores.map((access) => ({ ...access, slowPath: lateName(access.slowPath) }));
const byName: ReadonlyMap<string, Access> = new Map(
  [...loads, ...stores, ...lateStores].flatMap((access) =>
    [false, true].map((isFar) => [checkedName(access.slowPath, isFar), { ...access, isFar }] as const),
  ),
);

const valueType = ({ bytes }: Access): ValueType => (bytes === 8 ? i64 : i32);

/** Signature of a function by its name; undefined if there is none of that name. */
export function checkedSignature(name: string, wideAddresses: boolean): Signature | undefined {
  const access = byName.get(name);
  if (access === undefined) return undefined;
  const address = wideAddresses ? i64 : i32;
  const value = access.isStore ? [valueType(access)] : [];
  const distance = access.isFar ? [i32] : [];
  return {
    parameters: [i32, address, ...value, ...distance, i32],
    results: [access.isStore ? i32 : valueType(access)],
  };
}

/** Writes the body of a function; false if there is none of that name. */
export function writeCheckedAccess(name: string, writer: FunctionWriter, context: AccessContext): boolean {
  const access = byName.get(name);
  if (access === undefined) return false;
  const { hartOffset, wideAddresses: wide, pageBytes } = context;
  const { bytes, opcode, isStore, isFar = false, slowPath } = access;
  const [budget, address, value] = [0, 1, 2];
  const distance = isStore ? 3 : 2;
  const site = isFar ? distance + 1 : distance;
  const entry = writer.local(i32);
  const pushLow = () => {
    writer.get(address);
    if (wide) writer.op(Op.i32_wrap_i64);
  };
  pushLow();
  writeTlbEntry(writer, pageBytes, () =>
    writer.loadAt(Op.i32_load, hartOffset + header[isStore ? "tlbWrite" : "tlbRead"]),
  );
  writer.tee(entry);
  loadTlbTag(writer, wide);
  writer.get(address);
  const mask = tagMask(pageBytes, bytes);
  if (wide) writer.i64(mask, -1);
  else writer.i32(mask);
  writer.op(wide ? Op.i64_and : Op.i32_and);
  writer.op(wide ? Op.i64_eq : Op.i32_eq);
  writer.if();
  pushLow();
  writer.get(entry);
  loadTlbWord(writer, "addend");
  writer.op(Op.i32_add);
  if (isStore) writer.get(value);
  writer.memory(opcode);
  if (isStore) writer.i32(0);
  writer.op(Op.return);
  writer.end();

  writer.i32(0);
  writer.get(budget);
  writer.memory(Op.i32_store, hartOffset + header.budget);
  const goBack = isFar ? moveOver(writer, context, distance) : undefined;
  pushLow();
  if (wide) pushHigh(writer, address);
  else writer.i32(0);
  if (isStore) {
    writer.get(value);
    if (bytes === 8) {
      writer.op(Op.i32_wrap_i64);
      pushHigh(writer, value);
    }
  }
  writer.get(site);
  const words = 3 + (isStore ? (bytes === 8 ? 2 : 1) : 0);
  writer.call(slowPath, new Array<ValueType>(words).fill(i32), [i32]);
  goBack?.();
  if (isStore) {
    writer.op(Op.drop);
    writer.loadAt(Op.i32_load, hartOffset + header.exit);
  } else if (bytes === 8) joinHalves(writer, hartOffset);
  return true;
}

/** Moves the program counter in memory over a distance; what is returned moves it back, unless the code is left. */
function moveOver(writer: FunctionWriter, context: AccessContext, distance: number): () => void {
  const { hartOffset, wideAddresses: wide, pcOffset } = context;
  const before = writer.local(wide ? i64 : i32);
  writer.loadAt(wide ? Op.i64_load : Op.i32_load, pcOffset);
  writer.set(before);
  const store = (push: () => void) => {
    writer.i32(0);
    push();
    writer.memory(wide ? Op.i64_store : Op.i32_store, pcOffset);
  };
  store(() => {
    writer.get(before);
    writer.get(distance);
    if (wide) writer.op(Op.i64_extend_i32_s);
    writer.op(wide ? Op.i64_add : Op.i32_add);
  });
  return () => {
    writer.loadAt(Op.i32_load, hartOffset + header.exit);
    writer.op(Op.i32_eqz);
    writer.if();
    store(() => writer.get(before));
    writer.end();
  };
}

function pushHigh(writer: FunctionWriter, local: number): void {
  writer.get(local);
  writer.i64(32, 0);
  writer.op(Op.i64_shr_u);
  writer.op(Op.i32_wrap_i64);
}

/** From the low half of a result on the stack to the whole, whose high half is in `header.resultHigh`. */
export function joinHalves(writer: FunctionWriter, hartOffset: number): void {
  writer.op(Op.i64_extend_i32_u);
  writer.loadAt(Op.i64_load32_u, hartOffset + header.resultHigh);
  writer.i64(32, 0);
  writer.op(Op.i64_shl);
  writer.op(Op.i64_or);
}
