/** What the decoder and the translator make of a program: `hyperfile explain` and `hyperfile disasm`. */
import { disassemble as formatInsn, riscvFrontEnd } from "@hyperfile/decoder";
import { RAM_BASE } from "@hyperfile/devices";
import { type ElfSegment, isElf, parseElf } from "@hyperfile/devices/image";
import { riscvSlotName, standardHartIsa } from "@hyperfile/jit/riscv";
import { type ExplainedCode, explainBlock, explainJsRegion, explainRegion } from "@hyperfile/jit/trace";
import { CliError } from "./errors.js";
import type { ExplainOptions, Explanation, InspectOptions, NamedBytes } from "./machine-types.js";

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

/** A block as IR, and the regions that begin there in JavaScript and WebAssembly. */
export function explain(program: NamedBytes, options: ExplainOptions): Explanation {
  const { xlen, entry, segments } = open(program, options);
  const at = options.at ?? entry;
  const partAt = (address: bigint) =>
    segments.find((part) => address >= part.va && address < part.va + BigInt(part.bytes.length));
  const address = `0x${at.toString(16)}`;
  if (partAt(at) === undefined) {
    throw new CliError(
      "E_USAGE",
      `${program.name} has no code at ${address}: give --at an address of its code`,
    );
  }
  const code: ExplainedCode = {
    // With the names of the hart's CSRs, which those of no manual have from their rows alone.
    frontEnd: riscvFrontEnd(xlen, standardHartIsa),
    slotName: riscvSlotName,
    flagsSlot: "fflags",
    bytesAt: (wanted) => {
      const part = partAt(wanted);
      return part === undefined ? new Uint8Array(0) : part.bytes.subarray(Number(wanted - part.va));
    },
  };
  const stages = explainBlock(code, at) ?? [];
  if (options.backend !== "wasm") stages.push(...(explainJsRegion(code, at) ?? []));
  if (options.backend !== "js") stages.push(...(explainRegion(code, at) ?? []));
  return { file: program.name, address, isa: code.frontEnd.name, stages };
}

/** The assembly of a program's executable parts. */
export function* disassemble(program: NamedBytes, options: InspectOptions): Iterable<string> {
  const { xlen, segments } = open(program, options);
  const { csrNames } = standardHartIsa;
  const table = standardHartIsa.table(xlen);
  for (const { va, bytes } of segments) {
    for (let offset = 0; offset + 2 <= bytes.length; ) {
      const low = bytes[offset]! | (bytes[offset + 1]! << 8);
      const length = (low & 3) === 3 && offset + 4 <= bytes.length ? 4 : 2;
      const bits = length === 2 ? low : low | (bytes[offset + 2]! << 16) | (bytes[offset + 3]! << 24);
      const address = va + BigInt(offset);
      const hex = (bits >>> 0).toString(16).padStart(2 * length, "0");
      yield `${address.toString(16).padStart(8)}:  ${hex.padEnd(8)}  ${formatInsn(table, bits, length, address, { csrNames })}`;
      offset += length;
    }
  }
}
