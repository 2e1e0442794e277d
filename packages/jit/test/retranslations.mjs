/**
 * A guest that rewrites its code for ever, on this Node: prints what the host keeps for it, as JSON. Runs on the built
 * package, by itself too:
 *
 *   PATH-TO-NODE packages/jit/test/retranslations.mjs [translations] [frames] [background]
 *
 * The guest copies a function to a place in each of `frames` frames in turn, another one each time, and calls it often.
 * Without `frames` above the engine's code pages, frames wait after some changes; with more, the engine forgets that
 * they changed, and nothing holds the translator back.
 */
import { existsSync, readFileSync } from "node:fs";
import { setImmediate as eventLoop } from "node:timers/promises";
import { assemble } from "@hyperfile/decoder";
import { RiscvCpu, riscvMemory } from "@hyperfile/jit/riscv";

const MAPPINGS = "/proc/self/maps";
const FUNCTIONS = 0x80100000;
const CODE_PAGES = 64;
const [translations = 4000, frames = 512, background = 0] = process.argv.slice(2).map(Number);

const { bytes } = assemble(
  `
    li   s0, ${FUNCTIONS}
next:
    addi s3, s3, 1
    la   t0, function
    lw   t1, 0(t0)
    andi t2, s3, 0x7ff
    slli t2, t2, 20
    add  t1, t1, t2
    sw   t1, 0(s0)
    lw   t1, 4(t0)
    sw   t1, 4(s0)
    fence.i
    li   s1, 30
again:
    jalr ra, 0(s0)
    addi s1, s1, -1
    bnez s1, again
    li   t0, 4096
    add  s0, s0, t0
    li   t1, ${FUNCTIONS + frames * 4096}
    bltu s0, t1, next
    li   s0, ${FUNCTIONS}
    j    next
    .balign 4
function:
    .word 0x00050513
    .word 0x00008067`,
  { xlen: 64, origin: 0x80000000 },
);
const memory = riscvMemory({ ramBytes: 1 << 24, codePages: CODE_PAGES });
memory.guest.write(0x80000000, bytes);
const cpu = new RiscvCpu({
  xlen: 64,
  memory,
  bus: { read: () => undefined, write: () => false },
  clock: { now: () => 0 },
  tier: "wasm",
  hotThreshold: 16,
  background: background === 1,
});
cpu.start({ pcLo: 0x80000000 | 0, pcHi: 0, mode: 3, args: [] });

const mappings = () => (existsSync(MAPPINGS) ? readFileSync(MAPPINGS, "latin1").split("\n").length : 0);
/** Runs until so many regions were made; gives the most mappings that were seen. */
async function run(until) {
  let most = mappings();
  for (let turn = 1; cpu.engine.counters.translations < until && turn < 100_000; turn++) {
    cpu.run(8000);
    await eventLoop();
    if (turn % 20 === 0) most = Math.max(most, mappings());
  }
  return Math.max(most, mappings());
}

await run(300);
const before = mappings();
const most = await run(translations);
const { modules, moduleMicroseconds: _, ...kept } = cpu.engine.regionStatistics();
const { translations: made, regionsDropped, translationsFailed } = cpu.engine.counters;
const megabytes = Math.round(process.memoryUsage().rss / 1e6);
console.log(
  JSON.stringify({
    node: process.version,
    translations: made,
    regionsDropped,
    translationsFailed,
    modules,
    ...kept,
    mappings: { before, most },
    megabytes,
  }),
);
