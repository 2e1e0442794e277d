/**
 * How the host's cores are shared out: `run.mjs cpu [shares|limits|dodging|idle|waking ...]`.
 *
 * Every VM is a real one in a thread of its own; what it got is the CPU time of that thread as the kernel accounts it.
 * So the figures hold on a host that has other work too: a VM's entitlement is its part of what all VMs got.
 */
import { DEFAULT_QUANTUM_MS } from "../src/cpu/node/host-scheduler.js";
import { Requirements } from "./requirements.js";
import { type Outcome, runThreads, type ThreadGuest } from "./thread-host.js";

/** CPU time of each experiment in milliseconds. */
const TIME = Number(process.env.CPU_SECONDS ?? 10) * 1000;
const QUANTUM = Number(process.env.QUANTUM_MS ?? DEFAULT_QUANTUM_MS);
/** Error that is allowed, as a part. */
const WITHIN = 0.01;

const requirements = new Requirements();
const percent = (part: number, digits = 2): string => `${(100 * part).toFixed(digits)} %`;

/** Runs VMs, prints what each got, and gives the outcome. */
async function run(
  title: string,
  cores: number,
  guests: readonly ThreadGuest[],
  time = TIME,
): Promise<Outcome> {
  const outcome = await runThreads(guests, { cores, milliseconds: time, quantumMs: QUANTUM });
  const { total, wall, scheduler, turns } = outcome;
  console.log(
    `${title}: ${(total / 1000).toFixed(2)} s of CPU time in ${(wall / 1000).toFixed(2)} s on ${cores} cores, ${turns} turns, scheduler ${scheduler.toFixed(0)} ms`,
  );
  for (const [name, { cpu, accounted, turns }] of outcome.guests) {
    console.log(
      `  ${name.padEnd(12)} ${cpu.toFixed(1).padStart(9)} ms ${percent(cpu / total).padStart(8)}  by the scheduler ${accounted.toFixed(1).padStart(9)} ms, ${turns} turns`,
    );
  }
  return outcome;
}

/** Checks a VM's part of the CPU time of all against what it is entitled to. */
function entitled(what: string, { guests, total }: Outcome, name: string, part: number): void {
  const error = guests.get(name)!.cpu / (total * part) - 1;
  requirements.note(
    `${what}: ${name} has ${percent(part)}`,
    `off by ${percent(error)}`,
    Math.abs(error) <= WITHIN,
  );
}

const experiments: Readonly<Record<string, () => Promise<void>>> = {
  async shares() {
    const weights = [1, 1, 2, 2, 4, 4, 8, 8];
    const sum = weights.reduce((all, one) => all + one);
    const guests = weights.map((weight, at) => ({
      name: `${weight} share${weight > 1 ? "s" : ""} ${"ab"[at % 2]}`,
      allotment: { shares: 1000 * weight },
    }));
    const outcome = await run("shares 1:1:2:2:4:4:8:8", 2, guests);
    weights.forEach((weight, at) => {
      entitled("shares", outcome, guests[at]!.name, weight / sum);
    });
    const off = Math.max(
      ...[...outcome.guests.values()].map(({ cpu, accounted }) => Math.abs(accounted - cpu)),
    );
    requirements.note(
      "scheduler's accounts agree with the kernel's",
      `off by ${off.toFixed(2)} ms`,
      off <= 0.001 * outcome.total,
    );

    // A hart that does nothing leaves the cost of a turn: giving the core back, being woken, the event loop.
    const empty = await run(
      "turns of a hart that does nothing",
      2,
      [0, 1, 2, 3].map((at) => ({ name: `empty ${at}`, empty: true })),
      500,
    );
    const turn = empty.total / empty.turns;
    const cost = (outcome.scheduler + turn * outcome.turns) / (outcome.total + outcome.scheduler);
    requirements.note(
      "scheduler's overhead under 2 %",
      `${percent(cost)}: its thread ${percent(outcome.scheduler / outcome.total)}, ${outcome.turns} turns of ${(1000 * turn).toFixed(0)} us`,
      cost < 0.02,
    );
  },

  async limits() {
    const outcome = await run("reservation and limits", 2, [
      { name: "limit 0.25", allotment: { limit: 0.25, shares: 8000 } },
      { name: "limit 0.1", allotment: { limit: 0.1, shares: 8000 } },
      { name: "reserve 0.6", allotment: { reservation: 0.6, shares: 100 } },
      { name: "plain a" },
      { name: "plain b" },
      { name: "plain c" },
    ]);
    const { guests, total, wall } = outcome;
    const granted = total / (2 * wall);
    for (const limit of [0.25, 0.1]) {
      const { cpu } = guests.get(`limit ${limit}`)!;
      requirements.note(
        `limits: limit ${limit} is not passed`,
        `${(cpu / wall).toFixed(4)} cores`,
        cpu <= limit * wall * (1 + WITHIN),
      );
      // What the host takes for other work, it takes from all: then less than the limit is right.
      const least = limit * wall * Math.min(1, granted);
      requirements.note(
        `limits: limit ${limit} is reached`,
        `${percent(cpu / (limit * wall))}, the host gave ${percent(granted)} of its cores`,
        cpu >= least * (1 - WITHIN),
      );
    }
    const reserved = guests.get("reserve 0.6")!.cpu / total;
    requirements.note(
      "reservation of 0.6 cores against shares of 1:10",
      `${percent(reserved)} of 30 %`,
      reserved >= 0.3 * (1 - WITHIN),
    );
  },

  async dodging() {
    for (const [burn, sleep] of [
      [QUANTUM * 0.95, 0.2],
      [QUANTUM * 0.23, 0.1],
      [QUANTUM * 0.5, 5],
    ] as const) {
      const name = `dodger ${burn.toFixed(1)}`;
      const outcome = await run(
        `a guest that burns ${burn.toFixed(1)} ms and sleeps ${sleep} ms`,
        1,
        [{ name: "honest a" }, { name: "honest b" }, { name, burn, sleep }],
        TIME / 2,
      );
      const part = outcome.guests.get(name)!.cpu / outcome.total;
      requirements.note(
        `dodging: ${burn.toFixed(1)} ms, then ${sleep} ms asleep, gains nothing`,
        `${percent(part)} of 33.33 %`,
        part <= (1 + WITHIN) / 3,
      );
    }
  },

  async idle() {
    const hour = 3_600_000;
    const outcome = await run("one of five is idle", 2, [
      { name: "idle", allotment: { shares: 8000 }, burn: 0.001, sleep: hour },
      { name: "1 share a" },
      { name: "1 share b" },
      { name: "2 shares a", allotment: { shares: 2000 } },
      { name: "2 shares b", allotment: { shares: 2000 } },
    ]);
    // What the idle one used to start with is not there for the others.
    const started = outcome.guests.get("idle")!.cpu;
    const rest = { ...outcome, total: outcome.total - started };
    for (const name of ["1 share a", "1 share b"]) entitled("idle", rest, name, 1 / 6);
    for (const name of ["2 shares a", "2 shares b"]) entitled("idle", rest, name, 2 / 6);
    const idle = started / outcome.total;
    requirements.note("idle: it uses less than 2 %, its start included", percent(idle), idle < 0.02);
  },

  async waking() {
    const outcome = await run(
      "a guest that wakes 40 times a second beside three that burn",
      1,
      [
        { name: "waking", burn: 0.3, sleep: 25 },
        { name: "busy a" },
        { name: "busy b" },
        { name: "busy c", allotment: { shares: 8000 } },
      ],
      TIME / 2,
    );
    const { wakes } = outcome.guests.get("waking")!;
    const most = (values: number[]) => values.sort((a, b) => a - b);
    const late = wakes.flatMap(({ others }, at) => (others > QUANTUM ? [at] : []));
    console.log(`  late: ${late.length === 0 ? "none" : `wakes ${late.join(", ")} of ${wakes.length}`}`);
    const others = most(wakes.map(({ others }) => others));
    const wall = most(wakes.map(({ wall }) => wall));
    const at = (values: readonly number[], part: number) =>
      values[Math.floor(part * (values.length - 1))]!.toFixed(2);
    requirements.note(
      `waking: before its turn, no other VM runs for longer than a quantum of ${QUANTUM} ms`,
      `${wakes.length} wakes: median ${at(others, 0.5)} ms, 99 % ${at(others, 0.99)}, most ${at(others, 1)}; real time ${at(wall, 0.5)}, ${at(wall, 0.99)}, ${at(wall, 1)}`,
      wakes.length > 20 && others.at(-1)! <= QUANTUM,
    );
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
