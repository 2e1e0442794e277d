/**
 * Console input: what a host has typed and the guest not yet taken. The consoles of a machine (UART, virtio console,
 * firmware) share one, and each byte goes to one of them, once:
 *
 * - a console takes input only while it listens: its driver reads there, or has said that it wants to be told;
 * - of those that listen the one that the guest printed on last comes first: there the user sees his prompt;
 * - then those that nothing was printed on. A virtio driver sets out buffers whether anybody reads or not, so such a
 *   console listens without certainty: it gets input only if it was printed on, or none was;
 * - while no console listens the input waits.
 *
 * So a machine on which several consoles are open behaves as if the keyboard belonged to the one that spoke last,
 * and what is typed while a guest boots reaches whatever it opens first.
 */
import type { DeviceState } from "../ports.js";
import { DeviceStateError, StateReader } from "../state.js";
import { ByteQueue } from "./byte-queue.js";

/** Bytes that wait before `receive` takes no more. */
const CAPACITY = 0x10000;
/** Bytes that can be given back when all else is full. */
const RETURNS = 0x100;
const nothing = new Uint8Array(0);

/** A console, as its input sees it. */
export interface ConsoleListener {
  /** Name in messages and snapshots, for instance `"uart0"`. */
  readonly name: string;
  /** Whether it would take input now. */
  readonly listening: boolean;
  /** Whether somebody in the guest reads there while it listens. */
  readonly certain: boolean;
  /** It is this console's turn: it may take what waits. One that is asked by its driver has nothing to do. */
  deliver(): void;
}

/** The handle of one console on its input. */
export interface ConsolePort {
  /** The guest has printed there. */
  printed(): void;
  /** The console has begun or ceased to listen. */
  changed(): void;
  /** Whether `take` would give something. */
  readonly offers: boolean;
  /** Takes at most `most` bytes; none while it is another console's turn. */
  take(most: number): Uint8Array;
  /** Puts a byte that was taken before all that waits. */
  giveBack(byte: number): void;
}

/** The input of a machine's consoles. */
export class ConsoleInput {
  readonly name = "input";
  readonly counters = { received: 0 };
  private readonly waiting = new ByteQueue(CAPACITY + RETURNS);
  private readonly listeners: ConsoleListener[] = [];
  /** Those that were printed on, the last one first. */
  private printed: ConsoleListener[] = [];

  /** Bytes that wait. */
  get length(): number {
    return this.waiting.length;
  }

  /** Adds a console. */
  attach(listener: ConsoleListener): ConsolePort {
    this.listeners.push(listener);
    const input = this;
    return {
      printed: () => input.markPrinted(listener),
      changed: () => input.offer(),
      get offers() {
        return input.waiting.length > 0 && input.turn(listener) === listener;
      },
      take: (most) => input.take(listener, most),
      giveBack: (byte) => input.waiting.unshift(byte),
    };
  }

  /**
   * Takes input from the host, at most 64 KiB ahead of the guest; returns how many bytes it took, from the front. The
   * caller keeps the rest and offers it again later.
   */
  receive(bytes: Uint8Array): number {
    let taken = 0;
    // What is delivered makes room for more.
    for (let room = true; room && taken < bytes.length; ) {
      const most = Math.max(0, CAPACITY - this.waiting.length);
      const count = this.waiting.push(bytes.subarray(taken, taken + most));
      taken += count;
      room = count > 0;
      this.offer();
    }
    this.counters.received += taken;
    return taken;
  }

  /** Forgets what waits. */
  clear(): void {
    this.waiting.clear();
  }

  /** At power-on: what was typed stays, since the line is not part of the machine. */
  reset(): void {
    this.printed = [];
  }

  save(): DeviceState {
    return { waiting: this.waiting.toBytes(), printed: this.printed.map(({ name }) => name) };
  }

  /** @throws DeviceStateError on a state of another shape, or of other consoles */
  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const waiting = reader.bytes("waiting", this.waiting.capacity);
    const names = reader.strings("printed", this.listeners.length);
    const printed = names.map((name) => {
      const listener = this.listeners.find((each) => each.name === name);
      if (listener !== undefined) return listener;
      throw new DeviceStateError(`saved state of ${this.name}: printed must name consoles of this machine`);
    });
    if (new Set(printed).size !== printed.length)
      throw new DeviceStateError(`saved state of ${this.name}: printed must name each console once`);
    this.waiting.clear();
    this.waiting.push(waiting);
    this.printed = printed;
  }

  private markPrinted(listener: ConsoleListener): void {
    if (this.printed[0] === listener) return;
    this.printed = [listener, ...this.printed.filter((other) => other !== listener)];
    this.offer();
  }

  private take(listener: ConsoleListener, most: number): Uint8Array {
    const { waiting } = this;
    if (most <= 0 || waiting.length === 0 || this.turn(listener) !== listener) return nothing;
    return Uint8Array.from({ length: Math.min(most, waiting.length) }, () => waiting.shift()!);
  }

  /** Lets consoles take what waits, until none takes any more. */
  private offer(): void {
    for (let before = Infinity; this.waiting.length > 0 && this.waiting.length < before; ) {
      before = this.waiting.length;
      this.turn(undefined)?.deliver();
    }
  }

  /** The console that may take input; one that asks listens. */
  private turn(asking: ConsoleListener | undefined): ConsoleListener | undefined {
    const listens = (each: ConsoleListener) => each === asking || each.listening;
    const { printed } = this;
    return (
      printed.find(listens) ??
      this.listeners.find((each) => listens(each) && (each.certain || printed.length === 0)) ??
      asking
    );
  }
}
