/** Networks with guests by hand: gateways that come and go, cards at other switches, and cards that wait for turns. */
import { describe, expect, it } from "vitest";
import { dnsQuery } from "../../../test/dns-messages.js";
import { FakeOutside } from "../../../test/fake-outside.js";
import { plainFrame, RecordingEnd } from "../../../test/net-ends.js";
import { NetGuest } from "../../../test/net-guest.js";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { BROADCAST_MAC, parseMac } from "../addresses.js";
import { allFrames } from "../frame.js";
import { tcpFlags, tcpFrame } from "../frames/tcp.js";
import type { PolicyQuestion } from "../nat/policy.js";
import { Lan, type LanSpec } from "./lan.js";
import type { LanCardOptions } from "./lan-card.js";
import { usualPolicy } from "./place-policy.js";
import type { LanDirection, PluggedCard } from "./plugged-card.js";

const spec: LanSpec = {
  ...{ name: "lan", kind: "nat", subnet: "10.0.2.0/24", subnet6: "fd00::/64", dhcp: true },
  policy: usualPolicy,
};
const data = new TextEncoder().encode("hello");

/** A network with cards that nothing holds. */
function world(options: { outside?: FakeOutside; spec?: Partial<LanSpec> } = {}) {
  const timers = new VirtualTimers();
  const refused: string[] = [];
  const lan = new Lan(
    { ...spec, ...options.spec },
    {
      timers,
      ...(options.outside === undefined ? {} : { outside: options.outside }),
      refused: (card, question: PolicyQuestion) =>
        void refused.push(`${card.options.vm} ${card.tellOnce(question)}`),
    },
  );
  const card = (vm: string, place: number): LanCardOptions => ({
    ...{ vm, mac: `52:54:00:00:00:${place}`, address: `10.0.2.${place}`, policy: usualPolicy },
  });
  const free = { isFree: () => true, wait: () => expect.unreachable() };
  const guest = (vm: string, place: number) => {
    const options = card(vm, place);
    const plugged = lan.plug(options, free);
    const by = new NetGuest(plugged, parseMac(options.mac)!, options.address, "fd00::99");
    by.announce();
    by.take();
    return { ...options, plugged, by };
  };
  timers.advance(0);
  return { timers, lan, guest, card, refused };
}

/** What a name server says of a name: addresses in the answer's last bytes, or its code. */
const asked = (by: NetGuest, name: string): string => {
  by.udp("10.0.2.3", 53, dnsQuery(name, 1));
  const answer = by.take().find(({ udp }) => udp?.sourcePort === 53)?.udp?.data;
  if (answer === undefined) return "nothing";
  return answer[7] === 0 ? `code ${answer[3]! & 15}` : answer.subarray(-4).join(".");
};
const syn = (by: NetGuest, to: string): void =>
  by.link.send(
    tcpFrame(
      by.to(to),
      {
        ...{ sourcePort: 4000, destinationPort: 80, sequence: 7, acknowledgement: 0, flags: tcpFlags.syn },
        ...{ window: 1000, options: {}, data: [] },
      },
      Infinity,
    ),
  );

describe("a gateway", () => {
  it("leads elsewhere from one moment on: what was open is broken off, names and addresses stay", () => {
    const [first, second] = [new FakeOutside(), new FakeOutside()];
    const { lan, guest } = world({ outside: first });
    const a = guest("a", 15);
    guest("b", 16);
    syn(a.by, "1.1.1.1");
    first.connections[0]!.events.opened();
    a.by.take();
    lan.setOutside(second);
    expect(first.connections[0]!.log).toEqual(["reset"]);
    a.by.announce();
    expect([asked(a.by, "b"), asked(a.by, "b.internal"), asked(a.by, "c.internal")]).toEqual([
      "10.0.2.16",
      "10.0.2.16",
      "code 3",
    ]);
    syn(a.by, "1.1.1.1");
    expect([first.connections.length, second.connections.length]).toEqual([1, 1]);
  });

  it("may be nowhere: machines reach each other all the same, and get one when it comes", () => {
    const { lan, guest, timers } = world();
    const [a, b] = [guest("a", 15), guest("b", 16)];
    expect(asked(a.by, "b")).toBe("nothing");
    a.by.icmpTo(b.by.mac, "10.0.2.16", { type: 8, code: 0, body: data });
    expect(b.by.take().filter(({ icmp }) => icmp?.type === 8)).toHaveLength(1);
    lan.setOutside(new FakeOutside());
    timers.advance(0);
    a.by.announce();
    expect(asked(a.by, "b")).toBe("10.0.2.16");
    lan.setOutside(undefined);
    expect(asked(a.by, "b")).toBe("nothing");
  });

  it("refuses by the policy of the card that asks, and tells it once", () => {
    const outside = new FakeOutside();
    const { guest, refused } = world({ outside });
    const a = guest("a", 15);
    for (let count = 0; count < 3; count++) syn(a.by, "169.254.169.254");
    expect(outside.connections).toEqual([]);
    expect(refused).toEqual([
      'a it may not reach tcp 169.254.169.254:80: policy: { allow: ["169.254.169.254:80"] } of its card lets it',
      "a undefined",
      "a undefined",
    ]);
    expect(a.plugged.figures().refused).toBe(3);
  });

  it("knows cards at other switches: their names, their addresses, what they may reach; and forgets them", () => {
    const outside = new FakeOutside();
    const { lan, guest, timers } = world({ outside });
    const a = guest("a", 15);
    const end = new RecordingEnd(allFrames);
    const port = lan.switch.connect(end, { isIsolated: true });
    const there = { vm: "there", mac: "52:54:00:00:00:77", address: "10.0.2.77" };
    lan.setNeighbours("t", [there, { ...there, vm: "a", mac: "52:54:00:00:00:78" }, { ...a }]);
    expect([asked(a.by, "there"), asked(a.by, "a")]).toEqual(["10.0.2.77", "10.0.2.15"]);
    const foreign = new NetGuest({ connect: () => port }, parseMac(there.mac)!, there.address);
    foreign.announce();
    syn(foreign, "1.1.1.1");
    syn(foreign, "169.254.169.254");
    expect(outside.connections.map(({ address }) => address)).toEqual(["1.1.1.1"]);
    lan.setNeighbours("t", []);
    expect([asked(a.by, "there.internal"), asked(a.by, "a")]).toEqual(["code 3", "10.0.2.15"]);
    timers.advance(0);
    expect(outside.connections[0]!.log).toEqual(["reset"]);
  });

  it("lets no card in that has an address of another", () => {
    const { lan, guest, card } = world({ outside: new FakeOutside() });
    guest("a", 15);
    expect(() => lan.connect(card("b", 15), new RecordingEnd())).toThrow(
      "another card there has its address",
    );
    expect(() => lan.connect({ ...card("b", 16), address: "10.0.2.15" }, new RecordingEnd())).toThrow(
      "use a free address of the network",
    );
    expect(() => lan.connect({ ...card("b", 16), mac: "none" }, new RecordingEnd())).toThrow(
      "no MAC address",
    );
    // Nothing of it is left.
    guest("b", 16);
  });
});

/** A card that a limit holds in some directions. */
function held(...directions: LanDirection[]) {
  const { lan, timers, card } = world();
  const asked: [LanDirection, number][] = [];
  const limits = new Set(directions);
  const gate = {
    isFree: (direction: LanDirection) => !limits.has(direction),
    wait: (direction: LanDirection, bytes: number) => void asked.push([direction, bytes]),
  };
  const plugged: PluggedCard = lan.plug(card("a", 15), gate);
  const end = new RecordingEnd(allFrames);
  const link = plugged.connect(end);
  const other = new RecordingEnd(allFrames);
  const otherLink = lan.switch.connect(other);
  const mac = parseMac("52:54:00:00:00:15")!;
  return {
    ...{ timers, plugged, end, link, other, asked, limits, lan },
    send: (count: number) => {
      for (let at = 0; at < count; at++) link.send(plainFrame(BROADCAST_MAC, mac, new Uint8Array(986)));
    },
    receive: (count: number) => {
      for (let at = 0; at < count; at++) otherLink.send(plainFrame(mac, 2, new Uint8Array(986)));
    },
  };
}

describe("a card that is held", () => {
  it("sends in turns: what waits beyond a little waits with the guest, and none is lost", () => {
    const card = held("send");
    let [sent, rooms] = [0, 0];
    const go = () => {
      for (; sent < 300 && !card.link.isFull; sent++) card.send(1);
    };
    Object.assign(card.end, {
      drained: () => {
        rooms++;
        go();
      },
    });
    go();
    expect([sent, card.other.got.length]).toEqual([66, 0]);
    expect(card.asked[0]).toEqual(["send", 1000]);
    card.timers.advance(5);
    let bytes = 0;
    while (card.plugged.waiting("send") > 0) bytes += card.plugged.let("send", 3000);
    expect([sent, bytes, card.other.got.length]).toEqual([300, 300_000, 300]);
    expect(rooms).toBeGreaterThan(50);
    // The first ones have waited.
    expect(card.plugged.figures()["wait.sent"]).toBe(66 * 5);
    expect(card.plugged.figures()["frames.sent"]).toBe(300);
  });

  it("gets in turns: so many bytes and the rest of a frame; what the guest has no room for counts as not gone", () => {
    const card = held("receive");
    card.receive(10);
    expect([card.end.got.length, card.asked[0]]).toEqual([0, ["receive", 1000]]);
    expect(card.plugged.let("receive", 2500)).toBe(3000);
    expect(card.plugged.let("receive", 1)).toBe(1000);
    card.end.room = 5;
    expect(card.plugged.let("receive", 4000)).toBe(1000);
    expect(card.plugged.waiting("receive")).toBe(5000);
    card.end.room = 100;
    card.limits.clear();
    card.plugged.look();
    expect([card.end.got.length, card.plugged.waiting("receive")]).toEqual([10, 0]);
  });

  it("sends what waits when the limit is gone", () => {
    const card = held("send");
    card.send(20);
    card.limits.clear();
    card.plugged.look();
    card.send(1);
    expect(card.other.got).toHaveLength(21);
  });

  it("loses what waits when its cable is taken out, and tells its guest", () => {
    const card = held("send");
    card.send(5);
    card.plugged.setUp(false);
    expect([card.link.isUp, card.end.states, card.plugged.waiting("send")]).toEqual([false, [false], 0]);
    card.send(5);
    card.receive(1);
    card.plugged.setUp(true);
    expect([card.plugged.waiting("send"), card.end.got.length]).toEqual([0, 0]);
    card.limits.clear();
    card.send(1);
    card.receive(1);
    expect([card.other.got.length, card.end.got.length]).toEqual([1, 1]);
  });
});

it("a machine that takes another's place has the frames from then on, and what had been open is broken off", () => {
  const outside = new FakeOutside();
  const { guest } = world({ outside });
  const [a, b] = [guest("a", 15), guest("b", 16)];
  syn(a.by, "1.1.1.1");
  outside.connections[0]!.events.opened();
  const next = new RecordingEnd(allFrames);
  const link = a.plugged.connect(next);
  a.by.take();
  b.by.icmpTo(a.by.mac, "10.0.2.15", { type: 8, code: 0, body: data });
  expect([a.by.take().length, next.got.length]).toEqual([0, 1]);
  a.by.link.disconnect();
  expect(outside.connections[0]!.log.at(-1)).toBe("reset");
  link.disconnect();
  a.plugged.disconnect();
  a.plugged.disconnect();
});
