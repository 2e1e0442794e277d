/** The networks of a daemon's VMs without threads and machines: cards by their cables, and what their policies mean together. */

import { MessageChannel } from "node:worker_threads";
import {
  type CaptureHandle,
  type CaptureListener,
  type CaptureRequest,
  DEFAULT_NET,
  DEFAULT_NET_POOL,
  type NetAllotment,
  type NetCommand,
  type NetPolicySpec,
  parseRule,
  readHyperfile,
  type VmSpec,
} from "@hyperfile/broker";
import { CableMemory, CableToSwitch, hostTimers, policyOf, rulesOf, SlotBell } from "@hyperfile/devices/net";
import { guestKinds } from "@hyperfile/machine/guests";
import { afterEach, describe, expect, it, vi } from "vitest";
import { dnsQuery, framed, unframed } from "../../../../../packages/devices/test/dns-messages.js";
import { NetGuest } from "../../../../../packages/devices/test/net-guest.js";
import { readPcapng } from "../../../../../packages/devices/test/pcapng-reader.js";
import { tcpEnd } from "../../../../../packages/devices/test/tcp-guest.js";
import { hearCapture } from "./capture-port.js";
import type { NetworkNews, NetworkRequests } from "./messages.js";
import { NetworkServer } from "./network-server.js";

const policy = (allow: string[] = [], deny: string[] = [], restrict = false): NetPolicySpec => ({
  allow: allow.map((text) => parseRule(text)!),
  deny: deny.map((text) => parseRule(text)!),
  restrict,
});
const none = policy();

describe("policies of a card and its network", () => {
  type Case = [what: string, card: NetPolicySpec, network: NetPolicySpec, place: string, may: boolean];
  it.each<Case>([
    ["what is public, by default", none, none, "1.1.1.1:443", true],
    ["the host's loopback, by default", none, none, "127.0.0.1:80", false],
    ["a network of the host's", none, none, "198.18.7.20:80", false],
    ["metadata of clouds", none, none, "169.254.169.254:80", false],
    ["the same, mapped", none, none, "::ffff:169.254.169.254:80", false],
    ["the same by NAT64", none, none, "64:ff9b::a9fe:a9fe:80", false],
    ["what the card allows", policy(["127.0.0.1:80"]), none, "127.0.0.1:80", true],
    ["another port of that", policy(["127.0.0.1:80"]), none, "127.0.0.1:81", false],
    ["what the network allows", none, policy(["10.0.0.0/8"]), "10.1.2.3:5", true],
    [
      "what the network denies and the card allows",
      policy(["10.0.0.0/8"]),
      policy([], ["10.1.0.0/16"]),
      "10.1.2.3:5",
      false,
    ],
    [
      "what the card denies and the network allows",
      policy([], ["10.1.0.0/16"]),
      policy(["10.0.0.0/8"]),
      "10.1.2.3:5",
      false,
    ],
    ["the rest of what is allowed", policy([], ["10.1.0.0/16"]), policy(["10.0.0.0/8"]), "10.2.2.3:5", true],
    ["what is public, restricted by the card", policy([], [], true), none, "1.1.1.1:443", false],
    ["what is public, restricted by the network", none, policy([], [], true), "1.1.1.1:443", false],
    [
      "what the card allows in a restricted network",
      policy(["1.1.1.1:443"]),
      policy([], [], true),
      "1.1.1.1:443",
      true,
    ],
    ["everything denied", policy(["1.1.1.1"], ["*"]), none, "1.1.1.1:443", false],
    [
      "a range denied, by a mapped address of it",
      policy(["*"], ["10.0.0.0/8"]),
      none,
      "::ffff:10.0.0.1:5",
      false,
    ],
    ["a range denied, by 6to4", policy(["*"], ["10.0.0.0/8"]), none, "2002:a00:1::5:5", false],
    ["a range allowed, by a mapped address of it", policy(["10.0.0.0/8"]), none, "::ffff:10.0.0.1:5", false],
    ["IPv6 allowed", policy(["[fd00::1]:80-90"]), none, "fd00::1:85", true],
    ["IPv6 denied", policy([], ["2606::/16"]), none, "2606:4700::1111:80", false],
    ["by TCP, what is allowed by UDP", policy(["udp:10.0.0.1"]), none, "10.0.0.1:5", false],
  ])("%s", (_what, card, network, place, may) => {
    const judge = policyOf(rulesOf(card, network), () => ["198.18.7.9/24"]);
    const [address, port] = [place.slice(0, place.lastIndexOf(":")), Number(place.split(":").at(-1))];
    const question = {
      protocol: "tcp",
      direction: "out",
      guest: "10.0.2.15",
      address,
      port,
      names: [],
    } as const;
    expect(judge(question)).toBe(may);
  });

  it.each<[what: string, card: NetPolicySpec, names: string[], address: string, may: boolean]>([
    ["a name that is allowed", policy(["*.example.org"], [], true), ["a.example.org"], "1.1.1.1", true],
    ["another name", policy(["*.example.org"], [], true), ["a.example.com"], "1.1.1.1", false],
    [
      "the end of a name that only looks like it",
      policy(["*.example.org"], [], true),
      ["badexample.org"],
      "1.1.1.1",
      false,
    ],
    ["an address without a name", policy(["example.org"], [], true), [], "1.1.1.1", false],
    ["a name that is denied", policy([], ["ads.example.org"]), ["ads.example.org"], "1.1.1.1", false],
    [
      "a name that is denied, among others",
      policy(["*"], ["ads.example.org"]),
      ["x.org", "ads.example.org"],
      "1.1.1.1",
      false,
    ],
    ["a public name that now leads to the loopback", none, ["example.org"], "127.0.0.1", false],
    ["a public name that now leads to a private network", none, ["example.org"], "192.168.1.1", false],
  ])("%s", (_what, card, names, address, may) => {
    const judge = policyOf(rulesOf(card, none), () => []);
    const question = {
      protocol: "tcp",
      direction: "out",
      guest: "10.0.2.15",
      address,
      port: 80,
      names,
    } as const;
    expect(judge(question)).toBe(may);
  });

  it.each<[what: string, card: NetPolicySpec, network: NetPolicySpec, caller: string, may: boolean]>([
    ["by default", none, none, "203.0.113.9", true],
    ["of a card that reaches nothing", policy([], [], true), none, "127.0.0.1", true],
    ["who is denied", policy([], ["in:203.0.113.0/24"]), none, "203.0.113.9", false],
    ["who is denied, mapped", policy([], ["in:203.0.113.0/24"]), none, "::ffff:203.0.113.9", false],
    ["who is allowed", policy(["in:192.168.0.0/16"]), none, "192.168.3.4", true],
    ["others than who is allowed", policy(["in:192.168.0.0/16"]), none, "203.0.113.9", false],
    ["others than whom the network allows", none, policy(["in:192.168.0.0/16"]), "203.0.113.9", false],
    ["who is denied and allowed", policy(["in:*"], ["in:127.0.0.1"]), none, "127.0.0.1", false],
    ["at another port than that which is allowed", policy(["in:*:22"]), none, "127.0.0.1", false],
    ["by rules for what the guest reaches", policy([], ["*"]), none, "127.0.0.1", true],
  ])("callers: %s", (_what, card, network, address, may) => {
    const judge = policyOf(rulesOf(card, network), () => []);
    const question = {
      protocol: "tcp",
      direction: "in",
      guest: "10.0.2.15",
      address,
      port: 80,
      names: [],
    } as const;
    expect(judge(question)).toBe(may);
  });
});

// -- the server

const vmsOf = async (text: string): Promise<readonly VmSpec[]> =>
  (await readHyperfile(text, "h.yaml", { cores: 1, memoryBytes: 2 ** 31, guests: guestKinds })).vms;

/** A server with the cards of a file's VMs, each a guest by hand behind its cable. */
class World {
  readonly bell = SlotBell.allocate(64);
  readonly told: string[] = [];
  private readonly replies = new Map<number, (news: NetworkNews) => void>();
  private next = 0;
  private readonly server = new NetworkServer({ bell: this.bell.buffer }, (news) => {
    if (news.kind === "refused") this.told.push(`${news.vm}: ${news.what}`);
    else this.replies.get(news.id)!(news);
  });
  private slots = 0;
  private readonly pools = new Set<string>();
  /** What each project may have. */
  limits: Partial<NetAllotment> = {};

  rates(command: NetCommand): Promise<unknown> {
    return this.call("rates", { commands: [command] });
  }

  async call<Method extends keyof NetworkRequests>(
    method: Method,
    args: NetworkRequests[Method]["args"],
  ): Promise<unknown> {
    const id = this.next++;
    const answered = new Promise<NetworkNews>((resolve) => this.replies.set(id, resolve));
    await this.server.answer({ id, method, args });
    const news = await answered;
    if (news.kind === "refusal") throw new Error(news.message);
    return news.kind === "reply" ? news.result : undefined;
  }

  /** Connects a VM's only card. */
  async connect({ name: vm, nics: [nic] }: VmSpec, project = "p") {
    const slot = this.slots++;
    const memory = CableMemory.allocate();
    const { network, mac, address, policy: own } = nic!;
    const request = {
      slot,
      memory: memory.buffer,
      project,
      network: network!,
      vm,
      mac,
      address,
      policy: own,
    };
    const allotment = DEFAULT_NET;
    if (!this.pools.has(project)) {
      this.pools.add(project);
      const pool = { ...DEFAULT_NET_POOL, ...this.limits };
      await this.rates({ kind: "pool", name: project, parent: "root", allotment: pool });
    }
    await this.rates({ kind: "add", name: vm, pool: project, slot: 0, allotment }).catch(() => {});
    await this.call("connect", request);
    const cable = new CableToSwitch(memory, this.bell, slot);
    const number = Number.parseInt(mac.replaceAll(":", ""), 16);
    const guest = new NetGuest(cable, number, address, "fd00::15");
    guest.announce();
    return { slot, guest, memory, address: address! };
  }

  async end(): Promise<void> {
    for (let slot = 0; slot < this.slots; slot++) await this.call("disconnect", { slot });
  }
}

let world: World | undefined;
afterEach(async () => {
  await world?.end();
  world = undefined;
});
const begin = (): World => {
  world = new World();
  return world;
};
const vms = `
  a: { kernel: embedded, nics: [lan] }
  b: { kernel: embedded, nics: [lan] }
  c: { kernel: embedded, nics: [other] }
`;
const data = new TextEncoder().encode("hello");
/** A guest sends to another one, as if it knew where that is. */
function reach(from: { guest: NetGuest }, to: { guest: NetGuest; address: string }): void {
  const { guest } = from;
  const echo = { type: 8, code: 0, body: data };
  guest.icmpTo(to.guest.mac, to.address, echo);
}
const got = (guest: NetGuest): number => guest.take().filter(({ icmp }) => icmp?.type === 8).length;

it("cards of one network reach each other; those of others do not, and of other projects neither", async () => {
  const here = begin();
  const [a, b, c] = await vmsOf(
    `networks: { lan: { kind: isolated }, other: { kind: isolated } }\nvms:${vms}`,
  );
  const [one, two, three] = [await here.connect(a!), await here.connect(b!), await here.connect(c!)];
  const foreign = await here.connect(a!, "q");
  await vi.waitFor(() => {
    reach(one, two);
    expect(got(two.guest)).toBeGreaterThan(0);
  });
  for (const other of [three, foreign]) for (let count = 0; count < 3; count++) reach(one, other);
  await vi.waitFor(() => {
    reach(one, two);
    expect(got(two.guest)).toBeGreaterThan(0);
  });
  expect([got(three.guest), got(foreign.guest)]).toEqual([0, 0]);
});

it("a guest asks for the names of others by TCP, one after the other on one connection", async () => {
  const here = begin();
  const [a, b] = await vmsOf(`networks: { lan: { kind: isolated }, other: }\nvms:${vms}`);
  const [one, two] = [await here.connect(a!), await here.connect(b!)];
  const { tcp, take } = tcpEnd(one.guest, hostTimers, "10.0.2.3", 53, 4000);
  one.guest.end.onFrame = () => {
    for (const { packet } of one.guest.take()) take(packet);
  };
  tcp.connect();
  for (const [id, name] of ["b.internal", "a", "nobody.internal"].entries())
    tcp.write(framed(dnsQuery(name, 1, id)));
  tcp.end();
  await vi.waitFor(() => expect(tcp.isFinished).toBe(true), 20_000);
  const answers = unframed(Uint8Array.from(Buffer.concat(tcp.received)));
  const addressOf = (answer: Uint8Array): string | number =>
    answer[7] === 0 ? answer[3]! & 15 : answer.subarray(-4).join(".");
  expect(answers.map((answer) => [answer[1], addressOf(answer)])).toEqual([
    [0, two.address],
    [1, one.address],
    [2, 3],
  ]);
});

/** A capture by the server, taken at once, and how it ends. */
async function captured(here: World, request: CaptureRequest) {
  const { port1, port2 } = new MessageChannel();
  const parts: Uint8Array[] = [];
  let handle!: CaptureHandle;
  const ended = new Promise<string>((resolve) => {
    const listener: CaptureListener = {
      blocks: (bytes) => {
        parts.push(bytes);
        handle.took(bytes.length);
      },
      ended: resolve,
      failed: (why) => resolve(`failed: ${why}`),
    };
    handle = hearCapture(port1, listener, () => "cut off");
  });
  await here.call("capture", { request, port: port2 });
  return { handle, ended, read: () => readPcapng(Buffer.concat(parts)), parts };
}

it("a network is captured: each frame once, or what one VM sends and gets, until all VMs are gone", async () => {
  const here = begin();
  const [a, b] = await vmsOf(`networks: { lan: { kind: isolated }, other: }\nvms:${vms}`);
  const [one, two] = [await here.connect(a!), await here.connect(b!)];
  const place = { project: "p", network: "lan" };
  const all = await captured(here, place);
  const ofB = await captured(here, { ...place, vm: "b", snapLength: 20 });
  const cut = await captured(here, place);
  cut.handle.close();
  expect(await captured(here, { ...place, project: "q" }).catch(({ message }) => message)).toBe(
    "no VM of network lan is up any more",
  );
  for (let count = 0; count < 5; count++) reach(one, two);
  await vi.waitFor(() => expect(got(two.guest)).toBe(5));
  reach(two, { guest: two.guest, address: "10.0.2.99" });
  ofB.handle.end();
  expect(await ofB.ended).toBe("asked");
  for (const { slot } of [one, two]) await here.call("disconnect", { slot });
  expect(await all.ended).toBe("network");

  const echoes = all.read().packets.filter(({ bytes }) => bytes[23] === 1 && bytes[34] === 8);
  expect(echoes.filter(({ on }) => on === "a").length).toBe(5);
  expect(all.read().packets.every(({ direction }) => direction === "outbound")).toBe(true);
  expect(all.read().statistics.map(({ dropped }) => dropped)).toEqual(all.read().interfaces.map(() => 0));
  const own = ofB.read();
  expect(own.interfaces).toEqual([{ name: "b", link: 1, snapLength: 20, resolution: 9 }]);
  // IPv4 from a's address.
  const source = [...echoes[0]!.bytes.subarray(6, 14)].join();
  const inbound = own.packets.filter(({ bytes }) => [...bytes.subarray(6, 14)].join() === source);
  expect(inbound.every(({ direction }) => direction === "inbound")).toBe(true);
  expect([inbound.length, inbound[0]!.bytes.length]).toEqual([5, 20]);
  expect(cut.parts.length).toBeLessThanOrEqual(1);
});

it("a capture that nobody takes drops frames and tells how many; the network goes on, and so does the capture", async () => {
  const here = begin();
  const [a, b] = await vmsOf(`networks: { lan: { kind: isolated }, other: }\nvms:${vms}`);
  const [one, two] = [await here.connect(a!), await here.connect(b!)];
  const { port1, port2 } = new MessageChannel();
  const parts: Uint8Array[] = [];
  let counts = { frames: 0, dropped: 0 };
  let handle!: CaptureHandle;
  const over = new Promise<string>((resolve) => {
    handle = hearCapture(
      port1,
      {
        blocks: (bytes, now) => {
          parts.push(bytes);
          counts = now;
        },
        ended: resolve,
        failed: resolve,
      },
      () => "cut off",
    );
  });
  await here.call("capture", { request: { project: "p", network: "lan" }, port: port2 });
  const echo = { type: 8, code: 0, body: new Uint8Array(1400) };
  let arrived = 0;
  const send = async (frames: number): Promise<void> => {
    const due = arrived + frames;
    for (let sent = 0; sent < frames; ) {
      for (; sent < frames && one.guest.link.isFull !== true; sent++)
        one.guest.icmpTo(two.guest.mac, two.address, echo);
      await new Promise((resolve) => setTimeout(resolve, 1));
      arrived += got(two.guest);
    }
    await vi.waitFor(() => {
      arrived += got(two.guest);
      expect(arrived).toBe(due);
    });
  };
  // Almost 6 MB, of which 4 MiB may wait.
  await send(4000);
  await vi.waitFor(() =>
    expect(parts.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(4_000_000),
  );
  const kept = parts.reduce((sum, { length }) => sum + length, 0);
  expect(kept).toBeLessThanOrEqual(4 << 20);
  handle.took(kept);
  const before = counts.frames;
  await vi.waitFor(async () => {
    await send(10);
    expect(counts.frames).toBeGreaterThan(before);
  });
  handle.end();
  expect(await over).toBe("asked");
  const { packets, statistics } = readPcapng(Buffer.concat(parts));
  const ofA = packets.filter(({ on }) => on === "a");
  const missing = ofA.reduce((sum, each) => sum + each.missing, 0);
  expect(missing).toBeGreaterThan(1000);
  expect(ofA.length + missing).toBeGreaterThanOrEqual(4010);
  expect(statistics.find(({ on }) => on === "a")).toEqual({
    ...{ on: "a", received: ofA.length + missing, dropped: missing },
  });
  expect(counts.dropped).toBeGreaterThanOrEqual(missing);
});

it("what a card may not reach is counted, and told once", async () => {
  const here = begin();
  const [a] = await vmsOf(`networks: { lan: , other: }\nvms:${vms}`);
  const card = await here.connect(a!);
  await vi.waitFor(() => {
    card.guest.udp("169.254.169.254", 80, data);
    card.guest.udp("10.0.2.2", 99, data);
    expect(card.memory.figures[5]).toBeGreaterThanOrEqual(6);
  });
  expect(here.told).toEqual([
    'a: it may not reach udp 169.254.169.254:80: policy: { allow: ["169.254.169.254:80"] } of its card lets it',
    'a: it may not reach udp 127.0.0.1:99: policy: { allow: ["127.0.0.1:99"] } of its card lets it',
  ]);
});

it("a card's own address is the only one that goes on, in frames and in packets", async () => {
  const here = begin();
  const [a, b] = await vmsOf(`networks: { lan: { policy: { allow: ["127.0.0.1"] } }, other: }\nvms:${vms}`);
  const [one, two] = [await here.connect(a!), await here.connect(b!)];
  // As a clone that still has its original's address, or one that lies.
  const liar = new NetGuest({ connect: () => one.guest.link }, two.guest.mac, two.address);
  await vi.waitFor(() => {
    liar.icmpTo(two.guest.mac, two.address, { type: 8, code: 0, body: data });
    expect(one.memory.figures[4]).toBeGreaterThan(3);
  });
  expect(got(two.guest)).toBe(0);
});

it("ports that are taken, networks that have changed, and addresses that others have are refused", async () => {
  const here = begin();
  const text = (more: string) => `networks: { lan: { ${more} }, other: }\nvms:${vms}`;
  const [a, b] = await vmsOf(text("subnet: 10.0.2.0/24"));
  const one = await here.connect(a!);
  const forward = { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 0, guestPort: 7 } as const;
  const hostPort = (await here.call("forward", { slot: one.slot, forward })) as number;
  expect(hostPort).toBeGreaterThan(0);
  const same = { slot: one.slot, forward: { ...forward, hostPort } };
  await expect(here.call("forward", same)).rejects.toThrow(
    `port ${hostPort} of 127.0.0.1 is taken: choose another one, or 0 for any`,
  );
  await here.call("unforward", same);
  expect(await here.call("forward", same)).toBe(hostPort);
  const [, changed] = await vmsOf(text("subnet: 10.0.2.0/24, dhcp: false"));
  await expect(here.connect(changed!)).rejects.toThrow("network lan was changed while VMs are in it");
  const twin = { ...b!, nics: b!.nics.map((nic) => ({ ...nic, address: one.address })) };
  await expect(here.connect(twin)).rejects.toThrow(`${one.address} can't be given to`);
  await here.call("disconnect", { slot: one.slot });
  expect((await here.connect(twin)).address).toBe(one.address);
});

it.each(["send", "receive"] as const)(
  "a limit holds what a card may %s, and nothing when it is taken away",
  async (direction) => {
    const here = begin();
    // A ring of 256 KiB may go at once: that is two thirds of a second's worth.
    const limit = 400_000;
    here.limits = { [direction]: { reservation: 0, limit } };
    const [a, b] = await vmsOf(`networks: { lan: { kind: isolated }, other: }\nvms:${vms}`);
    const [one, two] = [await here.connect(a!), await here.connect(b!)];
    const echo = { type: 8, code: 0, body: new Uint8Array(1400) };
    // Both VMs are of one project, which may have so much.
    const untilCame = async (least: number): Promise<number> => {
      let frames = 0;
      while (frames < least) {
        for (let count = 0; count < 20 && one.guest.link.isFull !== true; count++)
          one.guest.icmpTo(two.guest.mac, two.address, echo);
        await new Promise((resolve) => setTimeout(resolve, 5));
        frames += got(two.guest);
      }
      return frames * 1442;
    };
    await untilCame(200);
    const began = performance.now();
    const held = await untilCame(400);
    // What may be caught up, and a turn that began before.
    expect(held).toBeLessThan((limit * (performance.now() - began + 200)) / 1000);
    await here.rates({
      ...{ kind: "configure", name: "p", of: "pool" },
      change: { [direction]: { limit: Infinity } },
    } as NetCommand);
    // Four thousand frames are fourteen seconds of the limit.
    const free = performance.now();
    await untilCame(4000);
    expect(performance.now() - free).toBeLessThan(10_000);
  },
);
