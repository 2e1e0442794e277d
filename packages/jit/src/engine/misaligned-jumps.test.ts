/**
 * Jumps to addresses at which no instruction can begin do what the front end declares, by whatever way they get there
 * and in every tier; nothing that a guest jumps to, or charges, keeps the host beyond the budget.
 */
import { assembleRows, type InsnBuilder, insnRow, rowFrontEnd } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { FlatCpu, type FlatCpuOptions } from "./flat-cpu.js";
import { tiers as allTiers, type Tier } from "./tiers.js";

const tiers = allTiers.filter((tier) => tier !== "auto");

/** Distances of `b` and `bz` are in bytes: a guest may give any. */
const front = (type: "i32" | "i64", misaligned: "fault" | "mask", alignment?: number) => {
  const wide = (m: InsnBuilder, value: ReturnType<InsnBuilder["field"]>) =>
    type === "i64" ? m.sext32(value) : value;
  return rowFrontEnd({
    name: "jumpy",
    slots: [
      { name: "r", type, length: 8 },
      { name: "pc", type, length: 1 },
      { name: "epc", type, length: 1 },
    ],
    illegal: 1,
    misaligned,
    ...(alignment === undefined ? {} : { alignment }),
    rows: {
      addi: insnRow("00000001 rd[2:0] rs1[2:0] 00 imm[15:0]", "rd, rs1, imm", (m, f) =>
        m.set("r", f.rd, m.binary("add", m.get("r", f.rs1), wide(m, m.field(f.imm)))),
      ),
      b: insnRow("00000010 00000000 imm[15:0]", "@imm", (m, f) => m.jump(m.target(f.imm))),
      bz: insnRow("00000011 rs1[2:0] 00000 imm[15:0]", "rs1, @imm", (m, f) =>
        m.branch(m.compare("eq", m.get("r", f.rs1), m.constant(type, 0)), m.target(f.imm), m.next),
      ),
      jr: insnRow("00000100 rs1[2:0] 000000000000000000000", "rs1", (m, f) =>
        m.jumpIndirect(m.get("r", f.rs1)),
      ),
      known: insnRow("00000101 000000000000000000000000", "", (m) => m.jumpIndirect(m.constant(type, 0x103))),
      back: insnRow("00000110 000000000000000000000000", "", (m) => m.leaveBy("back")),
      take: insnRow("00000111 rs1[2:0] 000000000000000000000", "rs1", (m, f) => {
        const units = m.get("r", f.rs1);
        m.charge(type === "i64" ? m.wrap(units) : units, 3);
      }),
    },
  });
};

function cpuOf(
  source: string,
  tier: Tier,
  frontEnd: ReturnType<typeof front>,
  options: Partial<FlatCpuOptions> = {},
) {
  const cpu = new FlatCpu({
    frontEnd,
    ramBytes: 0x8000,
    tier,
    hotThreshold: 4,
    verify: "all",
    helpers: {
      back: (cpu) => {
        cpu.pc = cpu.get("epc");
      },
    },
    ...options,
  });
  cpu.write(0x100, assembleRows(frontEnd, source, 0x100).bytes);
  cpu.pc = 0x100;
  return cpu;
}

/** Ways to get to 0x103 in the second round and after: with what is done before in r1. */
const ways = {
  "a jump to a fixed distance": "loop: addi r1, r1, 1\n b 0x103",
  "a branch that is taken": "loop: addi r1, r1, 1\n bz r0, 0x103",
  "a branch whose other way is taken": "loop: addi r1, r1, 1\n bz r1, 0x109\n b 0x103",
  "a jump to a register's address": "loop: addi r1, r1, 1\n jr r2",
  "a jump to a known address": "loop: addi r1, r1, 1\n known",
  "a helper": "loop: addi r1, r1, 1\n back",
};

describe.each(tiers)("a misaligned jump in tier %s", (tier) => {
  describe.each(["i32", "i64"] as const)("with addresses of %s", (type) => {
    it.each(Object.entries(ways))("by %s raises a fetch fault there", (_, source) => {
      const faults: unknown[] = [];
      const cpu = cpuOf(source, tier, front(type, "fault"), {
        onFault: (cpu, fault) => {
          faults.push([fault, cpu.pc, cpu.get("r", 1), cpu.elapsed]);
          cpu.pc = 0x100;
        },
      });
      cpu.set("r", 0x103, 2);
      cpu.set("epc", 0x103);
      expect(cpu.run(400)).toBe("budget");
      expect(cpu.elapsed).toBe(400);
      const length = source.includes("0x109") ? 3 : 2;
      const expected = Array.from({ length: Math.floor(400 / (length + 1)) }, (_, round) => [
        { kind: "fetch", cause: 0, value: 0x103 },
        0x103,
        round + 1,
        (length + 1) * (round + 1),
      ]);
      expect(faults).toEqual(expected);
    });

    it.each(Object.entries(ways))("by %s goes on below it where it is masked", (_, source) => {
      const cpu = cpuOf(source, tier, front(type, "mask"));
      cpu.set("r", 0x103, 2);
      cpu.set("epc", 0x103);
      expect([cpu.run(600), cpu.elapsed]).toEqual(["budget", 600]);
      expect([cpu.get("r", 1), cpu.pc]).toEqual([source.includes("0x109") ? 200 : 300, 0x100]);
    });
  });

  it.each([
    [0x101, 2], [0x102, 2], [0x102, 4], [0x1001, 4], [0xfff, 2], [0x7fff, 4],
  ] as const)("to %d faults or runs by the alignment that is declared", (address, alignment) => {
    const cpu = cpuOf("jr r2", tier, front("i32", "fault", alignment));
    cpu.set("r", address, 2);
    const isFault = address % alignment !== 0;
    expect([cpu.run(1), cpu.pc]).toEqual(["budget", address]);
    expect([cpu.run(50), cpu.fault?.kind]).toEqual(["fault", isFault ? "fetch" : "trap"]);
    expect([cpu.pc, cpu.elapsed]).toEqual([address, 1]);
  }); // biome-ignore format: a table

  it("can't be made useful: a guest that charges too little or too much ends with its budget", () => {
    for (const [units, taken] of [[2, 2], [3, 3], [4, 3], [-1, 3], [-0x80000000, 3]] as const) {
      const cpu = cpuOf("loop: take r2\n b loop", tier, front("i32", "fault"));
      cpu.set("r", units, 2);
      const round = 2 + taken;
      expect([cpu.run(round * 40), cpu.elapsed, cpu.pc]).toEqual(["budget", round * 40, 0x100]);
    } // biome-ignore format: pairs
  });
});
