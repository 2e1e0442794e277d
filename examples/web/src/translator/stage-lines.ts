/**
 * Which guest instruction a line of a stage belongs to, as far as the stages tell: IR has a mark before each
 * instruction's operations, emitted code a comment with the address. What code is nested less deeply than its mark
 * belongs to no instruction: it is the region's own (registers loaded and written back, ways out).
 */
import type { StageLine } from "./protocol.js";

const depthOf = (text: string): number => text.length - text.trimStart().length;

/**
 * Lines of IR; marks get the instruction's assembly.
 * @param block address of the block
 * @param assemblyAt assembly of the instruction at an address
 */
export function irLines(
  lines: readonly string[],
  block: bigint,
  assemblyAt: (address: string) => string | undefined,
): StageLine[] {
  let address: string | undefined;
  return lines.map((text) => {
    const mark = /^insn \+(\d+) /.exec(text);
    if (mark === null) return address === undefined ? { text } : { text: `  ${text}`, address };
    address = `0x${(block + BigInt(mark[1]!)).toString(16)}`;
    const assembly = assemblyAt(address);
    return { text: assembly === undefined ? text : `${text}  ; ${assembly}`, address };
  });
}

/** How a language of emitted code is read. */
interface Reading {
  /** A comment with an instruction's address. */
  readonly mark: RegExp;
  /** What stands before a block's first mark and is the block's: a loop's head, the budget that the block takes. */
  readonly opensBlock: RegExp;
  /** Where code of no instruction begins at the same depth. */
  readonly opensScope: RegExp;
  depthOf(text: string): number;
}

const javascript: Reading = {
  mark: /^\s*\/\/ (0x[\da-f]+): /,
  opensBlock: /^\s*(?:L\d+: for \(;;\) \{|n = n - \d+ \| 0;)$/,
  opensScope: /^\s*\w+: \{$/,
  depthOf,
};

/** A line of WebAssembly begins with its offset, or with blanks of the same width. */
const OFFSET_WIDTH = 6;
const wasm: Reading = {
  mark: /^\s*;; (?:block )?(0x[\da-f]+)/,
  opensBlock: /^\w+ +(?:loop L\d+ \{|budget = budget - \d+$)/,
  opensScope: /^\w+ +block L\d+ \{/,
  depthOf: (text) => depthOf(text.slice(OFFSET_WIDTH)),
};

/** Lines of JavaScript of a region. */
export const javascriptLines = (lines: readonly string[]): StageLine[] => emittedLines(lines, javascript);

/** Lines of WebAssembly of a region. */
export const wasmLines = (lines: readonly string[]): StageLine[] => emittedLines(lines, wasm);

/** A region's graph: each line begins with its block's address. */
export const graphLines = (lines: readonly string[]): StageLine[] =>
  lines.map((text) => {
    const block = /^\s*#\d+ (0x[\da-f]+):/.exec(text);
    return block === null ? { text } : { text, address: block[1]! };
  });

function emittedLines(lines: readonly string[], reading: Reading): StageLine[] {
  const owners: (string | undefined)[] = [];
  let owner: string | undefined;
  let markDepth = 0;
  /** First line of what belongs to the next mark. */
  let waiting: number | undefined;
  lines.forEach((text, at) => {
    const mark = reading.mark.exec(text);
    const depth = reading.depthOf(text);
    if (mark !== null) {
      owner = mark[1]!;
      markDepth = depth;
      if (waiting !== undefined) owners.fill(owner, waiting);
      waiting = undefined;
    } else if (reading.opensBlock.test(text)) {
      owner = undefined;
      waiting ??= at;
    } else if (waiting === undefined && (reading.opensScope.test(text) || depth < markDepth)) {
      owner = undefined;
    }
    owners.push(owner);
  });
  return lines.map((text, at) => {
    const address = owners[at];
    return address === undefined ? { text } : { text, address };
  });
}
