/**
 * An environment for the IR's evaluator: slots and a sparse little-endian memory in maps, whose initial contents
 * are a function of their place and a seed, so that two environments of one seed agree on everything unwritten.
 */
import { combine, type EvaluationEnvironment } from "../src/ir/evaluate.js";
import { FloatUnit } from "../src/ir/float/float-unit.js";
import { type Slot, type StateShape, sizeOf } from "../src/ir/state.js";
import type { AmoKind, Helper, Width } from "../src/ir/types.js";

/** Values at which arithmetic has its corners; initial contents are drawn from them and from noise. */
const corners = [
  0n,
  1n,
  0xffffffffffffffffn,
  0x8000000000000000n,
  0x7fffffffffffffffn,
  0x80000000n,
  0x7fffffffn,
  0xffffffffn,
  0x3ff0000000000000n,
  0x7ff0000000000000n,
  0x3f800000n,
];

/** 64 bits that depend on a seed and a place. */
export function noise(seed: number, place: string): bigint {
  let hash = 0xcbf29ce484222325n ^ BigInt(seed >>> 0);
  for (const character of place) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(character.charCodeAt(0))) * 0x100000001b3n);
    hash ^= hash >> 29n;
  }
  return hash % 3n === 0n ? corners[Number((hash >> 8n) % BigInt(corners.length))]! : hash;
}

/** What happened besides changes of slots and memory. */
export interface HelperCall {
  readonly name: string;
  readonly args: readonly bigint[];
  /** All slots at the call, for helpers that may read them. */
  readonly slots: Readonly<Record<string, bigint>> | undefined;
}

/** The environment. */
export class TestEnvironment implements EvaluationEnvironment {
  readonly float = new FloatUnit();
  readonly calls: HelperCall[] = [];
  private readonly slots = new Map<string, bigint>();
  private readonly memory = new Map<bigint, number>();
  /** Where LR has read, and what: another value there ends the reservation. */
  private reserved: { readonly address: bigint; readonly value: bigint } | undefined;

  /**
   * @param shape the slots
   * @param seed decides all initial contents
   * @param faults whether accesses to some addresses fault
   */
  constructor(
    private readonly shape: StateShape,
    readonly seed: number,
    private readonly faults = false,
  ) {
    this.float.flags = Number(noise(seed, "flags") & 31n);
  }

  get pc(): bigint {
    return this.bits("pc", noise(this.seed, "pc") & ~3n);
  }

  field(name: string): number {
    if (name === "length") return 4;
    return name === "imm"
      ? Number(BigInt.asIntN(12, noise(this.seed, name)))
      : Number(noise(this.seed, name) & 1n);
  }

  get(slot: string, index: number): bigint {
    if (slot === "fflags") return BigInt(this.float.flags);
    return this.slots.get(`${slot}${index}`) ?? this.bits(slot, noise(this.seed, `${slot}${index}`));
  }

  set(slot: string, index: number, value: bigint): void {
    if (slot === "fflags") this.float.flags = Number(value);
    else this.slots.set(`${slot}${index}`, value);
  }

  load(width: Width, address: bigint): bigint | null {
    return this.refuses(address) ? null : this.peek(width, address);
  }

  private peek(width: Width, address: bigint): bigint {
    let value = 0n;
    for (let byte = 0n; byte < width / 8; byte++) value |= BigInt(this.byte(address + byte)) << (byte * 8n);
    return value;
  }

  store(width: Width, address: bigint, value: bigint): boolean {
    if (this.refuses(address)) return false;
    for (let byte = 0n; byte < width / 8; byte++) {
      this.memory.set(this.wrap(address + byte), Number((value >> (byte * 8n)) & 255n));
    }
    return true;
  }

  amo(kind: AmoKind, width: Width, address: bigint, value: bigint): bigint | null {
    const old = this.load(width, address);
    if (old !== null) this.store(width, address, combine(kind, width, old, value));
    return old;
  }

  loadReserved(width: Width, address: bigint): bigint | null {
    const value = this.load(width, address);
    if (value !== null) this.reserved = { address, value };
    return value;
  }

  storeConditional(width: Width, address: bigint, value: bigint): bigint | null {
    if (this.refuses(address)) return null;
    const held = this.reserved;
    this.reserved = undefined;
    const stores =
      held?.address === address && this.peek(width, address) === BigInt.asUintN(width, held.value);
    if (stores) this.store(width, address, value);
    return stores ? 0n : 1n;
  }

  call(helper: Helper, args: readonly bigint[]): { result?: bigint; exit?: boolean } {
    const { reads, writes, exits } = helper.effects;
    this.calls.push({ name: helper.name, args, slots: reads ? this.allSlots() : undefined });
    const outcome = noise(this.seed, `${helper.name}${args.join()}`);
    if (writes) this.set("x", 1, this.bits("x", outcome));
    return {
      ...(helper.result === null ? {} : { result: BigInt.asUintN(sizeOf(helper.result) * 8, outcome) }),
      exit: exits && (outcome & 16n) !== 0n,
    };
  }

  /** Every slot's value by name and index. */
  allSlots(): Record<string, bigint> {
    const all: Record<string, bigint> = {};
    for (const slot of this.shape.slots.values()) {
      for (let index = 0; index < slot.length; index++)
        all[`${slot.name}[${index}]`] = this.get(slot.name, index);
    }
    return all;
  }

  /** Everything that a block can have changed. */
  snapshot() {
    const memory = [...this.memory].sort(([a], [b]) => (a < b ? -1 : 1));
    return { slots: this.allSlots(), memory, calls: this.calls, reserved: this.reserved };
  }

  private bits(slot: string, value: bigint): bigint {
    return BigInt.asUintN((this.shape.slots.get(slot) as Slot).stride * 8, value);
  }

  /** The byte at `address`, whether or not an access there faults. */
  byte(address: bigint): number {
    const at = this.wrap(address);
    return this.memory.get(at) ?? this.initialByte(at);
  }

  /** What the byte at `address` holds before it is written. */
  initialByte(address: bigint): number {
    return Number(noise(this.seed, `m${address}`) & 255n);
  }

  /** An address modulo the size of the address space. */
  wrap(address: bigint): bigint {
    return this.bits("pc", address);
  }

  /** Whether an access at `address` faults. */
  refuses(address: bigint): boolean {
    return this.faults && noise(this.seed, `fault${address}`) % 8n === 0n;
  }
}
