/**
 * The engine: runs a hart's guest code for a budget of instructions (or of what they cost, where a front end says so:
 * clock cycles), choosing a tier for each piece of it.
 *
 * Code starts in the interpreter, which counts how often each jump target is reached. At `hotThreshold` the block
 * there is translated; from then on the interpreter hands over whenever it arrives at it, and translations chain
 * among themselves. The dispatcher below is what remains: it finds code for the program counter, fills the fetch
 * TLB, decodes instructions that straddle pages, and stops when the budget is used up or `header.exit` says so.
 */
import { alignmentOf, isBuiltIn } from "@hyperfile/decoder";
import { entryFormats, fetchMaskOf, InterpreterExit } from "../backend/entry-format.js";
import { type Bindings, runtimeBindings } from "../backend/js/bindings.js";
import { headerWord, slotWord } from "../backend/js/header-word.js";
import { REFUSED } from "../backend/js/interpreter.js";
import { EmissionVerifier } from "../backend/js/verify.js";
import type { GuestMemory } from "../memory/guest-memory.js";
import { Exit, PAGE_SIZE } from "../memory/layout.js";
import { AccessKind } from "../mmu/ports.js";
import { entryIndex, TlbWord } from "../mmu/tlb-layout.js";
import { ChangingCode } from "./changing-code.js";
import type { ChosenTier } from "./choose-tier.js";
import { type CodePage, CodePages, type Translation } from "./code-pages.js";
import { EngineError } from "./engine-error.js";
import {
  DEFAULT_HOT_THRESHOLD,
  DEFAULT_REGION_THRESHOLD,
  type EngineOptions,
  type RegionStatistics,
} from "./engine-options.js";
import { type EngineTier, makeTier } from "./engine-tier.js";
import type { JsRegions } from "./js-regions.js";
import type { RegionTranslator } from "./region-translator.js";

/** A threshold that no counter reaches. */
const NEVER = 0x7fffffff;
/** One in this many emissions is verified in `sampled` mode. */
const SAMPLE_EVERY = 64;

/** A hart's engine. */
export class Engine {
  readonly codePages: CodePages;
  /** Events since the engine was made. */
  readonly counters = {
    interpreted: 0,
    translated: 0,
    translations: 0,
    translatedInstructions: 0,
    verified: 0,
    compileMicroseconds: 0,
    exitsBudget: 0,
    exitsFetch: 0,
    exitsHot: 0,
    exitsCrossing: 0,
    exitsChainEnd: 0,
    exitsRedirect: 0,
    regionsDropped: 0,
    /** Translations that the host could not compile: their code stays in the interpreter for a while. */
    translationsFailed: 0,
    /** Arrivals at hot code that is not translated because it has changed again and again. */
    translationsDeclined: 0,
  };
  private readonly words: Int32Array;
  private readonly bindings: Bindings;
  private readonly regions: RegionTranslator | undefined;
  private readonly jsRegions: JsRegions | undefined;
  private readonly interpret: EngineTier["interpret"];
  /** The tier that is used: never `auto`. */
  readonly tier: ChosenTier;
  private readonly budgetWord: number;
  private readonly exitWord: number;
  private readonly lateWord: number;
  private readonly inRegionsWord: number;
  private readonly fetchWord: number;
  private readonly pcWord: number;
  private readonly wide: boolean;
  /** Bits of an address that tell whether the fetch TLB has its page: where it is misaligned, it never does. */
  private readonly fetchMask: number;
  private hot = NEVER;
  private breakpoints: ReadonlySet<bigint> = new Set();
  private passing: bigint | undefined;
  private readonly verifier: EmissionVerifier;
  /** Whether the front end is one of the library's own, whose emissions are held to rules by the library's tests. */
  private readonly isOwn: boolean;
  private readonly straddle = new Uint8Array(16);
  private readonly changing = new ChangingCode(() => this.used);
  /** After the last failed fetch: budget, place of the fetch TLB, which tells the mode, and the handler's address. */
  private readonly failedFetch = new Int32Array(4);
  /**
   * The hart can't go on: fetching its trap handler raises a trap, which leads to the same handler in the same mode, and
   * no interrupt can come. Its program counter names the handler.
   */
  stuck = false;
  /** The run ended at a breakpoint, before its instruction. */
  atBreakpoint = false;

  constructor(private readonly options: EngineOptions) {
    const { frontEnd, memory, hartOffset } = options;
    this.words = memory.i32;
    this.budgetWord = headerWord(hartOffset, "budget");
    this.exitWord = headerWord(hartOffset, "exit");
    this.lateWord = headerWord(hartOffset, "late");
    this.inRegionsWord = headerWord(hartOffset, "inRegions");
    this.fetchWord = headerWord(hartOffset, "tlbFetch");
    this.pcWord = slotWord(hartOffset, frontEnd.shape, "pc");
    this.wide = frontEnd.addressType === "i64";
    this.fetchMask = fetchMaskOf(frontEnd);
    this.isOwn = isBuiltIn(frontEnd);
    const formats = entryFormats(frontEnd);
    const isCoarse = (frontEnd.pageBytes ?? PAGE_SIZE) === PAGE_SIZE;
    const protectAll = (page: CodePage) => {
      options.guest.pool.markCode(page.frame);
      options.tlb.protect(page.frame);
    };
    const protectPart = (page: CodePage, offset: number, length: number) => {
      if (options.guest.pool.markCodeIn(page.frame + offset, length)) options.tlb.protect(page.frame);
    };
    this.codePages = new CodePages(memory, options.arenaOffset, options.codePages, frontEnd, formats, {
      onAcquire: isCoarse ? protectAll : () => {},
      ...(isCoarse ? {} : { onDerive: protectPart }),
      onRelease: (page) => {
        options.guest.pool.unmarkCode(page.frame);
        options.tlb.dropFetch(page.frame);
      },
      onDropRegion: (region, wasPending, hasChanged, frame) => {
        this.counters.regionsDropped++;
        if (hasChanged) this.changing.changed(frame);
        if (!wasPending) (this.regions ?? this.jsRegions)?.released(region);
      },
    });
    const { access } = options;
    this.bindings = {
      ...runtimeBindings(
        memory,
        headerWord(hartOffset, "resultHigh"),
        options.flagsSlot === undefined ? undefined : slotWord(hartOffset, frontEnd.shape, options.flagsSlot),
      ),
      ...access.bindings(),
      C: this.codePages.counters,
      decode: (entry: number) => this.codePages.decode(entry),
      jump: options.chain === false ? () => null : () => this.jump(),
    };
    checkHelperNames(Object.keys(options.helpers), this.bindings);
    this.bindings = { ...this.bindings, ...options.helpers };
    this.verifier = new EmissionVerifier(new Set(Object.keys(this.bindings)));
    const { tier, interpret, regions, jsRegions } = makeTier({
      options,
      codePages: this.codePages,
      bindings: this.bindings,
      verifier: this.verifier,
      verifyBlocks: options.verify === "all" || (options.verify === "sampled" && !this.isOwn),
      used: () => this.used,
      onFailure: (frame, error) => this.noteFailure(frame, error),
    });
    this.tier = tier;
    this.interpret = interpret;
    this.regions = regions;
    this.jsRegions = jsRegions;
    this.hot = this.usualThreshold();
  }

  /**
   * Runs until the budget in the header is used up or `header.exit` asks for the owner. The owner has set the
   * budget; `Exit.redirect` is dealt with here.
   */
  run(): void {
    const { words, budgetWord, exitWord, counters } = this;
    this.failedFetch[0] = -1;
    this.stuck = false;
    this.atBreakpoint = false;
    while (words[budgetWord]! > 0) {
      if (words[exitWord] !== Exit.none) {
        this.takeLate();
        if (words[exitWord] !== Exit.redirect) return;
        words[exitWord] = Exit.none;
        counters.exitsRedirect++;
        this.options.trace?.onExit?.("redirect");
        if (this.options.model.takeInterrupt()) continue;
      }
      const before = words[budgetWord]!;
      let next = this.tier === "js" ? this.jump() : null;
      let scratch = 0;
      if (next !== null) {
        do next = next();
        while (next !== null);
        const used = before - words[budgetWord]!;
        counters.translated += used;
        counters.exitsChainEnd++;
        this.options.trace?.onExit?.("chain-end");
        if (words[exitWord] !== Exit.none || used > 0) continue;
        // It does not fit into what is left of the budget, or its pages are elsewhere now.
        scratch = REFUSED;
      }
      const inRegions = words[this.inRegionsWord]!;
      const reason = this.interpret(this.hot, scratch);
      const translated = (words[this.inRegionsWord]! - inRegions) | 0;
      counters.translated += translated;
      counters.interpreted += before - words[budgetWord]! - translated;
      this.handle(reason);
    }
    this.takeLate();
    if (words[exitWord] === Exit.redirect) words[exitWord] = Exit.none;
  }

  /** An instruction that a fault has ended early may have left a note: what it asks for holds all the same. */
  private takeLate(): void {
    const { words, exitWord, lateWord } = this;
    if (words[lateWord] === Exit.none) return;
    words[exitWord] = Math.max(words[exitWord]!, words[lateWord]!);
    words[lateWord] = Exit.none;
  }

  /**
   * Sets breakpoints at these guest-virtual addresses and no others. While there are any, code is interpreted: an
   * interpreter can look at every instruction.
   */
  setBreakpoints(addresses: ReadonlySet<bigint>): void {
    this.breakpoints = addresses;
    this.hot = addresses.size > 0 ? NEVER : this.usualThreshold();
    this.codePages.setBreakpointOffsets(new Set([...addresses].map((address) => Number(address & 0xfffn))));
  }

  /** The next run starts with the instruction at the program counter even if a breakpoint is set there. */
  passBreakpoint(): void {
    const pc = this.programCounter();
    this.passing = this.breakpoints.has(pc) ? pc : undefined;
  }

  /**
   * Drops what was derived from `length` bytes at `gpa`; called when memory that holds code is written.
   * @param byHart whether the hart's own store did it, which leaves its block if code has gone
   * @param guest whose memory it is; that of the VM that runs unless given
   * @returns whether code has gone
   */
  invalidate(gpa: number, length: number, byHart = false, guest: GuestMemory = this.options.guest): boolean {
    let dropped = false;
    for (let at = gpa; at < gpa + length; ) {
      const offset = at % PAGE_SIZE;
      const count = Math.min(PAGE_SIZE - offset, gpa + length - at);
      const frame = guest.frameOffset(at);
      if (frame >= 0 && this.codePages.invalidate(frame - (frame % PAGE_SIZE), offset, count, byHart))
        dropped = true;
      at += count;
    }
    return dropped;
  }

  /** Forgets all that was derived from a frame: it will be another page's. No code may be running. */
  forget(frame: number): void {
    this.codePages.forget(frame);
    this.changing.forget(frame);
  }

  /**
   * Regions in place, the bytes of their WebAssembly, the modules that the host keeps for them, how many were compiled
   * so far, and what that took.
   */
  regionStatistics(): RegionStatistics {
    const { regions, jsRegions } = this;
    if (regions === undefined) {
      const { size, bytes } = jsRegions ?? { size: 0, bytes: 0 };
      return { regions: size, bytes, liveModules: 0, garbage: 0, modules: 0, moduleMicroseconds: 0 };
    }
    const { size, bytes, liveModules, garbage, counters } = regions;
    return { regions: size, bytes, liveModules, garbage, ...counters };
  }

  /** The code page that the fetch TLB has for an address; undefined if it doesn't know it. */
  codePageAt(low: number, high: number): CodePage | undefined {
    const { words } = this;
    const entry = entryIndex(low, words[this.fetchWord]!);
    const isKnown =
      (low & -PAGE_SIZE) === words[entry + TlbWord.page] &&
      (!this.wide || high === words[entry + TlbWord.pageHigh]);
    return isKnown ? this.codePages.page(words[entry + TlbWord.codePage]!) : undefined;
  }

  /** The translation at the program counter, if the fetch TLB knows its page and there is one. */
  private jump(): Translation | null {
    const { words } = this;
    const low = words[this.pcWord]!;
    const entry = entryIndex(low, words[this.fetchWord]!);
    if ((low & this.fetchMask) !== words[entry + TlbWord.page]) return null;
    if (this.wide && words[this.pcWord + 1] !== words[entry + TlbWord.pageHigh]) return null;
    return this.codePages.page(words[entry + TlbWord.codePage]!).translations[
      (low & (PAGE_SIZE - 1)) >> this.options.frontEnd.granularity
    ]!;
  }

  private handle(reason: number): void {
    const { counters } = this;
    this.options.trace?.onExit?.(exitNames[reason]!);
    switch (reason) {
      case InterpreterExit.fetch:
        counters.exitsFetch++;
        // What comes after the budget's last instruction is fetched by the next run.
        if (this.words[this.budgetWord]! > 0) this.fetch();
        return;
      case InterpreterExit.hot:
        counters.exitsHot++;
        if (this.jump() === null) this.translate();
        return;
      case InterpreterExit.crossing:
        counters.exitsCrossing++;
        this.stepAlone();
        return;
      case InterpreterExit.breakpoint:
        this.reachBreakpoint();
        return;
      default:
        counters.exitsBudget++;
    }
  }

  /** Fills the fetch TLB for the program counter; a fault is raised and left to the next look. */
  private fetch(): void {
    const { words, options } = this;
    const low = words[this.pcWord]!;
    const high = this.wide ? words[this.pcWord + 1]! : 0;
    if ((low & this.fetchMask) !== (low & -PAGE_SIZE)) {
      if (options.frontEnd.misaligned === "mask") {
        words[this.pcWord] = low & -alignmentOf(options.frontEnd);
        return;
      }
      options.model.accessFault(AccessKind.fetch, low, high);
      return this.noteFailedFetch();
    }
    const frame = options.access.translatePage(low, high);
    if (frame < 0) return this.noteFailedFetch();
    const page = this.codePages.forFrame(frame, options.model.gpa - (options.model.gpa % PAGE_SIZE));
    options.tlb.insert(AccessKind.fetch, low, high, frame - (low & -PAGE_SIZE), page.index);
    if (options.model.cacheable) return;
    // Part of the page may not be executed: check every instruction anew.
    if (!this.mayExecute(low, high, frame)) {
      options.tlb.flush();
      return this.noteFailedFetch();
    }
    // Where it leads to is looked up by the next turn of the run loop, which sees the budget first.
    if (this.runOne(0) === InterpreterExit.crossing) this.stepAlone();
    options.tlb.flush();
  }

  /**
   * Runs one instruction: that at the program counter, or the scratch entry at a word index. Counters and clocks read
   * exactly in it.
   */
  private runOne(scratch: number): number {
    const { words, budgetWord, options, counters } = this;
    const { budget } = options.model;
    const withheld = budget.isolate();
    const reason = this.interpret(NEVER, scratch);
    counters.interpreted += 1 - words[budgetWord]!;
    budget.rejoin(withheld);
    return reason;
  }

  /**
   * Two failed fetches of one handler in one mode, with no instruction between them and no interrupt that could come:
   * each leads to the next.
   */
  private noteFailedFetch(): void {
    const { words, failedFetch } = this;
    const now = [
      words[this.budgetWord]!,
      words[this.fetchWord]!,
      words[this.pcWord]!,
      this.wide ? words[this.pcWord + 1]! : 0,
    ];
    if (now.every((word, at) => word === failedFetch[at]) && !this.options.model.mayBeInterrupted()) {
      this.stuck = true;
      words[this.exitWord] = Exit.stop;
    }
    failedFetch.set(now);
  }

  /** Translates what follows the first unit of the instruction at an address; a fault is raised. */
  private mayExecute(low: number, high: number, frame: number): boolean {
    const { frontEnd, memory, model } = this.options;
    const offset = low & (PAGE_SIZE - 1);
    const insn = frontEnd.decode(memory.u8, frame + offset, PAGE_SIZE - offset, offset);
    const unit = 1 << frontEnd.granularity;
    for (let at = unit; insn !== null && at < insn.length; at += unit) {
      if (!model.translate(AccessKind.fetch, (low + at) | 0, high, unit)) return false;
    }
    return true;
  }

  private usualThreshold(): number {
    const { tier } = this;
    const { hotThreshold } = this.options;
    if (tier === "interpreter" || tier === "wasm-interpreter") return NEVER;
    return hotThreshold ?? (tier === "wasm" ? DEFAULT_REGION_THRESHOLD : DEFAULT_HOT_THRESHOLD);
  }

  private programCounter(): bigint {
    const low = BigInt(this.words[this.pcWord]! >>> 0);
    return this.wide ? (BigInt(this.words[this.pcWord + 1]! >>> 0) << 32n) | low : low;
  }

  /** Entries break at an offset of every page: only the right address stops. */
  private reachBreakpoint(): void {
    const pc = this.programCounter();
    if (this.breakpoints.has(pc) && this.passing !== pc) {
      this.atBreakpoint = true;
      this.words[this.exitWord] = Exit.stop;
      return;
    }
    this.passing = undefined;
    this.stepAlone();
  }

  /** Runs the instruction at the program counter outside its page: one that lies in two, or under a breakpoint. */
  private stepAlone(): void {
    const { words, options, straddle } = this;
    const low = words[this.pcWord]!;
    const high = this.wide ? words[this.pcWord + 1]! : 0;
    const inFirst = PAGE_SIZE - (low & (PAGE_SIZE - 1));
    const first = this.fetchPage(low, high);
    if (first < 0) return;
    const { u8 } = options.memory;
    const start = first + (low & (PAGE_SIZE - 1));
    for (let at = 0; at < Math.min(inFirst, straddle.length); at++) straddle[at] = u8[start + at]!;
    const offset = low & (PAGE_SIZE - 1);
    let insn = options.frontEnd.decode(straddle, 0, Math.min(inFirst, straddle.length), offset);
    if (insn === null) {
      const nextLow = (low + inFirst) | 0;
      const nextHigh = this.wide && nextLow === 0 ? (high + 1) | 0 : high;
      const second = this.fetchPage(nextLow, nextHigh);
      if (second < 0) return;
      for (let at = inFirst; at < straddle.length; at++) straddle[at] = u8[second + at - inFirst]!;
      insn = options.frontEnd.decode(straddle, 0, straddle.length, offset)!;
    }
    this.runOne(this.codePages.writeScratch(insn));
  }

  /** Byte offset of the frame that an address is fetched from; -1 if it can't be: the fault is raised. */
  private fetchPage(low: number, high: number): number {
    const known = this.options.tlb.lookup(AccessKind.fetch, low, high);
    return known < 0 ? this.options.access.translatePage(low, high) : known - (low & (PAGE_SIZE - 1));
  }

  private translate(): void {
    const { words, counters, codePages } = this;
    const low = words[this.pcWord]!;
    const offset = low & (PAGE_SIZE - 1);
    const entry = entryIndex(low, words[this.fetchWord]!);
    const page = codePages.page(words[entry + TlbWord.codePage]!);
    if (this.hot === NEVER) {
      codePages.resetCounter(page, offset);
      return;
    }
    if (!this.changing.mayTranslate(page.frame)) {
      counters.translationsDeclined++;
      codePages.resetCounter(page, offset);
      return;
    }
    this.translateRegion(page, offset);
  }

  private translateRegion(page: CodePage, offset: number): void {
    const { words, counters, jsRegions } = this;
    const started = performance.now();
    const low = words[this.pcWord]!;
    const high = this.wide ? words[this.pcWord + 1]! : 0;
    const verify = jsRegions !== undefined && this.mustVerify();
    const region = this.unlessHostFails(page, offset, () =>
      jsRegions === undefined ? this.regions!.translate(low, high) : jsRegions.translate(low, high, verify),
    );
    if (verify) counters.verified++;
    if (region === undefined) {
      this.codePages.resetCounter(page, offset);
      return;
    }
    counters.translations++;
    counters.translatedInstructions += region.instructions;
    counters.compileMicroseconds += Math.round((performance.now() - started) * 1000);
  }

  /** What `make` gives, or undefined if the host can't make code now; a defect of what was emitted is thrown. */
  private unlessHostFails<T>(page: CodePage, offset: number, make: () => T): T | undefined {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof EvalError || error instanceof RangeError)) throw error;
      this.codePages.resetCounter(page, offset);
      this.noteFailure(page.frame, error);
      return undefined;
    }
  }

  /** Budget units that the guest has used, up to the last look of the dispatcher. */
  private get used(): number {
    return this.counters.interpreted + this.counters.translated;
  }

  private noteFailure(frame: number, error: unknown): void {
    this.counters.translationsFailed++;
    this.changing.failed(frame);
    this.options.trace?.onTranslationFailure?.(error);
  }

  private mustVerify(): boolean {
    if (this.options.verify !== "sampled") return this.options.verify === "all";
    return !this.isOwn || this.counters.translations % SAMPLE_EVERY === 0;
  }
}

/**
 * Refuses helpers whose names emitted code would mistake for something else.
 * @throws EngineError `E_HELPER_NAME`
 */
function checkHelperNames(names: readonly string[], taken: Bindings): void {
  for (const name of names) {
    if (!/^[A-Za-z_]\w*$/.test(name))
      throw new EngineError(
        "E_HELPER_NAME",
        `the helper ${JSON.stringify(name)}: use a name of letters and digits`,
      );
    if (Object.hasOwn(taken, name))
      throw new EngineError(
        "E_HELPER_NAME",
        `the helper ${name}: the engine has a function of that name; use another`,
      );
  }
}

/** Names of {@link InterpreterExit} by number. */
const exitNames = ["budget", "fetch", "hot", "crossing", "breakpoint"] as const;
