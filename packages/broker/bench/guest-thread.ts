/**
 * A machine in a thread of its own, under a host's scheduler: a few instructions that burn CPU time and sleep as they are
 * told, on the machine's real clock. Run by `thread-host.ts`.
 */
import { parentPort, workerData } from "node:worker_threads";
import { assemble } from "@hyperfile/decoder";
import { riscvVirt } from "@hyperfile/machine";
import { RealClock, Vm } from "@hyperfile/machine/vm";
import { ControlTable, SharedGate } from "../src/cpu/control-table.js";
import type { CpuGate } from "../src/cpu/cpu-gate.js";
import { currentThread, ThreadTimes } from "../src/cpu/node/thread-time.js";
import { MEBIBYTE } from "./guests.js";
import { programs, RAM_BASE } from "./hostile.js";

/** What a thread is started with. */
export interface GuestThreadSettings {
  readonly table: SharedArrayBuffer;
  readonly slot: number;
  /** Milliseconds that the guest burns, and that it sleeps after them; 0 for a guest that never sleeps. */
  readonly burn: number;
  readonly sleep: number;
  /** Whether the hart does nothing and gives its core back at once: what is left is the cost of turns. */
  readonly empty: boolean;
  /** What it does in place of burning and sleeping. */
  readonly hostile?: keyof typeof programs;
}

/** What the threads are told: to load a VM that stands still, beside the threads of others; to let it go; to end. */
export type GuestOrder =
  | { readonly kind: "load"; readonly others: readonly number[] }
  | { readonly kind: "go" | "pause" | "stop" };

/** What a thread says at its end. */
export interface GuestResult {
  readonly retired: number;
  /** Times that it was given a core. */
  readonly turns: number;
  /** For each time that it woke: milliseconds to its turn, and the most CPU time that one other used meanwhile. */
  readonly wakes: readonly { readonly wall: number; readonly others: number }[];
}

/** Burns and sleeps by the time and timer of S mode (Sstc), in M mode; nothing traps. Times are in ticks. */
const burnAndSleep = (burn: number, sleep: number): Uint8Array =>
  assemble(
    `
        li   a0, ${burn}
        li   a1, ${sleep}
        li   t0, 1
        slli t0, t0, 63
        csrw menvcfg, t0        # stimecmp raises the interrupt of the timer,
        li   t0, 32
        csrw mideleg, t0        # which S mode's registers show
        csrw sie, t0
burn:   rdtime t1
        add  t2, t1, a0
step:   addi s0, s0, 1
        andi t3, s0, 255
        bnez t3, step
        rdtime t1
        bltu t1, t2, step
        beqz a1, burn
        add  t2, t1, a1
        csrw stimecmp, t2
wait:   wfi
        csrr t0, sip
        andi t0, t0, 32
        beqz t0, wait
        li   t0, -1
        csrw stimecmp, t0
        j    burn`,
    { xlen: 64, origin: RAM_BASE },
  ).bytes;

/** A program without manners, with what its registers begin with before it. */
function hostileCode(name: keyof typeof programs): Uint8Array {
  const { words, args } = programs[name];
  const [a0, a1] = args(MEBIBYTE);
  const { bytes } = assemble(`li a0, ${a0}\n li a1, ${a1}`, { xlen: 64, origin: RAM_BASE });
  return Buffer.concat([bytes, new Uint8Array(Uint32Array.from(words).buffer)]);
}

const { table: buffer, slot, burn, sleep, empty, hostile } = workerData as GuestThreadSettings;
const port = parentPort!;
const table = new ControlTable(buffer);
table.setThread(slot, currentThread());
let turns = 0;
const wakes: { wall: number; others: number }[] = [];
const times = new ThreadTimes();
let others: readonly number[] = [];
const shared = new SharedGate(table, slot, () => retired());
let slept = false;
const gate: CpuGate = {
  async acquire() {
    turns++;
    if (!slept) return shared.acquire();
    const before = others.map((thread) => times.read(thread) ?? 0);
    const asked = performance.now();
    await shared.acquire();
    const used = others.map((thread, at) => (times.read(thread) ?? 0) - before[at]!);
    wakes.push({ wall: performance.now() - asked, others: Math.max(0, ...used) / 1e6 });
  },
  mayContinue: () => !empty && shared.mayContinue(),
  release(wish) {
    slept = wish === "idle";
    shared.release(wish);
  },
  cancel: () => shared.cancel(),
};
const ticks = (milliseconds: number) => Math.round(milliseconds * 10_000);
const machine = empty
  ? undefined
  : riscvVirt({
      ramBytes: MEBIBYTE,
      boot: { code: hostile === undefined ? burnAndSleep(ticks(burn), ticks(sleep)) : hostileCode(hostile) },
      devices: [],
      verify: "off",
      gate: () => gate,
    });
const retired = () => machine?.retired() ?? 0;
/** The run loop: the machine's, or one around nothing. */
const vm =
  machine?.loop ??
  new Vm({
    hart: {
      run: () => "budget",
      pollTimer: () => {},
      deadline: () => Infinity,
      wakeReady: () => true,
      retired,
    },
    board: { tick: () => {}, deadline: () => Infinity, flush: () => {}, reset: () => {} },
    clock: new RealClock(),
    gate,
    load: () => {},
  });

// Translated before anything is measured.
if (machine !== undefined) {
  const { cpu } = machine;
  machine.load();
  for (let run = 0; run < 200; run++) {
    cpu.pollTimer();
    if (cpu.run(100_000) === "wait") await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function runUntilStopped(): Promise<void> {
  vm.pause();
  const ended = (machine ?? vm).run();
  port.postMessage("it stands");
  await ended;
  const result: GuestResult = { retired: retired(), turns, wakes };
  port.postMessage(result);
}
port.on("message", (order: GuestOrder) => {
  switch (order.kind) {
    case "load":
      others = order.others;
      void runUntilStopped();
      break;
    case "go":
      vm.resume();
      break;
    case "pause":
      vm.pause();
      break;
    case "stop":
      vm.stop("the experiment is over");
      break;
  }
});
port.postMessage(currentThread());
