/** Exceptions see exactly the instructions that have retired, also in the middle of a block that is charged as a whole. */
import { expect, it } from "vitest";
import { programCpu } from "../../../test/agree.js";
import { tiers } from "../../index.js";

/** Instructions of the loop before the one that faults, after it, and of the handler. */
const [BEFORE, AFTER, HANDLER] = [6, 5, 5];

const faults = [
  ["a load", "lw a0, 0(zero)"],
  ["a store", "sw a0, 0(zero)"],
  ["a misaligned atomic", "amoadd.w a0, a0, (s1)"],
  ["a call of the environment", "ecall"],
  ["an illegal CSR", "csrr a0, 0x7ff"],
  ["an illegal instruction", ".word 0"],
] as const;

for (const tier of tiers)
  it.each(faults)(`in tier ${tier} %s that faults is counted in no exception`, (_, fault) => {
    const source = `.option norvc
      la t0, handler
      csrw mtvec, t0
      li s1, 0x80008002
loop: ${"addi a1, a1, 1\n".repeat(BEFORE)}
      ${fault}
      ${"addi a2, a2, 1\n".repeat(AFTER - 1)}
      j loop
.balign 64
handler: addi a3, a3, 1
      csrr t1, mepc
      addi t1, t1, 4
      csrw mepc, t1
      mret`;
    const cpu = programCpu(source, { tier });
    const start = setUpOf(cpu);
    const turn = BEFORE + AFTER + HANDLER;
    for (const slice of [3 * turn, 1, 40 * turn, 7, 5 * turn + 3]) {
      cpu.run(slice);
      const { exceptions } = cpu.hart.counters;
      expect(exceptions).toBeGreaterThan(2);
      expect(cpu.hart.raisedAt).toBe(start + BEFORE + (exceptions - 1) * turn);
    }
    if (tier === "js" || tier === "wasm") expect(cpu.engine.counters.translated).toBeGreaterThan(100);
  });

/** Instructions until the loop begins: runs them. */
function setUpOf(cpu: ReturnType<typeof programCpu>): number {
  while (cpu.hart.readXLow(11) === 0) cpu.run(1);
  return cpu.retired() - 1;
}
