/**
 * What a hostile VM can do to its neighbours: `run.mjs isolation [guests|devices|addresses|shares ...]`.
 *
 * But for `shares`, all VMs are in one pool of one thread, as clones are: they share linear memory, code arena and
 * engine, and nothing but their page tables keeps them apart. One VM computes beside the hostile one; another holds
 * every frame that is left, each full of a pattern. Neither may differ in a byte from a run without the hostile one.
 */
import { memoryDigest } from "../../machine/src/snapshot/machine.js";
import { TestHost, type TestVm } from "../../machine/test/riscv-vm.js";
import { embedded, MEBIBYTE } from "./guests.js";
import { Attacker, Chance, programs, RAM_BASE, runHostile, startHostile, startProgram } from "./hostile.js";
import { Requirements } from "./requirements.js";
import { runThreads, type ThreadGuest } from "./thread-host.js";

const RAM = 4 * MEBIBYTE;
const CHAINS = Number(process.env.CHAINS ?? 10_000);
const requirements = new Requirements(true);

/** Where a neighbour's work ends, in instructions. */
const WORK = 30_000_000;
const digestOf = ({ memory, state }: { memory: number; state: number }): string =>
  `${memory.toString(16)} ${state.toString(16)}`;

/** A VM that computes. */
function neighbourIn(host: TestHost): TestVm {
  const vm = host.boot(embedded(16 * MEBIBYTE));
  vm.runTo(1_000_000);
  vm.type("smc; fp & touch 2000; digest 100000; clock; burn 20; touch 3000; digest 50000\r");
  return vm;
}
const undisturbed = (() => {
  const vm = neighbourIn(new TestHost(24 * MEBIBYTE));
  vm.runTo(WORK);
  return digestOf(vm.digest());
})();

/** A VM that owns all frames which are left, with a pattern in each. */
class Canary {
  readonly vm: TestVm;
  private readonly digest: number;

  constructor(host: TestHost, keep: number) {
    const { pool } = host.pool;
    const pages = pool.limit - pool.used - keep;
    this.vm = host.make({ kernel: new Uint8Array(0), ramBytes: pages * 4096 });
    const page = new Uint8Array(4096);
    for (let at = 0; at < pages; at++) {
      page.fill(0x80 | (at % 127));
      if (!this.vm.guest.write(RAM_BASE + 4096 * at, page)) throw new Error("no frame left for the canary");
    }
    this.digest = memoryDigest(this.vm.guest);
  }

  get intact(): boolean {
    return memoryDigest(this.vm.guest) === this.digest;
  }
}

/** A host that a hostile VM can fill: neighbour, canary, and frames for the hostile one's RAM. */
function hostWith(): { host: TestHost; neighbour: TestVm; canary: Canary } {
  const host = new TestHost(40 * MEBIBYTE);
  const neighbour = neighbourIn(host);
  // Room for all of the neighbour's work, and for the hostile one's RAM.
  const canary = new Canary(host, (16 * MEBIBYTE + RAM) / 4096);
  return { host, neighbour, canary };
}

const finish = (what: string, neighbour: TestVm, canary: Canary, figure: string): void => {
  neighbour.runTo(WORK);
  const digest = digestOf(neighbour.digest());
  const same = digest === undisturbed;
  requirements.note(
    what,
    `${figure}; neighbour ${same ? "as undisturbed" : `${digest} in place of ${undisturbed}`}, ${canary.intact ? "no canary touched" : "CANARIES TOUCHED"}`,
    same && canary.intact,
  );
};

const experiments: Readonly<Record<string, () => Promise<void> | void>> = {
  guests() {
    for (const name of Object.keys(programs) as (keyof typeof programs)[]) {
      if (name === "accesses every address") continue;
      const { host, neighbour, canary } = hostWith();
      const hostile = startHostile(host, name, { ramBytes: RAM });
      for (let at = neighbour.cpu.retired(); at < WORK - 1e6; at += 250_007) {
        neighbour.runTo(at);
        runHostile(hostile, name, 250_000);
        hostile.board.flush();
        hostile.output = "";
      }
      finish(
        `a guest that ${name}`,
        neighbour,
        canary,
        `${(hostile.cpu.retired() / 1e6).toFixed(0)} million instructions, ${hostile.cpu.hart.counters.exceptions} exceptions`,
      );
    }
    const { host, neighbour, canary } = hostWith();
    const chance = new Chance(99);
    let killed = 0;
    for (let at = neighbour.cpu.retired(); at < WORK - 1e6; at += 500_009) {
      neighbour.runTo(at);
      const boots = chance.under(3) === 0;
      const name = boots ? "spins" : chance.of(Object.keys(programs) as (keyof typeof programs)[]);
      const hostile = boots ? host.boot(embedded(RAM)) : startHostile(host, name, { ramBytes: RAM });
      // Anywhere in its boot, its fault, its output.
      runHostile(hostile, name, 1 + chance.under(400_000));
      hostile.destroy();
      killed++;
    }
    finish("guests that are killed in any state", neighbour, canary, `${killed} killed`);
  },

  devices() {
    const { host, neighbour, canary } = hostWith();
    const hostile = startHostile(host, "spins", { ramBytes: RAM, balloon: true });
    const chance = new Chance(7);
    const names = ["console", "entropy", "balloon"] as const;
    const kinds = {
      console: { queues: 2, asks: 1, written: false },
      entropy: { queues: 1, asks: 0, written: true },
      // Page numbers that no guest has: they are counted, and the request is served.
      balloon: { queues: 5, asks: 0, written: false },
    };
    for (const [slot, name] of names.entries()) {
      const { queues, asks, written } = kinds[name];
      const attacker = new Attacker(hostile, slot, queues);
      attacker.setUp();
      let served = 0;
      let asked = 0;
      let needReset = 0;
      let slowest = 0;
      for (let at = 0; at < CHAINS; at++) {
        const started = process.cpuUsage();
        attacker.attack(chance);
        const { user, system } = process.cpuUsage(started);
        slowest = Math.max(slowest, (user + system) / 1000);
        const status = attacker.get(0x70);
        if ((status & 64) !== 0) needReset++;
        if (at % 10 === 9) {
          asked++;
          if (attacker.serves(asks, written)) served++;
          attacker.setUp();
        } else if ((status & 64) !== 0 || status !== 15) attacker.setUp();
        if (at % 500 === 499) neighbour.runTo(neighbour.cpu.retired() + 10_000);
      }
      requirements.note(
        `${name}: ${CHAINS} malformed chains`,
        `${needReset} times the device asked for its reset, ${served} of ${asked} good requests between served, slowest ${slowest.toFixed(1)} ms`,
        served === asked && slowest < 200,
      );
    }
    // Registers of everything else on the board.
    let accesses = 0;
    for (; accesses < CHAINS; accesses++) {
      const base = chance.of([0x101000, 0x2000000, 0xc000000, 0x10000000, 0x10004000]);
      const size = chance.of([1, 2, 4] as const);
      const address =
        base + chance.under(base === 0xc000000 ? 0x600000 : base === 0x10000000 ? 0x100 : 0x1000);
      if (chance.under(2) === 0) hostile.board.bus.read(address, size);
      else hostile.board.bus.write(address, size, chance.under(2 ** (8 * size)));
    }
    requirements.note(
      "registers of clock, timer, interrupt controller, serial port",
      `${accesses} accesses`,
      true,
    );
    hostile.board.flush();
    hostile.output = "";
    finish("neighbours of a VM that attacks its devices", neighbour, canary, "all devices");
  },

  addresses() {
    for (const tier of ["interpreter", "js", "wasm-interpreter", "wasm"] as const) {
      const { host, neighbour, canary } = hostWith();
      const chance = new Chance(4242);
      let hostile = startHostile(host, "accesses every address", { ramBytes: RAM, tier, hotThreshold: 20 });
      const rounds = tier.startsWith("wasm") ? 100 : 20;
      for (let round = 0; round < rounds; round++) {
        if (hostile.off) {
          // It found the switch.
          hostile.destroy();
          hostile = startHostile(host, "accesses every address", { ramBytes: RAM, tier, hotThreshold: 20 });
        }
        hostile.guest.write(
          RAM_BASE + 4096,
          new Uint8Array(BigUint64Array.from({ length: 512 }, () => chance.address(RAM)).buffer),
        );
        startProgram(hostile, "accesses every address");
        hostile.runTo(hostile.cpu.retired() + 40_000);
        neighbour.runTo(neighbour.cpu.retired() + 50_000);
      }
      hostile.board.flush();
      finish(
        `tier ${tier}: every kind of access everywhere`,
        neighbour,
        canary,
        `${rounds * 512 * 10} accesses`,
      );
    }
  },

  async shares() {
    const milliseconds = Number(process.env.CPU_SECONDS ?? 5) * 1000;
    // A machine that is stuck, as one that faults without end, ends.
    for (const hostile of [
      "faults at every other instruction",
      "touches every page",
      "floods its console",
    ] as const) {
      const guests: ThreadGuest[] = [
        { name: "honest a" },
        { name: "honest b" },
        { name: "hostile", hostile },
      ];
      const { guests: got, total } = await runThreads(guests, { cores: 1, milliseconds });
      const parts = [...got].map(([name, { cpu }]) => `${name} ${((100 * cpu) / total).toFixed(2)} %`);
      requirements.note(
        `a guest that ${hostile} costs no more than its entitlement of 33.33 %`,
        parts.join(", "),
        [...got.values()].every(({ cpu }) => Math.abs((3 * cpu) / total - 1) <= 0.01),
      );
    }
  },
};

const asked = process.argv.slice(2);
for (const name of asked.length > 0 ? asked : Object.keys(experiments)) {
  const experiment = experiments[name];
  if (experiment === undefined)
    throw new Error(`no experiment ${name}: ${Object.keys(experiments).join(", ")}`);
  await experiment();
}
requirements.conclude();
