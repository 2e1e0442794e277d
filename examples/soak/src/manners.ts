/** Clients that keep the rules: they act on VMs at random, several on the same ones at a time. */
import { ApiError, type DaemonClient } from "@hyperfile/broker/client";
import type { Chance } from "./chance.js";
import { expectedDigest } from "./digest.js";
import type { Cast } from "./fleet-file.js";
import type { Tally } from "./tally.js";

/** What every client of a run has. */
export interface ClientSurroundings {
  readonly client: DaemonClient;
  readonly cast: Cast;
  readonly tally: Tally;
  /** Whether the run goes on. */
  readonly goesOn: () => boolean;
}

/** Refusals that a daemon may give where several clients act on one VM. */
const PERMITTED = new Set([
  "E_VM_STATE",
  "E_VM_UNKNOWN",
  "E_VM_CRASHED",
  "E_SNAPSHOT_UNKNOWN",
  "E_ADMISSION",
  "E_NAME_TAKEN",
  "E_IMAGE_LOCKED",
  // A clone's disk is kept by its original: no snapshot of it can be.
  "E_IMAGE_UNSUPPORTED",
  "E_EXEC",
  "E_EXEC_TIMEOUT",
]);

/** The status of a command that there is not. */
const UNKNOWN = 127;
/** The status of a command that was killed. */
const KILLED = 137;

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Does one thing, and notes how it went. */
async function attempt<T>(tally: Tally, what: string, act: () => Promise<T>): Promise<T | undefined> {
  try {
    const result = await act();
    tally.count(`${what} done`);
    return result;
  } catch (error) {
    const { code = "?", message } = error as ApiError;
    if (error instanceof ApiError && PERMITTED.has(code)) tally.count(`${what} refused, ${code}`);
    else tally.wrong(`${what}: ${code} ${message}`);
    return undefined;
  }
}

/** Has one bystander compute, again and again: its answers must be right whatever happens around it. */
export async function watchBystander(
  { client, tally, goesOn }: ClientSurroundings,
  name: string,
  chance: Chance,
): Promise<void> {
  while (goesOn()) {
    const bytes = 50_000 + chance.under(100_000);
    const answer = await attempt(tally, "digest", () => client.exec(name, `digest ${bytes}`, 120_000));
    if (answer === undefined) continue;
    const expected = `digest: ${expectedDigest(bytes)} ${bytes} bytes`;
    if (answer.output.trim() === expected) tally.count("bystander's digest right");
    else tally.wrong(`${name} answers ${JSON.stringify(answer.output)} in place of ${expected}`);
    await pause(200);
  }
}

/** Acts on workers and hostile VMs until the run is over, and removes what it made. */
export async function act(surroundings: ClientSurroundings, id: number, chance: Chance): Promise<void> {
  const { client, cast, tally, goesOn } = surroundings;
  const copies: string[] = [];
  let made = 0;
  const target = () => chance.of([...cast.workers, ...cast.workers, ...copies, ...cast.hostile]);
  const actions: Readonly<Record<string, () => Promise<unknown>>> = {
    async exec() {
      const { status, output } = await client.exec(chance.of(cast.workers), "burn 1", 60_000);
      // Somebody may have typed meanwhile: ^C, which kills what runs, or what makes another command of it.
      if (![0, KILLED, UNKNOWN].includes(status))
        throw new Error(`burn ended with status ${status}: ${JSON.stringify(output)}`);
    },
    async clone() {
      if (copies.length >= 3) return;
      const name = `copy-${id}-${made++}`;
      await client.clone(target(), name);
      copies.push(name);
    },
    async remove() {
      const name = copies.shift();
      if (name !== undefined) await client.remove(name, true);
    },
    snapshot: () => client.snapshot(target(), `snap-${chance.under(2)}`),
    async restore() {
      const name = chance.of(cast.workers);
      await client.stop(name, { force: true });
      await client.start(name, `snap-${chance.under(2)}`);
    },
    async rewind() {
      await client.restore(chance.of(cast.workers), `snap-${chance.under(2)}`);
    },
    async restart() {
      const name = chance.of([...cast.workers, ...cast.hostile]);
      await client.stop(name, { force: chance.under(2) === 0, timeoutMs: 2000 });
      await client.start(name);
    },
    pause: () => client.pause(target()),
    resume: () => client.resume(target()),
    reset: () => client.reset(target()),
    set: () => client.set(target(), [`cpu.shares=${100 + chance.under(4000)}`]),
    logs: () => client.logs(target(), chance.of([0, 100, 100_000])),
    history: () => client.history(30),
    metrics: () => client.metrics(),
    pools: () => client.pools(),
    async type() {
      const connection = await client.console(target(), () => {});
      connection.send(chance.bytes(1 + chance.under(20_000)));
      await pause(chance.under(200));
      connection.close();
      await connection.closed;
    },
  };
  const names = Object.keys(actions);
  while (goesOn()) {
    const name = chance.of(names);
    await attempt(tally, name, actions[name]!);
    await pause(chance.under(300));
  }
  for (const name of copies) await attempt(tally, "remove", () => client.remove(name, true));
}
