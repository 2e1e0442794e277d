/**
 * The experiments of the ESX paper (OSDI 2002) on our VMs: `run.mjs memory [balloon|sharing|tax|overcommit ...]`.
 *
 * Times are guest instructions in virtual time, which no other program on the host can change; the host's milliseconds
 * stand beside them where the host's work is the point. Where Debian's files are missing, only `overcommit` runs.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryBroker } from "../src/memory/memory-broker.js";
import { SwapFile } from "../src/memory/node/swap-file.js";
import { PageSharing } from "../src/memory/page-sharing.js";
import { SwapStore } from "../src/memory/swap-store.js";
import { TestHost, type TestVm } from "../test/riscv-vm.js";
import { command, debian, debianAtPrompt, embedded, MEBIBYTE, report } from "./guests.js";

const asked = process.argv.slice(2);
const experiments: Readonly<Record<string, () => Promise<void>>> = { balloon, sharing, tax, overcommit };
for (const name of asked.length > 0 ? asked : Object.keys(experiments)) {
  const run = experiments[name];
  if (run === undefined) throw new Error(`no experiment ${name}: ${Object.keys(experiments).join(", ")}`);
  console.log(`-- ${name}`);
  await run();
}

/** Broker, swap file and a name for every VM. */
function brokerOf(host: TestHost, tax: number, sharing = false): MemoryBroker {
  const file = new SwapFile(join(tmpdir(), `hyperfile-swap-${process.pid}-${performance.now()}`));
  return new MemoryBroker({
    frames: host.pool.pool,
    swap: new SwapStore(file, 1 << 20),
    sharing,
    tax,
    samplePeriod: 2000,
  });
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
  for (const work of [
    "seq 1 60000 | sort -n | sha256sum",
    "head -c 10000000 /dev/zero > /tmp/f; sha256sum /tmp/f; rm /tmp/f",
    "i=0; while [ $i -lt 60 ]; do i=$((i+1)); /bin/true; done",
  ]) {
    // The first run fills caches of the kernel, which the balloon emptied.
    for (const vm of [plain, squeezed]) await command(vm, work);
    const a = await command(plain, work);
    const b = await command(squeezed, work);
    console.log(work);
    console.log(
      `  A ${(a.instructions / 1e6).toFixed(1)}, B ${(b.instructions / 1e6).toFixed(1)} million instructions`,
    );
    report("  B against A", 100 * (b.instructions / a.instructions - 1), "%", 2);
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
  report("frames given back", (100 * saved) / granted, "% of it");
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

/** An idle and a busy VM under memory pressure, with and without the tax on idle memory. */
async function tax(): Promise<void> {
  const ram = 160 * MEBIBYTE;
  if (debian(ram) === undefined) return console.log("needs Debian's files: npm start once");
  for (const rate of [0, 0.75]) {
    const host = new TestHost(2 * ram);
    const broker = brokerOf(host, rate);
    const [idle, busy] = [
      await debianAtPrompt(host, debian(ram, { balloon: true })!),
      await debianAtPrompt(host, debian(ram, { balloon: true })!),
    ];
    for (const [name, vm] of [
      ["idle", idle],
      ["busy", busy],
    ] as const) {
      broker.add({
        name,
        memory: vm.guest,
        balloon: vm.balloon,
        settings: { shares: 1000 },
        reservedFrame: () => vm.cpu.reservedFrame,
      });
    }
    // The idle one touches much once; the busy one keeps using as much.
    for (const vm of [idle, busy])
      await command(vm, "head -c 40000000 /dev/urandom > /tmp/f; sha256sum /tmp/f");
    // Together they have a quarter more than there is from now on.
    host.pool.pool.limit = Math.floor(
      (0.8 * (idle.guest.usage().granted + busy.guest.usage().granted)) / 4096,
    );
    busy.type("while :; do sha256sum /tmp/f; done > /dev/null\n");
    let now = 0;
    for (let second = 0; second < 40; second++) {
      for (let slice = 0; slice < 4; slice++) {
        busy.runTo(busy.cpu.retired() + 20e6);
        idle.runTo(idle.cpu.retired() + 1e6);
        now += 250;
        broker.tick(now);
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const [a, b] = [broker.report("idle")!, broker.report("busy")!];
    const line = (name: string, value: typeof a) =>
      console.log(
        `  ${name}: granted ${(value.granted / MEBIBYTE).toFixed(1)} MiB, active ${(value.active / MEBIBYTE).toFixed(1)}, ballooned ${(value.ballooned / MEBIBYTE).toFixed(1)}, swapped ${(value.swapped / MEBIBYTE).toFixed(1)}`,
      );
    const pool = (host.pool.pool.limit / 256).toFixed(1);
    console.log(`tax ${100 * rate} %, pool ${pool} MiB, state ${broker.state}`);
    line("idle", a);
    line("busy", b);
    report("  busy against idle", b.granted / a.granted, "times", 2);
  }
}

/** VMs with twice the pool's memory, all of it used, that must all come to right results. */
async function overcommit(): Promise<void> {
  const count = 8;
  const each = 12 * MEBIBYTE;
  const run = (frameBytes: number) => {
    const host = new TestHost(frameBytes);
    const broker = brokerOf(host, 0.75);
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
  report("  VMs with right results", tight.right, `of ${count}`, 0);
  if (tight.right !== count || tight.digests !== 1 || roomy.right !== count)
    throw new Error("a VM went wrong");
}
