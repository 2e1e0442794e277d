/** What the decoder and the translator make of a program: `hyperfile explain` and `hyperfile disasm`. */
import { disassemble as formatInsn, printBlock, riscvFrontEnd, riscvTable } from "@hyperfile/decoder";
import { type ElfSegment, isElf, parseElf, RAM_BASE } from "@hyperfile/devices";
import { emitBlock, MAXIMUM_BLOCK, optimise } from "@hyperfile/jit";
import { CliError } from "./errors.js";
import type { InspectOptions, NamedBytes } from "./machine-types.js";

/** A program's parts in memory. */
interface Program {
  readonly xlen: 32 | 64;
  readonly entry: bigint;
  readonly segments: readonly Pick<ElfSegment, "va" | "bytes">[];
}

/** A file that is no ELF file is code at the start of RAM. */
function open(program: NamedBytes, options: InspectOptions): Program {
  if (isElf(program.bytes)) {
    const elf = parseElf(program.bytes, program.name);
    return {
      xlen: elf.xlen,
      entry: elf.entry,
      segments: elf.segments.filter((segment) => segment.executable),
    };
  }
  const va = BigInt(RAM_BASE);
  return { xlen: options.xlen ?? 64, entry: va, segments: [{ va, bytes: program.bytes }] };
}

const PAGE_MASK = 0xfffn;

/** A block's assembly, IR, optimised IR and emitted JavaScript. */
export function explain(program: NamedBytes, options: InspectOptions): string {
  const { xlen, entry, segments } = open(program, options);
  const at = options.at ?? entry;
  const segment = segments.find((part) => at >= part.va && at < part.va + BigInt(part.bytes.length));
  if (segment === undefined) {
    throw new CliError(
      "E_USAGE",
      `${program.name} has no code at 0x${at.toString(16)}: give --at an address of its code`,
    );
  }
  const frontEnd = riscvFrontEnd(xlen);
  const start = Number(at - segment.va);
  const insns = [];
  const assembly: string[] = [];
  for (let offset = start; insns.length < MAXIMUM_BLOCK; ) {
    const inPage = 0x1000 - Number((segment.va + BigInt(offset)) & PAGE_MASK);
    const insn = frontEnd.decode(segment.bytes, offset, Math.min(inPage, segment.bytes.length - offset));
    if (insn === null) break;
    const address = segment.va + BigInt(offset);
    const [lo, hi] = [Number(BigInt.asIntN(32, address)), Number(BigInt.asIntN(32, address >> 32n))];
    assembly.push(`  ${address.toString(16)}:  ${frontEnd.format(insn, lo, hi)}`);
    insns.push(insn);
    offset += insn.length;
    if (frontEnd.endsBlock(insn)) break;
  }
  if (insns.length === 0) {
    throw new CliError(
      "E_USAGE",
      `the instruction at 0x${at.toString(16)} crosses a page: it is interpreted, never translated`,
    );
  }
  const block = frontEnd.translate(insns);
  const optimised = optimise(block);
  const emitted = emitBlock(optimised, {
    shape: frontEnd.shape,
    hartOffset: 0,
    wideAddresses: xlen === 64,
    pageOffset: Number(at & PAGE_MASK),
    granularity: frontEnd.granularity,
    chain: true,
  });
  return [
    "== assembly",
    ...assembly,
    "",
    "== IR",
    printBlock(block, frontEnd.shape),
    "",
    "== optimised IR",
    printBlock(optimised, frontEnd.shape),
    "",
    "== JavaScript",
    emitted,
  ].join("\n");
}

/** The assembly of a program's executable parts. */
export function* disassemble(program: NamedBytes, options: InspectOptions): Iterable<string> {
  const { xlen, segments } = open(program, options);
  const table = riscvTable(xlen);
  for (const { va, bytes } of segments) {
    for (let offset = 0; offset + 2 <= bytes.length; ) {
      const low = bytes[offset]! | (bytes[offset + 1]! << 8);
      const length = (low & 3) === 3 && offset + 4 <= bytes.length ? 4 : 2;
      const bits = length === 2 ? low : low | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24);
      const address = va + BigInt(offset);
      const hex = (bits >>> 0).toString(16).padStart(2 * length, "0");
      yield `${address.toString(16).padStart(8)}:  ${hex.padEnd(8)}  ${formatInsn(table, bits, length, address)}`;
      offset += length;
    }
  }
}
