import type { Activity } from "@hyperfile/broker/client";
import { expect, it } from "vitest";
import { type Subject, telling } from "./waiting.js";

/** Lines of a command that waits while the daemon shows these lists, one a look. */
async function linesOf(of: Subject, ...lists: Activity[][]): Promise<string[]> {
  const lines: string[] = [];
  let [at, end] = [0, () => {}];
  const request = new Promise<string>((resolve) => {
    end = () => resolve("done");
  });
  const client = {
    activities: async () => {
      const list = lists[at++];
      if (list === undefined) end();
      return list ?? [];
    },
  };
  expect(
    await telling(client, of, (line) => lines.push(line.replace(/\d+ s so far/, "N s so far")), request, 5),
  ).toBe("done");
  return lines;
}
const before = Date.now() - 60_000;
const after = Date.now() + 3_600_000;
const other = { at: before, project: "other", vm: "b", what: "snapshot" };

it("a command on a VM tells of what others do with it, once, and not of itself", async () => {
  const mine = { at: after, project: "shop", vm: "a", what: 'command: "ls"' };
  const theirs = { at: before, project: "shop", vm: "a", what: 'command: "sleep 9"' };
  const next = { at: before + 5, project: "shop", vm: "a", what: "snapshot" };
  expect(
    await linesOf({ vm: "a" }, [other, mine], [theirs, mine], [theirs, next, mine], [next, mine], [mine]),
  ).toEqual([
    'hyperfile: waiting for VM a: command: "sleep 9", for N s so far\n',
    "hyperfile: waiting for VM a: snapshot, for N s so far\n",
  ]);
});

it("a command on a project tells of its VMs, or of the command before it", async () => {
  const up = { at: before, project: "shop", what: "up" };
  const provisioning = { at: before, project: "shop", vm: "a", what: 'provisioning: "make"' };
  const own = { at: after, project: "shop", what: "down" };
  const project = async () => "shop";
  expect(
    await linesOf({ project }, [other, up], [up, provisioning], [own], [own, { ...provisioning, at: after }]),
  ).toEqual([
    "hyperfile: waiting for project shop: up, for N s so far\n",
    'hyperfile: waiting for VM a: provisioning: "make", for N s so far\n',
    'hyperfile: waiting for VM a: provisioning: "make", for N s so far\n',
  ]);
});

it("a command that fails does so with its own error, whatever the daemon says of others", async () => {
  const client = { activities: () => Promise.reject(new Error("gone")) };
  const failing = new Promise<void>((_, reject) => setTimeout(() => reject(new Error("own")), 30));
  const lines: string[] = [];
  await expect(telling(client, { vm: "a" }, (line) => lines.push(line), failing, 5)).rejects.toThrow("own");
  expect(lines).toEqual([]);
});
