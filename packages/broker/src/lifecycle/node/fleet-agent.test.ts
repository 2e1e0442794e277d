/** Commands of the API and of provisioning in guests that have an agent, or get one when they are up, or never have one. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { FleetDouble } from "../../../test/thread-double.js";
import { HostScheduler } from "../../cpu/node/host-scheduler.js";
import type { GuestCommandOutputs, RunByAgent } from "../guest-command.js";

let scheduler: HostScheduler;
let double: FleetDouble;
/** Lines that an agent was asked to run. */
let asked: string[];
/** What an agent does with a line. */
let agent: (line: string, outputs: GuestCommandOutputs, signal: AbortSignal) => Promise<number | undefined>;

const bytes = (text: string) => new TextEncoder().encode(text);
const run: RunByAgent = (_connect, line, outputs, signal) => {
  asked.push(line);
  return agent(line, outputs, signal);
};
/** What a signal ends, as an agent's client has it. */
const untilEnded = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const end = () => reject(new Error("it was given up"));
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });

beforeEach(async () => {
  asked = [];
  scheduler = await HostScheduler.start({ cores: 2 });
  double = new FleetDouble(scheduler, undefined, undefined, run);
});
afterEach(async () => {
  await double.close();
  await scheduler.close();
});
const vm = () => double.fleet.vm("a");
/** The guest prints. */
const print = (text: string) => vm().hearConsole(vm().thread!, bytes(text));

it("output and errors come apart, with the status, and many run at a time", async () => {
  await double.up("a: { kernel: embedded }");
  let [running, most] = [0, 0];
  agent = async (line, { output, errors }) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 5));
    // A character in two parts.
    const euro = bytes("€");
    output(euro.subarray(0, 1));
    errors(bytes(`no ${line}\n`));
    output(euro.subarray(1));
    running--;
    return 3;
  };
  const lines = Array.from({ length: 20 }, (_, at) => `line ${at}\nand another`);
  expect(await Promise.all(lines.map((line) => vm().exec(line, 10_000)))).toEqual(
    lines.map((line) => ({ status: 3, output: "€", errors: `no ${line}\n` })),
  );
  expect([most, asked.length]).toEqual([20, 20]);
});

it("keeps the last 4 Mi characters of each, and says how many there were before", async () => {
  await double.up("a: { kernel: embedded }");
  const most = 4 * 2 ** 20;
  const part = bytes("x".repeat(65_536));
  agent = async (_, { output, errors }) => {
    for (let count = 0; count < 200; count++) output(part);
    output(bytes("the end"));
    errors(bytes("y".repeat(most)));
    return 0;
  };
  const result = await vm().exec("yes", 10_000);
  expect([result.output.length, result.output.slice(-8), result.omitted]).toEqual([
    most,
    "xthe end",
    200 * 65_536 + 7 - most,
  ]);
  expect([result.errors!.length, result.errorsOmitted]).toEqual([most, undefined]);
});

it("what takes too long is ended, as is what is given up, and what the agent can't do is told", async () => {
  await double.up("a: { kernel: embedded }");
  let ended = 0;
  agent = (_line, _outputs, signal) => untilEnded(signal).finally(() => ended++);
  await expect(vm().exec("sleep 9", 100)).rejects.toMatchObject({
    code: "E_EXEC_TIMEOUT",
    message: 'VM a: "sleep 9" goes on after 0.1 s, and was ended: allow more time',
  });
  const giving = new AbortController();
  const given = vm().exec("sleep 9", 60_000, { signal: giving.signal });
  giving.abort();
  await expect(given).rejects.toMatchObject({ code: "E_EXEC", message: 'VM a: "sleep 9" was given up' });
  agent = () => Promise.reject(new Error("the guest's agent has ended the connection"));
  await expect(vm().exec("true", 60_000)).rejects.toMatchObject({
    code: "E_EXEC",
    message: 'VM a: "true": the guest\'s agent has ended the connection',
  });
  expect(ended).toBe(2);
});

it("a guest that comes up is asked again when it reads commands; one without an agent gets them typed", async () => {
  await double.up("a: { kernel: embedded }");
  agent = async () => undefined;
  const first = vm().exec("true", 60_000);
  const second = vm().exec("false", 60_000);
  await expect.poll(() => asked).toEqual(["true", "false"]);
  agent = async (line) => (line === "true" ? 0 : 1);
  print("guest# ");
  expect([await first, await second]).toMatchObject([
    { status: 0, errors: "" },
    { status: 1, errors: "" },
  ]);
  expect(asked).toEqual(["true", "false", "true", "false"]);
  // Once it reads commands, one that has no agent is asked once each time; what is typed nobody answers here.
  agent = async () => undefined;
  await expect(vm().exec("echo hi", 200)).rejects.toMatchObject({ code: "E_EXEC_TIMEOUT" });
  expect(asked.slice(4)).toEqual(["echo hi"]);
});

it("provisioning goes through the agent, and its failure says what the command said last of errors", async () => {
  agent = async (line, { output, errors }) => {
    output(bytes("some output\n"));
    if (line === "false") errors(bytes("first\nit is broken\n"));
    return line === "false" ? 1 : 0;
  };
  const { actions } = await double.up('a: { kernel: embedded, provision: ["true", "false"] }');
  expect(actions).toMatchObject([
    {
      action: "failed",
      code: "E_PROVISION",
      detail: 'provisioning of VM a failed: "false" ended with status 1, not 0: it is broken',
    },
  ]);
  expect(asked).toEqual(["true", "false"]);
});
