/**
 * A VM in a thread of its own, under a host's scheduler: a few instructions of S mode that burn CPU time and sleep as
 * they are told, on the machine's real clock. Run by `thread-host.ts`.
 */
import { parentPort, workerData } from "node:worker_threads";
import { Vm } from "../../machine/src/vm/vm.js";
import { TestHost } from "../../machine/test/riscv-vm.js";
import { ControlTable, SharedGate } from "../src/cpu/control-table.js";
import type { CpuGate } from "../src/cpu/cpu-gate.js";
import { currentThread, ThreadTimes } from "../src/cpu/node/thread-time.js";
import { MEBIBYTE } from "./guests.js";
import { type programs, RAM_BASE, startProgram } from "./hostile.js";

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

/** a0: ticks to burn; a1: ticks to sleep. Time and timer are those of S mode (Sstc); nothing traps. */
const PROGRAM = [
  0x02000293, // li t0, 32 (STIE)
  0x10429073, // csrw sie, t0
  0xc0102373, // burn: rdtime t1
  0x00a303b3, // add t2, t1, a0
  0x00140413, // step: addi s0, s0, 1
  0x0ff47e13, // andi t3, s0, 255
  0xfe0e1ce3, // bnez t3, step
  0xc0102373, // rdtime t1
  0xfe7368e3, // bltu t1, t2, step
  0xfe0582e3, // beqz a1, burn
  0x00b303b3, // add t2, t1, a1
  0x14d39073, // csrw stimecmp, t2
  0x10500073, // wait: wfi
  0x144022f3, // csrr t0, sip
  0x0202f293, // andi t0, t0, 32
  0xfe028ae3, // beqz t0, wait
  0xfff00293, // li t0, -1
  0x14d29073, // csrw stimecmp, t0
  0xfc1ff06f, // j burn
];

const { table: buffer, slot, burn, sleep, empty, hostile } = workerData as GuestThreadSettings;
const port = parentPort!;
const table = new ControlTable(buffer);
table.setThread(slot, currentThread());
const machine = new TestHost(2 * MEBIBYTE).make({
  kernel: new Uint8Array(0),
  ramBytes: MEBIBYTE,
  virtualTime: false,
});
const { cpu, board, clock, guest } = machine;
if (!guest.write(RAM_BASE, new Uint8Array(Uint32Array.from(PROGRAM).buffer))) throw new Error("no memory");
const ticks = (milliseconds: number) => Math.round(milliseconds * 10_000);
const start = () =>
  hostile !== undefined
    ? startProgram(machine, hostile)
    : cpu.start({ pcLo: RAM_BASE | 0, pcHi: 0, mode: 1, args: [ticks(burn), ticks(sleep), 0] });

// Translated before anything is measured.
start();
for (let run = 0; run < 200 && !empty; run++) {
  cpu.pollTimer();
  if (cpu.run(100_000) === "wait") await new Promise((resolve) => setTimeout(resolve, 1));
}

let turns = 0;
const wakes: { wall: number; others: number }[] = [];
const times = new ThreadTimes();
let others: readonly number[] = [];
const shared = new SharedGate(table, slot, () => cpu.retired());
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
const hart = empty
  ? {
      run: () => "budget" as const,
      pollTimer: () => {},
      deadline: () => Infinity,
      wakeReady: () => true,
      retired: () => 0,
    }
  : cpu;
const vm = new Vm({ hart, board, clock, gate, load: start });
async function runUntilStopped(): Promise<void> {
  vm.pause();
  const ended = vm.run();
  // What it prints is thrown away.
  const empties = setInterval(() => {
    machine.output = "";
  }, 100);
  port.postMessage("it stands");
  await ended;
  clearInterval(empties);
  const result: GuestResult = { retired: cpu.retired(), turns, wakes };
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
