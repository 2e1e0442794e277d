/** The fleet of a page without the page: its broker and its machines, in this thread. */
import type { VmState } from "@hyperfile/broker/inline";
import { InlineFleet } from "@hyperfile/broker/inline";
import { beforeAll, describe, expect, it } from "vitest";
import { embeddedGuest } from "../../guest/src/index.js";
import { GuestMaker } from "../src/host/page-guest.js";
import type { VmRecipe } from "../src/host/protocol.js";

let recipe: VmRecipe;
beforeAll(async () => {
  const kernel = { name: "guest64.elf", bytes: await embeddedGuest(64) };
  recipe = { ramBytes: 8 << 20, boot: { kernel } };
});

/** A fleet, and what its machines have printed. */
class Trial {
  readonly maker = new GuestMaker();
  readonly text = new Map<string, string>();
  readonly states: [vm: string, state: VmState][] = [];
  readonly fleet: InlineFleet = new InlineFleet({
    listener: {
      state: (vm, state) => void this.states.push([vm, state]),
      console: (vm, bytes) => {
        this.text.set(vm, `${this.text.get(vm) ?? ""}${new TextDecoder().decode(bytes)}`);
        this.fleet.heard(vm, bytes.length);
      },
    },
  });

  add(vm: string, more: Partial<VmRecipe> = {}): void {
    const own = { ...recipe, ...more };
    this.fleet.add(vm, {
      make: (name, surroundings) => this.maker.make(own, name, surroundings),
      ...(more.cpu === undefined ? {} : { cpu: more.cpu }),
      ...(more.pool === undefined ? {} : { pool: more.pool }),
    });
  }

  async start(vm: string, more: Partial<VmRecipe> = {}): Promise<void> {
    this.add(vm, more);
    await this.fleet.start(vm);
    await this.prints(vm, /guest# $/);
  }

  async prints(vm: string, what: RegExp): Promise<void> {
    await expect.poll(() => this.text.get(vm) ?? "", { timeout: 60_000, interval: 10 }).toMatch(what);
  }

  type(vm: string, text: string): void {
    this.fleet.type(vm, new TextEncoder().encode(text));
  }

  async burn(vm: string): Promise<void> {
    this.type(vm, `${"burn 4000 &\n".repeat(8)}echo begun\n`);
    await this.prints(vm, /^begun\r?$/m);
  }

  figures(vm: string) {
    return this.fleet.figures().find(({ name }) => name === vm)!;
  }

  /** Bytes of frames in use when nothing runs: frames that hold code are given back when the next machine runs. */
  async atRest(): Promise<number> {
    await this.start("rest");
    await this.fleet.remove("rest");
    this.text.delete("rest");
    return this.maker.memory.all - this.maker.memory.free;
  }

  async end(): Promise<void> {
    for (const { name } of this.fleet.figures()) await this.fleet.remove(name);
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Milliseconds that machines used while so many passed. */
async function used(trial: Trial, milliseconds: number, ...vms: string[]): Promise<number[]> {
  const before = vms.map((vm) => trial.figures(vm).accounts.used);
  await pause(milliseconds);
  return vms.map((vm, at) => trial.figures(vm).accounts.used - before[at]!);
}

describe("the core", () => {
  it("is divided by shares within 5 %, also where pools stand between", async () => {
    const trial = new Trial();
    trial.fleet.addPool("left", { shares: 1000 });
    trial.fleet.addPool("right", { shares: 3000 });
    await trial.start("a", { pool: "left" });
    await trial.start("b", { pool: "left" });
    await trial.start("c", { pool: "right" });
    for (const vm of ["a", "b", "c"]) await trial.burn(vm);
    await pause(500);
    const [a = 0, b = 0, c = 0] = await used(trial, 6000, "a", "b", "c");
    expect(Math.abs((a + b) / (a + b + c) - 0.25)).toBeLessThan(0.05);
    expect(Math.abs(a / (a + b) - 0.5)).toBeLessThan(0.05);
    trial.fleet.configurePool("right", { shares: 1000 });
    await pause(500);
    const [d = 0, e = 0, f = 0] = await used(trial, 6000, "a", "b", "c");
    expect(Math.abs((d + e) / (d + e + f) - 0.5)).toBeLessThan(0.05);
    await trial.end();
    trial.fleet.removePool("left");
    trial.fleet.removePool("right");
    expect(trial.fleet.pools().map(({ name }) => name)).toEqual(["root"]);
  });

  it("is held to a limit, which can be taken away, and accounts leave no moment out", async () => {
    const trial = new Trial();
    await trial.start("a", { cpu: { limit: 0.2 } });
    await trial.burn("a");
    await pause(500);
    const began = performance.now();
    const [held = 0] = await used(trial, 3000, "a");
    expect(held / (performance.now() - began)).toBeLessThan(0.25);
    expect(trial.figures("a").accounts.limited).toBeGreaterThan(1000);
    trial.fleet.configure("a", { cpu: { limit: Infinity } });
    const then = performance.now();
    const [free = 0] = await used(trial, 2000, "a");
    expect(free / (performance.now() - then)).toBeGreaterThan(0.5);
    const sum = () => Object.values(trial.figures("a").accounts).reduce((all, each) => all + each, 0);
    const [one, at] = [sum(), performance.now()];
    await pause(500);
    expect(Math.abs(sum() - one - (performance.now() - at))).toBeLessThan(50);
    await trial.end();
  });

  it("refuses reservations that it can't keep", async () => {
    const trial = new Trial();
    await trial.start("a", { cpu: { reservation: 0.7 } });
    trial.add("b", { cpu: { reservation: 0.7 } });
    await expect(trial.fleet.start("b")).rejects.toMatchObject({ code: "E_ADMISSION" });
    expect(trial.figures("b").state).toBe("off");
    await trial.fleet.stop("a");
    await trial.fleet.start("b");
    await expect(trial.fleet.start("a")).rejects.toMatchObject({ code: "E_ADMISSION" });
    await trial.end();
  });
});

it("a copy has its original's memory until one of them writes, and gives all back", async () => {
  const trial = new Trial();
  const rest = await trial.atRest();
  await trial.start("a");
  const before = trial.maker.memory.free;
  await trial.fleet.clone("a", "copy");
  trial.type("copy", "echo mine\n");
  await trial.prints("copy", /mine/);
  expect(trial.text.get("a")).not.toContain("mine");
  expect(trial.figures("copy").memory!.shared).toBeGreaterThan(0);
  // Of a few dozen pages only those that were written are there twice.
  expect(before - trial.maker.memory.free).toBeLessThan(trial.figures("a").memory!.touched);
  await trial.fleet.remove("copy");
  await trial.end();
  // The frame of zeros is made when it is first needed, and stays.
  expect((await trial.atRest()) - rest).toBeOneOf([0, 4096]);
});

it("what is typed at a machine that does not read is bounded, and refused whole beyond", async () => {
  const trial = new Trial();
  await trial.start("a");
  await trial.fleet.pause("a");
  const part = new Uint8Array(400_000).fill(0x20);
  trial.fleet.type("a", part);
  trial.fleet.type("a", part);
  expect(() => trial.fleet.type("a", part)).toThrow(
    /^can't type 400000 bytes at VM a: \d+ wait that it has not read, of at most 1048576$/,
  );
  trial.fleet.type("a", part.subarray(0, 100_000));
  await trial.end();
});

it("a snapshot is gone on from, by the machine itself and by another", async () => {
  const trial = new Trial();
  await trial.start("a");
  await trial.fleet.snapshot("a", "s");
  trial.type("a", "echo later\n");
  await trial.prints("a", /later/);
  await trial.fleet.restore("a", "s");
  trial.text.clear();
  trial.type("a", "echo again\n");
  await trial.prints("a", /^echo again\r\nagain\r\n/);
  trial.add("b");
  await trial.fleet.restore("b", "s");
  trial.type("b", "echo other\n");
  await trial.prints("b", /^echo other\r\nother\r\n/);
  await expect(trial.fleet.restore("b", "none")).rejects.toThrow("there is no snapshot none on the shelf");
  trial.type("b", "echo still\n");
  await trial.prints("b", /still/);
  await trial.end();
});

it("two hundred commands at random, many at once, leave states that are true and no memory behind", async () => {
  const trial = new Trial();
  const rest = await trial.atRest();
  let seed = 17;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  const names = ["a", "b", "c", "d"];
  const { fleet } = trial;
  const commands: readonly ((vm: string, other: string) => Promise<unknown>)[] = [
    async (vm) => trial.add(vm),
    (vm) => fleet.start(vm),
    (vm) => fleet.pause(vm),
    (vm) => fleet.resume(vm),
    (vm) => fleet.reset(vm),
    (vm) => fleet.stop(vm),
    (vm) => fleet.snapshot(vm, "s"),
    (vm) => fleet.restore(vm, "s"),
    (vm, other) => fleet.clone(vm, other),
    (vm) => fleet.remove(vm),
  ];
  const outcomes = { done: 0, refused: 0 };
  const refusals = new Set<string>();
  for (let round = 0; round < 40; round++) {
    await Promise.all(
      Array.from({ length: 5 }, async () => {
        const [vm, other] = [names[random(4)]!, names[random(4)]!];
        try {
          await commands[random(commands.length)]!(vm, other);
          outcomes.done++;
        } catch (error) {
          outcomes.refused++;
          refusals.add((error as { code?: string }).code ?? String(error));
        }
      }),
    );
    for (const { name, state, memory } of fleet.figures()) {
      expect(state, name).toMatch(/^(off|running|paused)$/);
      expect(memory !== undefined, `${name} is ${state}`).toBe(state !== "off");
    }
  }
  expect(outcomes.done).toBeGreaterThan(40);
  expect([...refusals].filter((code) => !/^E_(VM_STATE|VM_UNKNOWN|NAME_TAKEN|BOOT)$/.test(code))).toEqual([]);
  await trial.end();
  // The frame of zeros is made when it is first needed, and stays.
  expect((await trial.atRest()) - rest).toBeOneOf([0, 4096]);
});
