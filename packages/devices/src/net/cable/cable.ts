/**
 * A cable between threads: one end is a card in the thread of its machine, the other a port of a switch in another
 * thread. Frames go by two rings in shared memory. Neither end waits for the other:
 *
 * - what the card's end does not take stays in its ring, and then in its port's queue, which is bounded;
 * - what the switch's end does not take stays in its ring, and then with the guest, whose card waits;
 * - a thread that is killed leaves whole frames and no locks.
 *
 * A thread sleeps while there is nothing for it, and is woken once for all that has come by then.
 */
import { allFrames, type Frame, type Link, type LinkEnd, type Network } from "../frame.js";
import { finishFrame } from "../offload.js";
import { hostTimers, type Timers } from "../timers.js";
import { BELL_WORDS, Bell, type SlotBell } from "./bell.js";
import { FrameRing } from "./frame-ring.js";

const HEADER_BYTES = 128;
const FIGURES_AT = 64;
const Word = { bell: 0, isUp: BELL_WORDS, life: BELL_WORDS + 1 } as const;
/** Bytes of frames under way in each direction, by default. */
const CAPACITY = 1 << 18;
/** Frames that an end is given before others of its thread have their turn. */
const MOST_AT_ONCE = 256;

/** Memory of a cable, which both threads have. */
export class CableMemory {
  readonly words: Int32Array;
  /** Rung for the card's end. */
  readonly bell: Bell;
  readonly toSwitch: FrameRing;
  readonly toCard: FrameRing;
  /** Eight numbers that the switch's thread writes for whoever looks, as it likes. */
  readonly figures: Float64Array;

  /** @param buffer memory that {@link CableMemory.allocate} made, here or in another thread */
  constructor(readonly buffer: SharedArrayBuffer) {
    const ring = (buffer.byteLength - HEADER_BYTES) / 2;
    const capacity = ring - FrameRing.bytesFor(0);
    this.words = new Int32Array(buffer, 0, FIGURES_AT / 4);
    this.figures = new Float64Array(buffer, FIGURES_AT, (HEADER_BYTES - FIGURES_AT) / 8);
    this.bell = new Bell(this.words.subarray(Word.bell, Word.bell + BELL_WORDS));
    this.toSwitch = new FrameRing(buffer, HEADER_BYTES, capacity);
    this.toCard = new FrameRing(buffer, HEADER_BYTES + ring, capacity);
  }

  /** @param capacity bytes of frames under way in each direction, a power of two from 128 KiB on */
  static allocate(capacity = CAPACITY): CableMemory {
    return new CableMemory(new SharedArrayBuffer(HEADER_BYTES + 2 * FrameRing.bytesFor(capacity)));
  }

  get isUp(): boolean {
    return Atomics.load(this.words, Word.isUp) === 1;
  }

  /** Which machine is at the card's end, counted: another one goes on in its place, from another moment. */
  get life(): number {
    return Atomics.load(this.words, Word.life);
  }

  setUp(isUp: boolean): void {
    Atomics.store(this.words, Word.isUp, isUp ? 1 : 0);
    this.bell.ring();
  }

  beginLife(): void {
    Atomics.add(this.words, Word.life, 1);
  }
}

/**
 * The card's end: a network for one card. A machine that is to take another's place may be connected beside it; frames
 * go to the one that came last.
 */
export class CableToSwitch implements Network {
  private readonly plugs: Plug[] = [];
  private wasUp: boolean;
  private isListening = false;
  private isDelivering = false;

  /**
   * @param memory of the cable
   * @param bell wakes the switch's thread, at this slot
   */
  constructor(
    private readonly memory: CableMemory,
    private readonly bell: SlotBell,
    private readonly slot: number,
    private readonly timers: Timers = hostTimers,
  ) {
    this.wasUp = memory.isUp;
  }

  connect(end: LinkEnd): Link {
    const plug = new Plug(this, end);
    this.plugs.push(plug);
    void this.listen();
    return plug;
  }

  // -- for plugs

  get isUp(): boolean {
    return this.memory.isUp;
  }

  get isFull(): boolean {
    return !this.memory.toSwitch.hasRoom();
  }

  send(frame: Frame): boolean {
    const isSent = this.memory.toSwitch.write(frame);
    this.bell.ring(this.slot);
    return isSent;
  }

  /** Gives the end what waits for it. */
  deliver(): void {
    const plug = this.plugs.at(-1);
    if (plug === undefined || this.isDelivering) return;
    this.isDelivering = true;
    let isMore = true;
    try {
      for (let count = 0; isMore && count < MOST_AT_ONCE; count++)
        isMore = plug.deliverOne(this.memory.toCard);
    } finally {
      this.isDelivering = false;
    }
    if (this.memory.toCard.takeWantsRoom()) this.bell.ring(this.slot);
    if (isMore) this.timers.after(0, () => this.deliver());
  }

  remove(plug: Plug): void {
    const at = this.plugs.indexOf(plug);
    if (at < 0) return;
    this.plugs.splice(at, 1);
    if (at === 0 && this.plugs.length > 0) {
      this.memory.beginLife();
      this.bell.ring(this.slot);
    }
    // Ends the listening, if it was the last.
    this.memory.bell.ring();
  }

  private async listen(): Promise<void> {
    if (this.isListening) return;
    this.isListening = true;
    while (this.plugs.length > 0) {
      const { rings } = this.memory.bell;
      const { isUp } = this;
      if (isUp !== this.wasUp) {
        this.wasUp = isUp;
        for (const plug of this.plugs) plug.tellLink(isUp);
      }
      this.plugs.at(-1)?.tellRoom(this.memory.toSwitch);
      this.deliver();
      await this.memory.bell.untilRung(rings);
    }
    this.isListening = false;
  }
}

/** What a card has of its cable. */
class Plug implements Link {
  /** Pieces of a frame that its end did not take whole. */
  private pieces: Frame[] = [];
  private isWaiting = false;
  private isConnected = true;

  constructor(
    private readonly cable: CableToSwitch,
    private readonly end: LinkEnd,
  ) {}

  get isUp(): boolean {
    return this.isConnected && this.cable.isUp;
  }

  get isFull(): boolean {
    if (!this.isUp) return false;
    this.isWaiting = this.cable.isFull;
    return this.isWaiting;
  }

  send(frame: Frame): void {
    if (this.isUp) this.cable.send(frame);
  }

  ready(): void {
    if (this.isConnected) this.cable.deliver();
  }

  disconnect(): void {
    this.isConnected = false;
    this.pieces = [];
    this.cable.remove(this);
  }

  // -- for the cable

  /** Whether it took a frame, or the next piece of one. */
  deliverOne(ring: FrameRing): boolean {
    if (this.pieces.length === 0) {
      const frame = ring.read();
      if (frame === undefined) return false;
      this.pieces = [...finishFrame(frame, this.end.takes)];
    }
    const [piece] = this.pieces;
    if (piece !== undefined && !this.end.receive(piece)) return false;
    this.pieces.shift();
    return true;
  }

  tellLink(isUp: boolean): void {
    this.end.linkChanged?.(isUp);
  }

  tellRoom(ring: FrameRing): void {
    if (!this.isWaiting || !ring.hasRoom()) return;
    this.isWaiting = false;
    this.end.drained?.();
  }
}

/**
 * The switch's end of a cable, to be connected to a port. Whoever hears the bell calls {@link CableToCard.look} when its
 * slot has rung.
 */
export class CableToCard implements LinkEnd {
  readonly takes = allFrames;
  private life: number;
  private isHeld = false;

  /**
   * @param replaced is called when another machine goes on at the other end: what was agreed with it is void
   * @param mayReceive whether a frame of so many bytes may go to the card now; who says no says when by `link.ready`
   */
  constructor(
    private readonly memory: CableMemory,
    private readonly replaced: () => void = () => {},
    private readonly mayReceive: (bytes: number) => boolean = () => true,
  ) {
    this.life = memory.life;
  }

  receive(frame: Frame): boolean {
    // Room first: what may go is counted when it goes.
    if (!this.memory.toCard.hasRoom()) {
      this.isHeld = true;
      return false;
    }
    if (!this.mayReceive(frame.bytes.length)) return false;
    this.memory.toCard.write(frame);
    this.memory.bell.ring();
    return true;
  }

  linkChanged(isUp: boolean): void {
    this.memory.setUp(isUp);
  }

  /** Bytes that the card has sent and that wait. */
  get waiting(): number {
    return this.memory.toSwitch.waiting;
  }

  /**
   * Looks at what the other end has done.
   * @param link of its port
   * @returns whether frames wait
   */
  look(link: Link): boolean {
    const { life } = this.memory;
    if (life !== this.life) {
      this.life = life;
      this.replaced();
    }
    if (this.isHeld) {
      this.isHeld = false;
      link.ready();
    }
    return !this.memory.toSwitch.isEmpty;
  }

  /** Passes frames on that the card has sent, until they are so many bytes; gives their bytes. */
  pass(link: Link, most: number): number {
    const { toSwitch, bell } = this.memory;
    let bytes = 0;
    while (bytes < most) {
      const frame = toSwitch.read();
      if (frame === undefined) break;
      bytes += frame.bytes.length;
      link.send(frame);
    }
    if (toSwitch.takeWantsRoom()) bell.ring();
    return bytes;
  }
}
