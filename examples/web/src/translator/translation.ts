/** Everything that the columns show of a program: its listing, and the stages of one of its blocks. */
import {
  type ExplainedCode,
  type ExplainedStage,
  explainBlock,
  explainJsRegion,
  explainRegion,
} from "@hyperfile/jit/trace";
import { assembleSource, type LineSpan, SourceMistake } from "./assembly.js";
import { explainedCode } from "./explained-code.js";
import { isas } from "./isas.js";
import { listing } from "./listing.js";
import type { CodeRow, IsaName, StageLine, Stages, Translation } from "./protocol.js";
import { graphLines, irLines, javascriptLines, wasmLines } from "./stage-lines.js";

/** Most rows of a listing, and most lines of a stage. */
const MOST_LINES = 2000;

/**
 * Translates a program.
 * @param block address of the block to explain; the program's first one where none begins there
 * @throws SourceMistake for the first fault of the source
 */
export function translate(isa: IsaName, source: string, block: string | undefined): Translation {
  const assembled = assembleSource(isa, source);
  const { origin } = isas[isa];
  const { bytes } = assembled;
  const code = explainedCode(isa, bytes);
  const all = listing(code, assembled, origin);
  const blocks = all.filter(({ startsBlock }) => startsBlock).map(({ address }) => address);
  const [first] = blocks;
  if (first === undefined)
    throw new SourceMistake(undefined, "the program is all data: write an instruction");
  const chosen = block !== undefined && blocks.includes(block) ? block : first;
  const rows = all.slice(0, MOST_LINES);
  return {
    image: { isa, origin, bytes, blocks },
    rows,
    hiddenRows: all.length - rows.length,
    lines: linesOf(assembled.spans, all),
    stages: stagesOf(code, chosen, all),
  };
}

/** Addresses of the rows in each line's bytes; both are in order, but for sections. */
function linesOf(spans: readonly (LineSpan | undefined)[], rows: readonly CodeRow[]): string[][] {
  const starts = rows.map(({ address }) => Number(address));
  const placeOf = (wanted: number) => {
    let [low, high] = [0, starts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (starts[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  return spans.map((span) =>
    span === undefined
      ? []
      : rows.slice(placeOf(span.start), placeOf(span.end)).map(({ address }) => address),
  );
}

function stagesOf(code: ExplainedCode, block: string, rows: readonly CodeRow[]): Stages {
  const at = BigInt(block);
  const assembly = new Map(rows.map(({ address, text }) => [address, text]));
  const ofBlock = explainBlock(code, at);
  const ofRegion = explainRegion(code, at);
  const ofScript = explainJsRegion(code, at);
  const ir = (name: string) =>
    bounded(stage(ofBlock, name, "The first instruction lies in two pages: only regions have it."), (lines) =>
      irLines(lines, at, (address) => assembly.get(address)),
    );
  const emitted = (
    stages: readonly ExplainedStage[] | undefined,
    name: string,
    read: (lines: readonly string[]) => StageLine[],
  ) => [
    ...graphLines(stage(stages, "region", "No region can begin here: it stays in the interpreter.")),
    ...bounded(stage(stages, name, ""), read),
  ];
  return {
    block,
    ir: ir("IR"),
    optimised: ir("optimised IR"),
    javascript: emitted(ofScript, "JavaScript", javascriptLines),
    wasm: emitted(ofRegion, "WebAssembly", wasmLines),
    wasmBytes: Number(
      /\d+/.exec(ofRegion?.find(({ name }) => name.startsWith("WebAssembly"))?.name ?? "0")![0],
    ),
  };
}

/** Lines of the stage whose name begins so. */
const stage = (
  stages: readonly ExplainedStage[] | undefined,
  name: string,
  otherwise: string,
): readonly string[] => stages?.find((each) => each.name.startsWith(name))?.lines ?? [otherwise];

function bounded(lines: readonly string[], read: (lines: readonly string[]) => StageLine[]): StageLine[] {
  if (lines.length <= MOST_LINES) return read(lines);
  return [
    ...read(lines.slice(0, MOST_LINES)),
    { text: `… ${lines.length - MOST_LINES} more lines are not shown` },
  ];
}
