/**
 * Runs that repeat exactly: a VM with one hart and virtual time, run twice, must have the same memory, registers,
 * devices and clock after a thousand million instructions: `run.mjs determinism [MILLIONS]`.
 *
 * The second run of each pair is disturbed in every way that must not matter: it is interrupted at other places, it
 * visits the event loop at other times, and where there are translations, it makes them in the background, so that
 * they come into place at other instructions. Every tier runs; those that interpret run a part of the length. As
 * far as all tiers have come, they are compared with each other too.
 */
import type { Tier } from "@hyperfile/jit";
import { TestHost, type TestVm, type TestVmOptions } from "../../machine/test/riscv-vm.js";
import { debian, embedded, MEBIBYTE } from "./guests.js";
import { Requirements } from "./requirements.js";

const FULL = Number(process.argv[2] ?? 1000) * 1e6;
/** Instructions after which a guest at its prompt gets another command. */
const STEP = 5e6;
/** The parts of the full length that tiers run; at the first, all of them are compared. */
const COMMON = FULL / 20;
const lengths: Readonly<Record<Tier, number>> = {
  interpreter: COMMON,
  js: FULL / 10,
  "wasm-interpreter": FULL / 4,
  wasm: FULL,
  auto: FULL,
};
interface Guest {
  readonly name: string;
  readonly options: (tier: Tier, background: boolean) => TestVmOptions;
  /** What is typed, one after the other, whenever the guest waits for nothing else or is at a prompt. */
  readonly commands: readonly string[];
  readonly atPrompt: (vm: TestVm) => boolean;
}

const shell: Guest = {
  name: "embedded guest",
  options: (tier, background) => embedded(32 * MEBIBYTE, { tier, background }),
  commands: [
    "smc; fp & touch 3000; burn 1",
    "digest 300000; clock; fault",
    "burn 2 & burn 2 & fp; mem; ps",
    "sleep 0.5; uptime; touch 1000 & digest 50000",
  ],
  atPrompt: ({ output }) => output.endsWith("guest# "),
};
const guests: Guest[] = [shell];
const system = debian(256 * MEBIBYTE);
if (system === undefined)
  console.log("without Debian: its files are not in the cache (npm start fetches them)");
else {
  const { kernel, initrd, append, ramBytes } = system;
  guests.push({
    name: "Debian from power-on",
    options: (tier, background) => ({ kernel, initrd: initrd!, append: append!, ramBytes, tier, background }),
    commands: ["seq 1 3000 | sort -r | sha256sum; cat /proc/interrupts"],
    atPrompt: ({ output }) => output.endsWith("# "),
  });
}

const digestOf = (vm: TestVm): string => {
  const { memory, state } = vm.digest();
  return `${(memory >>> 0).toString(16).padStart(8, "0")} ${(state >>> 0).toString(16).padStart(8, "0")}`;
};

/** One run: the digests at the common length and at its end, and how it got there. */
async function run(guest: Guest, tier: Tier, disturbed: boolean) {
  const length = Math.max(COMMON, lengths[tier]);
  const options = guest.options(tier, disturbed);
  const host = new TestHost(options.ramBytes + 16 * MEBIBYTE);
  const vm = host.boot(options);
  const started = process.cpuUsage();
  let common = "";
  let typed = 0;
  let chance = 12345;
  for (let next = STEP; !vm.off && vm.cpu.retired() < length; ) {
    const at = vm.cpu.retired();
    let end = Math.min(next, at < COMMON ? COMMON : length);
    if (disturbed) {
      chance = (Math.imul(chance, 1103515245) + 12345) >>> 0;
      end = Math.min(end, at + 1 + (chance % 2_000_003));
      await new Promise((resolve) => setTimeout(resolve, chance % 3));
    }
    vm.runTo(end);
    if (vm.cpu.retired() === COMMON) common = digestOf(vm);
    const waits = vm.cpu.retired() < end;
    if (!waits && end < next) continue;
    next = Math.max(next, end) + STEP;
    vm.board.flush();
    if (waits || guest.atPrompt(vm)) {
      vm.output = "";
      vm.type(`${guest.commands[typed++ % guest.commands.length]}\r`);
    }
  }
  const { user, system } = process.cpuUsage(started);
  const result = {
    common,
    last: digestOf(vm),
    retired: vm.cpu.retired(),
    typed,
    wrong: vm.output.includes("WRONG"),
    seconds: (user + system) / 1e6,
  };
  vm.destroy();
  return result;
}

const requirements = new Requirements(true);
for (const guest of guests) {
  const commons = new Map<Tier, string>();
  for (const tier of Object.keys(lengths) as Tier[]) {
    const first = await run(guest, tier, false);
    const second = await run(guest, tier, true);
    commons.set(tier, first.common);
    const millions = (first.retired / 1e6).toFixed(0);
    const alike =
      first.last === second.last && first.common === second.common && first.retired === second.retired;
    requirements.note(
      `${guest.name}, tier ${tier}: two runs, the second disturbed`,
      `${millions} million, ${first.typed} commands, ${first.seconds.toFixed(1)} s + ${second.seconds.toFixed(1)} s, ${first.last}${alike ? "" : ` but ${second.last}`}`,
      alike && !first.wrong && !second.wrong && first.retired >= Math.max(COMMON, lengths[tier]),
    );
  }
  const different = new Set(commons.values());
  requirements.note(
    `${guest.name}: all tiers alike`,
    `after ${(COMMON / 1e6).toFixed(0)} million: ${[...different].join(", ")}`,
    different.size === 1,
  );
}
requirements.conclude();
