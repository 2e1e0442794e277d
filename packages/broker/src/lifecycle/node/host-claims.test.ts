/** What VMs have of the host for themselves: taken before they are made, and given back however they end, after their thread. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { ClaimsDouble } from "../../../test/claims-double.js";
import { nextTurn } from "../../../test/scripted-guest.js";
import { FleetDouble } from "../../../test/thread-double.js";
import { HostScheduler } from "../../cpu/node/host-scheduler.js";

let scheduler: HostScheduler;
let double: FleetDouble;
let claims: ClaimsDouble;

beforeEach(async () => {
  claims = new ClaimsDouble();
  scheduler = await HostScheduler.start({ cores: 2 });
  double = new FleetDouble(scheduler, undefined, claims.take);
});
afterEach(async () => {
  await double.close();
  await scheduler.close();
  expect(claims.held).toEqual([]);
});

async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!isSo() && performance.now() < end) await nextTurn();
  expect(isSo()).toBe(true);
}

it("are given back by stop, by a start that fails, and taken anew", async () => {
  await double.up("a: { kernel: embedded }");
  expect(claims.held).toEqual(["a"]);
  const a = double.fleet.vm("a");
  await a.stop(true);
  expect(claims.held).toEqual([]);
  for (const step of ["make", "load"] as const) {
    double.script.plans = { [step]: "fails" };
    await expect(double.fleet.start("a")).rejects.toMatchObject({ code: "E_SCRIPT" });
    expect(claims.held).toEqual([]);
  }
  double.script.plans = {};
  await double.fleet.start("a");
  expect(claims.held).toEqual(["a"]);
});

it("that can't be had let nothing of the VM stay", async () => {
  claims.before = () => Promise.reject(Object.assign(new Error("others have it"), { code: "E_TAKEN" }));
  const { actions } = await double.up("a: { kernel: embedded }");
  expect(actions).toMatchObject([{ name: "a", action: "failed", detail: "others have it" }]);
  expect([double.slots, double.script.alive, double.fleet.vm("a").state]).toEqual([0, 0, "off"]);
  claims.before = async () => {};
  await double.fleet.start("a");
  expect(claims.held).toEqual(["a"]);
});

it("come back with a thread that dies, and are shared by clones until the last is off", async () => {
  await double.up("a: { kernel: embedded }");
  await double.fleet.clone("a", "b");
  expect(claims.held).toEqual(["a", "b"]);
  await double.fleet.vm("a").stop(true);
  expect(claims.held).toEqual(["b"]);
  double.liveThreads.at(0)!.fail(new Error("broken"));
  await until(() => claims.held.length === 0);
  await double.fleet.start("a");
  for (const thread of double.liveThreads) thread.fail(new Error("broken"));
  await until(() => double.fleet.vm("a").state === "crashed" && claims.held.length === 0);
});

it("that come when their VM has been stopped are given back", async () => {
  let come = () => {};
  claims.before = () => new Promise((resolve) => (come = resolve));
  const up = double.up("a: { kernel: embedded }");
  await until(() => double.fleet.list()[0]?.state === "starting");
  await nextTurn();
  const stopped = double.fleet.vm("a").stop(true);
  await stopped;
  expect(claims.held).toEqual([]);
  come();
  await up;
  expect([claims.held, double.fleet.vm("a").state, double.script.alive]).toEqual([[], "off", 0]);
});
