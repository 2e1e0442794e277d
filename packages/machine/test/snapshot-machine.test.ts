/**
 * Snapshots, restored machines and clones of a running guest: whatever is done to it in the middle of a computation,
 * it must go on as if nothing had been. HYPERFILE_DETERMINISM_INSTRUCTIONS makes the run that is repeated longer.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Tier } from "@hyperfile/jit";
import { HartStateError } from "@hyperfile/jit/riscv";
import { beforeAll, describe, expect, it } from "vitest";
import { type SnapshotCodec, zstdCodec } from "../src/snapshot/codec.js";
import { SnapshotError } from "../src/snapshot/errors.js";
import { encodeMachine, LazyPages, restoreMachine } from "../src/snapshot/machine.js";
import { TestHost, type TestVm, type TestVmOptions } from "./riscv-vm.js";

const RAM = 16 << 20;
const INSTRUCTIONS = Number(process.env.HYPERFILE_DETERMINISM_INSTRUCTIONS ?? 5_000_000);
/** Where the work begins: the shell has its prompt. */
const START = 1_000_000;
/** Code that rewrites itself, floating point in two processes, forks, copied pages, timers. */
const WORK = "smc; fp & touch 300; burn 1; clock; digest 3000; fault; burn 30\r";

const kernels = new Map<number, Uint8Array>();
let codec: SnapshotCodec;
beforeAll(async () => {
  codec = await zstdCodec();
  for (const xlen of [32, 64]) {
    const path = new URL(`../../../examples/guest/bin/guest${xlen}.elf`, import.meta.url);
    kernels.set(xlen, await readFile(fileURLToPath(path)));
  }
});

const optionsOf = (tier: Tier, xlen: 32 | 64 = 64): TestVmOptions => ({
  kernel: kernels.get(xlen)!,
  ramBytes: RAM,
  xlen,
  tier,
  // Translations are made early, so that the tiers are really at work.
  hotThreshold: 200,
});

const started = (options: TestVmOptions, host = new TestHost(64 << 20)): TestVm => {
  const vm = host.boot(options);
  vm.runTo(START);
  vm.board.flush();
  expect(vm.output).toContain("guest# ");
  vm.type(WORK);
  return vm;
};

const bytesOf = (vm: TestVm): Uint8Array =>
  new Uint8Array(Buffer.concat(encodeMachine(vm.machine, codec).pieces));

const tiers: readonly Tier[] = ["interpreter", "js", "wasm-interpreter", "wasm"];

describe.each(tiers)("in tier %s", (tier) => {
  /** Places in the middle of things, on no boundary of anything. */
  const places = [634_567, 1_003_003];
  /** The JavaScript tiers take long to warm up, and here every machine is new. */
  const END = tier.startsWith("wasm") ? 3_000_000 : 1_200_000;

  it("saving disturbs nothing, and what is restored or cloned goes on with the same digests", () => {
    const options = optionsOf(tier);
    const undisturbed = started(options);
    undisturbed.runTo(END);
    const digest = undisturbed.digest();
    expect(undisturbed.output).toContain("smc: in place");

    const saved = started(options);
    const snapshots = places.map((place) => {
      saved.runTo(place);
      return bytesOf(saved);
    });
    saved.runTo(END);
    expect(saved.digest()).toEqual(digest);

    snapshots.forEach((bytes, index) => {
      const restored = new TestHost(64 << 20).make(options);
      restoreMachine(bytes, restored.machine, codec, { lazy: index === 0 });
      expect(restored.cpu.retired()).toBe(places[index]);
      const pages = new LazyPages(restored.guest);
      for (let at = places[index]!; at < END; at += 100_000) {
        restored.runTo(at);
        pages.step();
      }
      restored.runTo(END);
      expect(restored.digest()).toEqual(digest);
    });

    const origin = started(options);
    const clones = places.map((place) => {
      origin.runTo(place);
      return origin.clone();
    });
    // Clones of clones, all running in turns, each leaving its pages to be copied by the others.
    clones.push(clones[0]!.clone());
    for (let at = places[0]!; at < END; at += 133_333)
      for (const vm of [...clones, origin]) vm.runTo(Math.min(at, END));
    for (const vm of [...clones, origin]) {
      vm.runTo(END);
      expect(vm.digest()).toEqual(digest);
    }
    const used = origin.host.pool.pool.used;
    for (const vm of [...clones, origin]) vm.destroy();
    // Only the frame of zeros may be left, once translations have let go of the others.
    origin.host.pool.pool.bury();
    expect(used).toBeGreaterThan(50);
    expect(origin.host.pool.pool.used).toBeLessThanOrEqual(1);
  });
});

it.each([64, 32] as const)("a run of an RV%i guest in virtual time repeats exactly", (xlen) => {
  const run = () => {
    const vm = started(optionsOf("auto", xlen));
    vm.runTo(INSTRUCTIONS);
    return { ...vm.digest(), output: vm.output, retired: vm.cpu.retired() };
  };
  const first = run();
  expect(first.retired).toBe(INSTRUCTIONS);
  expect(run()).toEqual(first);
  if (INSTRUCTIONS > 5_000_000) console.log(JSON.stringify({ xlen, ...first, output: undefined }));
});

it("all tiers come to the same digests", () => {
  const digests = tiers.map((tier) => {
    const vm = started(optionsOf(tier));
    vm.runTo(2_500_000);
    return vm.digest();
  });
  for (const digest of digests) expect(digest).toEqual(digests[0]);
});

describe("restoring", () => {
  const saved = () => {
    const vm = started(optionsOf("auto"));
    vm.runTo(2_000_000);
    return vm;
  };
  const errorOf = (run: () => unknown): SnapshotError => {
    try {
      run();
    } catch (error) {
      if (error instanceof SnapshotError) return error;
      throw error;
    }
    throw new Error("nothing was thrown");
  };

  it("leaves the machine as it was if the snapshot is cut off, and names the section", () => {
    const vm = saved();
    const bytes = bytesOf(vm);
    const digest = vm.digest();
    for (const part of [0.1, 0.5, 0.9]) {
      const cut = bytes.subarray(0, Math.floor(bytes.length * part));
      const error = errorOf(() => restoreMachine(cut, vm.machine, codec));
      expect(error.code).toBe("E_SNAPSHOT_DAMAGED");
      expect(error.section).toMatch(/^(directory|state\/board|memory\/\d+)$/);
    }
    expect(vm.digest()).toEqual(digest);
  });

  it("refuses a snapshot of another machine, and says what is different", () => {
    const bytes = bytesOf(saved());
    const host = new TestHost(64 << 20);
    const larger = host.make({ ...optionsOf("auto"), ramBytes: 2 * RAM });
    const error = errorOf(() => restoreMachine(bytes, larger.machine, codec));
    expect(error.code).toBe("E_SNAPSHOT_MACHINE");
    expect(error.message).toBe(
      "the snapshot is of another machine: it has ramBytes 16777216, this machine 33554432",
    );
    const { identity: _, ...parts } = larger.machine.parts;
    const other = { ...larger.machine, config: { ...larger.machine.config, ramBytes: RAM }, parts };
    expect(errorOf(() => restoreMachine(bytes, other, codec)).message).toContain("identity");
  });

  it("says so when there is too little memory for it", () => {
    const bytes = bytesOf(saved());
    const small = new TestHost(64 << 10);
    const vm = small.make(optionsOf("auto"));
    expect(errorOf(() => restoreMachine(bytes, vm.machine, codec)).message).toMatch(
      /has [\d.]+ MiB of memory and there are not that many free: free some/,
    );
  });

  it("refuses a hart's state of another shape and changes nothing", () => {
    const { cpu } = saved();
    const state = cpu.save();
    for (const change of [
      { xlen: 32 },
      { mode: 2 },
      { slots: [1, 2] },
      { slots: { ...(state.slots as object), x: [1, 2] } },
      { csrs: { mepc: "no" } },
      { csrs: { pmpcfg0: [0.5, 0] } },
      { csrs: { mie: ["1", 0] } },
      { wide: [] },
      { retiredBefore: 1.5 },
      { waiting: 1 },
      { raised: [1] },
      { reservation: [1, 2] },
    ]) {
      expect(() => cpu.restore({ ...state, ...change })).toThrow(HartStateError);
      expect(cpu.save()).toEqual(state);
    }
  });
});
