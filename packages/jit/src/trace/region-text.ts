/** A region as text: its graph with the structure that was found in it, and its WebAssembly between its assembly. */
import type { FrontEnd } from "@hyperfile/decoder";
import type { FunctionWriter, ModuleWriter } from "../backend/wasm/encoder.js";
import { regionSignature } from "../backend/wasm/interpreter.js";
import { pagesOf, type Region } from "../region/graph.js";
import type { StructuredEdge, StructuredNode } from "../region/structure.js";
import type { RegionNotes } from "./region-notes.js";
import { type SlotName, stateNames } from "./state-names.js";
import type { WasmFunction, WasmScope } from "./wasm-reader.js";
import { printWasm, type WasmNames } from "./wasm-text.js";

/** Where a region runs, and how its parts are called. */
export interface RegionView {
  readonly frontEnd: FrontEnd;
  readonly slotName: SlotName;
  readonly hartOffset: number;
  /** Guest-virtual address of the page that the region's head lies in. */
  readonly page: bigint;
  /** Assembly of the instruction at a place. */
  assemblyAt(place: number): string | undefined;
}

const instructions = (count: number): string => (count === 1 ? "1 instruction" : `${count} instructions`);

/** An address as text. */
export const hex = (address: bigint): string => `0x${address.toString(16)}`;

/** A guest-virtual address from its halves. */
export const addressOf = (low: number, high: number): bigint =>
  (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);

const addressAt = (view: RegionView, place: number): bigint =>
  BigInt.asUintN(view.frontEnd.addressType === "i64" ? 64 : 32, view.page + BigInt(place));

/**
 * The graph of a region, indented by dominators: a block stands under the one through which every way to it leads.
 */
export function regionGraphText(region: Region, head: StructuredNode, view: RegionView): string[] {
  const at = (place: number) => hex(addressAt(view, place));
  const pages = new Set(region.nodes.flatMap(pagesOf));
  const lines = [
    `region at ${at(head.node.place)}: ${region.nodes.length} blocks, ${instructions(region.instructions)}, ${pages.size} ${pages.size === 1 ? "page" : "pages"}`,
  ];
  const edgeText = (edge: StructuredEdge): string => {
    if (edge.kind === "exit") return `exit ${at(edge.place)}`;
    return `${edge.kind === "back" ? "back to " : ""}#${edge.to.order}`;
  };
  const visit = (node: StructuredNode, depth: number): void => {
    const { place, block, context } = node.node;
    const roles = [
      ...(node.isLoop ? ["loop"] : []),
      ...(node.isMerge ? ["merge"] : []),
      ...(context.depth > 0 ? [`inlined call to ${at(context.callee)}`] : []),
    ];
    const targets = node.edges.map(edgeText);
    if (targets.length === 0) targets.push("leaves");
    const role = roles.length === 0 ? "" : ` (${roles.join(", ")})`;
    lines.push(
      `${"  ".repeat(depth)}#${node.order} ${at(place)}: ${instructions(block.instructions)}${role} -> ${targets.join(", ")}`,
    );
    for (const child of node.children) visit(child, depth + 1);
  };
  visit(head, 1);
  return lines;
}

/** What the numbers in a function's code mean while its module is still being written. */
function scopeOf(module: ModuleWriter): WasmScope {
  const imported = [...module.importedFunctions];
  return {
    signature: (type) => module.signature(type),
    function: (index) => {
      const known = imported[index];
      if (known === undefined) return { name: `function_${index}`, signature: regionSignature };
      return { name: known[0], signature: known[1] };
    },
  };
}

/** The WebAssembly of a region, with the assembly of each guest instruction before its code. */
export function regionWasmText(
  module: ModuleWriter,
  body: FunctionWriter,
  notes: RegionNotes,
  view: RegionView,
): string[] {
  const { frontEnd, slotName, hartOffset } = view;
  const emitted: WasmFunction = {
    place: undefined,
    signature: regionSignature,
    locals: body.localTypes,
    code: body.code.written,
    hints: new Map(body.hints.map(({ offset, likely }) => [offset, likely])),
  };
  const names: WasmNames = {
    local: (local) => {
      const name = notes.locals.get(local);
      if (name === undefined) return undefined;
      return "work" in name ? name.work : slotName(name.slot, name.index);
    },
    memory: stateNames(frontEnd.shape, hartOffset, slotName),
    ...baseOf(notes, view),
  };
  const lines: string[] = [];
  const marks = notes.marks.values();
  let mark = marks.next();
  for (const { offset, depth, text } of printWasm(emitted, scopeOf(module), names)) {
    const indent = "  ".repeat(depth);
    for (; !mark.done && mark.value.offset <= offset; mark = marks.next()) {
      const { place, startsBlock } = mark.value;
      const address = hex(addressAt(view, place));
      lines.push(
        startsBlock
          ? `      ${indent};; block ${address}`
          : `      ${indent};; ${address}: ${view.assemblyAt(place) ?? "?"}`,
      );
    }
    lines.push(`${offset.toString(16).padStart(4, "0")}  ${indent}${text}`);
  }
  return lines;
}

function baseOf(notes: RegionNotes, view: RegionView): Pick<WasmNames, "base"> {
  for (const [local, name] of notes.locals) {
    if ("work" in name && name.work === "page") return { base: { local, address: view.page } };
  }
  return {};
}
