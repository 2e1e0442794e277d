/**
 * Assembles what was typed, and finds which bytes each line made. The assemblers do not tell, but they give labels'
 * addresses: a second run has a label before and after each line, which changes no byte.
 */
import { AssemblyError, assemble } from "@hyperfile/decoder";
import { Asm6502Error, assemble6502 } from "../../../mos6502/src/assembler.js";
import { isas, MOST_SOURCE } from "./isas.js";
import type { IsaName } from "./protocol.js";

/** A mistake in the source. */
export class SourceMistake extends Error {
  override readonly name = "SourceMistake";
  readonly code = "E_SOURCE";
  /** @param line of the source, from 1; undefined if it is none's */
  constructor(
    readonly line: number | undefined,
    problem: string,
  ) {
    super(problem);
  }
}

/** Bytes that a line of source made. */
export interface LineSpan {
  readonly start: number;
  readonly end: number;
  readonly isData: boolean;
}

/** An assembled program. */
export interface AssembledSource {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Names of labels by address. */
  readonly labels: ReadonlyMap<number, readonly string[]>;
  /** By line; undefined for those that made no bytes, or whose bytes are not known. */
  readonly spans: readonly (LineSpan | undefined)[];
}

interface Image {
  readonly bytes: Uint8Array;
  readonly symbols: ReadonlyMap<string, number | bigint>;
}

/**
 * Assembles a program of one of the page's instruction sets.
 * @throws SourceMistake for the first fault, or if it is too long or empty
 */
export function assembleSource(isa: IsaName, source: string): AssembledSource {
  const { origin, mostBytes } = isas[isa];
  if (source.length > MOST_SOURCE)
    throw new SourceMistake(undefined, `the program has ${source.length} characters: at most ${MOST_SOURCE}`);
  const { bytes, symbols } = assembleImage(isa, source);
  if (bytes.length === 0) throw new SourceMistake(undefined, "the program is empty: write an instruction");
  if (bytes.length > mostBytes)
    throw new SourceMistake(undefined, `the program has ${bytes.length} bytes: at most ${mostBytes}`);
  const written = new Set([...source.matchAll(/([\w.$]+):/g)].map(([, name]) => name));
  const labels = new Map<number, string[]>();
  for (const [name, value] of symbols) {
    const address = Number(value);
    // Other names are numbers, even if code happens to lie there.
    if (!written.has(name) || address < origin || address >= origin + bytes.length) continue;
    labels.set(address, [...(labels.get(address) ?? []), name]);
  }
  return { bytes: Uint8Array.from(bytes), labels, spans: spansOf(isa, source) };
}

function assembleImage(isa: IsaName, source: string): Image {
  const { origin } = isas[isa];
  try {
    if (isa === "6502") return assemble6502(source, origin);
    return assemble(source, { xlen: isa === "rv64" ? 64 : 32, origin });
  } catch (error) {
    if (error instanceof AssemblyError) throw new SourceMistake(error.line, error.problem);
    if (!(error instanceof Asm6502Error)) throw error;
    const [, line, problem] = /^line (\d+): (.*)$/s.exec(error.message)!;
    throw new SourceMistake(Number(line), problem!);
  }
}

/** A line that goes to another section: what follows lies elsewhere. */
const SECTION = /^\s*\.(text|data|rodata|bss|section|pushsection|popsection|previous)\b/;
/** A line of data: a directive that is neither an instruction nor padding between instructions. */
const DATA = /^\s*(?:[\w.$]+:\s*)*\.(?!insn\b|option\b|align\b|balign\b|p2align\b|org\b)\w/;

function spansOf(isa: IsaName, source: string): (LineSpan | undefined)[] {
  const lines = source.split("\n");
  const before = (line: number) => `hf_line_${line}_begins`;
  const after = (line: number) => `hf_line_${line}_ends`;
  const marked = lines.map((text, line) => `${before(line)}:\n${text}\n${after(line)}:`).join("\n");
  let symbols: Image["symbols"];
  try {
    ({ symbols } = assembleImage(isa, marked));
  } catch {
    // The source has one of these names itself.
    return lines.map(() => undefined);
  }
  return lines.map((text, line) => {
    const [start, end] = [symbols.get(before(line)), symbols.get(after(line))].map(Number);
    if (SECTION.test(text) || !(start! < end!)) return undefined;
    return { start: start!, end: end!, isData: DATA.test(text) };
  });
}
