/**
 * The benchmark as a program: each figure comes from a process of its own, since in one process the engines would share
 * what V8 learns about jsnes.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import {
  type BenchEngine,
  type BenchLoad,
  benchTable,
  engines,
  loads,
  type Measured,
  measure,
} from "./bench.js";

const SECONDS = 3;
const QUICK_SECONDS = 0.3;

const [first, load, seconds] = process.argv.slice(2);

function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function measureApart(engine: BenchEngine, load: BenchLoad, seconds: number): Measured {
  const script = fileURLToPath(import.meta.url);
  const { stdout, stderr, status } = spawnSync(process.execPath, [script, engine, load, String(seconds)], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${engine} ${load}: ${stderr}`);
  return JSON.parse(stdout) as Measured;
}

if (first === undefined || first === "--quick") {
  const length = first === undefined ? SECONDS : QUICK_SECONDS;
  const figures = loads.flatMap((load) => engines.map((engine) => measureApart(engine, load, length)));
  console.log(benchTable(figures));
  if (first !== undefined) console.log("A quick run is mostly warm-up: it measures nothing.");
} else {
  console.log(
    JSON.stringify(measure(first as BenchEngine, load as BenchLoad, Number(seconds), processorTime)),
  );
}
