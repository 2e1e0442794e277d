/** A program as rows of a disassembly, with where blocks begin. */
import type { GuestInsn } from "@hyperfile/decoder";
import { type ExplainedCode, formatInsn } from "@hyperfile/jit/trace";
import type { AssembledSource, LineSpan } from "./assembly.js";
import { hex } from "./isas.js";
import type { CodeRow } from "./protocol.js";

/** Most bytes of data that a row shows. */
const DATA_BYTES = 8;

/** An instruction or data, before its row. */
interface Part {
  readonly at: number;
  readonly length: number;
  readonly insn: GuestInsn | undefined;
}

/** Rows for the whole program, whose first byte is at `origin`. */
export function listing(code: ExplainedCode, source: AssembledSource, origin: number): CodeRow[] {
  const { bytes, labels, spans } = source;
  const parts = partsOf(code, bytes, origin, spans);
  const begins = blockStarts(code, parts, labels);
  return parts.map(({ at, length, insn }) => {
    const shown = bytes.subarray(
      at - origin,
      at - origin + (insn === undefined ? Math.min(length, DATA_BYTES) : length),
    );
    const pairs = [...shown].map((byte) => byte.toString(16).padStart(2, "0"));
    return {
      address: hex(at),
      bytes: `${pairs.join(" ")}${shown.length < length ? " …" : ""}`,
      text:
        insn === undefined
          ? `data, ${length} ${length === 1 ? "byte" : "bytes"}`
          : formatInsn(code.frontEnd, insn, BigInt(at)),
      labels: labels.get(at) ?? [],
      startsBlock: begins.has(at),
      isData: insn === undefined,
    };
  });
}

function partsOf(
  { frontEnd }: ExplainedCode,
  bytes: Uint8Array,
  origin: number,
  spans: readonly (LineSpan | undefined)[],
): Part[] {
  const data = new Map(
    spans.flatMap((span) => (span?.isData === true ? [[span.start, span.end]] : [])) as [number, number][],
  );
  const parts: Part[] = [];
  for (let at = origin; at < origin + bytes.length; ) {
    const offset = at - origin;
    const end = data.get(at);
    const insn =
      end === undefined
        ? (frontEnd.decode(bytes, offset, bytes.length - offset, at & 0xfff) ?? undefined)
        : undefined;
    const length = end !== undefined ? end - at : (insn?.length ?? bytes.length - offset);
    parts.push({ at, length, insn });
    at += length;
  }
  return parts;
}

/** The first instruction, those after one that ends a block, targets of jumps, and labels. */
function blockStarts(
  { frontEnd }: ExplainedCode,
  parts: readonly Part[],
  labels: ReadonlyMap<number, unknown>,
): Set<number> {
  const targets = new Set<number>(labels.keys());
  let isNext = true;
  for (const { at, insn, length } of parts) {
    if (isNext) targets.add(at);
    isNext = insn === undefined || frontEnd.endsBlock(insn);
    if (insn === undefined || !isNext) continue;
    const exit = frontEnd.translate([insn]).operations.at(-1)!;
    for (const target of exit.targets ?? []) if (typeof target === "number") targets.add(at + target);
    targets.add(at + length);
  }
  return new Set(parts.filter(({ at, insn }) => insn !== undefined && targets.has(at)).map(({ at }) => at));
}
