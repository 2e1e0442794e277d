/**
 * Runs one translation over a linear memory and a `TestEnvironment`'s contents, so that the backends can
 * be held against the IR's evaluator. Every byte that the evaluator touched is put into a frame beforehand; some
 * frames are entered into the TLBs, the accesses to the others take the slow paths, which are simple ones here.
 */
import { combine, type Helper, type Slot, type StateShape, type Type, type Width } from "@hyperfile/decoder";
import { type HelperCall, noise, TestEnvironment } from "../../decoder/test/test-environment.js";
import { type Bindings, type Bound, evaluate, runtimeBindings } from "../src/backend/js/bindings.js";
import { headerWord } from "../src/backend/js/header-word.js";
import { EmissionVerifier } from "../src/backend/js/verify.js";
import type { ModuleWriter } from "../src/backend/wasm/encoder.js";
import { WasmRuntime } from "../src/backend/wasm/runtime.js";
import { HART_STRIDE, PAGE_SIZE, STATE_OFFSET, TLB_OFFSET } from "../src/memory/layout.js";
import { LinearMemory } from "../src/memory/linear-memory.js";
import { amoKinds, lateName } from "../src/mmu/ports.js";
import { TLB_EMPTY, TLB_ENTRIES, TLB_SIZE } from "../src/mmu/tlb-layout.js";

/** An environment that notes the addresses of all accesses. */
export class RecordingEnvironment extends TestEnvironment {
  readonly accesses: { readonly address: bigint; readonly width: Width }[] = [];

  override load(width: Width, address: bigint): bigint | null {
    this.accesses.push({ address, width });
    return super.load(width, address);
  }

  override store(width: Width, address: bigint, value: bigint): boolean {
    this.accesses.push({ address, width });
    return super.store(width, address, value);
  }

  /** It looks at what is there, whether it stores or not. */
  override storeConditional(width: Width, address: bigint, value: bigint): bigint | null {
    this.accesses.push({ address, width });
    return super.storeConditional(width, address, value);
  }
}

/** How the translation was left. */
export interface JsOutcome {
  /** What it returned: a place in the page, "jump" for the dispatcher's look-up, or null. */
  readonly returned: number | "jump" | null;
  /** The slow path or helper that asked to leave, with its call site, and the cause and value of a trap. */
  readonly left:
    | { readonly by: string; readonly site: number; readonly values: readonly bigint[] }
    | undefined;
}

const FRAMES = 128;
const HART_OFFSET = 0;
const FRAME_START = HART_STRIDE;
const memory = LinearMemory.create({ bytes: FRAME_START + FRAMES * PAGE_SIZE });
const words = memory.i32;
const word = (field: Parameters<typeof headerWord>[1]): number => headerWord(HART_OFFSET, field);
const isWide = (type: Type | null): boolean => type === "i64" || type === "f64";
const pattern = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
const high = (value: bigint): number => low(value >> 32n);

const accessContext = (wideAddresses: boolean) => ({
  hartOffset: JsMachine.hartOffset,
  wideAddresses,
  pageBytes: PAGE_SIZE,
  pcOffset: JsMachine.hartOffset + STATE_OFFSET,
});

/** The machine, for one run. Its linear memory is shared by all machines, so only the newest one is usable. */
export class JsMachine {
  static readonly hartOffset = HART_OFFSET;
  /** Word index at which {@link JsMachine.interpret} puts the operation: in the last frame. */
  static readonly scratchWord = (FRAME_START + (FRAMES - 1) * PAGE_SIZE) >> 2;
  private readonly frames = new Map<bigint, number>();
  /** Slow paths that were called although the TLB has the page and the access is aligned. */
  readonly needlessSlowPaths: string[] = [];
  /** Helpers that were called, with what they may read. */
  readonly calls: HelperCall[] = [];
  private left: JsOutcome["left"];

  /**
   * @param shape the slots
   * @param reference an environment of the same seed in which the evaluator has run the block
   * @param helpers what the block may call
   */
  constructor(
    readonly shape: StateShape,
    private readonly reference: RecordingEnvironment,
    private readonly helpers: readonly Helper[],
  ) {
    words.fill(0);
    const initial = new TestEnvironment(shape, reference.seed);
    for (const slot of shape.slots.values()) {
      for (let index = 0; index < slot.length; index++)
        this.write(slot, index, initial.get(slot.name, index));
    }
    this.write(shape.slots.get("pc")!, 0, initial.pc);
    const tlbs = HART_OFFSET + TLB_OFFSET;
    words.fill(TLB_EMPTY, tlbs >> 2, (tlbs + 3 * TLB_SIZE) >> 2);
    words[word("tlbRead")] = tlbs;
    words[word("tlbWrite")] = tlbs + TLB_SIZE;
    words[word("tlbFetch")] = tlbs + 2 * TLB_SIZE;
    this.fillFrames();
  }

  /**
   * Runs an interpreter on one pre-decoded operation, with a budget of one instruction.
   * @param text of the interpreter
   * @param cold texts of its cold handlers
   * @param entry the operation's two words
   */
  interpret(
    text: string,
    cold: Readonly<Record<string, string>>,
    entry: readonly [number, number],
  ): JsOutcome {
    words.set(entry, JsMachine.scratchWord);
    return this.run(text, 1, [0x7fffffff, JsMachine.scratchWord], cold);
  }

  /** Runs the text of a translation with a budget of `budget` instructions. */
  run(
    text: string,
    budget: number,
    args: readonly number[] = [],
    cold: Readonly<Record<string, string>> = {},
  ): JsOutcome {
    words[word("budget")] = budget;
    const jump = () => "jump";
    const own = {
      ...this.runtime(),
      jump,
      decode: () => 0,
      C: new Int32Array(1),
    };
    const coldHandlers = Object.entries(cold).map(([name, handler]) => {
      new EmissionVerifier(new Set(Object.keys(own))).verify(handler, name);
      return [name, evaluate(handler, own)];
    });
    const bindings = { ...own, ...Object.fromEntries(coldHandlers) };
    new EmissionVerifier(new Set(Object.keys(bindings))).verify(text, "the block");
    const returned = (evaluate(text, bindings) as (...list: number[]) => JsOutcome["returned"])(...args);
    return { returned, left: this.left };
  }

  /** Compiles `module`, which exports a region as `region`, and runs the region with a budget of `budget` instructions. */
  runRegion(module: ModuleWriter, budget: number, wideAddresses: boolean): JsOutcome {
    words[word("budget")] = budget;
    const runtime = new WasmRuntime(memory, this.runtime(), accessContext(wideAddresses));
    (runtime.instantiate(module).region as () => void)();
    return { returned: null, left: this.left };
  }

  /** Compiles a module that exports an interpreter, and runs it on one pre-decoded operation; see `interpret`. */
  interpretModule(module: ModuleWriter, entry: readonly [number, number], wideAddresses: boolean): JsOutcome {
    words.set(entry, JsMachine.scratchWord);
    words[word("budget")] = 1;
    const bindings = { ...this.runtime(), decode: () => 0 };
    const runtime = new WasmRuntime(memory, bindings, accessContext(wideAddresses));
    const interpret = runtime.instantiate(module).interpret as (hot: number, scratch: number) => number;
    return { returned: interpret(0x7fffffff, JsMachine.scratchWord), left: this.left };
  }

  /** Byte offset in linear memory of the slot with the accrued floating-point flags. */
  get flagsOffset(): number {
    return this.slotWord(this.shape.slots.get("fflags")!, 0) * 4;
  }

  /** What every backend's code may call. */
  private runtime(): Bindings {
    return {
      ...runtimeBindings(memory, word("resultHigh"), this.flagsOffset / 4),
      ...this.slowPaths(),
      ...Object.fromEntries(
        this.helpers.flatMap((helper) =>
          [helper.name, lateName(helper.name)].map((name) => [name, this.helper(helper)]),
        ),
      ),
    };
  }

  /** Budget that is left. */
  get budget(): number {
    return words[word("budget")]!;
  }

  /** Every slot's value by name and index. */
  allSlots(): Record<string, bigint> {
    const all: Record<string, bigint> = {};
    for (const slot of this.shape.slots.values()) {
      for (let index = 0; index < slot.length; index++)
        all[`${slot.name}[${index}]`] = this.read(slot, index);
    }
    return all;
  }

  /** The bytes that the reference touched, as they are now. */
  touchedBytes(): [bigint, number][] {
    return this.touched().map((address) => [address, memory.u8[this.place(address)]!]);
  }

  /** The same bytes in the reference. */
  referenceBytes(): [bigint, number][] {
    return this.touched().map((address) => [address, this.reference.byte(address)]);
  }

  private touched(): bigint[] {
    const all = new Set<bigint>();
    for (const { address, width } of this.reference.accesses) {
      for (let byte = 0n; byte < width / 8; byte++) all.add(this.reference.wrap(address + byte));
    }
    return [...all].sort((a, b) => (a < b ? -1 : 1));
  }

  private fillFrames(): void {
    for (const address of this.touched()) {
      const page = address >> 12n;
      if (!this.frames.has(page)) this.frames.set(page, FRAME_START + this.frames.size * PAGE_SIZE);
      memory.u8[this.place(address)] = this.reference.initialByte(address);
    }
    const refused = new Set(
      this.reference.accesses.filter((a) => this.reference.refuses(a.address)).map((a) => a.address >> 12n),
    );
    for (const [page, frame] of this.frames) {
      const kinds = Number(noise(this.reference.seed, `tlb${page}`) & 3n);
      if (refused.has(page)) continue;
      for (let kind = 0; kind < 2; kind++) {
        if ((kinds & (1 << kind)) === 0) continue;
        const tag = page << 12n;
        const entry =
          (HART_OFFSET + TLB_OFFSET + kind * TLB_SIZE) / 4 + Number(page % BigInt(TLB_ENTRIES)) * 4;
        words[entry] = low(tag);
        words[entry + 1] = high(tag);
        words[entry + 2] = frame - low(tag);
      }
    }
  }

  private tlbEntry(page: bigint, kind: number): number {
    return (HART_OFFSET + TLB_OFFSET + kind * TLB_SIZE) / 4 + Number(page % BigInt(TLB_ENTRIES)) * 4;
  }

  private inTlb(address: bigint, kind: number): boolean {
    const page = address >> 12n;
    const entry = this.tlbEntry(page, kind);
    return pattern(words[entry]!, words[entry + 1]!) === page << 12n;
  }

  private place(address: bigint): number {
    return this.frames.get(address >> 12n)! + Number(address & 0xfffn);
  }

  private bytes(address: bigint, width: number): number[] {
    return Array.from({ length: width / 8 }, (_, byte) =>
      this.place(this.reference.wrap(address + BigInt(byte))),
    );
  }

  private peek(address: bigint, width: number): bigint {
    return this.bytes(address, width).reduceRight((value, at) => (value << 8n) | BigInt(memory.u8[at]!), 0n);
  }

  private poke(address: bigint, width: number, value: bigint): void {
    this.bytes(address, width).forEach((at, byte) => {
      memory.u8[at] = Number((value >> BigInt(byte * 8)) & 255n);
    });
  }

  private leave(by: string, site: number, values: readonly bigint[] = []): number {
    words[word("exit")] = 1;
    this.left = { by, site, values };
    return 0;
  }

  private give(value: bigint, wide: boolean): number {
    if (wide) words[word("resultHigh")] = high(value);
    return low(value);
  }

  private slowPaths(): Record<string, Bound> {
    const paths: Record<string, Bound> = {};
    const guarded = (name: string, access: (address: bigint, rest: number[]) => number): Bound => {
      return (lo, hi, ...rest) => {
        const address = pattern(lo!, hi!);
        const [, kind, width] = /^(ld|st|amo|lr|sc)(8|16|32|64)/.exec(name) ?? [];
        const aligned = width !== undefined && address % BigInt(Number(width) / 8) === 0n;
        if (aligned && this.inTlb(address, kind === "ld" ? 0 : 1)) this.needlessSlowPaths.push(name);
        if (this.reference.refuses(address)) return this.leave(name, rest[rest.length - 1]!);
        return access(address, rest);
      };
    };
    const operand = (width: number, [lo, hi]: number[]) =>
      width === 64 ? pattern(lo!, hi!) : BigInt(lo! >>> 0);
    for (const width of [8, 16, 32, 64] as const) {
      const load = (signed: boolean) => (address: bigint) => {
        const value = this.peek(address, width);
        return this.give(signed ? BigInt.asIntN(width, value) : value, width === 64);
      };
      if (width >= 32) paths[`ld${width}`] = guarded(`ld${width}`, load(true));
      else {
        paths[`ld${width}s`] = guarded(`ld${width}s`, load(true));
        paths[`ld${width}u`] = guarded(`ld${width}u`, load(false));
      }
      paths[`st${width}`] = guarded(`st${width}`, (address, rest) => {
        this.poke(address, width, operand(width, rest));
        return 0;
      });
      paths[lateName(`st${width}`)] = paths[`st${width}`]!;
      if (width < 32) continue;
      paths[`lr${width}`] = guarded(`lr${width}`, (address) => {
        const value = this.peek(address, width);
        words[word("reserved")] = 1;
        words[word("reservedOffset")] = this.place(address);
        words[word("reservedLow")] = low(value);
        words[word("reservedHigh")] = high(value);
        return this.give(value, width === 64);
      });
      paths[`sc${width}`] = guarded(`sc${width}`, (address, rest) => {
        const held = pattern(words[word("reservedLow")]!, words[word("reservedHigh")]!);
        const stores =
          words[word("reserved")] === 1 &&
          words[word("reservedOffset")] === this.place(address) &&
          this.peek(address, width) === BigInt.asUintN(width, held);
        words[word("reserved")] = 0;
        if (stores) this.poke(address, width, operand(width, rest));
        return stores ? 0 : 1;
      });
      paths[`amo${width}`] = (kind, ...rest) =>
        guarded(`amo${width}`, (address, values) => {
          const old = this.peek(address, width);
          this.poke(address, width, combine(amoKinds[kind!]!, width, old, operand(width, values)));
          return this.give(old, width === 64);
        })(...rest);
    }
    // No store or helper leaves a note here.
    paths.settle = () => 0;
    paths.raise = (cause, ...rest) => {
      const site = rest.pop()!;
      return this.leave("raise", site, [BigInt(cause!), pattern(rest[0]!, rest[1] ?? 0)]);
    };
    return paths;
  }

  private helper(helper: Helper): Bound {
    return (...list) => {
      const site = list.pop()!;
      const args = helper.parameters.map((type) => {
        const lo = list.shift()!;
        return isWide(type) ? pattern(lo, list.shift()!) : BigInt(lo >>> 0);
      });
      const slots = helper.effects.reads ? this.allSlots() : undefined;
      this.calls.push({ name: helper.name, args, slots });
      const outcome = noise(this.reference.seed, `${helper.name}${args.join()}`);
      if (helper.effects.writes) this.write(this.shape.slots.get("x")!, 1, outcome);
      if (helper.effects.exits && (outcome & 16n) !== 0n) this.leave(helper.name, site);
      return helper.result === null ? undefined : this.give(outcome, isWide(helper.result));
    };
  }

  private slotWord(slot: Slot, index: number): number {
    return (HART_OFFSET + STATE_OFFSET + slot.offset + index * slot.stride) >> 2;
  }

  private read(slot: Slot, index: number): bigint {
    const at = this.slotWord(slot, index);
    return slot.stride === 8 ? pattern(words[at]!, words[at + 1]!) : BigInt(words[at]! >>> 0);
  }

  private write(slot: Slot, index: number, value: bigint): void {
    const at = this.slotWord(slot, index);
    words[at] = low(value);
    if (slot.stride === 8) words[at + 1] = high(value);
  }
}
