/** Networks and cards of a Hyperfile: what a good one means, and the message of every kind of mistake, where it stands. */
import { isIPv4, isIPv6 } from "node:net";
import { guestKinds } from "@hyperfile/machine/guests";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nicsOfClone } from "../net/network-plan.js";
import { formatForward, isIp6, macOf, parseForward, parseIp4, parseRule } from "./net-text.js";
import { readHyperfile } from "./read.js";
import { HyperfileError } from "./types.js";

const host = { cores: 4, memoryBytes: 2 ** 31, guests: guestKinds };
const read = (text: string) => readHyperfile(text, "net.yaml", host);
const nicsOf = async (text: string) => (await read(text)).vms.flatMap(({ nics }) => nics);

/** A file with these networks, and cards of two VMs. */
const file = (networks: string, a: string, b = "[]", more = ""): string =>
  `networks: ${networks}\nvms:\n  a: { kernel: embedded, nics: ${a}${more} }\n  b: { kernel: embedded, nics: ${b} }\n`;

describe("cards", () => {
  it("are in the networks that they name, each with ranges of its own and an address that stays", async () => {
    const text = file(
      "{ lan: , back: { kind: isolated }, big: { subnet: 10.0.2.0/23 } }",
      "[lan, back]",
      "[big]",
    );
    const [lan, back, big] = await nicsOf(text);
    expect(
      [lan, back, big].map((nic) => [nic!.network!.name, nic!.network!.kind, nic!.network!.subnet]),
    ).toEqual([
      ["lan", "nat", "10.0.4.0/24"],
      ["back", "isolated", "10.0.5.0/24"],
      ["big", "nat", "10.0.2.0/23"],
    ]);
    const ranges = [lan, back, big].map((nic) => nic!.network!.subnet6);
    expect(new Set(ranges).size).toBe(3);
    for (const range of ranges) {
      expect(range).toMatch(/^fd[0-9a-f]{2}:[0-9a-f]{4}:[0-9a-f]{4}::\/64$/);
      expect(isIPv6(range.slice(0, -3))).toBe(true);
    }
    expect(new Set([lan, back, big].map((nic) => nic!.mac)).size).toBe(3);
    expect(await nicsOf(text)).toEqual([lan, back, big]);
    expect(lan).toMatchObject({
      address: expect.stringMatching(/^10\.0\.4\.\d+$/),
      forwards: [],
      policy: { allow: [], deny: [], restrict: false },
    });
  });

  it("have what they are given", async () => {
    const nic = `[{ network: lan, address: 10.0.2.9, mac: "52:54:00:AB:00:01", forwards: ["8022:22", "udp:[::1]:0:53"],
    policy: { allow: ["*.example.org:443", "tcp:10.0.0.0/8:1-9"], deny: ["[fd00::1]:7", "in:*"], restrict: true } }]`;
    const [one] = await nicsOf(file("{ lan: { dhcp: false } }", nic));
    expect(one).toMatchObject({
      address: "10.0.2.9",
      mac: "52:54:00:ab:00:01",
      network: { dhcp: false },
      forwards: [
        { protocol: "tcp", hostAddress: "127.0.0.1", hostPort: 8022, guestPort: 22 },
        { protocol: "udp", hostAddress: "::1", hostPort: 0, guestPort: 53 },
      ],
      policy: {
        allow: [
          { direction: "out", name: "*.example.org", ports: [443, 443] },
          { protocol: "tcp", range: "10.0.0.0/8", ports: [1, 9] },
        ],
        deny: [
          { range: "fd00::1", ports: [7, 7] },
          { direction: "in", range: undefined, name: undefined, ports: undefined },
        ],
        restrict: true,
      },
    });
  });

  it("there are none unless the file says so; one whose cable leads nowhere is one", async () => {
    const { vms } = await read("vms:\n  a: { kernel: embedded }\n  b: { kernel: embedded, nics: none }\n");
    expect(vms.map(({ nics }) => nics)).toEqual([[], []]);
    expect(await nicsOf(file("{}", "[none]"))).toMatchObject([{ network: undefined, forwards: [] }]);
  });

  it("of a clone have addresses of its own, and no forwards", async () => {
    const nics = await nicsOf(
      file("{ lan: }", '[{ network: lan, address: 10.0.2.9, forwards: ["8022:22"] }]'),
    );
    const [clone] = nicsOfClone(nics, "c", nics);
    expect(clone).toMatchObject({ network: nics[0]!.network, forwards: [] });
    expect(clone!.mac).not.toBe(nics[0]!.mac);
    expect(clone!.address).toMatch(/^10\.0\.2\./);
    const [other] = nicsOfClone(nics, "c", [...nics, clone!]);
    expect([other!.mac === clone!.mac, other!.address === clone!.address]).toEqual([false, false]);
  });
});

describe("mistakes", () => {
  const lan = "{ lan: }";
  it.each<[what: string, text: string, ...problems: string[]]>([
    [
      "an unknown network",
      file(lan, "[lam]"),
      "3:33 vms.a.nics[0]: there is no network lam; did you mean lan?",
    ],
    [
      "an unknown network in a mapping",
      file("{}", "[{ network: wan }]"),
      "3:44 vms.a.nics[0].network: there is no network wan; networks: none",
    ],
    [
      "a network that is called none",
      file("{ none: }", "[]"),
      "1:13 networks.none: this name stands for a cable that leads nowhere: choose another",
    ],
    [
      "a bridge",
      file("{ lan: { kind: bridged } }", "[lan]"),
      "1:26 networks.lan.kind: a bridged network needs a tap device of the host, which this program can't open: use nat, and forwards for what others are to reach",
    ],
    [
      "an unknown kind",
      file("{ lan: { kind: natt } }", "[]"),
      '1:26 networks.lan.kind: "natt" is unknown; did you mean nat?',
    ],
    [
      "an unknown field of a network",
      file("{ lan: { dchp: false } }", "[]"),
      "1:20 networks.lan.dchp: unknown field; did you mean dhcp?",
    ],
    [
      "a subnet that is none",
      file("{ lan: { subnet: 10.0.2.0 } }", "[]"),
      "1:28 networks.lan.subnet: 10.0.2.0 is no range for a network: write it like 10.0.2.0/24, with 8 to 28 bits",
    ],
    [
      "a subnet that is too small",
      file("{ lan: { subnet: 10.0.2.0/30 } }", "[]"),
      "1:28 networks.lan.subnet: 10.0.2.0/30 is no range for a network: write it like 10.0.2.0/24, with 8 to 28 bits",
    ],
    [
      "a subnet that begins in the middle",
      file("{ lan: { subnet: 10.0.2.7/24 } }", "[]"),
      "1:28 networks.lan.subnet: 10.0.2.7/24 begins in the middle of a range: write 10.0.2.0/24",
    ],
    [
      "an unknown field of a card",
      file(lan, "[{ network: lan, adress: 10.0.2.9 }]"),
      "3:49 vms.a.nics[0].adress: unknown field; did you mean address?",
    ],
    [
      "a card without a network",
      file(lan, "[{ address: 10.0.2.9 }]"),
      "3:33 vms.a.nics[0]: network is missing here",
    ],
    [
      "an address of another network",
      file(lan, "[{ network: lan, address: 10.0.3.9 }]"),
      "3:58 vms.a.nics[0].address: 10.0.3.9 is no address of network lan, 10.0.2.0/24",
    ],
    [
      "the broadcast address",
      file(lan, "[{ network: lan, address: 10.0.2.255 }]"),
      "3:58 vms.a.nics[0].address: 10.0.2.255 is no address of network lan, 10.0.2.0/24",
    ],
    [
      "the gateway's address",
      file(lan, "[{ network: lan, address: 10.0.2.2 }]"),
      "3:58 vms.a.nics[0].address: 10.0.2.2 is the gateway of network lan: use another",
    ],
    [
      "an address twice",
      file(lan, "[{ network: lan, address: 10.0.2.9 }]", "[{ network: lan, address: 10.0.2.9 }]"),
      "4:58 vms.b.nics[0].address: card 0 of a has the address 10.0.2.9: give each card its own",
    ],
    [
      "an address of none",
      file("{}", "[{ network: none, address: 10.0.2.9 }]"),
      "3:59 vms.a.nics[0].address: a cable that leads nowhere has no addresses: leave it out",
    ],
    [
      "a group's MAC address",
      file(lan, '[{ network: lan, mac: "53:54:00:00:00:01" }]'),
      "3:54 vms.a.nics[0].mac: 53:54:00:00:00:01 is no address of a card: write it like 52:54:00:12:34:56",
    ],
    [
      "a MAC address twice",
      file(
        lan,
        '[{ network: lan, mac: "52:54:00:00:00:01" }]',
        '[{ network: lan, mac: "52:54:00:00:00:01" }]',
      ),
      "4:54 vms.b.nics[0].mac: card 0 of a has the address 52:54:00:00:00:01: give each card its own, or none to have one chosen",
    ],
    [
      "a forward that is none",
      file(lan, '[{ network: lan, forwards: ["80", "1.2.3:80:80", "80:0", "70000:80"] }]'),
      "3:60 vms.a.nics[0].forwards[0]: 80 leads nowhere: write it like 8022:22, udp:5353:53 or 0.0.0.0:8080:80, the host's port first, which may be 0 for any",
      "3:66 vms.a.nics[0].forwards[1]: 1.2.3:80:80 leads nowhere: write it like 8022:22, udp:5353:53 or 0.0.0.0:8080:80, the host's port first, which may be 0 for any",
      "3:81 vms.a.nics[0].forwards[2]: 80:0 leads nowhere: write it like 8022:22, udp:5353:53 or 0.0.0.0:8080:80, the host's port first, which may be 0 for any",
      "3:89 vms.a.nics[0].forwards[3]: 70000:80 leads nowhere: write it like 8022:22, udp:5353:53 or 0.0.0.0:8080:80, the host's port first, which may be 0 for any",
    ],
    [
      "a port that leads to two",
      file(lan, '[{ network: lan, forwards: ["8022:22"] }]', '[{ network: lan, forwards: ["8022:22"] }]'),
      "4:60 vms.b.nics[0].forwards[0]: tcp port 8022 of 127.0.0.1 leads to a already: choose another, or 0 for any",
    ],
    [
      "a forward into an isolated network",
      file("{ lan: { kind: isolated } }", '[{ network: lan, forwards: ["8022:22"] }]'),
      "3:59 vms.a.nics[0].forwards: network lan is isolated: nothing leads into it; use a nat network",
    ],
    [
      "a forward to nobody knows where",
      file("{ lan: { dhcp: false } }", '[{ network: lan, forwards: ["8022:22"] }]'),
      "3:59 vms.a.nics[0].forwards: network lan gives no addresses: say by address which one the guest has",
    ],
    [
      "rules that are none",
      file(lan, '[{ network: lan, policy: { allow: ["a b", "10.0.0.0/33"], deny: ["x:9-1"] } }]'),
      ...[
        ["3:67", "allow[0]: a b"],
        ["3:74", "allow[1]: 10.0.0.0/33"],
        ["3:97", "deny[0]: x:9-1"],
      ].map(
        ([at, what]) =>
          `${at} vms.a.nics[0].policy.${what} is no place that rules can name: write it like example.org, *.example.org:443, 10.0.0.0/8, [fd00::1]:8000-8080 or *, with tcp: or udp: before it, and in: before all for who may use forwards`,
      ),
    ],
    [
      "two cards in one range",
      file(lan, "[lan, lan]"),
      "3:38 vms.a.nics[1]: it is in 10.0.2.0/24, and so is the card before it in lan: give one of the networks another subnet",
    ],
    [
      "a deterministic VM",
      file(lan, "[lan]", "[]", ", deterministic: true"),
      "3:26 vms.a.nics: a deterministic VM has no network, since what comes in has the host's time: leave nics out, or deterministic",
    ],
    [
      "more than there is room for",
      file(
        lan,
        "[none, none]",
        "[]",
        ", disks: [./1, ./2], shares: [{ folder: f, tag: f }, { folder: g, tag: g }]",
      ),
      "3:32 vms.a.nics: 6 disks, folders and network cards: a VM takes 5 together",
    ],
    [
      "more cards than addresses",
      `networks: { lan: { subnet: 10.0.0.0/28 } }\nvms:\n${Array.from({ length: 12 }, (_, at) => `  v${at}: { kernel: embedded, nics: [lan] }\n`).join("")}`,
      "14:35 vms.v11.nics[0]: network lan has no address left: give it a larger subnet",
    ],
    [
      "a word in place of cards",
      file(lan, "nine"),
      '3:32 vms.a.nics: "nine" is not a list of at most 5 network cards, or none',
    ],
  ])("%s", async (_, text, ...problems) => {
    const error = await read(text).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(HyperfileError);
    const told = (error as HyperfileError).problems;
    expect(told.map(({ line, column, field, message }) => `${line}:${column} ${field}: ${message}`)).toEqual(
      problems,
    );
  });
});

describe("what VMs and pools may have of networks", () => {
  it("is bytes a second each way, and shares", async () => {
    const { vms, pools } = await read(`pools:
  p: { net: { shares: high, receive: { limit: 10M }, expandable: false } }
vms:
  a: { kernel: embedded, pool: p, net: { shares: low, send: { reservation: 1M, limit: 2M } }, autostart: false }
  b: { kernel: embedded }
`);
    expect(pools[0]!.net).toEqual({
      shares: 2000,
      send: { reservation: 0, limit: Infinity },
      receive: { reservation: 0, limit: 10 * 2 ** 20 },
      expandable: false,
    });
    expect(vms.map(({ net }) => [net.shares, net.send.reservation, net.send.limit])).toEqual([
      [500, 2 ** 20, 2 ** 21],
      [1000, 0, Infinity],
    ]);
  });

  it.each([
    [
      "a: { kernel: embedded, net: { limit: 1M } }",
      "2:33 vms.a.net.limit: unknown field; valid fields: shares, send, receive",
    ],
    [
      "a: { kernel: embedded, net: { send: { limit: 0K } } }",
      "2:48 vms.a.net.send.limit: a limit of 0K would let it have nothing: give more",
    ],
    [
      "a: { kernel: embedded, net: { send: { reservation: 2M, limit: 1M } } }",
      "2:54 vms.a.net.send.reservation: a reservation of 2M is above the limit of 1M",
    ],
    [
      "a: { kernel: embedded, net: { receive: { limit: 1 MB } } }",
      '2:51 vms.a.net.receive.limit: "1 MB" is not a size with its unit, such as 256M or 1.5G',
    ],
  ])("%s", async (vm, problem) => {
    const error = (await read(`vms:\n  ${vm}\n`).catch((caught: unknown) => caught)) as HyperfileError;
    expect(
      error.problems.map(({ line, column, field, message }) => `${line}:${column} ${field}: ${message}`),
    ).toEqual([problem]);
  });

  it("reservations that a pool can't keep are refused", async () => {
    const error = await read(`pools:
  p: { net: { send: { reservation: 1M }, expandable: false } }
vms:
  a: { kernel: embedded, pool: p, net: { send: { reservation: 2M } } }
`).catch((caught: unknown) => caught);
    expect((error as HyperfileError).message).toMatch(/^net\.yaml:4:40: vms\.a\.net: .*2M a second to send/);
  });
});

describe("texts", () => {
  it("addresses are those that Node knows", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.ipV6(), fc.ipV4(), fc.string(), fc.stringMatching(/^[0-9a-f:.]{0,20}$/)),
        (text) => {
          expect([text, isIp6(text)]).toEqual([text, isIPv6(text) && !text.includes("%")]);
          // Leading zeros are read as Node does not: as decimal.
          if (!/(^|\.)0\d/.test(text))
            expect([text, parseIp4(text) !== undefined]).toEqual([text, isIPv4(text)]);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("forwards are written as they are read", () => {
    for (const text of ["127.0.0.1:8022:22", "udp:[::1]:0:53", "0.0.0.0:1:65535"])
      expect(formatForward(parseForward(text)!)).toBe(text);
    expect(formatForward(parseForward("tcp:80:80")!)).toBe("127.0.0.1:80:80");
  });

  it("rules name places by address, range and name", () => {
    const places = [
      "::1",
      "[::1]",
      "::ffff:1.2.3.4",
      "1.2.3.4/31:5",
      "in:udp:[::]/0",
      "a_b.example:5-6",
      "*:25",
    ];
    expect(places.map((text) => parseRule(text)?.range ?? parseRule(text)?.name)).toEqual([
      ...["::1", "::1", "::ffff:1.2.3.4", "1.2.3.4/31", undefined, "a_b.example", undefined],
    ]);
    for (const text of ["", ":80", "1.2.3", "a:b", "[::1]x", "*.*.org", "1.2.3.4:70000", "http://a"])
      expect([text, parseRule(text)]).toEqual([text, undefined]);
  });

  it("of a thousand VMs none has another's MAC address, and none is a group's", () => {
    const taken = new Set<string>();
    for (let vm = 0; vm < 1000; vm++) taken.add(macOf(`vm-${vm}`, 0, (mac) => taken.has(mac)));
    expect(taken.size).toBe(1000);
    expect(macOf("a", 0, () => false)).toBe(macOf("a", 0, () => false));
    expect(macOf("a", 0, (mac) => mac === macOf("a", 0, () => false))).not.toBe(macOf("a", 0, () => false));
  });
});
