/**
 * Dumps of what a VM's translator does, as text, by name (`dump-kinds.ts`).
 *
 * A filter of guest-virtual addresses lets only what touches it through. Nothing that is not asked for costs
 * anything: a dump gives the engine no receiver for it.
 */
import { type Block, type FrontEnd, type GuestInsn, printBlock } from "@hyperfile/decoder";
import { decodeInPages } from "../engine/straddling.js";
import { PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import type { DumpKind } from "./dump-kinds.js";
import type { EngineTrace, TracedRegion } from "./engine-trace.js";
import { formatInsn } from "./explain.js";
import { addressOf, hex, type RegionView, regionGraphText, regionWasmText } from "./region-text.js";
import type { SlotName } from "./state-names.js";

/** Guest-virtual addresses from `start` on. */
export interface AddressRange {
  readonly start: bigint;
  readonly length: bigint;
}

/** What to dump, and where to. */
export interface DumpOptions {
  readonly kinds: ReadonlySet<DumpKind>;
  /** Only what touches these addresses; everything if undefined. */
  readonly filter?: AddressRange | undefined;
  /** Takes lines with their line ends. */
  write(text: string): void;
}

/** The hart whose engine is watched. */
export interface DumpedHart {
  readonly frontEnd: FrontEnd;
  readonly slotName: SlotName;
  readonly hartOffset: number;
  readonly memory: LinearMemory;
  /** The program counter. */
  pc(): bigint;
}

/** A dump. Made before the engine, which takes {@link Dump.trace}; {@link Dump.watch} then names its hart. */
export class Dump {
  readonly trace: EngineTrace;
  private hart: DumpedHart | undefined;

  constructor(private readonly options: DumpOptions) {
    const { kinds } = options;
    const translations = (["insn", "ir", "opt", "emit"] as const).some((kind) => kinds.has(kind));
    this.trace = {
      ...(translations ? { onRegion: (region: TracedRegion) => this.region(region) } : {}),
      ...(kinds.has("exit") ? { onExit: (exit: string) => this.exit(exit) } : {}),
    };
  }

  /** Names the hart. Nothing is dumped before. */
  watch(hart: DumpedHart): void {
    this.hart = hart;
  }

  /** Whether this kind was asked for. */
  has(kind: DumpKind): boolean {
    return this.options.kinds.has(kind);
  }

  /** Whether `length` bytes from an address on touch the filter. */
  wants(address: bigint, length = 1n): boolean {
    const { filter } = this.options;
    if (filter === undefined) return true;
    return address < filter.start + filter.length && address + length > filter.start;
  }

  /** Writes lines under a heading. */
  write(heading: string, lines: readonly string[] = []): void {
    this.options.write(`${[heading, ...lines.map((line) => `  ${line}`)].join("\n")}\n`);
  }

  private exit(reason: string): void {
    const pc = this.hart?.pc();
    if (pc !== undefined && this.wants(pc)) this.write(`exit ${reason} at ${hex(pc)}`);
  }

  /** The stages of one block but for the emitted code. */
  private stages(address: bigint, insns: readonly GuestInsn[], optimised: Block): void {
    const { hart } = this;
    if (hart === undefined) return;
    const { frontEnd } = hart;
    if (this.has("insn")) {
      let at = address;
      const lines = insns.map((insn) => {
        const line = `${hex(at)}: ${formatInsn(frontEnd, insn, at)}`;
        at += BigInt(insn.length);
        return line;
      });
      this.write(`insn ${hex(address)}`, lines);
    }
    const print = (block: Block) => printBlock(block, frontEnd.shape).trimEnd().split("\n");
    if (this.has("ir")) this.write(`ir ${hex(address)}`, print(frontEnd.translate(insns)));
    if (this.has("opt")) this.write(`opt ${hex(address)}`, print(optimised));
  }

  private region(traced: TracedRegion): void {
    const { hart } = this;
    const { low, high, record, region, head, code } = traced;
    const page = addressOf(low & -PAGE_SIZE, high);
    const at = (place: number) => page + BigInt(place);
    if (hart === undefined || !region.nodes.some((node) => this.wants(at(node.place), BigInt(node.length))))
      return;
    const { frontEnd } = hart;
    const frames = new Map<number, number>();
    // The spans of the nodes; those of instructions that end in a next page come after them.
    const rest = record.spans.slice(region.nodes.length).values();
    region.nodes.forEach(({ place, length }, index) => {
      const distance = Math.floor(place / PAGE_SIZE);
      frames.set(distance, record.spans[index]!.page.frame);
      if (Math.floor((place + length - 1) / PAGE_SIZE) > distance)
        frames.set(distance + 1, rest.next().value!.page.frame);
    });
    const insnAt = (place: number): GuestInsn | undefined => {
      const distance = Math.floor(place / PAGE_SIZE);
      const frame = frames.get(distance);
      if (frame === undefined) return undefined;
      const offset = place & (PAGE_SIZE - 1);
      return decodeInPages(frontEnd, hart.memory.u8, frame, frames.get(distance + 1), offset);
    };
    const seen = new Set<number>();
    for (const { place, length, block } of region.nodes) {
      // A callee that is inlined twice is the same guest code.
      if (seen.has(place) || !this.wants(at(place), BigInt(length))) continue;
      seen.add(place);
      const insns: GuestInsn[] = [];
      for (let next = place; next < place + length; next += insns[insns.length - 1]!.length) {
        insns.push(insnAt(next)!);
      }
      this.stages(at(place), insns, block);
    }
    if (!this.has("emit")) return;
    const view: RegionView = {
      ...hart,
      page,
      assemblyAt: (place) => {
        const insn = insnAt(place);
        return insn === undefined ? undefined : formatInsn(frontEnd, insn, at(place));
      },
    };
    this.write(`emit ${code.kind} ${hex(at(head.node.place))}`, [
      ...regionGraphText(region, head, view),
      ...(code.kind === "js"
        ? code.text.split("\n")
        : regionWasmText(code.module, code.body, code.notes, view)),
    ]);
  }
}
