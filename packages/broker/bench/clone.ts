/**
 * Start of guests: a clone of a running Debian, thirty of them in one host, restoring a snapshot to a live prompt, and
 * the embedded guest from nothing to its shell. Where Debian's files are missing, the embedded guest stands in.
 */
import { readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LazyPages } from "../../machine/src/snapshot/machine.js";
import { restoreSnapshotFile, saveSnapshotFile } from "../../machine/src/snapshot/node/snapshot-file.js";
import { TestHost, type TestVm } from "../../machine/test/riscv-vm.js";
import { debian, debianAtPrompt, embedded, MEBIBYTE, report, residentBytes } from "./guests.js";
import { Requirements } from "./requirements.js";

const CLONES = 30;
const RAM = 256 * MEBIBYTE;

/** Runs a command at a shell's prompt; gives the milliseconds until its answer was there. */
function ask(vm: TestVm, command: string, answer: string): number {
  vm.output = "";
  const started = performance.now();
  vm.type(`${command}\n`);
  if (!vm.runUntil(answer, 300e6)) throw new Error(`no ${answer} after ${command}: ${vm.output.slice(-300)}`);
  return performance.now() - started;
}

/** Milliseconds of the quickest and the median of several runs. */
function timed(runs: number, run: () => void): { best: number; median: number } {
  const times = Array.from({ length: runs }, () => {
    const started = performance.now();
    run();
    return performance.now() - started;
  }).sort((a, b) => a - b);
  return { best: times[0]!, median: times[runs >> 1]! };
}

// -- the embedded guest, from nothing: the first figure of a fresh process
const fromNothing = performance.now();
const first = new TestHost(64 * MEBIBYTE).boot(embedded(32 * MEBIBYTE));
if (!first.runUntil("guest# ", 20e6)) throw new Error("the embedded guest has no prompt");
const requirements = new Requirements();
requirements.noteBelow(
  "embedded guest, from nothing to its shell",
  performance.now() - fromNothing,
  200,
  "ms",
);

const options = debian(RAM) ?? embedded(RAM);
const isDebian = options.initrd !== undefined;
const name = isDebian ? "Debian" : "embedded guest";
const host = new TestHost(1024 * MEBIBYTE);
let vm: TestVm;
if (isDebian) vm = await debianAtPrompt(host, options);
else {
  vm = host.boot(options);
  vm.runUntil("guest# ", 20e6);
}
// The echo of what is typed is not the answer.
const [command, answer] = isDebian ? ["echo $((6*7))x", "42x"] : ["burn 1", "ok"];
for (let warm = 0; warm < 3; warm++) ask(vm, command, answer);

// -- clones
const clones: TestVm[] = [];
const before = residentBytes();
const times: number[] = [];
for (let at = 0; at < CLONES; at++) {
  const started = performance.now();
  clones.push(vm.clone());
  times.push(performance.now() - started);
}
times.sort((a, b) => a - b);
report(`clone of a running ${name}: median of ${CLONES}`, times[CLONES >> 1]!, "ms");
requirements.noteBelow(`clone of a running ${name}, slowest of ${CLONES}`, times[CLONES - 1]!, 20, "ms");
const still = residentBytes();
report(`resident memory of the process with one ${name}`, before / MEBIBYTE, "MiB");
report(`${CLONES} clones that stand still: more memory than one`, (100 * (still - before)) / before, "%");
const answers = clones.map((clone) => ask(clone, command, answer));
answers.sort((a, b) => a - b);
report("a clone's first answer: median", answers[CLONES >> 1]!, "ms");
const answered = residentBytes();
const more = (100 * (answered - before)) / before;
requirements.noteBelow(`${CLONES} clones that have answered, more memory than one`, more, 20, "%");
const frames = clones.reduce((sum, { guest }) => sum + guest.usage().granted - guest.usage().shared, 0);
report("frames of their own, each", frames / CLONES / 1024, "KiB");
for (const clone of clones) clone.destroy();

// -- snapshots
const path = join(tmpdir(), `hyperfile-bench-${process.pid}.snapshot`);
const saving = performance.now();
const saved = await saveSnapshotFile(path, vm.machine);
report(`snapshot of ${name}: time`, performance.now() - saving, "ms");
report("snapshot: guest memory in it", saved.memory / MEBIBYTE, "MiB");
report("snapshot: file", statSync(path).size / MEBIBYTE, "MiB");
readFileSync(path);
const restoreTimes: number[] = [];
for (let run = 0; run < 5; run++) {
  const started = performance.now();
  const twin = host.make(options);
  await restoreSnapshotFile(path, twin.machine);
  const restored = performance.now();
  ask(twin, command, answer);
  restoreTimes.push(performance.now() - started);
  if (run === 0) {
    report(`restore of ${name}: until it runs`, restored - started, "ms");
    requirements.noteBelow(`restore of ${name}, until its prompt has answered`, restoreTimes[0]!, 300, "ms");
    const lazy = new LazyPages(twin.guest);
    const loading = performance.now();
    while (lazy.step());
    report("restore: the rest of its pages, in the background", performance.now() - loading, "ms");
  }
  twin.destroy();
}
report("restore until answered: best of 5", Math.min(...restoreTimes), "ms");
rmSync(path);

const again = timed(5, () => {
  const fresh = new TestHost(64 * MEBIBYTE).boot(embedded(32 * MEBIBYTE));
  if (!fresh.runUntil("guest# ", 20e6)) throw new Error("the embedded guest has no prompt");
});
report("embedded guest, from nothing to its shell, again: best of 5", again.best, "ms");
requirements.conclude();
