import { describe, expect, test } from "vitest";
import { dnsQuery, dnsReply, withOpt } from "../../../test/dns-messages.js";
import { FakeOutside } from "../../../test/fake-outside.js";
import { aboutDestination, GATEWAY_MAC, NetGuest } from "../../../test/net-guest.js";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { formatIp, ipBytes } from "../addresses.js";
import { arpFrame } from "../frames/arp.js";
import { fragmentFrame } from "../frames/fragment.js";
import { icmpFrame } from "../frames/icmp.js";
import { udpFrame } from "../frames/udp.js";
import { Switch } from "../switch/switch.js";
import { policyOf } from "./policy.js";
import { UserNetwork, type UserNetworkOptions } from "./user-network.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const string = (value: Uint8Array | undefined): string => new TextDecoder().decode(value);
const MAC = 0x525400000015;

function started(options: Partial<UserNetworkOptions> = {}) {
  const timers = new VirtualTimers();
  const lan = new Switch({ timers });
  const outside = new FakeOutside();
  const net = new UserNetwork({ network: lan, outside, timers, ...options });
  timers.advance(0);
  const guest = new NetGuest(lan, MAC);
  return { timers, lan, outside, net, guest };
}
/** Lets what was promised happen. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe("the gateway on its network", () => {
  test("says where its addresses are, and nobody else's", () => {
    const { guest } = started();
    const ask = (targetIp: string): void =>
      guest.send(
        arpFrame(0xffffffffffff, {
          operation: 1,
          senderMac: MAC,
          senderIp: guest.four,
          targetMac: 0,
          targetIp,
        }),
      );
    for (const ip of ["10.0.2.2", "10.0.2.3", "10.0.2.4", "10.0.2.15", "8.8.8.8"]) ask(ip);
    expect(guest.takeArp()).toEqual(
      ["10.0.2.2", "10.0.2.3"].map((senderIp) => ({
        ...{ operation: 2, senderMac: GATEWAY_MAC, senderIp, targetMac: MAC, targetIp: "10.0.2.15" },
      })),
    );
  });

  test("answers an echo, and refuses one to the outside", () => {
    const { guest } = started();
    const body = text("\0\x01\0\x02abcdefgh");
    guest.icmp("10.0.2.2", { type: 8, code: 0, body });
    guest.icmp("fd00::2", { type: 128, code: 0, body });
    guest.icmp("1.1.1.1", { type: 8, code: 0, body });
    const came = guest.take();
    expect(came.map(({ packet, icmp }) => [packet.source, icmp?.type, icmp?.code])).toEqual([
      ["10.0.2.2", 0, 0],
      ["fd00::2", 129, 0],
      ["10.0.2.2", 3, 13],
    ]);
    expect([came[0]!.icmp!.body, came[1]!.icmp!.body]).toEqual([body, body]);
    expect(aboutDestination(came[2]!.icmp!)).toBe("1.1.1.1");
  });

  test("a long echo comes back in fragments, from fragments", () => {
    const { guest } = started();
    for (const [destination, type] of [
      ["10.0.2.2", 8],
      ["fd00::2", 128],
    ] as const) {
      const body = Uint8Array.from({ length: 4000 }, (_, index) => index & 0xff);
      const frame = icmpFrame(guest.to(destination), { type, code: 0, body });
      const parts = fragmentFrame(frame, 1500, 7);
      expect(parts).toHaveLength(3);
      for (const part of [parts[2]!, parts[0]!, parts[1]!]) guest.send(part);
      const came = guest.take();
      expect(came.map(({ packet }) => packet.fragment?.offset)).toEqual(
        [0, 1480, 2960].map((at) => (destination.includes(":") ? (at / 1480) * 1448 : at)),
      );
      const data = came.flatMap(({ packet }) => [...packet.payload]);
      expect(data.slice(4)).toEqual([...body]);
    }
  });

  test("advertises itself, when it is asked and now and then", () => {
    const { guest, timers } = started();
    guest.send(
      icmpFrame(
        {
          sourceMac: MAC,
          destinationMac: 0x333300000002,
          source: ipBytes("fe80::15"),
          destination: ipBytes("ff02::2"),
          hops: 255,
        },
        { type: 133, code: 0, body: new Uint8Array(4) },
      ),
    );
    timers.advance(600_000);
    const bodies = guest.end.got.splice(0).map(({ bytes }) => bytes);
    expect(bodies.map((bytes) => [formatIp(bytes.subarray(38, 54)), bytes[54], bytes[21]])).toEqual([
      ["fe80::15", 134, 255],
      ["ff02::1", 134, 255],
    ]);
    const options = bodies[0]!.subarray(54 + 16);
    // Source address, MTU, prefix, name server.
    expect([...options.subarray(0, 8)]).toEqual([1, 1, 0x52, 0x55, 0x0a, 0, 2, 2]);
    expect([...options.subarray(8, 16)]).toEqual([5, 1, 0, 0, 0, 0, 5, 0xdc]);
    expect([...options.subarray(16, 20)]).toEqual([3, 4, 64, 0xc0]);
    expect(formatIp(options.subarray(32, 48))).toBe("fd00::");
    expect([options[48], formatIp(options.subarray(56, 72))]).toEqual([25, "fd00::3"]);
  });

  test("answers who looks for it by neighbour discovery, from the link only", () => {
    const { guest } = started();
    const seek = (target: string, hops: number, source = "fd00::15"): void =>
      guest.send(
        icmpFrame(
          {
            sourceMac: MAC,
            destinationMac: 0x3333ff000002,
            source: ipBytes(source),
            destination: ipBytes("ff02::1:ff00:2"),
            hops,
          },
          { type: 135, code: 0, body: Uint8Array.of(0, 0, 0, 0, ...ipBytes(target)) },
        ),
      );
    seek("fd00::2", 255);
    seek("fd00::2", 254);
    seek("fd00::9", 255);
    seek("fd00::3", 255, "::");
    const came = guest.take();
    expect(came.map(({ icmp, packet }) => [icmp?.type, packet.destination, icmp!.body[0]])).toEqual([
      [136, "fd00::15", 0xe0],
      [136, "ff02::1", 0xa0],
    ]);
    expect([...came[0]!.icmp!.body.subarray(20)]).toEqual([2, 1, 0x52, 0x55, 0x0a, 0, 2, 2]);
  });
});

describe("DHCP", () => {
  const message = (
    mac: number,
    type: number,
    more: readonly number[] = [],
    ciaddr = "0.0.0.0",
  ): Uint8Array => {
    const bytes = new Uint8Array(240);
    bytes.set([1, 1, 6, 0, 0xca, 0xfe, 0, 1]);
    bytes.set(ipBytes(ciaddr), 12);
    for (let index = 0; index < 6; index++)
      bytes[28 + index] = Math.floor(mac / 2 ** (8 * (5 - index))) & 0xff;
    bytes.set([0x63, 0x82, 0x53, 0x63], 236);
    return Uint8Array.of(...bytes, 53, 1, type, ...more, 255);
  };
  const ask = (guest: NetGuest, bytes: Uint8Array): void => {
    const { four } = guest;
    guest.four = "0.0.0.0";
    guest.send(
      udpFrame(
        { ...guest.to("255.255.255.255"), destinationMac: 0xffffffffffff },
        { sourcePort: 68, destinationPort: 67, data: bytes },
      ),
    );
    guest.four = four;
  };
  const answers = (guest: NetGuest) =>
    guest
      .take()
      .filter(({ udp }) => udp?.destinationPort === 68)
      .map(({ udp, packet, mac }) => {
        const options = new Map<number, number[]>();
        const { data } = udp!;
        for (let at = 240; data[at] !== 255; at += 2 + data[at + 1]!)
          options.set(data[at]!, [...data.subarray(at + 2, at + 2 + data[at + 1]!)]);
        return {
          type: options.get(53)![0],
          ip: formatIp(data.subarray(16, 20)),
          options,
          to: packet.destination,
          mac,
          ports: [udp!.sourcePort, udp!.destinationPort],
        };
      });
  const requested = (ip: string): number[] => [50, 4, ...ipBytes(ip), 54, 4, 10, 0, 2, 2];

  test("gives an address with all that a guest needs", () => {
    const { guest, net } = started();
    ask(guest, message(MAC, 1, [12, 3, ...text("web")]));
    const [offer] = answers(guest);
    expect(offer).toMatchObject({ type: 2, ip: "10.0.2.15", to: "10.0.2.15", mac: MAC, ports: [67, 68] });
    ask(guest, message(MAC, 3, requested("10.0.2.15")));
    const [acked] = answers(guest);
    expect(acked).toMatchObject({ type: 5, ip: "10.0.2.15" });
    const { options } = acked!;
    expect([1, 3, 6, 28, 54].map((each) => options.get(each)?.join("."))).toEqual([
      ...["255.255.255.0", "10.0.2.2", "10.0.2.3", "10.0.2.255", "10.0.2.2"],
    ]);
    expect([options.get(51), options.get(26)]).toEqual([
      [0, 1, 0x51, 0x80],
      [5, 0xdc],
    ]);
    expect(string(Uint8Array.from(options.get(15)!))).toBe("internal");
    expect(net.leases).toMatchObject([{ ip: "10.0.2.15", mac: MAC, hostName: "web" }]);
  });

  test("the same one again, the next one to the next, and reserved ones to whom they belong", () => {
    const { guest, lan } = started({ dhcp: { reservations: [{ mac: 0x525400000099, ip: "10.0.2.77" }] } });
    const others = [0x525400000016, 0x525400000099].map((mac) => new NetGuest(lan, mac, "0.0.0.0"));
    for (const each of [guest, ...others, guest]) ask(each, message(each.mac, 1));
    expect(answers(guest).map(({ ip }) => ip)).toEqual(["10.0.2.15", "10.0.2.15"]);
    expect(others.map((each) => answers(each)[0]!.ip)).toEqual(["10.0.2.16", "10.0.2.77"]);
    ask(others[0]!, message(others[0]!.mac, 3, requested("10.0.2.77")));
    ask(others[0]!, message(others[0]!.mac, 3, requested("10.0.2.2")));
    ask(others[0]!, message(others[0]!.mac, 3, requested("10.9.2.16")));
    ask(others[0]!, message(others[0]!.mac, 3, requested("10.0.2.15")));
    expect(answers(others[0]!).map(({ type, to, mac }) => [type, to, mac])).toEqual(
      Array(4).fill([6, "255.255.255.255", 0xffffffffffff]),
    );
  });

  test("another server's clients are left alone, and what is given back is free", () => {
    const { guest, net, timers, lan } = started({ dhcp: { leaseSeconds: 100 } });
    ask(guest, message(MAC, 3, [50, 4, ...ipBytes("10.0.2.15"), 54, 4, 9, 9, 9, 9]));
    expect(answers(guest)).toEqual([]);
    ask(guest, message(MAC, 3, requested("10.0.2.20")));
    expect([answers(guest)[0]!.ip, net.leases.length]).toEqual(["10.0.2.20", 1]);
    timers.advance(101_000);
    expect(net.leases).toEqual([]);
    const other = new NetGuest(lan, 0x525400000042, "0.0.0.0");
    ask(other, message(other.mac, 3, requested("10.0.2.20")));
    expect(answers(other)[0]).toMatchObject({ type: 5, ip: "10.0.2.20" });
    ask(other, message(other.mac, 7, [], "10.0.2.20"));
    expect(net.leases).toEqual([]);
    ask(guest, message(MAC, 3, requested("10.0.2.20")));
    answers(guest);
    ask(guest, message(MAC, 4, requested("10.0.2.20")));
    ask(guest, message(MAC, 3, requested("10.0.2.20")));
    expect(answers(guest)[0]!.type).toBe(6);
  });

  test("a flood gets what there is, and no more; who lies about its address gets nothing", () => {
    const { guest, net, lan } = started({ subnet4: "10.0.2.0/27" });
    for (let mac = 0; mac < 2000; mac++) {
      guest.link.send({
        bytes: udpFrame(
          {
            sourceMac: 0x525401000000 + mac,
            destinationMac: 0xffffffffffff,
            source: ipBytes("0.0.0.0"),
            destination: ipBytes("255.255.255.255"),
          },
          { sourcePort: 68, destinationPort: 67, data: message(0x525401000000 + mac, 1) },
        ),
      });
    }
    expect(net.leases).toHaveLength(31 - 15);
    const another = new NetGuest(lan, 0x525400000043);
    ask(another, message(MAC, 1));
    expect(answers(another)).toEqual([]);
    const none = started({ dhcp: false });
    ask(none.guest, message(MAC, 1));
    expect(answers(none.guest)).toEqual([]);
  });

  test("impossible networks and reservations are refused", () => {
    for (const options of [
      { subnet4: "10.0.2.0/30" },
      { subnet4: "fd00::/64" },
      { subnet6: "fd00::/48" },
      { mac: "x" },
      { mtu: 1279 },
      { dhcp: { reservations: [{ mac: 1, ip: "10.0.3.1" }] } },
      { dhcp: { reservations: [{ mac: 1, ip: "10.0.2.2" }] } },
    ])
      expect(() => started(options), JSON.stringify(options)).toThrow(
        expect.objectContaining({ code: "E_NETWORK_OPTION" }),
      );
  });
});

describe("names", () => {
  test("of guests are known here, also backwards, and never asked outside", async () => {
    const { guest, net, outside } = started();
    net.setName("db", ["10.0.2.20", "fd00::20"]);
    for (const [name, type] of [
      ["db.internal", 1],
      ["DB", 28],
      ["db", 16],
      ["nobody.internal", 1],
      ["20.2.0.10.in-addr.arpa", 12],
      ["99.2.0.10.in-addr.arpa", 12],
      ["gateway", 1],
    ] as const)
      guest.udp("10.0.2.3", 53, dnsQuery(name, type));
    await settle();
    const came = guest.take().map(({ udp }) => udp!.data);
    expect(came.map((data) => [data[3]! & 15, data[7]])).toEqual([
      ...[
        [0, 1],
        [0, 1],
        [0, 0],
        [3, 0],
        [0, 1],
        [3, 0],
        [0, 1],
      ],
    ]);
    expect(came.map((data) => [data[0], data[1]])).toEqual(Array(7).fill([0x12, 0x34]));
    expect([
      formatIp(came[0]!.slice(-4)),
      formatIp(came[1]!.slice(-16)),
      formatIp(came[6]!.slice(-4)),
    ]).toEqual(["10.0.2.20", "fd00::20", "10.0.2.2"]);
    expect(string(came[4]!.slice(-13))).toBe("\x02db\x08internal\0");
    expect(outside.queries).toEqual([]);
    net.setName("db", []);
    guest.udp("10.0.2.3", 53, dnsQuery("db.internal", 1));
    expect(guest.take()[0]!.udp!.data[3]! & 15).toBe(3);
  });

  test("of others are asked outside, and the answer has the guest's number", async () => {
    const { guest, outside } = started();
    guest.udp("10.0.2.3", 53, dnsQuery("example.org", 1, 7), 4000);
    guest.udp("fd00::3", 53, dnsQuery("example.org", 28, 8), 4001);
    expect(outside.queries).toHaveLength(2);
    outside.queries[0]!.answer(dnsReply(dnsQuery("example.org", 1, 0x9999), [ipBytes("1.2.3.4")]));
    outside.queries[1]!.answer(undefined);
    await settle();
    const came = guest.take();
    expect(
      came.map(({ packet, udp }) => [
        packet.source,
        udp!.sourcePort,
        udp!.destinationPort,
        udp!.data[1],
        udp!.data[3]! & 15,
      ]),
    ).toEqual([
      ["10.0.2.3", 53, 4000, 7, 0],
      ["fd00::3", 53, 4001, 8, 2],
    ]);
    expect(came[0]!.udp!.data).toEqual(dnsReply(dnsQuery("example.org", 1, 7), [ipBytes("1.2.3.4")]));
  });

  test.each([
    ["without EDNS", undefined, 512],
    ["less than everybody takes", 100, 512],
    ["what it says", 1000, 1000],
    ["more than goes in one packet of any network", 4096, 1232],
  ])("an answer that is too long for the guest says so: %s", async (_what, payload, most) => {
    const { guest, outside } = started();
    const plain = dnsQuery("example.org", 1);
    const asked = payload === undefined ? plain : withOpt(plain, payload);
    const whole = dnsReply(plain, [ipBytes("1.2.3.4")]);
    for (const size of [most, most + 1]) {
      guest.udp("10.0.2.3", 53, asked);
      outside.queries.pop()!.answer(dnsReply(plain, [ipBytes("1.2.3.4")], size - whole.length));
    }
    await settle();
    const [fits, cut] = guest.take().map(({ udp }) => udp!.data);
    expect([fits!.length, fits![2]! & 2, fits![7]]).toEqual([most, 0, 1]);
    expect([cut![2]! & 2, cut!.subarray(4, 12)]).toEqual([
      2,
      Uint8Array.of(0, 1, 0, 0, 0, 0, 0, payload === undefined ? 0 : 1),
    ]);
    // The question, and an OPT record where there was one (RFC 6891, section 6.1.1).
    const opt = payload === undefined ? [] : [0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 0];
    expect([...cut!.subarray(12)]).toEqual([...plain.subarray(12), ...opt]);
  });

  test("in EDNS are answered in EDNS, and of a version that is not known by that", () => {
    const { guest, net } = started();
    net.setName("db", ["10.0.2.20"]);
    // OPT need not be the first record: an option-less one of another kind stands before it.
    const late = Uint8Array.of(...dnsQuery("db", 1), 0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0);
    const both = withOpt(late, 1232);
    both[11] = 2;
    for (const asked of [withOpt(dnsQuery("db", 1), 1232), both, withOpt(dnsQuery("db", 1), 1232, 1)])
      guest.udp("10.0.2.3", 53, asked);
    const came = guest.take().map(({ udp }) => udp!.data);
    const optOf = (data: Uint8Array) => [data[3]! & 15, data[7], data[11], ...data.slice(-11)];
    expect(came.map(optOf)).toEqual([
      [0, 1, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0],
      [0, 1, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0],
      [0, 0, 1, 0, 0, 41, 4, 208, 1, 0, 0, 0, 0, 0],
    ]);
  });

  test("a flood is refused at once, and other guests are served", async () => {
    const { guest, lan, outside } = started();
    for (let index = 0; index < 1000; index++) guest.udp("10.0.2.3", 53, dnsQuery(`n${index}.org`, 1, index));
    expect(outside.queries).toHaveLength(64);
    expect(guest.take().every(({ udp }) => (udp!.data[3]! & 15) === 5)).toBe(true);
    const other = new NetGuest(lan, 0x525400000016, "10.0.2.16");
    other.udp("10.0.2.3", 53, dnsQuery("other.org", 1));
    expect(outside.queries).toHaveLength(65);
    for (const each of outside.queries.splice(0)) each.answer(undefined);
    await settle();
    guest.udp("10.0.2.3", 53, dnsQuery("again.org", 1));
    expect(outside.queries).toHaveLength(1);
  });

  test("lead the policy to names, and never around addresses", async () => {
    const asked: (readonly string[])[] = [];
    const outside = new FakeOutside();
    const rules = policyOf(
      [
        { allow: true, name: "good.org", range: "1.0.0.0/8" },
        { allow: false, range: "1.0.0.0/8" },
      ],
      () => outside.ranges,
    );
    const policy = (question: Parameters<typeof rules>[0]): boolean => {
      asked.push(question.names);
      return rules(question);
    };
    const { guest } = started({ outside, policy });
    guest.udp("1.2.3.4", 9, text("early"));
    guest.udp("10.0.2.3", 53, dnsQuery("good.org", 1));
    // The second address is one that the name was turned to: the host's loopback.
    outside.queries[0]!.answer(dnsReply(dnsQuery("good.org", 1), [ipBytes("1.2.3.4"), ipBytes("127.0.0.1")]));
    await settle();
    guest.udp("1.2.3.4", 9, text("named"));
    guest.udp("127.0.0.1", 9, text("rebound"));
    guest.udp("::ffff:127.0.0.1", 9, text("mapped"));
    expect(asked).toEqual([[], ["good.org"], ["good.org"], []]);
    expect(outside.sockets.map(({ sent }) => sent.map(({ data }) => string(data)))).toEqual([["named"]]);
  });
});

describe("datagrams", () => {
  test("go out by a socket of the host's, and answers come back", () => {
    const { guest, outside } = started();
    guest.udp("1.2.3.4", 99, text("one"), 5000);
    guest.udp("1.2.3.5", 98, text("two"), 5000);
    guest.udp("2606:4700::1", 97, text("six"), 5000);
    expect(
      outside.sockets.map(({ family, sent }) => [
        family,
        sent.map(({ address, port, data }) => `${address} ${port} ${string(data)}`),
      ]),
    ).toEqual([
      [4, ["1.2.3.4 99 one", "1.2.3.5 98 two"]],
      [6, ["2606:4700::1 97 six"]],
    ]);
    outside.sockets[0]!.events.data(text("back"), "1.2.3.5", 98);
    outside.sockets[1]!.events.data(text("also"), "2606:4700::1", 97);
    expect(
      guest
        .take()
        .map(({ packet, udp }) => [packet.source, udp!.sourcePort, udp!.destinationPort, string(udp!.data)]),
    ).toEqual([
      ["1.2.3.5", 98, 5000, "back"],
      ["2606:4700::1", 97, 5000, "also"],
    ]);
  });

  test("that nobody asked for do not come in", () => {
    const { guest, outside, net } = started();
    guest.udp("1.2.3.4", 99, text("one"));
    for (const [address, port] of [
      ["1.2.3.9", 99],
      ["1.2.3.4", 98],
    ] as const)
      outside.sockets[0]!.events.data(text("evil"), address, port);
    expect([guest.take(), net.statistics.udpUnasked]).toEqual([[], 2]);
  });

  test("are asked for by address and port, whatever was allowed before", () => {
    const refused: string[] = [];
    const { guest, outside, net } = started({
      policy: ({ port }) => port < 100,
      onRefused: ({ address, port }) => refused.push(`${address} ${port}`),
    });
    guest.udp("1.2.3.4", 99, text("good"));
    guest.udp("1.2.3.4", 100, text("bad"));
    expect(outside.sockets[0]!.sent).toHaveLength(1);
    expect(refused).toEqual(["1.2.3.4 100"]);
    expect([net.counters.refused, guest.take().map(({ icmp }) => [icmp!.type, icmp!.code])]).toEqual([
      1,
      [[3, 13]],
    ]);
  });

  test("to the host's own networks are refused, unless somebody allows them", () => {
    const usual = started();
    for (const address of [
      "10.0.2.2",
      "127.0.0.1",
      "198.18.7.1",
      "169.254.169.254",
      "192.168.0.1",
      "fd00::2",
      "fe80::5",
    ])
      usual.guest.udp(address, 9, text("x"));
    expect(usual.outside.sockets).toEqual([]);
    const { guest, outside } = started({
      policy: policyOf([{ allow: true, range: "127.0.0.1", ports: [9, 9] }], () => []),
    });
    guest.udp("10.0.2.2", 9, text("to the host"));
    expect(outside.sockets[0]!.sent).toMatchObject([{ address: "127.0.0.1", port: 9 }]);
    outside.sockets[0]!.events.data(text("from it"), "127.0.0.1", 9);
    expect(guest.take().map(({ packet, udp }) => [packet.source, string(udp!.data)])).toEqual([
      ["10.0.2.2", "from it"],
    ]);
  });

  test("a silent mapping ends after two minutes, and not before", () => {
    const { guest, outside, timers, net } = started();
    guest.udp("1.2.3.4", 9, text("x"), 5000);
    timers.advance(60_000);
    guest.udp("1.2.3.4", 9, text("x"), 5001);
    guest.udp("1.2.3.4", 9, text("x"), 5000);
    timers.advance(119_000);
    expect(outside.open).toBe(2);
    outside.sockets[0]!.events.data(text("still"), "1.2.3.4", 9);
    timers.advance(2000);
    expect([outside.open, net.statistics.udpMappings]).toEqual([1, 1]);
    timers.advance(120_000);
    expect(outside.open).toBe(0);
  });

  test("a guest has a bounded number of them, and its oldest makes room", () => {
    const { guest, outside, lan } = started();
    for (let port = 1; port <= 1030; port++) guest.udp("1.2.3.4", 9, text("x"), port);
    expect([outside.sockets.length, outside.open]).toEqual([1030, 1024]);
    expect(outside.sockets.slice(0, 6).every(({ isOpen }) => !isOpen)).toBe(true);
    for (let index = 16; index < 22; index++) {
      const other = new NetGuest(lan, 0x525400000000 + index, `10.0.2.${index}`);
      for (let port = 1; port <= 600; port++) other.udp("1.2.3.4", 9, text("x"), port);
      if (index === 21) expect(other.take().at(-1)!.icmp).toMatchObject({ type: 3, code: 1 });
    }
    expect(outside.open).toBe(4096);
  });

  test("a socket that fails is opened anew", () => {
    const { guest, outside } = started();
    guest.udp("1.2.3.4", 9, text("x"));
    outside.sockets[0]!.events.failed();
    guest.udp("1.2.3.4", 9, text("y"));
    expect(outside.sockets.map(({ sent }) => sent.length)).toEqual([1, 1]);
  });

  test("long ones pass both ways in fragments", () => {
    const { guest, outside } = started();
    const data = Uint8Array.from({ length: 5000 }, (_, index) => index & 0xff);
    const frame = udpFrame(guest.to("1.2.3.4"), { sourcePort: 5000, destinationPort: 9, data });
    for (const part of [...fragmentFrame(frame, 1500, 3)].reverse()) guest.send(part);
    expect(outside.sockets[0]!.sent).toEqual([{ data, address: "1.2.3.4", port: 9 }]);
    outside.sockets[0]!.events.data(data, "1.2.3.4", 9);
    const came = guest.take();
    expect(came).toHaveLength(4);
    expect(came.flatMap(({ packet }) => [...packet.payload]).slice(8)).toEqual([...data]);
  });

  test("to a port that nobody has, or the name server's other ports, are refused whatever the policy says", () => {
    const { guest, outside } = started({ policy: () => true });
    guest.udp("1.2.3.4", 0, text("x"));
    guest.udp("10.0.2.3", 9, text("x"));
    expect([outside.sockets, guest.take().map(({ icmp }) => [icmp!.type, icmp!.code])]).toEqual([
      [],
      [
        [3, 3],
        [3, 3],
      ],
    ]);
  });

  test("a packet without hops left is not passed on", () => {
    const { guest, outside } = started();
    guest.udp("1.2.3.4", 33434, text("x"), 5000, 1);
    expect([outside.sockets, guest.take()[0]!.icmp]).toMatchObject([[], { type: 11, code: 0 }]);
  });

  test("from addresses that are not of the network go nowhere", () => {
    const { guest, outside, net } = started();
    for (const four of ["1.1.1.1", "127.0.0.1", "10.0.2.2", "10.0.2.3"]) {
      guest.four = four;
      guest.udp("1.2.3.4", 9, text("x"));
    }
    guest.six = "2606::1";
    guest.udp("2606:4700::1", 9, text("x"));
    expect([outside.sockets, guest.take(), net.counters.foreign]).toEqual([[], [], 5]);
  });
});

describe("forwards", () => {
  test("lead to a guest, and its answers back to who asked", async () => {
    const { guest, outside, net } = started();
    guest.announce();
    const forward = await net.forward({ protocol: "udp", hostPort: 5353, guest: "10.0.2.15", guestPort: 53 });
    const [listener] = outside.listeners;
    expect([forward.port, listener!.address]).toEqual([5353, "127.0.0.1"]);
    listener!.received(text("a"), "127.0.0.1", 1111);
    listener!.received(text("b"), "192.0.2.7", 2222);
    const came = guest.take();
    expect(came.map(({ packet, udp }) => [packet.source, udp!.destinationPort, string(udp!.data)])).toEqual([
      ["10.0.2.2", 53, "a"],
      ["10.0.2.2", 53, "b"],
    ]);
    for (const { udp } of came) guest.udp("10.0.2.2", udp!.sourcePort, text(`re ${string(udp!.data)}`), 53);
    // Only who was asked may answer.
    guest.udp("10.0.2.2", came[0]!.udp!.sourcePort, text("other port"), 54);
    expect(listener!.answers.map(({ data, address, port }) => [string(data), address, port])).toEqual([
      ["re a", "127.0.0.1", 1111],
      ["re b", "192.0.2.7", 2222],
    ]);
    await expect(
      net.forward({ protocol: "udp", hostPort: 5353, guest: "10.0.2.15", guestPort: 1 }),
    ).rejects.toMatchObject({ code: "E_NETWORK_IN_USE" });
    await expect(
      net.forward({ protocol: "udp", hostPort: 1, guest: "10.0.3.15", guestPort: 1 }),
    ).rejects.toThrow("10.0.3.15 is no address of a guest");
    forward.close();
    forward.close();
    expect([listener!.isOpen, net.statistics.udpPartners]).toEqual([false, 0]);
  });

  test("keep a bounded number of partners; the policy is asked for each", async () => {
    const { guest, outside, net } = started({
      policy: ({ direction, address }) => direction === "in" && address !== "1.1.1.1",
    });
    guest.announce();
    await net.forward({ protocol: "udp", hostPort: 7, guest: "10.0.2.15", guestPort: 7 });
    for (let port = 1; port <= 1500; port++) outside.listeners[0]!.received(text("x"), "1.1.1.2", port);
    expect(net.statistics.udpPartners).toBe(1024);
    expect(guest.take().length).toBeGreaterThan(1000);
    outside.listeners[0]!.received(text("x"), "1.1.1.1", 1);
    expect([guest.take(), net.counters.refused]).toEqual([[], 1]);
  });

  test("to a guest that nobody has seen are preceded by the question who it is", async () => {
    const { guest, outside, net } = started();
    await net.forward({ protocol: "udp", hostPort: 7, guest: "10.0.2.15", guestPort: 7 });
    await net.forward({ protocol: "udp", hostPort: 8, guest: "fd00::15", guestPort: 8 });
    outside.listeners[0]!.received(text("x"), "1.1.1.2", 9);
    expect(guest.takeArp()).toMatchObject([{ operation: 1, targetIp: "10.0.2.15", senderIp: "10.0.2.2" }]);
    outside.listeners[1]!.received(text("x"), "1.1.1.2", 9);
    expect(guest.take()[0]).toMatchObject({ mac: 0x3333ff000015, icmp: { type: 135 } });
    net.close();
    expect(outside.listeners.map(({ isOpen }) => isOpen)).toEqual([false, false]);
  });
});

test("20,000 generated frames: nothing is thrown, and what is kept is bounded", async () => {
  let state = 4711;
  const random = (end: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % end;
  };
  const { guest, net, outside, timers } = started();
  const ip = (list: readonly string[]) => ipBytes(list[random(list.length)]!);
  const frame = (): Uint8Array => {
    const family = random(2);
    const base = {
      ...{
        sourceMac: 0x525400000000 + random(3000),
        destinationMac: random(2) === 0 ? GATEWAY_MAC : 0xffffffffffff,
        hops: [1, 64, 255][random(3)]!,
      },
      source:
        family === 0
          ? Uint8Array.of(10, 0, 2, random(256))
          : Uint8Array.of(0xfd, ...new Uint8Array(13), random(256), random(256)),
      destination:
        family === 0
          ? ip(["10.0.2.2", "10.0.2.3", "255.255.255.255", "1.2.3.4", "127.0.0.1"])
          : ip(["fd00::2", "fd00::3", "ff02::2", "2606::1"]),
    };
    const data = Uint8Array.from({ length: random(300) }, () => random(256));
    const made =
      random(3) === 0
        ? icmpFrame(base, { type: [8, 128, 133, 135, random(256)][random(5)]!, code: 0, body: data })
        : udpFrame(base, {
            sourcePort: [68, 5000 + random(3000)][random(2)]!,
            destinationPort: [53, 67, 9, 50_000][random(4)]!,
            data,
          });
    if (random(4) === 0) return fragmentFrame(made, 100, random(50))[random(3)] ?? made;
    if (random(3) === 0)
      for (let count = random(4); count >= 0; count--) made[14 + random(made.length - 14)] = random(256);
    return random(9) === 0 ? made.slice(0, random(made.length + 1)) : made;
  };
  for (let round = 0; round < 20_000; round++) {
    guest.send(frame());
    guest.end.got.length = 0;
    if (round % 100 === 0) timers.advance(random(2000));
  }
  const { statistics } = net;
  expect(statistics.neighbours).toBeLessThanOrEqual(1024);
  expect(statistics.reassemblyBytes).toBeLessThanOrEqual(1 << 20);
  expect(outside.queries.length).toBeLessThanOrEqual(256);
  expect(outside.open).toBeLessThanOrEqual(4096);
  expect(net.leases.length).toBeLessThanOrEqual(240);
  for (const name of ["received", "malformed", "echoes", "refused", "udpSent"])
    expect(statistics[name], name).toBeGreaterThan(100);
  for (const each of outside.queries.splice(0)) each.answer(undefined);
  await settle();
  timers.advance(200_000);
  expect(outside.open).toBe(0);
  guest.icmp("10.0.2.2", { type: 8, code: 0, body: new Uint8Array(8) });
  expect(guest.take().map(({ icmp }) => icmp!.type)).toContain(0);
});
