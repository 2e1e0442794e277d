/** The memory broker on real frames: pages shared, swapped, ballooned and sampled, with every byte right. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PAGE_SIZE } from "@hyperfile/jit/engine";
import { FramePool, GuestMemory, LinearMemory } from "@hyperfile/jit/memory";
import { describe, expect, it } from "vitest";
import { TestHost } from "../../machine/test/riscv-vm.js";
import { MemoryAdmissionError } from "../src/memory/errors.js";
import { type BrokeredVm, MemoryBroker, type MemoryBrokerOptions } from "../src/memory/memory-broker.js";
import { SwapFile } from "../src/memory/node/swap-file.js";
import { PageSharing } from "../src/memory/page-sharing.js";
import { MemorySwap, SwapStore } from "../src/memory/swap-store.js";

const RAM = 0x80000000;
const KIBIBYTE = 1024;

function poolOf(frames: number): FramePool {
  const memory = LinearMemory.create({ bytes: (frames + 1) * PAGE_SIZE });
  return new FramePool(memory, PAGE_SIZE, frames);
}

const guestOf = (pool: FramePool, pages: number): GuestMemory =>
  new GuestMemory({ pool, ramBase: RAM, ramBytes: pages * PAGE_SIZE });

/** Fills a page with words that tell guest and page. */
function fill(guest: GuestMemory, page: number, value: number): boolean {
  return guest.write(
    RAM + page * PAGE_SIZE,
    new Uint8Array(new Int32Array(PAGE_SIZE / 4).fill(value).buffer),
  );
}

function wordOf(guest: GuestMemory, page: number): number {
  const bytes = new Uint8Array(PAGE_SIZE);
  guest.read(RAM + page * PAGE_SIZE, bytes);
  const words = new Int32Array(bytes.buffer);
  expect(words.every((word) => word === words[0])).toBe(true);
  return words[0]!;
}

function brokerOf(pool: FramePool, options: Partial<MemoryBrokerOptions> = {}): MemoryBroker {
  return new MemoryBroker({
    frames: pool,
    swap: new SwapStore(new MemorySwap(), 100_000),
    sharing: false,
    ...options,
  });
}

describe("page sharing", () => {
  it("finds equal pages of a trust group, copies them when they are written, and drops zeros", () => {
    const pool = poolOf(400);
    const guests = [0, 1, 2].map(() => guestOf(pool, 64));
    guests.forEach((guest, index) => {
      for (let page = 0; page < 40; page++) fill(guest, page, page < 30 ? 1000 + page : index * 100 + page);
      for (let page = 40; page < 50; page++) fill(guest, page, 0);
    });
    const sharing = new PageSharing(pool, () => 7);
    guests.forEach((memory) => {
      sharing.add({ memory, group: "trusted" });
    });
    expect(pool.used).toBe(150);
    for (let round = 0; round < 3; round++) sharing.scan(150);
    // 30 pages once, 10 of each guest's own; page 30 of guest 0 is like none.
    expect(pool.used).toBe(30 + 3 * 10);
    expect(sharing.counters).toMatchObject({ shared: 60, zeros: 30, falseHints: 0 });
    expect(guests[1]!.usage().shared).toBe(30 * PAGE_SIZE);
    fill(guests[1]!, 5, 77);
    expect(guests.map((guest) => wordOf(guest, 5))).toEqual([1005, 77, 1005]);
    fill(guests[0]!, 45, 3);
    expect(guests.map((guest) => wordOf(guest, 45))).toEqual([3, 0, 0]);
    expect(guests.map((guest) => wordOf(guest, 33))).toEqual([33, 133, 233]);
  });

  it("never shares between groups, pages that change, or the page of a reservation", () => {
    const pool = poolOf(100);
    const [a, b, c] = [guestOf(pool, 8), guestOf(pool, 8), guestOf(pool, 8)];
    for (const guest of [a, b, c]) for (let page = 0; page < 4; page++) fill(guest, page, 5 + page);
    const sharing = new PageSharing(pool);
    sharing.add({ memory: a, group: "one", reservedFrame: () => a.peekFrame(0) });
    sharing.add({ memory: b, group: "one", reservedFrame: () => -1 });
    sharing.add({ memory: c, group: "other" });
    for (let round = 0; round < 5; round++) {
      fill(b, 1, 100 + round);
      fill(a, 1, 100 + round);
      sharing.scan(12);
    }
    expect([a, b, c].map((guest) => guest.usage().shared / PAGE_SIZE)).toEqual([2, 2, 0]);
    expect(a.peekFrame(0)).not.toBe(b.peekFrame(0));
    sharing.remove({ memory: c, group: "other" });
    b.free();
    expect(sharing.scan(100)).toBe(0);
    expect([0, 1, 2, 3].map((page) => wordOf(a, page))).toEqual([5, 104, 7, 8]);
  });

  it("keeps a hint a page at most, however often pages change, and none for guests that have gone", () => {
    const pool = poolOf(200);
    const sharing = new PageSharing(pool);
    const guests = [guestOf(pool, 64), guestOf(pool, 64)].map((memory) => ({ memory, group: "trusted" }));
    for (const guest of guests) sharing.add(guest);
    for (let change = 0; change < 40; change++) {
      for (const [index, { memory }] of guests.entries())
        for (let page = 0; page < 32; page++) fill(memory, page, 1 + change * 1000 + index * 100 + page);
      for (let round = 0; round < 2; round++) sharing.scan(64);
      expect(sharing.hints).toBeLessThanOrEqual(64);
    }
    expect(sharing.hints).toBeGreaterThan(0);
    for (let page = 0; page < 32; page++) guests[0]!.memory.discardPage(page);
    for (let round = 0; round < 2; round++) sharing.scan(64);
    expect(sharing.hints).toBeLessThanOrEqual(32);
    for (const guest of guests) sharing.remove(guest);
    expect(sharing.hints).toBe(0);
  });

  it("looks at a bounded number of pages at a time, however much memory has no frames", () => {
    const pool = poolOf(100);
    const memory = guestOf(pool, 100_000);
    fill(memory, 99_000, 1);
    let looks = 0;
    const counted = Object.create(memory, {
      peekFrame: { value: (page: number) => ++looks && memory.peekFrame(page) },
    }) as GuestMemory;
    const sharing = new PageSharing(pool);
    sharing.add({ memory: counted, group: "alone" });
    for (let scans = 1; scans <= 200; scans++) {
      sharing.scan(100);
      expect(looks).toBeLessThanOrEqual(scans * 900);
    }
    expect(sharing.counters).toMatchObject({ scanned: 1, rounds: 1 });
  });
});

describe("swapping", () => {
  it("keeps every byte right for guests of three times the pool", () => {
    const pool = poolOf(100);
    const broker = brokerOf(pool);
    const guests = [0, 1, 2].map((index) => {
      const memory = guestOf(pool, 100);
      broker.add({ name: `g${index}`, memory, settings: {} });
      return memory;
    });
    const model = guests.map(() => new Int32Array(100));
    let state = 12345;
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) | 0;
      return (state >>> 8) % below;
    };
    for (let step = 0; step < 6000; step++) {
      const which = random(3);
      const page = random(100);
      if (random(2) === 0) {
        expect(fill(guests[which]!, page, step)).toBe(true);
        model[which]![page] = step;
      } else expect(wordOf(guests[which]!, page)).toBe(model[which]![page]);
      if (step % 50 === 0) broker.tick(step);
    }
    guests.forEach((guest, which) => {
      for (let page = 0; page < 100; page++) expect(wordOf(guest, page)).toBe(model[which]![page]);
    });
    expect(broker.counters.swappedOut).toBeGreaterThan(200);
    expect(broker.counters.emergencies).toBeGreaterThan(0);
  });

  it("never takes a reservation, not even when another guest finds the pool empty", () => {
    const pool = poolOf(100);
    const broker = brokerOf(pool);
    const [kept, greedy] = [guestOf(pool, 60), guestOf(pool, 100)];
    broker.add({ name: "kept", memory: kept, settings: { reservation: 60 * PAGE_SIZE } });
    broker.add({ name: "greedy", memory: greedy, settings: { shares: 1_000_000 } });
    for (let page = 0; page < 60; page++) fill(kept, page, page);
    for (let round = 0; round < 3; round++) {
      for (let page = 0; page < 100; page++) {
        expect(fill(greedy, page, page)).toBe(true);
        if (page % 10 === 0) broker.tick(round * 1000 + page);
        expect(kept.usage()).toMatchObject({ granted: 60 * PAGE_SIZE, swapped: 0 });
      }
    }
    expect(greedy.usage().swapped).toBeGreaterThan(50 * PAGE_SIZE);
  });

  it("prefers pages that are not used", () => {
    const pool = poolOf(100);
    const broker = brokerOf(pool);
    const guest = guestOf(pool, 200);
    broker.add({ name: "a", memory: guest, settings: {} });
    const hot = [3, 17, 40, 41, 42, 77];
    let missed = 0;
    for (let page = 80; page < 200; page++) {
      fill(guest, page, page);
      for (const each of hot) {
        if (guest.peekFrame(each) < 0 && guest.isTouched(each)) missed++;
        fill(guest, each, each);
      }
    }
    expect(guest.counters.swappedOut).toBeGreaterThan(20);
    expect(missed).toBeLessThan(12);
  });

  it("says no when swap space is used up, and the guest's access fails instead of the host", () => {
    const pool = poolOf(10);
    const swap = new SwapStore(new MemorySwap(), 5);
    brokerOf(pool, { swap }).add({ name: "a", memory: guestOf(pool, 1), settings: {} });
    const guest = guestOf(pool, 30);
    const broker = brokerOf(pool, { swap });
    broker.add({ name: "a", memory: guest, settings: {} });
    const filled = Array.from({ length: 30 }, (_, page) => fill(guest, page, page)).filter(
      (done) => done,
    ).length;
    expect(filled).toBe(15);
    for (let page = 0; page < 15; page++) expect([page, 0]).toContain(wordOf(guest, page));
    expect(swap.counters.refused).toBeGreaterThan(0);
    guest.free();
    expect(swap.used).toBe(0);
  });

  it("goes to a file that nobody else can open and that leaves nothing behind", () => {
    const folder = mkdtempSync(join(tmpdir(), "hyperfile-swap-"));
    try {
      const file = new SwapFile(join(folder, "swap"));
      expect(readdirSync(folder)).toEqual([]);
      const store = new SwapStore(file, 100);
      const pages = Array.from({ length: 20 }, (_, index) => new Uint8Array(PAGE_SIZE).fill(index + 1));
      const slots = pages.map((page) => store.store(page));
      store.release(slots[4]!);
      expect(store.store(pages[7]!)).toBe(slots[4]);
      const target = new Uint8Array(PAGE_SIZE);
      store.load(slots[4]!, target);
      expect(target).toEqual(pages[7]);
      store.load(slots[19]!, target);
      expect(target).toEqual(pages[19]);
      expect(() => file.read(50, target)).toThrow("the swap file ends before slot 50");
      file.close();
      expect(store.store(pages[0]!)).toBe(-1);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

/** A balloon whose driver is a test. */
class FakeBalloon {
  target = 0;
  actual = 0;
  live = true;
  statistics: { availableMemory?: number } = {};
  /** Pages that the guest's programs need; it says nothing about it unless this is given. */
  used: number | undefined;
  private answer: { availableMemory?: number } = {};

  constructor(
    private readonly guest: GuestMemory,
    readonly behaviour: "honest" | "stuck" | "lying",
  ) {}

  setTarget(pages: number): void {
    this.target = pages;
  }

  requestStatistics(): void {
    this.statistics = this.answer;
    if (this.used === undefined) return;
    const available = this.guest.pages - this.used - this.actual;
    this.answer = { availableMemory: Math.max(0, available) * PAGE_SIZE };
  }

  /** The guest's driver works for a moment: it gives up to `most` pages, from the end of RAM. */
  work(most: number): void {
    if (this.behaviour === "lying") this.actual = this.target;
    if (this.behaviour !== "honest") return;
    for (let done = 0; done < most && this.actual < this.target; done++) {
      this.guest.balloonPage(this.guest.pages - 1 - this.actual++);
    }
    while (this.actual > this.target) this.guest.deflatePage(this.guest.pages - this.actual--);
  }
}

describe("balloons", () => {
  const run = (behaviour: FakeBalloon["behaviour"]) => {
    const pool = poolOf(1000);
    const broker = brokerOf(pool);
    const guest = guestOf(pool, 1000);
    const balloon = new FakeBalloon(guest, behaviour);
    broker.add({ name: "a", memory: guest, balloon, settings: {} });
    for (let page = 0; page < 970; page++) fill(guest, page, page);
    const seen: { now: number; stuck: boolean; swapped: number; state: string }[] = [];
    for (let now = 0; now <= 8000; now += 250) {
      broker.tick(now);
      balloon.work(5);
      const report = broker.report("a")!;
      seen.push({ now, stuck: report.balloonStuck, swapped: report.swapped, state: broker.state });
    }
    return { seen, broker, guest, balloon };
  };

  it("are asked before anything is swapped", () => {
    const { seen, broker, guest, balloon } = run("honest");
    expect(seen[0]!.state).toBe("soft");
    expect(seen[seen.length - 1]!.state).toBe("high");
    expect(guest.usage().swapped).toBe(0);
    expect(guest.usage().ballooned).toBe(balloon.target * PAGE_SIZE);
    expect(broker.counters.stuckBalloons).toBe(0);
    for (let page = 0; page < 900; page++) expect(wordOf(guest, page)).toBe(page);
  });

  it.each(["stuck", "lying"] as const)(
    "that are %s are found out within five seconds, and pages are swapped",
    (behaviour) => {
      const { seen, broker, guest } = run(behaviour);
      const found = seen.find(({ stuck }) => stuck)!;
      expect(found.now).toBeLessThanOrEqual(5250);
      expect(seen.filter(({ now }) => now < found.now).every(({ swapped }) => swapped === 0)).toBe(true);
      expect(found.swapped).toBeGreaterThan(0);
      expect(seen[seen.length - 1]!.state).toBe("high");
      expect(broker.counters.stuckBalloons).toBe(1);
      for (let page = 0; page < 970; page++) expect(wordOf(guest, page)).toBe(page);
    },
  );

  it("are asked for what their guests can spare, and give it back when they run short; the rest is swapped", () => {
    const pool = poolOf(8000);
    const broker = brokerOf(pool);
    const guest = guestOf(pool, 8000);
    const balloon = new FakeBalloon(guest, "honest");
    // Its programs use 5000 pages; it keeps 1024 available.
    balloon.used = 5000;
    broker.add({ name: "a", memory: guest, balloon, settings: { limit: 4800 * PAGE_SIZE } });
    for (let page = 0; page < 5500; page++) fill(guest, page, page);
    let now = 0;
    const until = (end: number) => {
      for (; now <= end; now += 250) {
        broker.tick(now);
        balloon.work(2000);
      }
    };
    until(3000);
    expect(balloon.target).toBe(8000 - 5000 - 1024);
    expect(guest.usage()).toMatchObject({ granted: 4800 * PAGE_SIZE, swapped: 700 * PAGE_SIZE });
    expect(broker.counters.stuckBalloons).toBe(0);
    // They want more: the guest has some of its balloon back.
    balloon.used = 6500;
    until(9000);
    expect([balloon.target, balloon.actual]).toEqual([476, 476]);
    // And less again.
    balloon.used = 3000;
    until(15_000);
    expect([balloon.target, balloon.actual]).toEqual([3200, 3200]);
    for (let page = 0; page < 4000; page++) expect(wordOf(guest, page)).toBe(page);
  });

  it("that can give no more are left alone for a minute, and asked again", () => {
    const pool = poolOf(1000);
    const broker = brokerOf(pool);
    const guest = guestOf(pool, 1000);
    const balloon = new FakeBalloon(guest, "honest");
    broker.add({ name: "a", memory: guest, balloon, settings: { limit: 700 * PAGE_SIZE } });
    for (let page = 0; page < 800; page++) fill(guest, page, page);
    const targets = new Map<number, number>();
    for (let now = 0; now <= 70_000; now += 250) {
      broker.tick(now);
      // Its guest keeps 850 pages for itself.
      balloon.work(Math.max(0, 150 - balloon.actual));
      targets.set(now, balloon.target);
    }
    expect([1000, 10_000, 60_000, 68_000].map((now) => targets.get(now))).toEqual([300, 150, 150, 300]);
    expect(guest.usage()).toMatchObject({ granted: 700 * PAGE_SIZE, swapped: 100 * PAGE_SIZE });
  });
});

describe("the broker", () => {
  it("takes idle memory for a guest that works, by samples of what is used", () => {
    const pool = poolOf(2000);
    const broker = brokerOf(pool, { samplePeriod: 1000, seed: 5 });
    const [idle, busy] = [guestOf(pool, 1600), guestOf(pool, 1600)];
    for (const [name, memory] of [["idle", idle] as const, ["busy", busy] as const]) {
      broker.add({ name, memory, settings: { shares: 1000 } });
    }
    for (let page = 0; page < 1500; page++) fill(idle, page, page);
    for (let now = 0; now < 60_000; now += 500) {
      for (let page = 0; page < 1500; page++) fill(busy, page, page);
      broker.tick(now);
    }
    const [a, b] = [broker.report("idle")!, broker.report("busy")!];
    // A tax of 75 %: a page that is idle costs as much as four that are used.
    expect(b.granted / a.granted).toBeGreaterThan(2.5);
    expect(a.granted + b.granted).toBeLessThanOrEqual(2000 * PAGE_SIZE);
    expect(a.active).toBeLessThan(a.granted / 5);
    for (let page = 0; page < 1500; page += 7)
      expect([wordOf(idle, page), wordOf(busy, page)]).toEqual([page, page]);
  });

  it("admits only reservations that it can keep", () => {
    const pool = poolOf(1024);
    const broker = brokerOf(pool);
    const vm = (name: string, reservation: number): BrokeredVm => ({
      name,
      memory: guestOf(pool, 1024),
      settings: { reservation: reservation * KIBIBYTE },
    });
    broker.add(vm("a", 2048));
    expect(() => broker.add(vm("b", 2048))).toThrow(
      "b: memory reservation of 2 MiB can't be kept: 1 MiB of 4 MiB are not reserved; reserve less or enlarge the pool",
    );
    expect(() => broker.set("a", { reservation: 4 << 20 })).toThrow(MemoryAdmissionError);
    broker.add(vm("b", 1024));
    broker.set("a", { reservation: 0 });
    broker.set("b", { reservation: 3 << 20 });
    broker.remove("b");
    broker.add(vm("c", 3 * 1024));
    expect(broker.report("b")).toBeUndefined();
    expect(() => broker.set("b", {})).toThrow("there is no VM b");
  });

  it("holds a guest to its limit, however much is free", () => {
    const pool = poolOf(1000);
    const broker = brokerOf(pool);
    const guest = guestOf(pool, 400);
    broker.add({ name: "a", memory: guest, settings: { limit: 100 * PAGE_SIZE } });
    for (let page = 0; page < 400; page++) fill(guest, page, page);
    broker.tick(0);
    expect(guest.usage()).toMatchObject({ granted: 100 * PAGE_SIZE, swapped: 300 * PAGE_SIZE });
    for (let page = 0; page < 400; page++) expect(wordOf(guest, page)).toBe(page);
  });

  it("lets guests above their target stand still in the worst state", () => {
    const pool = poolOf(1000);
    const broker = brokerOf(pool, { swap: new SwapStore(new MemorySwap(), 0) });
    const [small, large] = [guestOf(pool, 100), guestOf(pool, 1000)];
    broker.add({ name: "small", memory: small, settings: { reservation: 100 * PAGE_SIZE } });
    broker.add({ name: "large", memory: large, settings: {} });
    for (let page = 0; page < 50; page++) fill(small, page, page);
    for (let page = 0; page < 945; page++) fill(large, page, page);
    expect([broker.mayRun("small"), broker.mayRun("large")]).toEqual([true, true]);
    broker.tick(0);
    expect(broker.state).toBe("low");
    expect([broker.mayRun("small"), broker.mayRun("large"), broker.mayRun("nobody")]).toEqual([
      true,
      false,
      true,
    ]);
  });

  it("runs guests of twice the pool's memory to right results, in less than they ask for", () => {
    const host = new TestHost(10 << 20);
    const broker = brokerOf(host.pool.pool, { sharing: true });
    const kernel = readFileSync(
      fileURLToPath(new URL("../../../examples/guest/bin/guest64.elf", import.meta.url)),
    );
    const vms = Array.from({ length: 4 }, (_, index) => {
      const vm = host.boot({ kernel, ramBytes: 8 << 20 });
      broker.add({
        name: `vm${index}`,
        memory: vm.guest,
        settings: {},
        group: "ours",
        reservedFrame: () => vm.cpu.reservedFrame,
      });
      vm.runTo(400_000);
      vm.type("touch 5000; smc; digest 2000; touch 5000\r");
      return vm;
    });
    for (let now = 0; now < 4000 && !vms.every(({ output }) => output.split("touch:").length > 2); now++) {
      for (const vm of vms) {
        vm.runTo(vm.cpu.retired() + 100_000);
        vm.board.flush();
      }
      broker.tick(now);
    }
    for (const { output } of vms) {
      expect(output).not.toContain("WRONG");
      expect(output.split("5000 KiB, 0 wrong words, ok")).toHaveLength(3);
      expect(output).toContain("smc: ok");
    }
    const answers = vms.map(({ output }) => /digest: \w+/.exec(output)?.[0]);
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toBeDefined();
    expect(broker.counters.swappedOut).toBeGreaterThan(500);
    for (const vm of vms) vm.destroy();
  });
});
