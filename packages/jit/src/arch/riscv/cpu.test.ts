import { describe, expect, it } from "vitest";
import { programCpu } from "../../../test/agree.js";

describe.each(["interpreter", "js", "wasm-interpreter", "wasm"] as const)("a new CPU of tier %s", (tier) => {
  it("has counted nothing yet", () => {
    const { hart, access, engine } = programCpu("nop", { tier });
    for (const counters of [hart.counters, access.counters, engine.counters]) {
      expect(Object.entries(counters).filter(([, count]) => count !== 0)).toEqual([]);
    }
  });

  it("counts what its guest does", () => {
    const cpu = programCpu("la t0, handler\n csrw mtvec, t0\n unimp\n .balign 4\nhandler: j handler", {
      tier,
    });
    cpu.run(100);
    expect(cpu.retired()).toBe(100);
    expect(cpu.hart.counters.exceptions).toBe(1);
    expect(cpu.engine.counters.interpreted + cpu.engine.counters.translated).toBe(100);
  });
});
