/** Turns of VMs' frames, in virtual time: proportions, limits and reservations, whatever the sizes of frames. */
import { describe, expect, it } from "vitest";
import { changeNet, DEFAULT_NET, DEFAULT_NET_POOL, type NetChange } from "./allotment.js";
import { NetScheduler } from "./net-scheduler.js";

/** Sizes of frames that VMs send: small ones, usual ones, and large ones that are not cut yet. */
const sizes = { small: [60, 90, 200], usual: [1514], large: [65_000, 1514, 30_000] } as const;

/** VMs that always have something to send, behind a line of so many bytes a second. */
class Line {
  readonly scheduler = new NetScheduler();
  readonly gone = new Map<string, number>();
  now = 0;
  private readonly frames = new Map<string, readonly number[]>();
  private readonly places = new Map<string, number>();
  readonly idle = new Set<string>();

  constructor(private readonly bytesPerSecond: number) {}

  pool(name: string, change: NetChange, parent = "root"): void {
    const allotment = changeNet(DEFAULT_NET_POOL, change);
    this.scheduler.obey({ kind: "pool", name, parent, allotment }, this.now);
  }

  vm(name: string, change: NetChange, frames: readonly number[] = sizes.usual, pool = "root"): void {
    const allotment = changeNet(DEFAULT_NET, change);
    this.scheduler.obey({ kind: "add", name, pool, slot: 0, allotment }, this.now);
    this.frames.set(name, frames);
    this.gone.set(name, 0);
  }

  set(name: string, change: NetChange): void {
    this.scheduler.obey({ kind: "configure", name, of: "client", change }, this.now);
  }

  /** Runs for so many milliseconds; gives bytes a second by name. */
  run(milliseconds: number): Record<string, number> {
    const { scheduler } = this;
    const before = new Map(this.gone);
    const end = this.now + milliseconds;
    while (this.now < end) {
      for (const vm of this.frames.keys())
        if (!this.idle.has(vm)) scheduler.ask(vm, "send", 1 << 20, this.now);
      const turn = scheduler.next("send", this.now);
      if (turn === undefined) {
        const next = scheduler.nextTime(this.now);
        this.now = Math.min(end, next === Infinity ? end : Math.max(next, this.now + 1e-6));
        continue;
      }
      let bytes = 0;
      while (bytes < turn.bytes) bytes += this.frame(turn.vm);
      scheduler.went(turn, "send", bytes);
      this.gone.set(turn.vm, this.gone.get(turn.vm)! + bytes);
      this.now += (bytes * 1000) / this.bytesPerSecond;
    }
    const seconds = milliseconds / 1000;
    return Object.fromEntries(
      [...this.gone].map(([name, bytes]) => [name, (bytes - (before.get(name) ?? 0)) / seconds]),
    );
  }

  private frame(vm: string): number {
    const frames = this.frames.get(vm)!;
    const place = this.places.get(vm) ?? 0;
    this.places.set(vm, (place + 1) % frames.length);
    return frames[place]!;
  }
}
const MEGA = 1e6;

describe("shares", () => {
  it("are kept within 5 %, whatever the sizes of frames", () => {
    const line = new Line(50 * MEGA);
    line.vm("a", { shares: 1000 }, sizes.large);
    line.vm("b", { shares: 2000 }, sizes.small);
    line.vm("c", { shares: 4000 }, sizes.usual);
    const { a, b, c } = line.run(10_000);
    expect(Math.abs(b! / a! - 2) / 2).toBeLessThan(0.05);
    expect(Math.abs(c! / a! - 4) / 4).toBeLessThan(0.05);
    expect(a! + b! + c!).toBeGreaterThan(49.5 * MEGA);
  });

  it("are kept among pools, and inside them", () => {
    const line = new Line(50 * MEGA);
    line.pool("one", { shares: 1000 });
    line.pool("two", { shares: 3000 });
    line.vm("a", {}, sizes.usual, "one");
    line.vm("b", {}, sizes.large, "one");
    line.vm("c", {}, sizes.usual, "two");
    const { a, b, c } = line.run(10_000);
    expect(Math.abs(c! / (a! + b!) - 3) / 3).toBeLessThan(0.05);
    expect(Math.abs(a! / b! - 1)).toBeLessThan(0.05);
  });

  it("of who wants nothing are the others', at once", () => {
    const line = new Line(50 * MEGA);
    line.vm("a", { shares: 1000 });
    line.vm("b", { shares: 9000 });
    line.idle.add("b");
    expect(line.run(1000).a).toBeGreaterThan(49.5 * MEGA);
    line.idle.clear();
    const { a, b } = line.run(2000);
    expect(Math.abs(b! / a! - 9) / 9).toBeLessThan(0.05);
  });
});

describe("limits", () => {
  it.each(["small", "usual", "large"] as const)("are kept within 2 % with %s frames", (kind) => {
    const line = new Line(100 * MEGA);
    line.vm("a", { send: { limit: 2 * MEGA } }, sizes[kind]);
    line.vm("b", {});
    line.run(1000);
    const { a, b } = line.run(10_000);
    expect(Math.abs(a! / (2 * MEGA) - 1)).toBeLessThan(0.02);
    expect(b!).toBeGreaterThan(97 * MEGA);
  });

  it("of a pool hold its VMs together, who share it", () => {
    const line = new Line(100 * MEGA);
    line.pool("p", { send: { limit: 6 * MEGA } });
    line.vm("a", { shares: 1000 }, sizes.usual, "p");
    line.vm("b", { shares: 2000 }, sizes.large, "p");
    line.run(1000);
    const { a, b } = line.run(20_000);
    expect(Math.abs((a! + b!) / (6 * MEGA) - 1)).toBeLessThan(0.02);
    expect(Math.abs(b! / a! - 2) / 2).toBeLessThan(0.05);
    expect([line.scheduler.isFree("a", "send"), line.scheduler.isFree("a", "receive")]).toEqual([
      false,
      true,
    ]);
  });

  it("that are changed act at once, and can be taken away", () => {
    const line = new Line(100 * MEGA);
    line.vm("a", { send: { limit: 2 * MEGA } });
    line.run(1000);
    line.set("a", { send: { limit: 8 * MEGA } });
    expect(Math.abs(line.run(5000).a! / (8 * MEGA) - 1)).toBeLessThan(0.02);
    line.set("a", { send: { limit: Infinity } });
    expect(line.scheduler.isFree("a", "send")).toBe(true);
    expect(line.run(1000).a).toBeGreaterThan(99 * MEGA);
  });
});

it("a reservation is kept whatever shares others have", () => {
  const line = new Line(50 * MEGA);
  line.vm("a", { shares: 1, send: { reservation: 20 * MEGA } });
  line.vm("b", { shares: 100_000 }, sizes.large);
  line.run(1000);
  const { a } = line.run(10_000);
  expect(a!).toBeGreaterThan(19.6 * MEGA);
  expect(a!).toBeLessThan(21 * MEGA);
});

it("VMs and pools come and go; who has gone asks for nothing", () => {
  const line = new Line(MEGA);
  line.pool("p", {});
  line.vm("a", {}, sizes.usual, "p");
  line.scheduler.ask("a", "receive", 10, 0);
  line.scheduler.obey({ kind: "remove", name: "a" }, 0);
  line.scheduler.obey({ kind: "removePool", name: "p" }, 0);
  line.scheduler.ask("a", "receive", 10, 0);
  expect(line.scheduler.next("receive", 0)).toBeUndefined();
  expect([line.scheduler.nextTime(0), line.scheduler.has("a")]).toEqual([Infinity, false]);
});
