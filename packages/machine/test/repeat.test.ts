/**
 * Runs in virtual time, by the run loop that ships, repeat themselves: to the bit, in every tier, stopped, saved and restored
 * at whatever instruction.
 */
import { readFileSync } from "node:fs";
import { RAM_BASE } from "@hyperfile/devices";
import { type Tier, tiers } from "@hyperfile/jit";
import { guestIn } from "@hyperfile/jit/memory";
import { riscvPool } from "@hyperfile/jit/riscv";
import { beforeAll, describe, expect, it } from "vitest";
import { riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, type SnapshotCodec, zstdCodec } from "../src/snapshot/index.js";
import { digestOf, type MachineDigest } from "./riscv-vm.js";

const MEBIBYTE = 1 << 20;
const RAM = 16 * MEBIBYTE;
const kernel = {
  name: "guest64.elf",
  bytes: readFileSync(new URL("../../../examples/guest/bin/guest64.elf", import.meta.url)),
};
/** Instructions of a run. */
const ALL = Number(process.env.HYPERFILE_REPEAT_INSTRUCTIONS ?? 2_000_000);
/** When it is typed at, by an observer: after a slice, as everything does that comes from outside. */
const TYPED_AT = 50_000;
/** Processes that take turns by the timer, sleep by it, code that changes itself, floating point, page faults. */
const COMMANDS = "sleep 0.001; clock; fault; burn 1 & smc; fp & touch 300; digest 3000; burn 1; burn 1\r";

let codec: SnapshotCodec;
beforeAll(async () => {
  codec = await zstdCodec();
});

/**
 * One run, in parts that end after so many instructions; each is saved, and the next is another machine. In the middle of
 * each but the first it stands still for a moment.
 */
async function run(tier: Tier, parts: readonly number[]) {
  let text = "";
  let saved: Uint8Array | undefined;
  let digest: MachineDigest | undefined;
  let from = 0;
  for (const instructions of [...parts, ALL]) {
    const pool = riscvPool({ frameBytes: RAM + 4 * MEBIBYTE });
    const decoder = new TextDecoder();
    const machine = riscvVirt({
      ramBytes: RAM,
      memory: guestIn(pool, { ramBytes: RAM, ramBase: RAM_BASE }),
      boot: { kernel },
      clock: "virtual",
      name: "one",
      hotThreshold: 8,
      console: { write: (bytes) => (text += decoder.decode(bytes)) },
      tier,
      instructions,
    });
    if (saved !== undefined) restoreMachine(saved, machine.state, codec);
    const middle = (from + instructions) / 2;
    let hasPaused = from === 0;
    machine.observe(() => {
      if (machine.retired() === TYPED_AT) machine.receive(new TextEncoder().encode(COMMANDS));
      if (hasPaused || machine.retired() < middle) return;
      hasPaused = true;
      machine.pause();
      setImmediate(() => machine.resume());
    });
    expect(await machine.run()).toEqual({ kind: "stopped", reason: "instructions" });
    expect([machine.retired(), hasPaused]).toEqual([instructions, true]);
    saved = Buffer.concat(encodeMachine(machine.state, codec).pieces);
    digest = digestOf(machine);
    from = instructions;
    machine.free();
  }
  return { ...digest!, text };
}

describe("a run in virtual time", () => {
  let others: Awaited<ReturnType<typeof run>> | undefined;

  it.each(tiers)(
    "repeats itself in tier %s as in the others, saved and restored at any instruction",
    async (tier) => {
      const alone = await run(tier, []);
      expect(alone.text).toMatch(/fault: 14 of 14 killed, ok\r\n\[\d+\] burn\r\n$/);
      expect(await run(tier, [333_331, 777_777, 1_234_567])).toEqual(alone);
      others ??= alone;
      expect(alone).toEqual(others);
    },
    600_000,
  );
});
