/** What makes a clone's guest one of its own: what the agent is asked for, in which order, and what is refused. The scripts are run by Debian. */
import { expect, it } from "vitest";
import { type IndividualAgent, makeIndividual, setGuestTime } from "../src/agent/index.js";

const [from, to] = ["52:54:00:00:00:01", "52:54:00:00:00:0A"];

/** An agent that says what it was asked, and of whose commands the one of a number fails. */
function recording(failing = 0) {
  const asked: string[] = [];
  let runs = 0;
  const agent: IndividualAgent = {
    identity: async (renews) => {
      asked.push(`identity ${renews}`);
      return { machineId: "1".repeat(32), hostName: "two", bootId: "b" };
    },
    setHostName: async (name) => void asked.push(`name ${name}`),
    run: async ({ words }) => {
      asked.push(`run ${words.slice(4).join(" ")}`);
      runs++;
      return runs === failing
        ? { end: { kind: "exited", status: 1 }, errors: new TextEncoder().encode("no card has it\nmore\n") }
        : { end: { kind: "exited", status: 0 }, errors: new Uint8Array() };
    },
  };
  return { agent, asked };
}

it("names, then addresses, then the cable, then leases, then the machine id", async () => {
  const { agent, asked } = recording();
  const plugIn = (): void => void asked.push("plug in");
  const made = await makeIndividual(agent, { hostName: "two", cards: [{ from, to }], plugIn });
  expect(made.hostName).toBe("two");
  const [old, own] = [from, to.toLowerCase()];
  expect(asked).toEqual(["name two", `run ${old} ${own}`, "plug in", `run ${own} ${own}`, "identity true"]);
});

it("asks for nothing that is not there", async () => {
  const { agent, asked } = recording();
  await makeIndividual(agent, {});
  expect(asked).toEqual(["identity true"]);
});

it.each([
  [1, "the guest's cards can't take another address: no card has it"],
  [2, "the guest's cards can't get a lease: no card has it"],
])("says what did not work (%d)", async (failing, message) => {
  const { agent, asked } = recording(failing);
  await expect(
    makeIndividual(agent, { cards: [{ from, to }], plugIn: () => void asked.push("plug in") }),
  ).rejects.toMatchObject({ code: "E_AGENT_FAILED", message });
  // A card with the original's address stays out of its network.
  expect(asked.includes("plug in")).toBe(failing === 2);
});

it("refuses what is no address before it asks for anything", async () => {
  const { agent, asked } = recording();
  await expect(
    makeIndividual(agent, { hostName: "two", cards: [{ from, to: "$(reboot)" }] }),
  ).rejects.toMatchObject({
    code: "E_AGENT_REQUEST",
    message: '"$(reboot)" is no address of a card: use one like 52:54:00:12:34:56',
  });
  expect(asked).toEqual([]);
});

it("sets the time, which the machine's clock then makes up for no more, or does where the agent can't", async () => {
  const told: string[] = [];
  const clock = {
    leaveOut: () => 5000,
    owe: (milliseconds: number) => void told.push(`owe ${milliseconds}`),
  };
  const setClock = async (milliseconds: number) => {
    told.push(`set ${milliseconds}`);
    return 5001;
  };
  expect(await setGuestTime({ setClock }, clock, () => 77)).toBe(5001);
  const failing = { setClock: () => Promise.reject(new Error("no agent")) };
  await expect(setGuestTime(failing, clock)).rejects.toThrow("no agent");
  expect(told).toEqual(["set 77", "owe 5000"]);
});

it("tells a guest the time anew that heard of it late, and no more often than can be of use", async () => {
  const clock = { leaveOut: () => 5000, owe: () => expect.unreachable() };
  /** Tells it to a guest that hears after so many milliseconds each time; gives when it was told. */
  const toldTo = async (...delays: readonly (number | Error)[]) => {
    const told: number[] = [];
    let now = 0;
    const setClock = async (milliseconds: number): Promise<number> => {
      const delay = delays[told.length] ?? 1000;
      told.push(milliseconds);
      if (delay instanceof Error) throw delay;
      now += delay;
      return delay;
    };
    return { forward: await setGuestTime({ setClock }, clock, () => now), told };
  };
  expect(await toldTo(200)).toEqual({ forward: 200, told: [0] });
  expect(await toldTo(5600, 300, 20)).toEqual({ forward: 5920, told: [0, 5600, 5900] });
  expect(await toldTo(5600, new Error("gone"))).toEqual({ forward: 5600, told: [0, 5600] });
  expect((await toldTo()).told).toHaveLength(10);
});
