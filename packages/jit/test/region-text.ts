/**
 * Regions of assembly programs as text: the structure that the WebAssembly backend prints, one line a block, indented
 * by what dominates what. Code after a label that begins with `cold` counts as never run, up to the next label.
 */
import { assemble, type Block, type FrontEnd, type GuestInsn, riscvFrontEnd } from "@hyperfile/decoder";
import { PAGE_SIZE } from "../src/memory/layout.js";
import { optimise } from "../src/passes/optimise.js";
import {
  type CodeView,
  type Context,
  DEFAULT_LIMITS,
  formRegion,
  type Place,
  type Region,
  type RegionLimits,
} from "../src/region/graph.js";
import { type StructuredEdge, type StructuredNode, structure } from "../src/region/structure.js";

/** An assembled program as region formation sees it. */
export class Program implements CodeView {
  readonly frontEnd: FrontEnd;
  readonly symbols: ReadonlyMap<string, number>;
  private readonly bytes: Uint8Array;
  private readonly cold: { readonly from: number; readonly to: number }[] = [];

  /** Assembles `source` at address 0. */
  constructor(source: string, xlen: 32 | 64 = 64) {
    const { bytes, symbols } = assemble(source, { xlen });
    this.frontEnd = riscvFrontEnd(xlen);
    this.bytes = bytes;
    this.symbols = new Map([...symbols].map(([name, address]) => [name, Number(address)]));
    const sorted = [...this.symbols].sort(([, a], [, b]) => a - b);
    sorted.forEach(([name, from], index) => {
      if (name.startsWith("cold")) this.cold.push({ from, to: sorted[index + 1]?.[1] ?? bytes.length });
    });
  }

  arrivals(): number {
    return 1;
  }

  hasRun(place: Place): boolean {
    if (place < 0 || place >= this.bytes.length) return false;
    return !this.cold.some(({ from, to }) => place >= from && place < to);
  }

  insnAt(place: Place) {
    const offset = place % PAGE_SIZE;
    if (place < 0 || place >= this.bytes.length) return undefined;
    const available = Math.min(PAGE_SIZE - offset, this.bytes.length - place);
    return this.frontEnd.decode(this.bytes, place, available) ?? undefined;
  }

  blockOf(_place: Place, insns: readonly GuestInsn[]): Block {
    return optimise(this.frontEnd.translate(insns));
  }

  /** A place's label, or its number. */
  name(place: Place): string {
    for (const [name, address] of this.symbols) if (address === place) return name;
    return `0x${place.toString(16)}`;
  }

  /** The region whose head is at the label `head`, or at address 0. */
  region(limits: Partial<RegionLimits> = {}): Region | undefined {
    return formRegion(this, this.symbols.get("head") ?? 0, { ...DEFAULT_LIMITS, ...limits });
  }
}

/** Limits that a case's title names, as in `(blocks=3 callDepth=1)`. */
export function limitsIn(title: string): Partial<RegionLimits> {
  const pairs = title.matchAll(/(blocks|instructions|blockInstructions|callDepth)=(\d+)/g);
  return Object.fromEntries([...pairs].map(([, name, value]) => [name, Number(value)]));
}

/** The structure of a program's region as text. */
export function regionText(source: string, limits: Partial<RegionLimits> = {}): string {
  const program = new Program(source);
  const region = program.region(limits);
  if (region === undefined) return "nothing to compile";
  const lines = [`${region.nodes.length} blocks, ${region.instructions} instructions`];
  const calls = (context: Context): string =>
    context.caller === undefined
      ? ""
      : `${calls(context.caller)} in ${program.name(context.callee)} for ${program.name(context.returnTo)}`;
  const target = (edge: StructuredEdge): string =>
    edge.kind === "exit"
      ? `exit ${program.name(edge.place)}`
      : `${edge.kind} ${program.name(edge.to.node.place)}`;
  const write = (at: StructuredNode, indent: string): void => {
    const { node } = at;
    const last = node.block.operations[node.block.operations.length - 1]!;
    const kinds = `${at.isLoop ? " loop" : ""}${at.isMerge ? " merge" : ""}`;
    const exit = last.op === "jumpr" && node.edges.length === 0 ? " anywhere" : "";
    const edges = at.edges.map(target).join(" | ");
    const way = last.op === "leave" || last.op === "trap" ? ` ${last.op}` : exit;
    lines.push(
      `${indent}${program.name(node.place)}${calls(node.context)}: ${node.block.instructions} of ${at.longest}${kinds} ->${way}${edges && ` ${edges}`}`,
    );
    for (const child of at.children) write(child, `${indent}  `);
  };
  write(structure(region), "");
  return lines.join("\n");
}
