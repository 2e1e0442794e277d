/**
 * The experiments of the ESX paper (OSDI 2002) on our VMs: `run.mjs memory [balloon|sharing|tax|overcommit ...]`.
 *
 * Times are guest instructions in virtual time, which no other program on the host can change; the host's milliseconds
 * stand beside them where the host's work is the point. Where Debian's files are missing, only `overcommit` runs.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TICKS_PER_SECOND } from "../../machine/src/vm/clock.js";
import { TestHost, type TestVm } from "../../machine/test/riscv-vm.js";
import { MemoryBroker } from "../src/memory/memory-broker.js";
import { SwapFile } from "../src/memory/node/swap-file.js";
import { PageSharing } from "../src/memory/page-sharing.js";
import { SwapStore } from "../src/memory/swap-store.js";
import { command, debian, debianAtPrompt, embedded, MEBIBYTE, report } from "./guests.js";
import { Requirements } from "./requirements.js";

const requirements = new Requirements();
const asked = process.argv.slice(2);
const experiments: Readonly<Record<string, () => Promise<void>>> = { balloon, sharing, tax, overcommit };
for (const name of asked.length > 0 ? asked : Object.keys(experiments)) {
  const run = experiments[name];
  if (run === undefined) throw new Error(`no experiment ${name}: ${Object.keys(experiments).join(", ")}`);
  console.log(`-- ${name}`);
  await run();
}
requirements.conclude();

/** A broker with a swap file. */
function brokerOf(host: TestHost, tax: number): { readonly broker: MemoryBroker; readonly swap: SwapStore } {
  const file = new SwapFile(join(tmpdir(), `hyperfile-swap-${process.pid}-${performance.now()}`));
  const swap = new SwapStore(file, 1 << 20);
  const frames = host.pool.pool;
  return { broker: new MemoryBroker({ frames, swap, sharing: false, tax, samplePeriod: 2000 }), swap };
}

/** A ballooned VM against one of the reduced size, with the same work. */
async function balloon(): Promise<void> {
  const [large, reduced] = [192 * MEBIBYTE, 144 * MEBIBYTE];
  const options = debian(large, { balloon: true });
  const small = debian(reduced, { balloon: true });
  if (options === undefined || small === undefined)
    return console.log("needs Debian's files: npm start once");
  const plain = await debianAtPrompt(new TestHost(reduced), small);
  const squeezed = await debianAtPrompt(new TestHost(large), options);
  squeezed.balloon.setTarget((large - reduced) / 4096);
  await command(squeezed, "sleep 4");
  await command(plain, "sleep 4");
  const { ballooned } = squeezed.guest.usage();
  console.log(
    `A ${reduced / MEBIBYTE} MiB; B ${large / MEBIBYTE} MiB, of which ${ballooned / MEBIBYTE} in the balloon`,
  );
  const works = {
    sorting: "seq 1 60000 | sort -n | sha256sum",
    "a file": "head -c 10000000 /dev/zero > /tmp/f; sha256sum /tmp/f; rm /tmp/f",
    processes: "i=0; while [ $i -lt 60 ]; do i=$((i+1)); /bin/true; done",
  };
  for (const [name, work] of Object.entries(works)) {
    // The first run fills caches of the kernel, which the balloon emptied.
    for (const vm of [plain, squeezed]) await command(vm, work);
    const a = await command(plain, work);
    const b = await command(squeezed, work);
    console.log(work);
    console.log(
      `  A ${(a.instructions / 1e6).toFixed(1)}, B ${(b.instructions / 1e6).toFixed(1)} million instructions`,
    );
    const more = 100 * (b.instructions / a.instructions - 1);
    requirements.note(`balloon: B within 5 % of A, ${name}`, `${more.toFixed(2)} %`, Math.abs(more) <= 5);
  }
}

/** Guests booted each by itself, with other random numbers and other work, that share what is equal. */
async function sharing(): Promise<void> {
  const count = Number(process.env.GUESTS ?? 4);
  const ram = 128 * MEBIBYTE;
  if (debian(ram) === undefined) return console.log("needs Debian's files: npm start once");
  const host = new TestHost((count + 1) * ram);
  const vms: TestVm[] = [];
  for (let seed = 1; seed <= count; seed++) vms.push(await debianAtPrompt(host, debian(ram, { seed })!));
  for (const [index, vm] of vms.entries())
    await command(vm, `seq 1 ${1000 * (index + 1)} | sort -r | sha256sum`);
  const pages = new PageSharing(host.pool.pool);
  for (const vm of vms)
    pages.add({ memory: vm.guest, group: "all", reservedFrame: () => vm.cpu.reservedFrame });
  const total = () => vms.reduce((sum, { guest }) => sum + guest.usage().granted, 0) / MEBIBYTE;
  const granted = total();
  const before = host.pool.pool.used;
  const started = performance.now();
  // Two looks find what stays the same; the third, what two other pages have become.
  for (let round = 0; round < 3; round++) pages.scan((granted * MEBIBYTE) / 4096);
  const took = performance.now() - started;
  const saved = ((before - host.pool.pool.used) * 4096) / MEBIBYTE;
  const shared = vms.reduce((sum, { guest }) => sum + guest.usage().shared, 0) / MEBIBYTE;
  const { zeros } = pages.counters;
  report(`${count} Debians: memory granted before`, granted, "MiB");
  const part = (100 * saved) / granted;
  report("frames given back", part, "% of it");
  requirements.note(
    "sharing: Debians give back at least 60 % of their frames",
    `${part.toFixed(1)} %`,
    part >= 60,
  );
  report("  by pages of zeros", (100 * zeros * 4096) / MEBIBYTE / granted, "% of it");
  report("pages shared among those that are left", (100 * shared) / total(), "%");
  report("cost of a look at a page", (1e6 * took) / pages.counters.scanned, "ns", 0);
  for (const [index, vm] of vms.entries()) {
    const { output } = await command(
      vm,
      `seq 1 ${1000 * (index + 1)} | sort -r | sha256sum; cat /proc/uptime`,
    );
    if (!/[0-9a-f]{64} {2}-/.test(output)) throw new Error(`guest ${index} answered ${output}`);
  }
  console.log("all answer afterwards");
}

/**
 * An idle and a busy VM that together want more than there is, with and without the tax on idle memory (ESX paper,
 * section 5.2, figure 7): the idle one has filled a file once; the busy one fills its own and reads it again and again.
 */
async function tax(): Promise<void> {
  const ram = 256 * MEBIBYTE;
  const options = debian(ram, { balloon: true });
  if (options === undefined) return console.log("needs Debian's files: npm start once");
  const fill = (mebibytes: number) =>
    `mount -t tmpfs -o size=${ram} tmpfs /tmp; head -c ${MEBIBYTE} /dev/urandom > /tmp/part; ` +
    `for i in $(seq 1 ${mebibytes}); do cat /tmp/part; done > /tmp/file`;
  const read = "dd if=/tmp/file of=/dev/null bs=64k 2> /dev/null";
  const [tick, seconds, settled] = [250, 60, 30];
  const ratios: number[] = [];
  const loads: number[] = [];
  for (const rate of [0, 0.75]) {
    const host = new TestHost(240 * MEBIBYTE);
    const { broker, swap } = brokerOf(host, rate);
    const vms = {
      idle: await debianAtPrompt(host, options),
      busy: await debianAtPrompt(host, options),
    };
    for (const [name, vm] of Object.entries(vms)) {
      broker.add({
        name,
        memory: vm.guest,
        balloon: vm.balloon,
        settings: { shares: 1000 },
        reservedFrame: () => vm.cpu.reservedFrame,
      });
    }
    await command(vms.idle, fill(100));
    vms.busy.type(`${fill(130)}; while :; do ${read}; done\n`);
    console.log(
      `tax ${100 * rate} %, pool ${(host.pool.pool.limit / 256).toFixed(0)} MiB; idle and busy, MiB:`,
    );
    const columns =
      "       s  state    granted       target       active    ballooned      swapped  swapped in";
    console.log(columns);
    let before = 0;
    for (let now = 0; now <= seconds * 1000; now += tick) {
      for (const [name, vm] of Object.entries(vms)) {
        if (broker.mayRun(name)) vm.runFor((tick * TICKS_PER_SECOND) / 1000);
        vm.board.flush();
      }
      broker.tick(now);
      if (now === settled * 1000) before = swap.counters.loaded;
      if (now % 10_000 === 0) {
        const [idle, busy] = [broker.report("idle")!, broker.report("busy")!];
        const cells = (["granted", "target", "active", "ballooned", "swapped"] as const).map((what) =>
          [idle, busy].map((vm) => (vm[what] / MEBIBYTE).toFixed(0).padStart(4)).join(" "),
        );
        const state = broker.state.padStart(5);
        const loaded = String(swap.counters.loaded).padStart(10);
        console.log(`${String(now / 1000).padStart(8)}  ${state}  ${cells.join("    ")}  ${loaded}`);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    ratios.push(broker.report("busy")!.granted / broker.report("idle")!.granted);
    loads.push(swap.counters.loaded - before);
  }
  const [even, taxed] = ratios as [number, number];
  const [thrashing, calm] = loads as [number, number];
  requirements.note(
    "tax: without it, an idle and a busy VM of equal shares have as much",
    `${even.toFixed(2)} times`,
    even > 0.9 && even < 1.1,
  );
  requirements.note(
    "tax: with 75 %, the busy one has at least 1.5 times",
    `${taxed.toFixed(2)} times`,
    taxed >= 1.5,
  );
  requirements.note(
    "tax: pages swapped in in the last 30 s, less than a tenth",
    `${calm} against ${thrashing}`,
    calm < thrashing / 10,
  );
}

/** VMs with twice the pool's memory, all of it used, that must all come to right results. */
async function overcommit(): Promise<void> {
  const count = 8;
  const each = 12 * MEBIBYTE;
  const run = (frameBytes: number) => {
    const host = new TestHost(frameBytes);
    const { broker } = brokerOf(host, 0.75);
    const vms = Array.from({ length: count }, (_, index) => {
      const vm = host.boot(embedded(16 * MEBIBYTE));
      broker.add({
        name: `vm${index}`,
        memory: vm.guest,
        settings: {},
        reservedFrame: () => vm.cpu.reservedFrame,
      });
      vm.runTo(400_000);
      vm.type(`touch ${each / 1024 - 512}; digest 20000; touch ${each / 1024 - 512}\r`);
      return vm;
    });
    const started = performance.now();
    let now = 0;
    const running = () => vms.filter(({ output }) => output.split("KiB,").length < 3);
    for (; running().length > 0 && now < 1e6; now += 10) {
      for (const vm of running()) {
        vm.runTo(vm.cpu.retired() + 2e6);
        vm.board.flush();
      }
      broker.tick(now);
    }
    const seconds = (performance.now() - started) / 1000;
    const right = vms.filter(({ output }) => output.split("0 wrong words, ok").length === 3).length;
    const digests = new Set(vms.map(({ output }) => /digest: \w+/.exec(output)?.[0]));
    return { seconds, right, digests: digests.size, ...broker.counters, limit: host.pool.pool.limit / 256 };
  };
  const roomy = run(2 * count * each);
  const tight = run((count * each) / 2);
  report(
    `${count} VMs of ${each / MEBIBYTE} MiB in use, pool ${roomy.limit.toFixed(0)} MiB`,
    roomy.seconds,
    "s",
    2,
  );
  report(`the same in a pool of ${tight.limit.toFixed(0)} MiB`, tight.seconds, "s", 2);
  report("  pages swapped out", tight.swappedOut, "pages", 0);
  requirements.note(
    "overcommit: VMs with twice the pool's memory all finish with the same right results",
    `${tight.right} of ${count}, ${tight.digests} digest${tight.digests === 1 ? "" : "s"}`,
    tight.right === count && tight.digests === 1 && roomy.right === count,
  );
}
