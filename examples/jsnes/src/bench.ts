/**
 * How fast the console and its CPU are: jsnes's own against ours. What is counted is processor time, of all threads, so
 * that translation is in it and other programs are not.
 */
import { Machine } from "@hyperfile/example-mos6502";
import type { Tier } from "@hyperfile/jit";
import { TranslatedNes } from "./console.js";
import { type Console, JsnesConsole, JsnesCpuClass } from "./jsnes.js";
import { computeRom, testRom } from "./test-rom.js";

/** What is compared: jsnes's own CPU, and ours by tier. */
export const engines = ["jsnes", "auto", "js", "wasm"] as const;
export type BenchEngine = (typeof engines)[number];

/** What is measured: the CPU alone on plain memory, and the console that computes, and that shows and plays. */
export const loads = ["cpu", "computing", "playing"] as const;
export type BenchLoad = (typeof loads)[number];

/** A figure: million cycles a second for the CPU, milliseconds a frame for the console. */
export interface Measured {
  readonly engine: BenchEngine;
  readonly load: BenchLoad;
  readonly value: number;
}

const HEADER_BYTES = 16;
const PROGRAM = 0x8000;
const RESET = 0xfffc;
/** Cycles in one go, and frames. */
const BATCH_CYCLES = 2_000_000;
const BATCH_FRAMES = 60;

/** jsnes's CPU without a console around it: its registers and instructions on plain memory. */
class PlainCpu extends JsnesCpuClass {
  override read(address: number): number {
    this.cycles++;
    return this.mem[address]!;
  }
  override write(address: number, value: number): void {
    this.cycles++;
    this.mem[address] = value;
  }
}

/** Measures one engine under one load, after a warm-up of a third of `seconds`. `now` is processor time in seconds. */
export function measure(engine: BenchEngine, load: BenchLoad, seconds: number, now: () => number): Measured {
  if (load === "cpu") {
    const perSecond = BATCH_CYCLES / timeOf(cpuBatch(engine), seconds, now);
    return { engine, load, value: perSecond / 1e6 };
  }
  const perBatch = timeOf(consoleBatch(engine, load), seconds, now);
  return { engine, load, value: (1000 * perBatch) / BATCH_FRAMES };
}

/** Seconds that a batch takes on average. */
function timeOf(batch: () => void, seconds: number, now: () => number): number {
  for (const end = now() + seconds / 3; now() < end; ) batch();
  const start = now();
  let batches = 0;
  while (now() - start < seconds || batches === 0) {
    batch();
    batches++;
  }
  return (now() - start) / batches;
}

function cpuBatch(engine: BenchEngine): () => void {
  const program = computeRom().subarray(HEADER_BYTES, HEADER_BYTES + PROGRAM);
  if (engine !== "jsnes") {
    const machine = new Machine({ decimal: false, tier: engine });
    machine.load(PROGRAM, program);
    machine.reset();
    return () => void machine.run(BATCH_CYCLES);
  }
  const cpu = new PlainCpu({} as Console);
  cpu.mem.set(program, PROGRAM);
  cpu.REG_PC = cpu.mem[RESET]! | (cpu.mem[RESET + 1]! << 8);
  return () => {
    for (const end = cpu.cycles + BATCH_CYCLES; cpu.cycles < end; ) cpu.emulate();
  };
}

function consoleBatch(engine: BenchEngine, load: BenchLoad): () => void {
  const options = { onFrame: () => {}, onAudioSample: () => {}, emulateSound: load === "playing" };
  const make = (tier: Tier): Console => new TranslatedNes({ ...options, tier });
  const nes = engine === "jsnes" ? new JsnesConsole(options) : make(engine);
  nes.loadROM(load === "playing" ? testRom() : computeRom());
  return () => {
    for (let frame = 0; frame < BATCH_FRAMES; frame++) nes.frame();
  };
}

/** The figures as a table, with what our engines gain. */
export function benchTable(figures: readonly Measured[]): string {
  const titles: Readonly<Record<BenchLoad, string>> = {
    cpu: "CPU alone, computing: million cycles a second",
    computing: "console, computing: ms a frame",
    playing: "console, picture and sound: ms a frame",
  };
  const lines = loads.map((load) => {
    const of = (engine: BenchEngine) =>
      figures.find((figure) => figure.load === load && figure.engine === engine)!.value;
    const own = of("jsnes");
    const cells = engines.map((engine) => {
      const value = of(engine);
      const gain = load === "cpu" ? value / own : own / value;
      const factor = engine === "jsnes" ? "" : ` (${gain.toFixed(1)}x)`;
      return `${value.toFixed(value < 100 ? 2 : 0)}${factor}`.padStart(16);
    });
    return `${titles[load].padEnd(46)}${cells.join("")}`;
  });
  const head = `${"".padEnd(46)}${engines.map((engine) => engine.padStart(16)).join("")}`;
  return [head, ...lines].join("\n");
}
