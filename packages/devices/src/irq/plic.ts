/**
 * The platform-level interrupt controller (RISC-V PLIC specification 1.0), with the geometry of QEMU's `virt`.
 *
 *   0x000000 + 4 source             priority, 0 to 7; 0 never interrupts
 *   0x001000 + 4 word               pending bits
 *   0x002000 + 0x80 context + 4 word  enable bits
 *   0x200000 + 0x1000 context       threshold; next word: claim on read, complete on write
 *
 * Context 2h is hart h's machine mode, 2h + 1 its supervisor mode. Registers are words; other accesses read zero and
 * write nothing.
 *
 * Lines are level-triggered, and each has a gateway (specification, section "Interrupt Gateways"): it forwards one
 * request when its line is up, and no other until that one is completed. A request that was forwarded stays pending
 * until a handler claims it, even if the line falls before: the handler then finds that its device wants nothing. At
 * completion a line that is up is forwarded again. As the specification has it, a claim does not look at the
 * threshold, which only keeps a context's interrupt back; priority 0 never interrupts.
 *
 * Invariant: no source is pending while it is claimed, and one whose line is up is pending or claimed.
 */
import { BoardError } from "../errors.js";
import type { AccessSize, DeviceState, HartInterrupts, IrqLine, MmioDevice } from "../ports.js";
import { StateReader } from "../state.js";

/** Interrupt sources, source 0 excluded, as `riscv,ndev` says. */
export const PLIC_SOURCES = 95;
const WORDS = (PLIC_SOURCES + 1 + 31) >> 5;
const PENDING = 0x1000;
const ENABLE = 0x2000;
const ENABLE_STRIDE = 0x80;
const CONTEXT = 0x200000;
const CONTEXT_STRIDE = 0x1000;
const MAXIMUM_PRIORITY = 7;
const MACHINE_EXTERNAL = 11;
const SUPERVISOR_EXTERNAL = 9;

/** The device. */
export class Plic implements MmioDevice {
  readonly name = "plic";
  readonly counters = { raised: 0, claims: 0, completions: 0 };
  private readonly priority = new Uint8Array(PLIC_SOURCES + 1);
  private readonly levels = new Uint32Array(WORDS);
  private readonly pending = new Uint32Array(WORDS);
  private readonly claimed = new Uint32Array(WORDS);
  private readonly enable: Uint32Array;
  private readonly threshold: Uint8Array;
  private readonly contexts: number;

  constructor(private readonly harts: readonly HartInterrupts[]) {
    this.contexts = 2 * harts.length;
    this.enable = new Uint32Array(this.contexts * WORDS);
    this.threshold = new Uint8Array(this.contexts);
  }

  /**
   * The input of one source.
   * @throws BoardError (`E_IRQ_SOURCE`) if there is no such source
   */
  line(source: number): IrqLine {
    if (!Number.isInteger(source) || source < 1 || source > PLIC_SOURCES) {
      throw new BoardError(
        "E_IRQ_SOURCE",
        `interrupt source ${source} does not exist: use 1 to ${PLIC_SOURCES}`,
      );
    }
    return { set: (level) => this.setLevel(source, level) };
  }

  private setLevel(source: number, level: boolean): void {
    const word = source >> 5;
    const bit = 1 << (source & 31);
    if (level === ((this.levels[word]! & bit) !== 0)) return;
    this.levels[word]! ^= bit;
    if (!level) return;
    this.counters.raised++;
    this.forward(word);
    this.update();
  }

  /** Lets the gateways of a word forward what their lines ask for. */
  private forward(word: number): void {
    this.pending[word]! |= this.levels[word]! & ~this.claimed[word]!;
  }

  read(offset: number, size: AccessSize): number {
    if (size !== 4 || (offset & 3) !== 0) return 0;
    if (offset < PENDING) return this.priority[offset >> 2] ?? 0;
    if (offset < ENABLE) return this.pending[(offset - PENDING) >> 2] ?? 0;
    if (offset < CONTEXT) {
      const place = this.enablePlace(offset);
      return place === undefined ? 0 : this.enable[place]!;
    }
    const context = Math.floor((offset - CONTEXT) / CONTEXT_STRIDE);
    if (context >= this.contexts) return 0;
    const register = (offset - CONTEXT) % CONTEXT_STRIDE;
    if (register === 0) return this.threshold[context]!;
    return register === 4 ? this.claim(context) : 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size !== 4 || (offset & 3) !== 0) return;
    if (offset < PENDING) {
      const source = offset >> 2;
      if (source >= 1 && source <= PLIC_SOURCES) this.priority[source] = value & MAXIMUM_PRIORITY;
    } else if (offset >= ENABLE && offset < CONTEXT) {
      const place = this.enablePlace(offset);
      if (place !== undefined) this.enable[place] = place % WORDS === 0 ? value & ~1 : value;
    } else if (offset >= CONTEXT) {
      const context = Math.floor((offset - CONTEXT) / CONTEXT_STRIDE);
      const register = (offset - CONTEXT) % CONTEXT_STRIDE;
      if (context >= this.contexts) return;
      if (register === 0) this.threshold[context] = value & MAXIMUM_PRIORITY;
      else if (register === 4) this.complete(context, value);
    }
    this.update();
  }

  private enablePlace(offset: number): number | undefined {
    const context = Math.floor((offset - ENABLE) / ENABLE_STRIDE);
    const word = ((offset - ENABLE) % ENABLE_STRIDE) >> 2;
    return context < this.contexts && word < WORDS ? context * WORDS + word : undefined;
  }

  /** The pending source of the highest priority above a limit; the lowest number among equals. */
  private best(context: number, above: number): number {
    let best = 0;
    let priority = above;
    for (let word = 0; word < WORDS; word++) {
      let bits = this.pending[word]! & this.enable[context * WORDS + word]!;
      while (bits !== 0) {
        const bit = 31 - Math.clz32(bits & -bits);
        bits &= bits - 1;
        const source = word * 32 + bit;
        if (this.priority[source]! > priority) {
          priority = this.priority[source]!;
          best = source;
        }
      }
    }
    return best;
  }

  private claim(context: number): number {
    const source = this.best(context, 0);
    if (source === 0) return 0;
    this.counters.claims++;
    const bit = 1 << (source & 31);
    this.claimed[source >> 5]! |= bit;
    this.pending[source >> 5]! &= ~bit;
    this.update();
    return source;
  }

  /** A completion for a source that the context has not enabled is ignored (specification, chapter 9). */
  private complete(context: number, source: number): void {
    if (source < 1 || source > PLIC_SOURCES) return;
    const word = source >> 5;
    const bit = 1 << (source & 31);
    if ((this.enable[context * WORDS + word]! & bit) === 0) return;
    this.counters.completions++;
    this.claimed[word]! &= ~bit;
    this.forward(word);
  }

  private update(): void {
    this.harts.forEach((hart, index) => {
      hart.setPending(MACHINE_EXTERNAL, this.interrupts(2 * index));
      hart.setPending(SUPERVISOR_EXTERNAL, this.interrupts(2 * index + 1));
    });
  }

  private interrupts(context: number): boolean {
    return this.best(context, this.threshold[context]!) !== 0;
  }

  /** Lines keep their level: it belongs to the devices that drive them. */
  reset(): void {
    for (const registers of [this.priority, this.claimed, this.enable, this.threshold]) registers.fill(0);
    this.pending.set(this.levels);
    this.update();
  }

  save(): DeviceState {
    return {
      priority: [...this.priority],
      pending: [...this.pending],
      claimed: [...this.claimed],
      enable: [...this.enable],
      threshold: [...this.threshold],
    };
  }

  /** Lines are restored by the devices that drive them. */
  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const priority = reader.integers("priority", this.priority.length, MAXIMUM_PRIORITY);
    const threshold = reader.integers("threshold", this.threshold.length, MAXIMUM_PRIORITY);
    const bits = (field: "pending" | "claimed" | "enable") => {
      const words = reader.integers(field, this[field].length, 0xffffffff);
      if (words.some((word, index) => index % WORDS === 0 && (word & 1) !== 0))
        throw reader.mismatch(field, "without bit 0: there is no source 0");
      return words;
    };
    const [pending, claimed, enable] = [bits("pending"), bits("claimed"), bits("enable")];
    if (priority[0] !== 0) throw reader.mismatch("priority", "0 at its start: there is no source 0");
    if (pending.some((word, index) => (word & claimed[index]!) !== 0))
      throw reader.mismatch("pending", "without sources that are claimed");
    this.priority.set(priority);
    this.threshold.set(threshold);
    this.pending.set(pending);
    this.claimed.set(claimed);
    this.enable.set(enable);
    for (let word = 0; word < WORDS; word++) this.forward(word);
    this.update();
  }
}
