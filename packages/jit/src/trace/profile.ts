/**
 * A sampling profile of a hart. Slices of the run loop are cut into shorter ones of varying length, and at the end of
 * each the program counter is looked at. That is one sample: it stands for the instructions and the time of its slice.
 * Nothing is added to translated code.
 *
 * What is measured, and how well:
 * - Instructions by tier are counted, not sampled.
 * - A sample belongs to the translation that covers the program counter, if any translated code ran in its slice, and
 *   to the interpreter if not. Time by tier is the time of the samples that belong to it.
 * - Where several regions cover it, because a callee is inlined in each, the one with the most samples gets it.
 * - The end of a slice is interpreted even in hot code, so a sample's place in a region is near a budget check or
 *   within the last few instructions after one.
 */
import type { FrontEnd } from "@hyperfile/decoder";
import type { CodePage, RegionRecord } from "../engine/code-pages.js";
import type { Engine } from "../engine/engine.js";
import { PAGE_SIZE } from "../memory/layout.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import type { EngineTrace, TracedRegion } from "./engine-trace.js";
import { formatInsn } from "./explain.js";
import { addressOf, hex } from "./region-text.js";

/** What a sample can belong to. */
export type ProfileKind = "region" | "interpreted";

/** A guest function. */
export interface ProfileSymbol {
  readonly name: string;
  readonly address: bigint;
}

/** The hart that is measured. */
export interface ProfiledHart {
  readonly frontEnd: FrontEnd;
  readonly engine: Engine;
  readonly memory: LinearMemory;
  /** The program counter in two halves. */
  pcLow(): number;
  pcHigh(): number;
  /** A letter for the privilege mode. */
  mode(): string;
  /** Runs at most `budget` instructions. */
  run(budget: number): "budget" | "wait" | "stop";
  /** Instructions retired since power-on. */
  retired(): number;
}

/** A line of assembly with the samples that fell on it. */
export interface ProfileLine {
  readonly address: string;
  readonly text: string;
  readonly samples: number;
}

/** A region or interpreted code: what samples are added up by. Ready for JSON. */
export interface ProfileUnit {
  readonly kind: ProfileKind;
  /** Guest-virtual address of its first instruction; of interpreted code, of the function or of 256 aligned bytes. */
  readonly address: string;
  /** The function that the address lies in, with the distance from its start. */
  readonly symbol: string | undefined;
  /** Privilege mode of its first sample. */
  readonly mode: string;
  readonly samples: number;
  /** Instructions and seconds of the slices that its samples ended. */
  readonly instructions: number;
  readonly seconds: number;
  /** Guest instructions that it was made from, and bytes of WebAssembly; 0 if it was not. */
  readonly translatedInstructions: number;
  readonly codeBytes: number;
  /** All its instructions, of interpreted code those that have samples; left out for all but the hottest. */
  readonly assembly: readonly ProfileLine[] | undefined;
}

/** What one tier did. */
export interface ProfileTier {
  /** Instructions, counted. */
  readonly instructions: number;
  readonly samples: number;
  /** Seconds of the samples. */
  readonly seconds: number;
}

/** A profile. Ready for JSON. */
export interface ProfileReport {
  readonly isa: string;
  /** The engine's tier. */
  readonly tier: string;
  readonly samples: number;
  /** Samples that no unit below has: of code that is less hot, or found no room in the table. */
  readonly otherSamples: number;
  readonly instructions: number;
  /** Seconds in which the hart ran, translation included. */
  readonly seconds: number;
  /** Seconds of them in which code was translated; they belong to no tier and no unit. */
  readonly translationSeconds: number;
  readonly tiers: Readonly<Record<"interpreter" | "translations", ProfileTier>>;
  /** The hottest first. */
  readonly units: readonly ProfileUnit[];
}

/** Instructions of a sample's slice, least and most. */
const SHORTEST_SLICE = 40_000;
const SLICE_SPREAD = 0x7fff;
/** Most units, and most places of samples in one: what comes later is only counted. */
const MOST_UNITS = 8192;
const MOST_PLACES = 2048;
/** Bytes that interpreted code without symbols is added up by. */
const WINDOW = 256n;

interface Unit {
  readonly kind: ProfileKind;
  readonly address: bigint;
  readonly mode: string;
  readonly translatedInstructions: number;
  readonly codeBytes: number;
  /** Its code, copied when its first sample came. */
  readonly parts: readonly { readonly address: bigint; readonly bytes: Uint8Array }[];
  samples: number;
  instructions: number;
  seconds: number;
  readonly places: Map<bigint, { samples: number; readonly text: string }>;
}

/** An address as its function's name and the distance from its start. */
export function symbolText(symbol: ProfileSymbol | undefined, address: bigint): string | undefined {
  if (symbol === undefined) return undefined;
  const distance = address - symbol.address;
  return distance === 0n ? symbol.name : `${symbol.name}+${hex(distance)}`;
}

/** A profiler. Made before the engine, which takes {@link Profiler.trace}; {@link Profiler.watch} names its hart. */
export class Profiler {
  readonly trace: EngineTrace = { onRegion: (region) => this.translated(region) };
  private hart: ProfiledHart | undefined;
  /** Addresses of the parts of regions. */
  private readonly addresses = new WeakMap<RegionRecord, readonly bigint[]>();
  private readonly units = new Map<string, Unit>();
  private samples = 0;
  private seconds = 0;
  private translationSeconds = 0;
  private readonly byTier = {
    interpreter: { samples: 0, seconds: 0 },
    translations: { samples: 0, seconds: 0 },
  };
  private random = 1;

  /** @param symbolAt finds the function that an address lies in */
  constructor(private readonly symbolAt: (address: bigint) => ProfileSymbol | undefined = () => undefined) {}

  /** Names the hart, whose engine was made with {@link Profiler.trace}. */
  watch(hart: ProfiledHart): void {
    this.hart = hart;
  }

  /** Runs the hart for at most `budget` instructions, sampling. */
  run(budget: number): "budget" | "wait" | "stop" {
    const hart = this.hart!;
    const { counters } = hart.engine;
    for (let left = budget; ; ) {
      const slice = Math.min(left, SHORTEST_SLICE + this.jitter());
      const retired = hart.retired();
      const { translated, compileMicroseconds } = counters;
      const started = performance.now();
      const end = hart.run(slice);
      const seconds = (performance.now() - started) / 1000;
      const translating = (counters.compileMicroseconds - compileMicroseconds) / 1e6;
      const instructions = hart.retired() - retired;
      this.seconds += seconds;
      this.translationSeconds += translating;
      if (instructions > 0) {
        const running = Math.max(0, seconds - translating);
        this.sample(hart, instructions, running, counters.translated !== translated);
      }
      left -= slice;
      if (end !== "budget" || left <= 0) return end;
    }
  }

  /**
   * What was found so far.
   * @param limits how many units there are at most, the hottest, and how many of them come with their assembly
   */
  report(limits: { readonly units: number; readonly assembly: number }): ProfileReport {
    const hart = this.hart!;
    const { counters, tier } = hart.engine;
    const sampled = [...this.units.values()].filter(({ samples }) => samples > 0);
    const units = sampled.sort((a, b) => b.seconds - a.seconds).slice(0, limits.units);
    return {
      isa: hart.frontEnd.name,
      tier,
      samples: this.samples,
      otherSamples: units.reduce((left, unit) => left - unit.samples, this.samples),
      instructions: counters.interpreted + counters.translated,
      seconds: this.seconds,
      translationSeconds: this.translationSeconds,
      tiers: {
        interpreter: { instructions: counters.interpreted, ...this.byTier.interpreter },
        translations: { instructions: counters.translated, ...this.byTier.translations },
      },
      units: units.map((unit, rank) => ({
        kind: unit.kind,
        address: hex(unit.address),
        symbol: symbolText(this.symbolAt(unit.address), unit.address),
        mode: unit.mode,
        samples: unit.samples,
        instructions: unit.instructions,
        seconds: unit.seconds,
        translatedInstructions: unit.translatedInstructions,
        codeBytes: unit.codeBytes,
        assembly: rank < limits.assembly ? assemblyOf(hart.frontEnd, unit) : undefined,
      })),
    };
  }

  /** A length that does not follow any loop of the guest's (a linear congruential generator, so runs repeat). */
  private jitter(): number {
    this.random = (Math.imul(this.random, 1664525) + 1013904223) | 0;
    return (this.random >>> 8) & SLICE_SPREAD;
  }

  private translated({ low, high, record, region }: TracedRegion): void {
    const page = addressOf(low & -PAGE_SIZE, high);
    this.addresses.set(
      record,
      region.nodes.map(({ place }) => page + BigInt(place)),
    );
  }

  private sample(hart: ProfiledHart, instructions: number, seconds: number, ranTranslated: boolean): void {
    this.samples++;
    const low = hart.pcLow();
    const pc = addressOf(low, hart.pcHigh());
    const page = hart.engine.codePageAt(low, hart.pcHigh());
    const unit =
      (ranTranslated && page !== undefined ? this.translationAt(hart, page, pc) : undefined) ??
      this.interpretedAt(hart, pc);
    const tier =
      this.byTier[unit === undefined || unit.kind === "interpreted" ? "interpreter" : "translations"];
    tier.samples++;
    tier.seconds += seconds;
    if (unit === undefined) return;
    unit.samples++;
    unit.instructions += instructions;
    unit.seconds += seconds;
    const place = unit.places.get(pc);
    if (place !== undefined) place.samples++;
    else if (unit.places.size < MOST_PLACES) {
      unit.places.set(pc, { samples: 1, text: insnText(hart, page, pc) });
    }
  }

  /** The region that covers the program counter. */
  private translationAt(hart: ProfiledHart, page: CodePage, pc: bigint): Unit | undefined {
    const offset = Number(pc & BigInt(PAGE_SIZE - 1));
    let best: Unit | undefined;
    for (const region of page.regions) {
      const covers = region.spans.some(
        (span) => span.page === page && offset >= span.start && offset < span.end,
      );
      const addresses = this.addresses.get(region);
      if (!covers || region.state !== "active" || addresses === undefined) continue;
      const unit = this.unit("region", addresses[0]!, hart, () => ({
        translatedInstructions: region.instructions,
        codeBytes: region.bytes,
        // The spans of the nodes; what lies in next pages comes after them.
        parts: addresses.map((address, index) => {
          const { page, start, end } = region.spans[index]!;
          return { address, bytes: hart.memory.u8.slice(page.frame + start, page.frame + end) };
        }),
      }));
      if (unit !== undefined && (best === undefined || unit.samples > best.samples)) best = unit;
    }
    return best;
  }

  private interpretedAt(hart: ProfiledHart, pc: bigint): Unit | undefined {
    const address = this.symbolAt(pc)?.address ?? pc - (pc % WINDOW);
    return this.unit("interpreted", address, hart, () => ({
      translatedInstructions: 0,
      codeBytes: 0,
      parts: [],
    }));
  }

  private unit(
    kind: ProfileKind,
    address: bigint,
    hart: ProfiledHart,
    make: () => Pick<Unit, "translatedInstructions" | "codeBytes" | "parts">,
  ): Unit | undefined {
    const key = `${kind} ${address}`;
    const known = this.units.get(key);
    if (known !== undefined || this.units.size >= MOST_UNITS) return known;
    const unit: Unit = {
      kind,
      address,
      mode: hart.mode(),
      ...make(),
      samples: 0,
      instructions: 0,
      seconds: 0,
      places: new Map(),
    };
    this.units.set(key, unit);
    return unit;
  }
}

/** The instruction at the program counter, as far as it lies in a known page. */
function insnText({ frontEnd, memory }: ProfiledHart, page: CodePage | undefined, pc: bigint): string {
  if (page === undefined || page.frame < 0) return "?";
  const offset = Number(pc & BigInt(PAGE_SIZE - 1));
  const insn = frontEnd.decode(memory.u8, page.frame + offset, PAGE_SIZE - offset);
  return insn === null ? "?" : formatInsn(frontEnd, insn, pc);
}

/** A unit's instructions in the order of their addresses, each once. */
function assemblyOf(frontEnd: FrontEnd, unit: Unit): ProfileLine[] {
  const lines = new Map<bigint, string>();
  for (const { address, bytes } of unit.parts) {
    for (let at = 0; at < bytes.length; ) {
      const insn = frontEnd.decode(bytes, at, bytes.length - at);
      if (insn === null) break;
      const place = address + BigInt(at);
      lines.set(place, formatInsn(frontEnd, insn, place));
      at += insn.length;
    }
  }
  for (const [place, { text }] of unit.places) if (!lines.has(place)) lines.set(place, text);
  return [...lines]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([place, text]) => ({ address: hex(place), text, samples: unit.places.get(place)?.samples ?? 0 }));
}
