/** What an engine is made from, and what it tells of its regions. */
import type { FrontEnd } from "@hyperfile/decoder";
import type { GuestMemory } from "../memory/guest-memory.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import type { MemoryAccess } from "../mmu/access.js";
import type { Tlb } from "../mmu/tlb.js";
import type { EngineTrace } from "../trace/engine-trace.js";
import type { CpuModel } from "./cpu-model.js";
import type { Tier } from "./tiers.js";

/**
 * How much of what is translated is checked before it runs: blocks against the IR's invariants, emitted JavaScript
 * against the rules of `verify.ts`. WebAssembly is always checked by the host's validator.
 * - `all`: everything.
 * - `sampled`: everything that comes from a front end which is not the library's own, whatever it did before; of the
 *   library's own the interpreter and one in 64 emissions, to notice defects.
 * - `off`: nothing. The front end is trusted as the program is.
 */
export type VerifyMode = "all" | "sampled" | "off";

/** What an engine is made from. */
export interface EngineOptions {
  readonly frontEnd: FrontEnd;
  readonly memory: LinearMemory;
  /** Byte offset of the hart's block in linear memory. */
  readonly hartOffset: number;
  /** Byte offset of the code arena, and its capacity in code pages. */
  readonly arenaOffset: number;
  readonly codePages: number;
  readonly guest: GuestMemory;
  readonly tlb: Tlb;
  readonly access: MemoryAccess;
  readonly model: CpuModel;
  /** The CPU model's helpers and `raise`, by name. */
  readonly helpers: Readonly<Record<string, (...args: number[]) => number>>;
  /** Slot with the accrued floating-point flags, if the front end has any. */
  readonly flagsSlot?: string;
  readonly tier: Tier;
  readonly verify: VerifyMode;
  /** False to make regions of single blocks, which return to the interpreter or the dispatcher. */
  readonly chain?: boolean;
  /** Arrivals at a jump target before it is translated. */
  readonly hotThreshold?: number;
  /**
   * Whether regions are compiled by other threads of the host while the interpreter goes on; they are in place when
   * the owner has visited the event loop. If not, compilation holds the guest up.
   */
  readonly background?: boolean;
  /** Most regions that are kept. */
  readonly regions?: number;
  /** Receiver of events. */
  readonly trace?: EngineTrace;
}

/** What an engine has in regions. */
export interface RegionStatistics {
  /** In place. */
  readonly regions: number;
  /** Bytes of their WebAssembly, or characters of their JavaScript. */
  readonly bytes: number;
  /** Modules that the host keeps for them; 0 in JavaScript. */
  readonly liveModules: number;
  /** Modules that were given up, and that the host has not told of having collected: it tells in its event loop. */
  readonly garbage: number;
  /** Modules that were compiled so far, and the time from asking for one to having it, in microseconds. */
  readonly modules: number;
  readonly moduleMicroseconds: number;
}

/** Arrivals at a jump target before it is translated; see the decision record on tiers. */
export const DEFAULT_HOT_THRESHOLD = 20_000;
/** Arrivals at a jump target before a region is made of it; see the decision record on tiers. */
export const DEFAULT_REGION_THRESHOLD = 16_000;
/** Most regions that are kept unless told otherwise. */
export const DEFAULT_REGIONS = 4096;
