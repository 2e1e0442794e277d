/**
 * Compares what generated programs print under QEMU and in our tiers. Where a checkpoint differs, the program runs
 * again and prints that checkpoint in full, so that the report names registers, traps and the block's instructions.
 */
import { disassemble, floatNames, integerNames, riscvTable } from "@hyperfile/decoder";
import type { Tier } from "@hyperfile/jit";
import { LOG_ENTRIES, State } from "./layout.js";
import { generateProgram, type Program, type ProgramOptions } from "./program.js";
import { runOurs, runQemu } from "./runners.js";

/** How a comparison went. */
export interface Comparison {
  /** Instructions of blocks that retired, by our count. */
  readonly instructions: number;
  /** Exceptions and interrupts, calls that end blocks apart. */
  readonly traps: number;
  readonly checkpoints: number;
  /** What differs, in full; undefined if nothing does. */
  readonly divergence: string | undefined;
}

/** What a program printed. */
interface Output {
  /** Hashes: of checkpoints, and with `m` before them of memory. */
  readonly hashes: readonly string[];
  readonly dump: DataView | undefined;
  readonly instructions: number;
  readonly traps: number;
}

/** Generates a program and compares QEMU with each tier. */
export async function compare(options: ProgramOptions, tiers: readonly Tier[]): Promise<Comparison> {
  const program = generateProgram(options);
  const reference = parse(await runQemu(program));
  let instructions = 0;
  for (const tier of tiers) {
    const ours = parse(await runOurs(program, tier));
    instructions = ours.instructions;
    const at = ours.hashes.findIndex((hash, index) => hash !== reference.hashes[index]);
    if (at < 0 && ours.hashes.length === reference.hashes.length) continue;
    const line = at < 0 ? ours.hashes.length : at;
    const divergence = await describe(options, program, tier, line, [reference, ours]);
    return { instructions, traps: ours.traps, checkpoints: line, divergence };
  }
  const checkpoints = reference.hashes.filter((hash) => !hash.startsWith("m")).length;
  return { instructions, traps: reference.traps, checkpoints, divergence: undefined };
}

function parse(text: string): Output {
  const lines = text.replaceAll("\r", "").split("\n");
  const dump = lines.find((line) => line.startsWith("!"));
  const totals = lines.find((line) => line.startsWith("t")) ?? "";
  return {
    hashes: lines.filter((line) => /^m?[0-9a-f]{8}$/.test(line)),
    dump: dump === undefined ? undefined : words(dump.slice(1)),
    instructions: Number.parseInt(totals.slice(1, 9), 16),
    traps: Number.parseInt(totals.slice(9, 17), 16),
  };
}

function words(digits: string): DataView {
  const view = new DataView(new ArrayBuffer(digits.length / 2));
  for (let at = 0; at < digits.length; at += 8)
    view.setUint32(at / 2, Number.parseInt(digits.slice(at, at + 8), 16), true);
  return view;
}

const modeNames = ["U", "S", "", "M"];
const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** Names of the fields of the state page that a checkpoint hashes. */
const fieldNames = new Map<number, string>([
  ...integerNames.map((name, index): [number, string] => [State.x + 8 * index, name]),
  ...floatNames.map((name, index): [number, string] => [State.f + 8 * index, name]),
  ...(["fcsr", "mstatus", "mepc", "mtval", "mcause", "trapHash"] as const).map((name): [number, string] => [
    State[name],
    name,
  ]),
]);

async function describe(
  options: ProgramOptions,
  program: Program,
  tier: Tier,
  line: number,
  [reference, ours]: readonly [Output, Output],
): Promise<string> {
  const title = `RV${program.xlen} seed ${program.seed} (${options.blocks} blocks, ${options.passes} passes), tier ${tier}`;
  const expected = reference.hashes[line] ?? "nothing";
  const got = ours.hashes[line] ?? "nothing";
  // After the blocks of each pass comes the hash of the data, after all of them that of the page tables.
  const perPass = program.blocks.length + 1;
  const pass = Math.floor(line / perPass);
  const index = line % perPass;
  const block = program.blocks[index];
  if (pass >= program.passes || block === undefined) {
    const what = pass >= program.passes ? "page tables" : "data";
    return `${title}: the ${what} after pass ${pass} differ: QEMU ${expected}, ours ${got}`;
  }
  const again = generateProgram({ ...options, wanted: pass * program.blocks.length + index });
  const dumps = [parse(await runQemu(again)).dump, parse(await runOurs(again, tier)).dump] as const;
  const place = `pass ${pass} block ${index} in ${modeNames[block.mode]} mode, ${block.scheme}`;
  const listing = disassembly(program, index).join("\n");
  if (dumps[0] === undefined || dumps[1] === undefined)
    return `${title}, ${place}: QEMU ${expected}, ours ${got}; the state was not reached again\n${listing}`;
  const differences = [...fieldNames].flatMap(([at, name]) => {
    const [left, right] = [dumps[0]!.getBigUint64(at, true), dumps[1]!.getBigUint64(at, true)];
    return left === right ? [] : [`  ${name}: QEMU ${hex(left)}, ours ${hex(right)}`];
  });
  return [
    `${title}, ${place}:`,
    ...differences,
    "traps under QEMU:",
    ...traps(dumps[0]),
    "traps in ours:",
    ...traps(dumps[1]),
    listing,
  ].join("\n");
}

/** The log of a dump. */
function traps(dump: DataView): string[] {
  const count = dump.getUint32(State.traps, true);
  const lines: string[] = [];
  for (let at = Math.max(0, count - LOG_ENTRIES); at < count; at++) {
    const entry = State.log + 32 * (at % LOG_ENTRIES);
    const [cause, value, pc, status] = [0, 8, 16, 24].map((field) =>
      hex(dump.getBigUint64(entry + field, true)),
    );
    lines.push(`  cause ${cause} value ${value} pc ${pc} status ${status}`);
  }
  return lines;
}

/** The instructions of a block. */
export function disassembly(program: Program, index: number): string[] {
  const { bytes, va } = program.blocks[index]!;
  const table = riscvTable(program.xlen);
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const low = bytes[at]! | (bytes[at + 1]! << 8);
    const length = (low & 3) === 3 ? 4 : 2;
    const bits = length === 2 ? low : low | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    const address = va + BigInt(at);
    lines.push(`  ${address.toString(16)}:  ${disassemble(table, bits, length, address)}`);
    at += length;
  }
  return lines;
}
