/** Guests of a gateway as its owner knows them: whose an address is, what the policy is asked, and networks that lead nowhere. */
import { describe, expect, test } from "vitest";
import { FakeOutside } from "../../../test/fake-outside.js";
import { NetGuest } from "../../../test/net-guest.js";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { tcpFlags, tcpFrame } from "../frames/tcp.js";
import { Switch } from "../switch/switch.js";
import { noOutside } from "./outside.js";
import type { PolicyQuestion } from "./policy.js";
import { UserNetwork, type UserNetworkOptions } from "./user-network.js";

const [MAC, OTHER] = [0x525400000015, 0x525400000016];
const data = new TextEncoder().encode("hello");

function started(options: Partial<UserNetworkOptions> = {}) {
  const timers = new VirtualTimers();
  const lan = new Switch({ timers });
  const outside = new FakeOutside();
  const net = new UserNetwork({ network: lan, outside, timers, ...options });
  timers.advance(0);
  return { timers, lan, outside, net, guest: new NetGuest(lan, MAC), other: new NetGuest(lan, OTHER) };
}
const syn = (guest: NetGuest, to: string): void =>
  guest.link.send(
    tcpFrame(
      guest.to(to),
      {
        ...{ sourcePort: 4000, destinationPort: 80, sequence: 7, acknowledgement: 0, flags: tcpFlags.syn },
        ...{ window: 1000, options: {}, data: [] },
      },
      Infinity,
    ),
  );

describe("an address that belongs to one guest", () => {
  test("is used by nobody else: what claims to be from it goes nowhere, and takes nothing from its owner", () => {
    const { net, outside, guest, other } = started();
    net.reserve(MAC, "10.0.2.15");
    guest.announce();
    guest.take();
    other.four = "10.0.2.15";
    other.announce();
    other.udp("1.1.1.1", 99, data);
    syn(other, "1.1.1.1");
    expect([outside.sockets.length, outside.connections.length]).toEqual([0, 0]);
    expect(net.counters.foreign).toBe(2);
    guest.udp("1.1.1.1", 99, data);
    outside.sockets[0]!.events.data(data, "1.1.1.1", 99);
    expect([guest.take().length, other.take().length]).toEqual([1, 0]);
  });

  test("is free when the guest has gone; nobody gets one that is taken, or none of the network's", () => {
    const { net, outside, other } = started();
    net.reserve(MAC, "10.0.2.15");
    for (const ip of ["10.0.2.15", "10.0.2.2", "10.0.2.3", "10.0.3.1", "fd00::7"])
      expect(() => net.reserve(OTHER, ip), ip).toThrow("use a free address of the network 10.0.2.0/24");
    net.release(MAC);
    net.reserve(OTHER, "10.0.2.15");
    other.four = "10.0.2.15";
    other.udp("1.1.1.1", 99, data);
    expect(outside.sockets).toHaveLength(1);
  });
});

test("the policy is asked with the card that has sent, and tells of it what it refused", () => {
  const asked: PolicyQuestion[] = [];
  const refused: unknown[] = [];
  const { guest, other } = started({
    policy: (question) => {
      asked.push(question);
      return question.mac === MAC;
    },
    onRefused: (each) => refused.push(each),
  });
  other.four = "10.0.2.16";
  for (const each of [guest, other]) {
    each.announce();
    each.udp("1.1.1.1", 99, data);
    syn(each, "1.1.1.1");
  }
  expect(asked.map(({ mac, protocol }) => [mac, protocol])).toEqual([
    [MAC, "udp"],
    [MAC, "tcp"],
    [OTHER, "udp"],
    [OTHER, "tcp"],
  ]);
  const place = { direction: "out", guest: "10.0.2.16", mac: OTHER, address: "1.1.1.1" };
  expect(refused).toEqual([
    { protocol: "udp", ...place, port: 99 },
    { protocol: "tcp", ...place, port: 80 },
  ]);
});

test("what a guest had outside is broken off when it has lost what it knew, and its next word is answered by a reset", () => {
  const { net, outside, guest } = started();
  guest.announce();
  syn(guest, "1.1.1.1");
  outside.connections[0]!.events.opened();
  guest.udp("1.1.1.1", 99, data);
  guest.take();
  net.abandon(MAC);
  expect([outside.connections[0]!.log, outside.sockets[0]!.isOpen]).toEqual([["reset"], false]);
  expect(net.statistics).toMatchObject({ tcpConnections: 0, udpMappings: 0 });
  guest.link.send(
    tcpFrame(
      guest.to("1.1.1.1"),
      {
        ...{ sourcePort: 4000, destinationPort: 80, sequence: 8, acknowledgement: 9, flags: tcpFlags.ack },
        ...{ window: 1000, options: {}, data: [data] },
      },
      Infinity,
    ),
  );
  const [came] = guest.take();
  expect(came!.packet.payload[13]! & tcpFlags.rst).toBe(tcpFlags.rst);
});

describe("a network that leads nowhere", () => {
  test("refuses all that is outside, asks nobody for names, and is nobody's way out", async () => {
    const { outside, net, guest, timers } = started({ isRouter: false });
    guest.announce();
    for (const to of ["1.1.1.1", "10.0.2.2", "2606:4700::1111"]) {
      guest.udp(to, 99, data);
      syn(guest, to);
    }
    expect([outside.sockets.length, outside.connections.length, net.counters.refused]).toEqual([0, 0, 6]);
    guest.end.got.splice(0);
    timers.advance(600_000);
    const advertised = guest.end.got.map(({ bytes }) => bytes).find((bytes) => bytes[54] === 134)!;
    // Lifetime of the router: none.
    expect([advertised[60], advertised[61]]).toEqual([0, 0]);
  });

  test("needs no outside at all", async () => {
    const { guest, net } = started({ isRouter: false, outside: noOutside });
    guest.announce();
    syn(guest, "1.1.1.1");
    guest.udp("1.1.1.1", 99, data);
    expect(await noOutside.query(data)).toBeUndefined();
    expect(net.counters.refused).toBe(2);
  });
});
