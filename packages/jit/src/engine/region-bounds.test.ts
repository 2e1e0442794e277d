/** What an engine keeps for regions stays bounded, also where a guest generates code for ever. */
import { describe, expect, it, vi } from "vitest";
import { agree, peek, programCpu, RAM } from "../../test/agree.js";
import { snapshot } from "../../test/lockstep.js";
import type { RiscvCpu } from "../arch/riscv/cpu.js";
import type { WasmRuntime } from "../backend/wasm/runtime.js";

describe("bounds", () => {
  /** Loops one after the other, each hot. */
  const loops = (count: number) =>
    `start:\n${Array.from({ length: count }, (_, at) => `li t0, 20\nl${at}:\naddi s${at % 4}, s${at % 4}, ${at}\naddi t0, t0, -1\nbnez t0, l${at}\n.zero ${(at % 3) * 2}, 1\n`).join("")}j start`;

  /** What the host keeps for regions: private matters of the engine, which only have to stay few. */
  interface Kept {
    readonly regions?: {
      readonly active: ReadonlySet<unknown>;
      readonly pending: ReadonlySet<unknown>;
      readonly options: {
        readonly runtime: { readonly size: number; readonly table: { readonly length: number } };
      };
    };
    readonly codePages: { readonly byFrame: ReadonlyMap<number, unknown> };
  }
  const kept = (cpu: RiscvCpu) => {
    const { engine } = cpu;
    const { regions, codePages } = engine as unknown as Kept;
    const { runtime } = regions!.options;
    const pages = Array.from({ length: engine.codePages.capacity }, (_, index) =>
      engine.codePages.page(index),
    );
    return {
      regions: engine.regionStatistics().regions,
      active: regions!.active.size,
      pending: regions!.pending.size,
      slots: runtime.size,
      table: runtime.table.length,
      watched: new Set(pages.flatMap((page) => [...page.regions])).size,
      frames: codePages.byFrame.size,
    };
  };

  it("no more regions are kept than the option says, and the guest goes on", () => {
    const cpu = agree(loops(24).replaceAll(/\.zero.*/g, ""), 8000, { regions: 5 }, [1000]);
    expect(cpu.engine.counters.translations).toBeGreaterThan(24);
    const { regions, active, slots, watched } = kept(cpu);
    expect([regions, active, slots, watched]).toEqual([5, 5, 5, 5]);
  });

  /** Writes a loop to a page of a ring of eight, each time another one, and runs it. */
  const generator = `
      li s1, 0x80060000
      la s2, template
      li s5, 0
    forever:
      addi s5, s5, 1
      andi t0, s5, 7
      slli t0, t0, 12
      add s3, s1, t0
      andi t1, s5, 0x1f
      slli t2, t1, 6
      add s3, s3, t2
      mv t3, s2
      mv t4, s3
      li t5, 5
    copy:
      lw t6, 0(t3)
      sw t6, 0(t4)
      addi t3, t3, 4
      addi t4, t4, 4
      addi t5, t5, -1
      bnez t5, copy
      andi t1, s5, 0x7ff
      slli t1, t1, 20
      lw t6, 4(s2)
      add t6, t6, t1
      sw t6, 4(s3)
      fence.i
      jalr s3
      j forever
      .balign 4
    template:
      .option push
      .option norvc
      li a0, 30
      addi a1, a1, 0
      addi a0, a0, -1
      bnez a0, template + 4
      ret
      .option pop`;

  it("JavaScript regions give way to new ones, and to code that changes", () => {
    const cpu = agree(loops(24).replaceAll(/\.zero.*/g, ""), 8000, { tier: "js", regions: 5 }, [1000]);
    expect(cpu.engine.counters.translations).toBeGreaterThan(24);
    const pages = (each: RiscvCpu) =>
      Array.from({ length: each.engine.codePages.capacity }, (_, index) => each.engine.codePages.page(index));
    const inPlace = (each: RiscvCpu) => {
      const watched = new Set(pages(each).flatMap((page) => [...page.regions])).size;
      return [each.engine.regionStatistics().regions, watched];
    };
    expect(inPlace(cpu)).toEqual([5, 5]);
    const generating = agree(generator, 8000, { tier: "js", regions: 20, codePages: 6 }, [777]);
    for (let round = 0; round < 10; round++) {
      generating.run(10_000);
      const [regions, watched] = inPlace(generating);
      expect(regions).toBeLessThanOrEqual(20);
      expect(watched).toBe(regions);
    }
    expect(generating.engine.counters.translations).toBeGreaterThan(120);
  });

  it("code that is generated for ever takes a constant number of regions, pages and table elements", () => {
    const cpu = agree(generator, 8000, { regions: 20, codePages: 6 }, [777]);
    const seen = [];
    for (let round = 0; round < 10; round++) {
      cpu.run(10_000);
      seen.push(kept(cpu));
    }
    expect(cpu.engine.counters.translations).toBeGreaterThan(120);
    for (const each of seen) {
      expect(each.regions).toBeLessThanOrEqual(20);
      expect(each.active).toBe(each.regions);
      expect(each.slots).toBe(each.regions);
      // Once there is garbage that the host has not collected, regions wait for company.
      expect(each.watched).toBeLessThanOrEqual(each.regions + each.pending);
      expect(each.pending).toBeLessThanOrEqual(16);
      expect(each.frames).toBeLessThanOrEqual(5);
      expect(each.table).toBe(seen[0]!.table);
    }
  });

  describe("modules that hold few regions are made into one", () => {
    const many = loops(200).replaceAll(/\.zero.*/g, "");

    it("and the regions run on, to the last instruction", () => {
      const cpu = agree(many, 60_000, {}, [1000, 77]);
      const { regions, liveModules, modules } = cpu.engine.regionStatistics();
      expect(regions).toBeGreaterThan(190);
      expect(modules).toBeGreaterThan(regions);
      expect(liveModules).toBeLessThanOrEqual(64 + regions / 32);
      const before = cpu.engine.counters.translated;
      cpu.run(100_000);
      expect(cpu.engine.counters.translated - before).toBeGreaterThan(95_000);
      expect(cpu.engine.regionStatistics().liveModules).toBeLessThanOrEqual(64 + regions / 32 + 1);
    });

    it("in the background as well", async () => {
      const cpu = programCpu(many, { tier: "wasm", background: true });
      const left = programCpu(many, { tier: "interpreter", verify: "off" });
      for (let turn = 0; turn < 600; turn++) {
        cpu.run(150);
        left.run(150);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(snapshot(cpu)).toBe(snapshot(left));
      const { regions, liveModules } = cpu.engine.regionStatistics();
      expect(regions).toBeGreaterThan(190);
      expect(liveModules).toBeLessThanOrEqual(64 + regions / 32 + 4);
    });

    it("unless the host fails: then all goes on as it was, and it is not tried at every region", () => {
      const cpu = programCpu(many, { tier: "wasm" });
      const { regions } = cpu.engine as unknown as { regions: { options: { runtime: WasmRuntime } } };
      const { runtime } = regions.options;
      const instantiate = runtime.instantiate.bind(runtime);
      let large = 0;
      vi.spyOn(runtime, "instantiate").mockImplementation((module) => {
        const exports = instantiate(module);
        if (Object.keys(exports).length === 1) return exports;
        large++;
        throw new RangeError("out of memory");
      });
      cpu.run(60_000);
      const left = programCpu(many, { tier: "interpreter", verify: "off" });
      left.run(60_000);
      expect(snapshot(cpu)).toBe(snapshot(left));
      expect(cpu.engine.counters.translationsFailed).toBe(0);
      expect(cpu.engine.regionStatistics().liveModules).toBe(cpu.engine.regionStatistics().regions);
      expect(large).toBe(3);
    });
  });

  it("nor does it when regions are compiled in the background", async () => {
    const cpu = programCpu(generator, { tier: "wasm", regions: 20, codePages: 6, background: true });
    let table = 0;
    for (let round = 0; round < 200; round++) {
      cpu.run(997);
      await new Promise((resolve) => setImmediate(resolve));
      const each = kept(cpu);
      expect(each.regions).toBeLessThanOrEqual(20);
      expect(each.pending).toBeLessThanOrEqual(200);
      table = Math.max(table, each.table);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    const rest = kept(cpu);
    expect(rest.pending).toBe(0);
    expect(rest.slots).toBe(rest.regions);
    expect(table).toBe(256);
    expect(peek(cpu, RAM)).not.toBe(0);
  });
});
