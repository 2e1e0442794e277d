/** Forwards of VMs: what their Hyperfile says, what was changed at run time, and what of it a running VM follows. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { FleetDouble } from "../../../test/thread-double.js";
import { HostScheduler } from "../../cpu/node/host-scheduler.js";
import { formatForward, parseForward } from "../../hyperfile/net-text.js";
import type { NicReport, TakeClaim } from "../host-claim.js";

let scheduler: HostScheduler;
let double: FleetDouble;
/** Ports of the host that lead to somebody. */
let taken: Set<number>;
/** What claims wait for. */
let before: () => Promise<void>;

/** Networks without frames: ports that are taken, and what leads to which card. */
const take: TakeClaim = async ({ nics }) => {
  await before();
  const cards: NicReport[] = [];
  const release = () => {
    for (const { forwards } of cards.splice(0)) for (const { hostPort } of forwards) taken.delete(hostPort);
  };
  const network = {
    cables: undefined,
    report: () => cards,
    addForward: async (card: number, forward: NicReport["forwards"][number]) => {
      const hostPort = forward.hostPort === 0 ? 40_000 + taken.size : forward.hostPort;
      if (taken.has(hostPort))
        throw Object.assign(new Error(`port ${hostPort} is taken`), { code: "E_TAKEN" });
      taken.add(hostPort);
      const made = { ...forward, hostPort };
      cards[card] = { ...cards[card]!, forwards: [...cards[card]!.forwards, made] };
      return made;
    },
    removeForward: async (card: number, forward: NicReport["forwards"][number]) => {
      taken.delete(forward.hostPort);
      const forwards = cards[card]!.forwards.filter(({ hostPort }) => hostPort !== forward.hostPort);
      cards[card] = { ...cards[card]!, forwards };
    },
  };
  for (const [at, { network: net, mac, address, forwards }] of nics.entries()) {
    cards.push({ network: net?.name, mac, address, forwards: [], counters: {} });
    for (const forward of forwards) await network.addForward(at, forward);
  }
  return { network, share: () => Promise.reject(new Error("nobody clones")), release };
};

beforeEach(async () => {
  taken = new Set();
  before = async () => {};
  scheduler = await HostScheduler.start({ cores: 2 });
  double = new FleetDouble(scheduler, undefined, take);
});
afterEach(async () => {
  await double.close();
  await scheduler.close();
});

async function up(forwards: string, more = "", isRestart = false, second = ""): Promise<string[]> {
  const text = `name: shop
networks: { lan: , other: }
pools: { front: }
vms:
  a: { kernel: embedded, ${more} nics: [{ network: lan, forwards: [${forwards}] }, { network: other, forwards: [${second}] }] }
`;
  const { actions } = await double.fleet.up({ text, file: "Hyperfile", folder: "/shop" }, isRestart);
  return actions.map(({ action, detail = "" }) => `${action} ${detail}`.trim());
}
const forward = (text: string) => parseForward(text)!;
const vm = () => double.fleet.vm("a");
const shown = (): string[][] =>
  vm()
    .nics()
    .map(({ forwards }) => forwards.map(formatForward));
/** Whether what the specification says is what there is, but for ports that were the host's choice. */
function expectAligned(): void {
  const said = vm().spec.nics.map(({ forwards }) => forwards);
  expect(
    vm()
      .nics()
      .map(({ forwards }) => forwards.length),
  ).toEqual(said.map(({ length }) => length));
  for (const [card, { forwards }] of vm().nics().entries())
    for (const [at, { hostPort, guestPort }] of forwards.entries()) {
      expect(guestPort).toBe(said[card]![at]!.guestPort);
      if (said[card]![at]!.hostPort !== 0) expect(hostPort).toBe(said[card]![at]!.hostPort);
    }
}

it("what was changed at run time is left alone by a file that is unchanged, and by its later lives", async () => {
  expect(await up('"8022:22", "0:80"')).toEqual(["started"]);
  const startedAt = vm().startedAt;
  await vm().addForward(forward("9000:90"));
  await vm().addForward(forward("udp:9001:91"), 1);
  await vm().removeForward(forward("8022:22"));
  expect(await up('"8022:22", "0:80"')).toEqual(["unchanged"]);
  const now = [["127.0.0.1:40001:80", "127.0.0.1:9000:90"], ["udp:127.0.0.1:9001:91"]];
  expect([shown(), vm().startedAt]).toEqual([now, startedAt]);
  // Off and on, by itself and by the file.
  await vm().stop(true);
  expect(await up('"8022:22", "0:80"')).toEqual(["started"]);
  expect(shown().map((each) => each.map((text) => text.replace(/:4\d{4}:/, ":40001:")))).toEqual(now);
  // And where it is another one, in another pool.
  await vm().stop(true);
  expect(await up('"8022:22", "0:80"', "pool: front,")).toEqual(["started"]);
  expect(await up('"8022:22", "0:80"', "pool: front,")).toEqual(["unchanged"]);
  expect(shown().map((each) => each.map((text) => text.replace(/:4\d{4}:/, ":40001:")))).toEqual(now);
  expect(await up('"8022:22", "0:80"', "pool: front, group: g,", true)).toEqual(["restarted group"]);
  expect(shown()[0]).toHaveLength(2);
  expectAligned();
});

it("a running VM follows a file whose forwards have changed, without a start", async () => {
  await up('"8022:22", "8080:80", "0:443"');
  const { startedAt } = vm();
  await vm().addForward(forward("9000:90"));
  // One goes, one comes, one has another port, one was there by hand already.
  const next = '"8081:80", "0:443", "9000:90", "127.0.0.2:8022:23"';
  expect(await up(next, "", false, '"7000:70"')).toEqual(["changed forwards"]);
  expect(shown().map((each) => each.toSorted())).toEqual([
    ["127.0.0.1:40002:443", "127.0.0.1:8081:80", "127.0.0.1:9000:90", "127.0.0.2:8022:23"],
    ["127.0.0.1:7000:70"],
  ]);
  expect(await up(next, "", false, '"7000:70"')).toEqual(["unchanged"]);
  // What the file has taken over goes with it.
  expect(await up("")).toEqual(["changed forwards"]);
  expect([shown(), taken.size, vm().startedAt, vm().state]).toEqual([[[], []], 0, startedAt, "running"]);
  expectAligned();
});

it("together with what can be changed, and beside what needs a start", async () => {
  await up('"8022:22"');
  expect(await up('"8023:22"', "cpu: { shares: 2000 },")).toEqual(["changed cpu, forwards"]);
  expect(await up('"8024:22"', "cpu: { shares: 2000 }, group: g,")).toEqual([
    "changed forwards",
    "needs restart group",
  ]);
  expect(shown()[0]).toEqual(["127.0.0.1:8024:22"]);
  await vm().addForward(forward("9000:90"));
  expect(await up('"8025:22"', "cpu: { shares: 2000 }, group: g,", true)).toEqual([
    "changed forwards",
    "restarted group",
  ]);
  expect(shown()[0]).toEqual(["127.0.0.1:8025:22", "127.0.0.1:9000:90"]);
});

it("a port that can't be had is told, and had the next time; a file that is put right again is so", async () => {
  await up('"8022:22"');
  taken.add(8080);
  expect(await up('"8080:22", "8081:81"')).toEqual(["failed port 8080 is taken"]);
  expect(shown()[0]).toEqual([]);
  expect(await up('"8022:22"')).toEqual(["changed forwards"]);
  expect(shown()[0]).toEqual(["127.0.0.1:8022:22"]);
  expect(await up('"8080:22", "8081:81"')).toEqual(["failed port 8080 is taken"]);
  taken.delete(8080);
  expect(await up('"8080:22", "8081:81"')).toEqual(["changed forwards"]);
  expect(shown()[0]).toEqual(["127.0.0.1:8080:22", "127.0.0.1:8081:81"]);
  expect(await up('"8080:22", "8081:81"')).toEqual(["unchanged"]);
});

it("changes that come at once, or while the VM comes up, are made one after another", async () => {
  let come = () => {};
  before = () => new Promise((resolve) => (come = resolve));
  const first = up('"8022:22", "8023:23"');
  await expect.poll(() => double.fleet.list()[0]?.state).toBe("starting");
  const adding = vm().addForward(forward("9000:90"));
  await new Promise((resolve) => setTimeout(resolve, 20));
  come();
  expect(formatForward(await adding)).toBe("127.0.0.1:9000:90");
  await first;
  await Promise.all([
    vm().removeForward(forward("8022:22")),
    vm().removeForward(forward("9000:90")),
    vm().addForward(forward("0:91")),
    vm().removeForward(forward("8023:23")),
  ]);
  expect(shown()[0]).toEqual([expect.stringMatching(/:91$/)]);
  expectAligned();
});
