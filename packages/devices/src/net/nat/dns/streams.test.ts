/** Names by TCP: a guest's connections to the gateway's name server, from well-behaved ones to those that mean harm. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dnsQuery, dnsReply, framed, unframed } from "../../../../test/dns-messages.js";
import { startedTcp } from "../../../../test/tcp-guest.js";
import { VirtualTimers } from "../../../../test/virtual-timers.js";
import { formatIp, ipBytes } from "../../addresses.js";
import type { OutsideTcp } from "../outside.js";
import { type DnsQuestion, parseQuery } from "./message.js";
import { DnsStreams } from "./streams.js";

const joined = (pieces: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(pieces));
/** Lets what was promised happen. */
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

/** Guests with connections to the name server. */
function world(options: Parameters<typeof startedTcp>[0] = {}) {
  const started = startedTcp(options);
  const { timers, open } = started;
  const pass = async (milliseconds = 50): Promise<void> => {
    await settle();
    timers.advance(milliseconds);
    await settle();
    timers.advance(milliseconds);
  };
  const connected = async (own = 4000, server = "10.0.2.3") => {
    const { tcp } = open(server, 53, own);
    tcp.connect();
    await pass();
    return tcp;
  };
  return { ...started, pass, connected };
}
const numberOf = (message: Uint8Array): number => message[0]! * 256 + message[1]!;
const codeOf = (message: Uint8Array): number => message[3]! & 15;

describe("a guest that asks by TCP", () => {
  test("gets the answers to all that it asks, as they come, and the whole of them", async () => {
    const { outside, net, pass, connected } = world();
    net.setName("db", ["10.0.2.20"]);
    for (const [own, server] of [
      [4000, "10.0.2.3"],
      [4001, "fd00::3"],
      [4002, "10.0.2.2"],
    ] as const) {
      const tcp = await connected(own, server);
      const [one, two, local] = [
        dnsQuery("one.org", 1, 1),
        dnsQuery("two.org", 1, 2),
        dnsQuery("db.internal", 1, 3),
      ];
      tcp.write(joined([one, two, local].map(framed)));
      await pass();
      const [first, second] = outside.queries.splice(0);
      second!.answer(dnsReply(dnsQuery("two.org", 1, 77), [ipBytes("1.1.1.2")], 60_000));
      await pass();
      first!.answer(dnsReply(dnsQuery("one.org", 1, 78), [ipBytes("1.1.1.1")]));
      await pass();
      const came = unframed(joined(tcp.received));
      expect(came.map((each) => [numberOf(each), codeOf(each), each[2]! & 2])).toEqual([
        [3, 0, 0],
        [2, 0, 0],
        [1, 0, 0],
      ]);
      expect(formatIp(came[0]!.slice(-4))).toBe("10.0.2.20");
      expect(came[1]).toEqual(dnsReply(two, [ipBytes("1.1.1.2")], 60_000));
      tcp.end();
      await pass();
      expect([tcp.isFinished, tcp.wasReset]).toEqual([true, false]);
    }
    expect(outside.connections).toEqual([]);
    expect(net.statistics).toMatchObject({ dnsConnections: 0, dnsBrokenOff: 0 });
  });

  test("leads the policy to names, and gets nothing from outside where the network leads nowhere", async () => {
    const names: (readonly string[])[] = [];
    const { outside, pass, connected, guest } = world({
      policy: (question) => {
        names.push(question.names);
        return true;
      },
    });
    const tcp = await connected();
    tcp.write(framed(dnsQuery("good.org", 1)));
    await pass();
    outside.queries[0]!.answer(dnsReply(dnsQuery("good.org", 1), [ipBytes("1.2.3.4")]));
    await pass();
    guest.udp("1.2.3.4", 9, new Uint8Array(1));
    expect(names).toEqual([["good.org"]]);
    const isolated = world({ isRouter: false });
    isolated.net.setName("db", ["10.0.2.20"]);
    const other = await isolated.connected();
    other.write(joined([framed(dnsQuery("good.org", 1, 1)), framed(dnsQuery("db", 1, 2))]));
    await isolated.pass();
    expect(
      unframed(joined(other.received))
        .map((each) => [numberOf(each), codeOf(each)])
        .sort(),
    ).toEqual([
      [1, 2],
      [2, 0],
    ]);
    expect(isolated.outside.queries).toEqual([]);
  });

  test("is told of a failure where the whole answer is not to be had", async () => {
    const { outside, pass, connected } = world();
    const tcp = await connected();
    tcp.write(framed(dnsQuery("a.org", 1)));
    await pass();
    const cut = dnsReply(dnsQuery("a.org", 1), []);
    cut[2]! |= 2;
    outside.queries[0]!.answer(cut);
    await pass();
    const [answer] = unframed(joined(tcp.received));
    expect([codeOf(answer!), answer![2]! & 2]).toEqual([2, 0]);
  });

  test("has 16 queries under way, and all of a hundred are answered", async () => {
    const { outside, net, pass, connected } = world();
    const tcp = await connected();
    tcp.write(joined(Array.from({ length: 100 }, (_, id) => framed(dnsQuery(`n${id}.org`, 1, id)))));
    await pass();
    let answered = 0;
    while (outside.queries.length > 0) {
      expect(outside.queries.length).toBeLessThanOrEqual(16);
      // The last one first.
      const { message, answer } = outside.queries.pop()!;
      answer(dnsReply(message, []));
      answered++;
      await pass(5);
    }
    await pass();
    const came = unframed(joined(tcp.received)).map(numberOf);
    expect([answered, came.length, new Set(came).size]).toEqual([100, 100, 100]);
    expect(net.statistics).toMatchObject({ dnsForwarded: 100, dnsRefused: 0 });
  });

  test("may end its side at once, and gets what it has asked for; half a message is none", async () => {
    const { outside, pass, connected } = world();
    const tcp = await connected();
    tcp.write(joined([framed(dnsQuery("a.org", 1, 1)), framed(dnsQuery("b.org", 1, 2)).subarray(0, 20)]));
    tcp.end();
    await pass();
    expect([outside.queries.length, tcp.hasEnded]).toEqual([1, false]);
    outside.queries[0]!.answer(dnsReply(outside.queries[0]!.message, []));
    await pass();
    expect(unframed(joined(tcp.received)).map(numberOf)).toEqual([1]);
    expect([tcp.hasEnded, tcp.wasReset]).toEqual([true, false]);
  });
});

describe("connections to the name server", () => {
  test.each<[what: string, bytes: Uint8Array]>([
    ["no length", Uint8Array.of(0, 0)],
    ["a length shorter than a header", framed(new Uint8Array(11))],
    ["a length that no query has", Uint8Array.of(0x10, 0x01)],
    ["the greatest length", Uint8Array.of(255, 255)],
    ["an answer", framed(dnsReply(dnsQuery("a.org", 1), []))],
    ["a query without a question", framed(new Uint8Array(12))],
    ["a query whose name does not end", framed(dnsQuery("a.org", 1).subarray(0, 15))],
  ])("end at %s; others go on", async (_what, bytes) => {
    const { net, outside, pass, connected } = world();
    const [tcp, other] = [await connected(4000), await connected(4001)];
    other.write(framed(dnsQuery("a.org", 1)));
    tcp.write(joined([bytes, framed(dnsQuery("b.org", 1))]));
    await pass();
    expect([tcp.wasReset, tcp.receivedBytes, outside.queries.length]).toEqual([true, 0, 1]);
    outside.queries[0]!.answer(undefined);
    await pass();
    expect([other.wasReset, unframed(joined(other.received)).map(codeOf)]).toEqual([false, [2]]);
    expect(net.statistics).toMatchObject({ dnsConnections: 1, dnsBrokenOff: 1, tcpConnections: 1 });
  });

  test("end after half a minute without a whole message, whatever comes of half ones", async () => {
    const { net, timers, pass, connected } = world();
    net.setName("db", ["10.0.2.20"]);
    const [used, silent, slow] = [await connected(4000), await connected(4001), await connected(4002)];
    for (let second = 0; second < 35; second++) {
      timers.advance(1000);
      if (second < 10) slow.write(framed(dnsQuery("db", 1)).subarray(second, second + 1));
      if (second % 10 === 0) used.write(framed(dnsQuery("db", 1)));
      await pass(0);
    }
    expect([used, silent, slow].map(({ hasEnded }) => hasEnded)).toEqual([false, true, true]);
    expect(net.statistics).toMatchObject({ dnsConnections: 1, dnsBrokenOff: 0 });
    // One of the two ends its side, too; the other one does not, and is not waited for.
    silent.end();
    timers.advance(10_000);
    await pass();
    expect([silent, slow].map(({ wasReset }) => wasReset)).toEqual([false, true]);
    expect(unframed(joined(used.received))).toHaveLength(4);
  });

  test("are 16 for a guest: the one that was silent longest makes room", async () => {
    const { net, pass, connected } = world();
    net.setName("db", ["10.0.2.20"]);
    const all = [];
    for (let own = 4000; own < 4016; own++) all.push(await connected(own));
    all[0]!.write(framed(dnsQuery("db", 1)));
    await pass();
    all.push(await connected(4016), await connected(4017));
    expect(all.map(({ wasReset }) => wasReset)).toEqual(
      Array.from({ length: 18 }, (_, at) => at === 1 || at === 2),
    );
    expect(net.statistics).toMatchObject({ dnsConnections: 16, tcpConnections: 16 });
  });

  test("keep a bounded amount for a client that asks and does not read", async () => {
    const { net, outside, pass, connected } = world();
    const tcp = await connected();
    tcp.window = 0;
    tcp.acknowledge();
    await pass();
    for (let round = 0; round < 20 && !tcp.wasReset; round++) {
      tcp.write(framed(dnsQuery("large.org", 1)));
      await pass();
      for (const { message, answer } of outside.queries.splice(0)) answer(dnsReply(message, [], 60_000));
      await pass();
      expect(net.statistics.tcpBytes).toBeLessThanOrEqual((256 << 10) + (128 << 10) + 65_537);
    }
    // It is read no more when it has as much as a connection keeps, and ends some time later.
    expect(net.statistics.dnsForwarded).toBeLessThanOrEqual(8);
    expect(net.statistics.dnsForwarded).toBeGreaterThan(3);
    await pass(30_000);
    await pass(10_000);
    expect([tcp.wasReset, net.statistics.dnsConnections, net.statistics.tcpBytes]).toEqual([true, 0, 0]);
  });

  test("are closed with the network, and forgotten with the guest's", async () => {
    const { net, timers, outside, pass, connected, guest } = world();
    const tcp = await connected();
    tcp.write(framed(dnsQuery("a.org", 1)));
    await pass();
    net.abandon(guest.mac);
    expect(net.statistics).toMatchObject({ dnsConnections: 0, tcpConnections: 0 });
    outside.queries[0]!.answer(undefined);
    await pass();
    expect(tcp.receivedBytes).toBe(0);
    await connected(4001);
    net.close();
    expect([net.statistics.dnsConnections, timers.pending > 0]).toEqual([0, true]);
  });
});

// -- the service itself, without a network

/** A client of the service; what it sends arrives in any pieces, what it gets is judged as a whole. */
function client(streams: DnsStreams, guest = "10.0.2.15") {
  const got: Uint8Array[] = [];
  const seen = { isOpen: false, hasEnded: false, isBroken: false, drained: 0 };
  const end: OutsideTcp = streams.open(guest, {
    opened: () => {
      seen.isOpen = true;
    },
    failed: () => {},
    data: (data) => got.push(data),
    ended: () => {
      seen.hasEnded = true;
    },
    drained: () => {
      seen.drained++;
    },
    closed: (isBroken) => {
      seen.isBroken = isBroken;
    },
  });
  return { end, got, seen };
}

/** Names that are answered when the test says so. */
class FakeNames {
  readonly asked: { message: Uint8Array; reply: () => void }[] = [];

  ask(
    _guest: string,
    message: Uint8Array,
    reply: (answer: Uint8Array, question: DnsQuestion) => void,
  ): boolean {
    const question = parseQuery(message);
    if (question === undefined) return false;
    const kept = message.slice();
    const answer = (): void => reply(dnsReply(kept, []), question);
    // One in three is known here.
    if (question.id % 3 === 0) answer();
    else this.asked.push({ message: kept, reply: answer });
    return true;
  }
}

test("all are full: who was silent longest makes room, whoever it is", () => {
  const streams = new DnsStreams(new FakeNames(), new VirtualTimers());
  const all = Array.from({ length: 300 }, (_, guest) => client(streams, `10.0.${guest}.1`));
  expect(streams.size).toBe(256);
  expect(all.filter(({ seen }) => seen.isBroken)).toEqual(all.slice(0, 44));
});

test("whatever the pieces, delays and pauses, each query has one answer", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom("a", "b", "c") }), {
        minLength: 1,
        maxLength: 60,
      }),
      fc.array(fc.nat(99), { minLength: 1 }),
      fc.boolean(),
      (names, choices, endsEarly) => {
        let at = 0;
        const choose = (end: number): number => choices[at++ % choices.length]! % end;
        const fake = new FakeNames();
        const streams = new DnsStreams(fake, new VirtualTimers());
        const { end, got, seen } = client(streams);
        const stream = joined(names.map((name, id) => framed(dnsQuery(`${name}.org`, 1, id))));
        let sent = 0;
        let isHeld = false;
        let isPaused = false;
        let mostAsked = 0;
        // What may be done next is drawn; what holds it up is done at the end.
        for (let step = 0; step < 2000 && sent < stream.length; step++) {
          const what = choose(4);
          if (seen.drained > 0) [isHeld, seen.drained] = [false, 0];
          if (what <= 1 && !isHeld && sent < stream.length) {
            const length = 1 + choose(40);
            isHeld = !end.write(stream.slice(sent, sent + length));
            sent += length;
          } else if (what === 2 && fake.asked.length > 0)
            fake.asked.splice(choose(fake.asked.length), 1)[0]!.reply();
          else {
            isPaused = step < 1000 && !isPaused && choose(3) === 0;
            end.setReading(!isPaused);
          }
          mostAsked = Math.max(mostAsked, fake.asked.length);
          if (endsEarly && !isHeld && sent >= stream.length) end.end();
        }
        end.setReading(true);
        while (sent < stream.length || fake.asked.length > 0) {
          fake.asked.pop()?.reply();
          if (seen.drained > 0) [isHeld, seen.drained] = [false, 0];
          if (isHeld || sent === stream.length) continue;
          isHeld = !end.write(stream.slice(sent, sent + 100));
          sent = Math.min(stream.length, sent + 100);
        }
        end.end();
        expect(mostAsked).toBeLessThanOrEqual(16);
        expect([seen.hasEnded, seen.isBroken, streams.size]).toEqual([true, false, 0]);
        const ids = unframed(joined(got)).map(numberOf);
        expect(ids.sort((one, two) => one - two)).toEqual(names.map((_, id) => id));
      },
    ),
  );
});

test("generated bytes: nothing is thrown, what is kept is bounded, and only queries are asked", () => {
  const timers = new VirtualTimers();
  const fake = new FakeNames();
  const streams = new DnsStreams(fake, timers);
  let broken = 0;
  let served = 0;
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }),
          fc
            .tuple(fc.nat(300), fc.uint8Array({ maxLength: 300 }))
            .map(([length, bytes]) => Uint8Array.of(length >> 8, length & 255, ...bytes)),
          fc.nat(0xffff).map((id) => framed(dnsQuery("example.org", 1, id))),
          fc
            .tuple(fc.nat(28), fc.nat(255))
            .map(([place, value]) => framed(dnsQuery("example.org", 1)).with(place, value)),
        ),
        { maxLength: 12 },
      ),
      (pieces) => {
        const { end, got, seen } = client(streams, `10.0.0.${broken % 200}`);
        for (const piece of pieces) end.write(piece);
        if (seen.isBroken) {
          broken++;
          expect(end.write(framed(dnsQuery("late.org", 1, 3)))).toBe(false);
        }
        for (const { reply } of fake.asked.splice(0)) reply();
        served += unframed(joined(got)).length;
        if (pieces.length % 3 === 0) end.end();
        else if (pieces.length % 3 === 1) end.reset();
        expect(streams.size).toBeLessThanOrEqual(256);
      },
    ),
    { numRuns: 2000 },
  );
  expect([broken > 200, served > 200]).toEqual([true, true]);
  timers.advance(60_000);
  expect([streams.size, timers.pending]).toEqual([0, 0]);
});
