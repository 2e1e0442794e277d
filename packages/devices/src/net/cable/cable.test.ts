/** Cables between threads, here with both ends in one: what goes in comes out whole and in order, and nobody waits for a slow end. */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { allFrames, type Frame, type FrameSupport, finishedFrames, type LinkEnd } from "../frame.js";
import { Switch } from "../switch/switch.js";
import { BELL_WORDS, Bell, SlotBell } from "./bell.js";
import { CableMemory, CableToCard, CableToSwitch } from "./cable.js";
import { FrameRing } from "./frame-ring.js";

const CAPACITY = 1 << 17;
const HEADERS = 14;
const frame = (bytes: number, mark = 0): Frame => {
  const all = new Uint8Array(bytes).fill(mark & 0xff);
  all.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]);
  return { bytes: all };
};
/** Long arrays are not compared element by element. */
const same = (one: Frame | undefined, other: Frame | undefined): void => {
  const parts = (each: Frame | undefined) => [
    each?.checksum,
    each?.segments,
    each && Buffer.from(each.bytes).toString("latin1"),
  ];
  expect(parts(one)).toEqual(parts(other));
};
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

describe("a ring", () => {
  const ring = (): FrameRing =>
    new FrameRing(new SharedArrayBuffer(FrameRing.bytesFor(CAPACITY)), 0, CAPACITY);

  it("gives frames back as they were, in any order of writing and reading", () => {
    const sizes = fc.array(
      fc.tuple(fc.integer({ min: HEADERS, max: 65_571 }), fc.integer({ min: 0, max: 4 })),
      {
        minLength: 20,
        maxLength: 60,
      },
    );
    fc.assert(
      fc.property(sizes, (steps) => {
        const one = ring();
        const sent: Frame[] = [];
        let mark = 0;
        for (const [size, reads] of steps) {
          const next = { ...frame(size, mark++), checksum: { start: 14, offset: 0 } };
          const fits = size < 16 ? frame(size, mark) : next;
          if (one.write(fits)) sent.push(fits);
          for (let count = 0; count < reads; count++) same(one.read(), sent.shift());
        }
        while (sent.length > 0) same(one.read(), sent.shift());
        expect(one.read()).toBeUndefined();
        expect(one.waiting).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("refuses what does not fit, and says when there is room again", () => {
    const one = ring();
    let count = 0;
    while (one.write(frame(1514))) count++;
    expect(count).toBe(Math.floor(CAPACITY / 1536));
    expect(one.takeWantsRoom()).toBe(false);
    while (one.hasRoom() === false) one.read();
    expect(one.write(frame(65_000))).toBe(true);
    expect(one.hasRoom()).toBe(false);
    while (one.read() !== undefined);
    expect([one.takeWantsRoom(), one.takeWantsRoom()]).toEqual([true, false]);
  });

  it("is empty after a record that can't be, and passes over a frame that its header does not fit", () => {
    const buffer = new SharedArrayBuffer(FrameRing.bytesFor(CAPACITY));
    const one = new FrameRing(buffer, 0, CAPACITY);
    one.write(frame(60));
    one.write(frame(61));
    // The first frame claims a checksum outside of itself.
    new Uint8Array(buffer).set([1, 0, 0, 0, 0, 0, 59, 0, 0, 0], 64 + 4);
    expect(one.read()).toEqual(frame(61));
    for (const length of [0, 13, 65_572, 0xffffffff, 200]) {
      one.write(frame(60));
      const at = new Int32Array(buffer)[1]! % CAPACITY;
      new Uint32Array(buffer)[(64 + at) / 4] = length;
      expect(one.read()).toBeUndefined();
      expect(one.waiting).toBe(0);
    }
    one.write(frame(62));
    expect(one.read()).toEqual(frame(62));
  });
});

describe("a bell", () => {
  it("is heard once for all rings before, and by who listens too late", async () => {
    const words = new Int32Array(new SharedArrayBuffer(4 * BELL_WORDS));
    const bell = new Bell(words);
    const { rings } = bell;
    bell.ring();
    await bell.untilRung(rings);
    const heard = bell.untilRung(bell.rings);
    bell.ring();
    bell.ring();
    await heard;
    expect(bell.rings - rings).toBe(3);
  });

  it("says which slots have rung", () => {
    const bell = SlotBell.allocate(70);
    for (const slot of [69, 3, 31, 32, 3]) bell.ring(slot);
    expect(bell.rings).toBe(4);
    const seen: number[] = [];
    bell.take((slot) => seen.push(slot));
    expect(seen.sort((one, other) => one - other)).toEqual([3, 31, 32, 69]);
    bell.take(() => expect.unreachable());
  });
});

/** A card that takes frames as long as it has room. */
class Card implements LinkEnd {
  readonly got: Frame[] = [];
  readonly links: boolean[] = [];
  room = Infinity;
  rooms = 0;
  constructor(readonly takes: FrameSupport = allFrames) {}
  receive(each: Frame): boolean {
    if (this.got.length >= this.room) return false;
    this.got.push(each);
    return true;
  }
  linkChanged(isUp: boolean): void {
    this.links.push(isUp);
  }
  drained(): void {
    this.rooms++;
  }
}

/** A switch with cards behind cables, and what its thread does. */
function network(cards: number) {
  const bell = SlotBell.allocate(32);
  const lan = new Switch();
  const ends = Array.from({ length: cards }, (_, slot) => {
    const memory = CableMemory.allocate(CAPACITY);
    let lives = 0;
    const toCard = new CableToCard(memory, () => lives++);
    const port = lan.connect(toCard, { queue: { frames: 64, bytes: 1 << 20 } });
    memory.setUp(true);
    return { memory, toCard, port, slot, cable: new CableToSwitch(memory, bell, slot), lives: () => lives };
  });
  const serve = (): void => {
    bell.take((slot) => {
      const { toCard, port } = ends[slot]!;
      if (toCard.look(port)) while (toCard.pass(port, 1 << 16) > 0);
    });
  };
  return { bell, ends, serve };
}
const from = (mac: number, to: number, bytes = 100): Frame => {
  const each = frame(bytes);
  each.bytes[5] = to;
  each.bytes[11] = mac;
  return each;
};

describe("a cable", () => {
  it("carries frames both ways, and wakes its card", async () => {
    const { ends, serve } = network(2);
    const cards = [new Card(), new Card()];
    const links = ends.map(({ cable }, at) => cable.connect(cards[at]!));
    links[0]!.send(from(1, 2));
    serve();
    await turn();
    links[1]!.send(from(2, 1, 3000 - 1482));
    serve();
    await turn();
    expect(cards.map(({ got }) => got.map(({ bytes }) => bytes.length))).toEqual([[1518], [100]]);
  });

  it("does for a card what it does not take", async () => {
    const { ends, serve } = network(2);
    const card = new Card(finishedFrames);
    const sender = ends[0]!.cable.connect(new Card());
    ends[1]!.cable.connect(card);
    const plain = from(1, 2, 60);
    sender.send({ bytes: plain.bytes, checksum: { start: 14, offset: 6 } });
    serve();
    await turn();
    expect(card.got).toHaveLength(1);
    expect(card.got[0]!.checksum).toBeUndefined();
  });

  it("holds who sends more than is taken, and tells when there is room; a card that takes nothing holds nobody", async () => {
    const { ends, serve } = network(3);
    const [sender, slow, quick] = [new Card(), new Card(), new Card()];
    const [link, slowLink, quickLink] = [sender, slow, quick].map((card, at) =>
      ends[at]!.cable.connect(card),
    );
    // Everybody is known before, and nothing is flooded.
    link!.send(from(1, 1));
    serve();
    slowLink!.send(from(2, 1));
    quickLink!.send(from(3, 1));
    serve();
    slow.room = 0;
    let sent = 0;
    // The guest's thread alone runs: the ring fills, and its card stops.
    for (; link!.isFull !== true; sent++) link!.send(from(1, 2, 1514));
    expect(sent).toBeLessThan(CAPACITY / 1514);
    expect(sender.rooms).toBe(0);
    serve();
    await vi.waitFor(() => expect(sender.rooms).toBe(1));
    for (let count = 0; count < 500; count++) {
      link!.send(from(1, 2, 1514));
      link!.send(from(1, 3, 200));
      serve();
      if (count % 50 === 49) await turn();
    }
    await vi.waitFor(() => expect(quick.got).toHaveLength(500));
    const { drops, waiting } = ends[1]!.port.counters;
    expect(waiting).toBe(64);
    expect(drops.full).toBeGreaterThan(100);
    // What waited comes when the card takes frames again: that of the ring, and that of the port's queue.
    slow.room = Infinity;
    slowLink!.ready();
    await vi.waitFor(() => {
      serve();
      expect(slow.got.length).toBe(sent + 500 - drops.full);
    });
  });

  it("tells its card of its state, and drops what is sent while it is cut", async () => {
    const { ends, serve } = network(2);
    const card = new Card();
    const link = ends[0]!.cable.connect(card);
    const other = new Card();
    ends[1]!.cable.connect(other);
    ends[0]!.port.setUp(false);
    await turn();
    expect([link.isUp, link.isFull, card.links]).toEqual([false, false, [false]]);
    link.send(from(1, 2));
    ends[0]!.port.setUp(true);
    await turn();
    link.send(from(1, 2, 101));
    serve();
    await turn();
    expect(card.links).toEqual([false, true]);
    expect(other.got.map(({ bytes }) => bytes.length)).toEqual([101]);
  });

  it("goes on with the machine that takes another's place, and says so at the other end", async () => {
    const { ends, serve } = network(2);
    const [first, next, failed] = [new Card(), new Card(), new Card()];
    const { cable, lives } = ends[0]!;
    const peer = ends[1]!.cable.connect(new Card());
    const own = cable.connect(first);
    own.send(from(1, 2));
    serve();
    cable.connect(failed).disconnect();
    serve();
    expect(lives()).toBe(0);
    peer.send(from(2, 1, 50));
    serve();
    await turn();
    expect([first.got.length, failed.got.length]).toEqual([1, 0]);
    cable.connect(next);
    own.disconnect();
    serve();
    expect(lives()).toBe(1);
    peer.send(from(2, 1, 51));
    serve();
    await turn();
    expect(next.got.map(({ bytes }) => bytes.length)).toEqual([51]);
    expect(first.got).toHaveLength(1);
  });
});
