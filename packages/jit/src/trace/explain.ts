/**
 * What the translator makes of code that need not run: a block as IR before and after the passes, and the regions that
 * would be formed at a place, with the WebAssembly or JavaScript that runs. All code that the region's formation can reach counts as having
 * run.
 */
import { alignmentOf, type Block, type FrontEnd, type GuestInsn, printBlock } from "@hyperfile/decoder";
import { emitJsRegion } from "../backend/js/region.js";
import { ModuleWriter } from "../backend/wasm/encoder.js";
import { emitWasmRegion } from "../backend/wasm/region.js";
import { PAGE_SIZE, STATE_OFFSET } from "../memory/layout.js";
import { optimise } from "../passes/optimise.js";
import type { RegionContext } from "../region/emission.js";
import {
  type CodeView,
  DEFAULT_LIMITS,
  formRegion,
  JS_LIMITS,
  pagesOf,
  type Region,
  type RegionLimits,
} from "../region/graph.js";
import { type StructuredNode, structure } from "../region/structure.js";
import { RegionNotes } from "./region-notes.js";
import { hex, type RegionView, regionGraphText, regionWasmText } from "./region-text.js";
import type { SlotName } from "./state-names.js";

/** Code at guest-virtual addresses. */
export interface ExplainedCode {
  readonly frontEnd: FrontEnd;
  readonly slotName: SlotName;
  /** Slot with the accrued floating-point flags, if the front end has any. */
  readonly flagsSlot?: string;
  /** The bytes from an address on, as far as they are known; empty where there is no code. */
  bytesAt(address: bigint): Uint8Array;
}

/** A stage of translation. */
export interface ExplainedStage {
  /** For instance `optimised IR`. */
  readonly name: string;
  readonly lines: readonly string[];
}

const PAGE_MASK = BigInt(PAGE_SIZE - 1);

/** The instruction at an address; undefined if there is none, or it takes more than `limit` bytes. */
function insnAt(code: ExplainedCode, address: bigint, limit = PAGE_SIZE): GuestInsn | undefined {
  const bytes = code.bytesAt(address);
  const offset = Number(address & PAGE_MASK);
  return code.frontEnd.decode(bytes, 0, Math.min(bytes.length, limit), offset) ?? undefined;
}

/** An instruction as assembly text. */
export function formatInsn(frontEnd: FrontEnd, insn: GuestInsn, address: bigint): string {
  const low = Number(BigInt.asIntN(32, address));
  return frontEnd.format(insn, low, Number(BigInt.asIntN(32, address >> 32n))).replace(/\t/g, " ");
}

/** Lines of a text without empty ones at its end. */
const linesOf = (text: string): string[] => text.trimEnd().split("\n");

/**
 * The block at an address: assembly, IR, optimised IR; undefined if its first instruction is not known
 * or ends in another page: only regions hold such instructions.
 */
export function explainBlock(code: ExplainedCode, address: bigint): ExplainedStage[] | undefined {
  const { frontEnd } = code;
  const insns: GuestInsn[] = [];
  const assembly: string[] = [];
  for (let at = address; insns.length < DEFAULT_LIMITS.blockInstructions; ) {
    const inPage = PAGE_SIZE - Number(at & PAGE_MASK);
    const insn = at !== address && inPage === PAGE_SIZE ? undefined : insnAt(code, at, inPage);
    if (insn === undefined) break;
    assembly.push(`${hex(at)}: ${formatInsn(frontEnd, insn, at)}`);
    insns.push(insn);
    at += BigInt(insn.length);
    if (frontEnd.endsBlock(insn)) break;
  }
  if (insns.length === 0) return undefined;
  const block = frontEnd.translate(insns);
  const optimised = optimise(block);
  const print = (stage: Block) => linesOf(printBlock(stage, frontEnd.shape));
  return [
    { name: "assembly", lines: assembly },
    { name: "IR", lines: print(block) },
    { name: "optimised IR", lines: print(optimised) },
  ];
}

/** The region that would be formed at an address, and how it is shown. */
interface ExplainedRegion {
  readonly region: Region;
  readonly head: StructuredNode;
  readonly context: RegionContext;
  readonly view: RegionView;
}

function regionAt(code: ExplainedCode, address: bigint, limits: RegionLimits): ExplainedRegion | undefined {
  const { frontEnd, slotName, flagsSlot } = code;
  const page = address - (address & PAGE_MASK);
  const at = (place: number) => page + BigInt(place);
  // As the engine does: where addresses have 32 bits, jumps to known ones are followed.
  const known = frontEnd.addressType === "i32" ? { pageAddress: Number(BigInt.asIntN(32, page)) } : {};
  const codeView: CodeView = {
    frontEnd,
    ...known,
    arrivals: () => 1,
    hasRun: (place) => insnAt(code, at(place)) !== undefined,
    insnAt: (place) => insnAt(code, at(place)),
    blockOf: (_, insns) => optimise(frontEnd.translate(insns)),
  };
  const region = formRegion(codeView, Number(address & PAGE_MASK), { ...limits, share: 0 });
  if (region === undefined) return undefined;
  const flags = flagsSlot === undefined ? undefined : frontEnd.shape.slots.get(flagsSlot);
  const pages = new Set(region.nodes.flatMap(pagesOf));
  return {
    region,
    head: structure(region),
    context: {
      shape: frontEnd.shape,
      hartOffset: 0,
      wideAddresses: frontEnd.addressType === "i64",
      alignment: alignmentOf(frontEnd),
      pageBytes: frontEnd.pageBytes ?? PAGE_SIZE,
      ...(region.isBound === true ? known : {}),
      flagsOffset: flags === undefined ? undefined : STATE_OFFSET + flags.offset,
      // Page 0 of the code pages is never a page of code: the numbers that a VM would use begin at 1.
      pages: new Map([...pages].map((distance, index) => [distance, index + 1])),
    },
    view: {
      frontEnd,
      slotName,
      hartOffset: 0,
      page,
      assemblyAt: (place) => {
        const insn = insnAt(code, at(place));
        return insn === undefined ? undefined : formatInsn(frontEnd, insn, at(place));
      },
    },
  };
}

/** The region at an address: its graph, and its WebAssembly; undefined if nothing can be compiled there. */
export function explainRegion(code: ExplainedCode, address: bigint): ExplainedStage[] | undefined {
  const found = regionAt(code, address, DEFAULT_LIMITS);
  if (found === undefined) return undefined;
  const { region, head, context, view } = found;
  const notes = new RegionNotes();
  const module = new ModuleWriter();
  const body = emitWasmRegion(module, "region", head, context, notes);
  return [
    { name: "region", lines: regionGraphText(region, head, view) },
    { name: `WebAssembly, ${body.code.length} bytes`, lines: regionWasmText(module, body, notes, view) },
  ];
}

/**
 * The region at an address as tier `js` forms it: its graph, and its JavaScript; undefined if nothing can be
 * compiled there.
 */
export function explainJsRegion(code: ExplainedCode, address: bigint): ExplainedStage[] | undefined {
  const found = regionAt(code, address, JS_LIMITS);
  if (found === undefined) return undefined;
  const { region, head, context, view } = found;
  const noteAt = (place: number) => {
    const assembly = view.assemblyAt(place);
    return assembly === undefined ? undefined : `${hex(view.page + BigInt(place))}: ${assembly}`;
  };
  const text = emitJsRegion(head, context, noteAt);
  return [
    { name: "region in tier js", lines: regionGraphText(region, head, view) },
    { name: `JavaScript of the region, ${text.length} characters`, lines: linesOf(text) },
  ];
}
