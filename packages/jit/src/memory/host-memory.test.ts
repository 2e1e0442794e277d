import { describe, expect, it } from "vitest";
import { FrameTable, SharedFrames } from "./frame-store.js";
import { FramePool } from "./frames.js";
import { GuestMemory } from "./guest-memory.js";
import { HostMemory, poolAt } from "./host-memory.js";
import { HART_STRIDE, PAGE_SIZE } from "./layout.js";
import { LinearMemory } from "./linear-memory.js";

const RAM = 0x80000000;

describe("a table of frames", () => {
  it("gives each frame to one owner at a time", () => {
    const table = FrameTable.allocate(1000);
    const owners = [1, 2, 3].map((owner) => new SharedFrames(new FrameTable(table.buffer), owner));
    const taken = new Map<number, number>();
    let state = 7;
    for (let step = 0; step < 20_000; step++) {
      state = (Math.imul(state, 1103515245) + 12345) | 0;
      const which = (state >>> 8) % 3;
      const owner = owners[which]!;
      if ((state >>> 16) % 5 < 3) {
        const number = owner.take();
        if (number < 0) expect(taken.size).toBeGreaterThan(1000 - 3 * 32);
        else {
          expect(taken.has(number)).toBe(false);
          taken.set(number, which);
        }
      } else {
        const mine = [...taken].find(([, who]) => who === which)?.[0];
        if (mine === undefined) continue;
        taken.delete(mine);
        owner.give(mine);
      }
    }
    for (const owner of owners) owner.yield();
    expect(table.free).toBe(1000 - taken.size);
    expect(table.heldBy(2)).toBe([...taken.values()].filter((who) => who === 1).length);
  });

  it("says which frames have had an owner, and uses low ones first", () => {
    const frames = new SharedFrames(FrameTable.allocate(64), 1);
    const first = Array.from({ length: 40 }, () => {
      const number = frames.take();
      expect(frames.isStale).toBe(false);
      return number;
    });
    expect(first).toEqual(Array.from({ length: 40 }, (_, at) => at));
    frames.yield();
    for (const number of [30, 3, 7]) frames.give(number);
    const again = Array.from({ length: 3 }, () => {
      const number = frames.take();
      expect(frames.isStale).toBe(true);
      return number;
    });
    expect(again).toEqual([3, 7, 30]);
  });

  it("takes back what an owner had who has ended in the middle", () => {
    const table = FrameTable.allocate(100);
    const [killed, other] = [new SharedFrames(table, 9), new SharedFrames(table, 4)];
    for (let at = 0; at < 50; at++) killed.take();
    const kept = other.take();
    // It was killed after it had claimed a frame and before it had counted it.
    const claimed = table.heldBy(9);
    expect(table.evict(9)).toBe(claimed);
    expect(table.free).toBe(100 - table.heldBy(4));
    const seen = new Set([kept]);
    for (let number = other.take(); number >= 0; number = other.take()) seen.add(number);
    expect(seen.size).toBe(100);
  });
});

describe("pools of one memory", () => {
  function pools(frames: number): FramePool[] {
    const memory = LinearMemory.create({ bytes: (frames + 1) * PAGE_SIZE, shared: true });
    const table = FrameTable.allocate(frames);
    return [1, 2].map((owner) => new FramePool(memory, PAGE_SIZE, frames, new SharedFrames(table, owner)));
  }
  const guestOf = (pool: FramePool, pages: number) =>
    new GuestMemory({ pool, ramBase: RAM, ramBytes: pages * PAGE_SIZE });
  const page = (value: number) => new Uint8Array(PAGE_SIZE).fill(value);

  it("have what others give up, and find it empty", () => {
    const [one, other] = pools(100) as [FramePool, FramePool];
    const [a, b] = [guestOf(one, 90), guestOf(other, 90)];
    for (let at = 0; at < 90; at++) expect(a.write(RAM + at * PAGE_SIZE, page(1))).toBe(true);
    expect(one.used).toBe(90);
    expect(other.available).toBeLessThanOrEqual(10);
    const written = () =>
      Array.from({ length: 90 }, (_, at) => b.write(RAM + at * PAGE_SIZE + 8, page(2).subarray(8))).filter(
        Boolean,
      ).length;
    expect(written()).toBeLessThanOrEqual(10);
    for (let at = 0; at < 90; at++) a.discardPage(at);
    expect(written()).toBe(90);
    const bytes = new Uint8Array(PAGE_SIZE);
    for (let at = 0; at < 90; at++) {
      b.read(RAM + at * PAGE_SIZE, bytes);
      expect([bytes[0], bytes[7], bytes[8], bytes[PAGE_SIZE - 1]]).toEqual([0, 0, 2, 2]);
    }
  });
});

describe("a host's memory", () => {
  it("gives threads places that do not overlap, and takes them back", () => {
    const host = new HostMemory(256 * PAGE_SIZE);
    const arenaBytes = 10_000;
    const places = [1, 2, 3].map(() => host.enter({ arenaBytes })!);
    const areas = places.map(({ hartOffset }) => hartOffset);
    expect(new Set(areas).size).toBe(3);
    for (const [at, place] of places.entries()) {
      const pool = poolAt(place);
      expect(pool.arenaOffset).toBe(place.hartOffset + HART_STRIDE);
      pool.memory.u8.fill(0x55, pool.arenaOffset, pool.arenaOffset + place.arenaBytes);
      expect(pool.pool.allocate()).toBeGreaterThanOrEqual(place.firstFrame);
      expect(place.owner).toBe(at + 1);
    }
    // The hart block of the next thread begins where an arena ends.
    expect(poolAt(places[1]!).memory.u8[places[1]!.hartOffset]).toBe(0);
    const before = host.free;
    host.leave(places[1]!);
    expect(host.free).toBeGreaterThan(before);
    const next = host.enter({ arenaBytes })!;
    expect(next).toMatchObject({ owner: 2, hartOffset: places[1]!.hartOffset });
    const { memory, arenaOffset } = poolAt(next);
    expect(memory.u8.subarray(arenaOffset, arenaOffset + arenaBytes).every((byte) => byte === 0)).toBe(true);
  });

  it("says when there is no room", () => {
    const host = new HostMemory(64 * PAGE_SIZE);
    expect(host.enter({ arenaBytes: 2 ** 32 })).toBeUndefined();
    expect(() => new HostMemory(5)).toThrow(/5 bytes of frames are impossible/);
  });
});
