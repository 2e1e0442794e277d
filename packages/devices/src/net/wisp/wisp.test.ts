/** A client and a relay of ours, in virtual time: connections, their ends, their limits, names and what the policy says. */
import { expect, test } from "vitest";
import { dnsQuery, dnsReply } from "../../../test/dns-messages.js";
import { FakeOutside } from "../../../test/fake-outside.js";
import { NetGuest } from "../../../test/net-guest.js";
import { areFrom, bytesFrom, SteadyOutside } from "../../../test/steady-peer.js";
import { tcpEnd } from "../../../test/tcp-guest.js";
import { Noting, wispWorld } from "../../../test/wisp-world.js";
import { policyOf } from "../nat/policy.js";
import { UserNetwork } from "../nat/user-network.js";
import { Switch } from "../switch/switch.js";
import type { Timers } from "../timers.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** A world with an outside by hand. */
function byHand(options: Partial<Parameters<typeof wispWorld>[0]> = {}) {
  const outside = new FakeOutside();
  const world = wispWorld({ outside, ...options });
  world.timers.advance(10);
  return { ...world, outside };
}

test("a connection opens when the other side has accepted, carries bytes, and ends in each direction by itself", () => {
  const { timers, outside, client, told } = byHand();
  expect(told).toEqual(["connected to the relay relay.test"]);
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(5000);
  const [other] = outside.connections;
  expect([other!.address, other!.port, guest.log]).toEqual(["192.0.2.7", 80, []]);
  other!.events.opened();
  timers.advance(10);
  expect(guest.log).toEqual(["opened"]);
  guest.tcp.write(text("GET"));
  guest.tcp.end();
  timers.advance(10);
  expect(Buffer.concat(other!.written).toString()).toBe("GET");
  expect(other!.log).toEqual(["end"]);
  // The guest's direction is over; the other one goes on as long as it likes.
  timers.advance(600_000);
  other!.events.data(text("late answer"));
  other!.events.ended();
  other!.events.closed(false);
  timers.advance(10);
  expect([guest.text, guest.log]).toEqual(["late answer", ["opened", "ended", "closed"]]);
  expect(client.size).toBe(0);
});

test("the other side's end leaves the guest's direction open", () => {
  const { timers, outside, client, relay } = byHand();
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(10);
  const [other] = outside.connections;
  other!.events.opened();
  other!.events.ended();
  timers.advance(60_000);
  expect(guest.log).toEqual(["opened", "ended"]);
  guest.tcp.write(text("still here"));
  guest.tcp.end();
  timers.advance(10);
  expect([Buffer.concat(other!.written).toString(), other!.log]).toEqual(["still here", ["end"]]);
  other!.events.closed(false);
  timers.advance(10);
  expect(guest.log).toEqual(["opened", "ended", "closed"]);
  expect([client.size, relay().size]).toEqual([0, 0]);
});

test.each([
  ["refused", "failed: refused"],
  ["unreachable", "failed: unreachable"],
] as const)("a connection that is %s is told so", (why, told) => {
  const { timers, outside, client, relay } = byHand();
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(10);
  outside.connections[0]!.events.failed(why);
  timers.advance(10);
  expect(guest.log).toEqual([told]);
  expect([client.size, relay().size]).toEqual([0, 0]);
});

test("an address that never answers fails after a while, and is given up outside", () => {
  const { timers, outside, client, relay } = byHand();
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(20_000);
  expect([guest.log, outside.connections[0]!.log]).toEqual([["failed: unreachable"], ["reset"]]);
  expect([client.size, relay().size, timers.pending]).toEqual([0, 0, 0]);
});

test("a reset goes through in both directions", () => {
  const { timers, outside, client, relay } = byHand();
  const [one, two] = [new Noting(client, "192.0.2.7", 80), new Noting(client, "192.0.2.7", 81)];
  timers.advance(10);
  for (const { events } of outside.connections) events.opened();
  timers.advance(10);
  one.tcp.reset();
  outside.connections[1]!.events.closed(true);
  timers.advance(10);
  expect([one.log, outside.connections[0]!.log]).toEqual([["opened"], ["reset"]]);
  expect(two.log).toEqual(["opened", "broken"]);
  expect([client.size, relay().size]).toEqual([0, 0]);
});

test("64 MiB each way between readers that are slow keep little on the way, and every byte is right", () => {
  const size = 64 << 20;
  let timers: Timers;
  const outside = new SteadyOutside(
    () => timers,
    () => ({ sends: size, takeRate: 20_000 }),
  );
  const world = wispWorld({ outside, bytesPerMs: 100_000 });
  timers = world.timers;
  world.timers.advance(10);
  const guest = new Noting(world.client, "192.0.2.7", 80);
  let [place, sent, isRight] = [0, 0, true];
  let isHeld = false;
  // It takes 24,000 bytes a millisecond: it stops after each piece until they are through.
  guest.onData = (data) => {
    isRight &&= areFrom(place, data);
    place += data.length;
    guest.received.length = 0;
    guest.tcp.setReading(false);
    world.timers.after(data.length / 24_000, () => guest.tcp.setReading(true));
  };
  const send = (): void => {
    while (!isHeld && sent < size) {
      const bytes = bytesFrom(sent, Math.min(32_768, size - sent));
      sent += bytes.length;
      isHeld = !guest.tcp.write(bytes);
    }
    if (sent === size) guest.tcp.end();
  };
  guest.onDrained = () => {
    isHeld = false;
    send();
  };
  let [mostUnread, mostKept] = [0, 0];
  for (let step = 0; step < 200_000 && !guest.log.includes("closed"); step++) {
    world.timers.advance(1);
    if (sent === 0 && guest.log.includes("opened")) send();
    mostUnread = Math.max(mostUnread, world.client.unreadBytes);
    mostKept = Math.max(mostKept, world.relay().keptBytes);
  }
  const [peer] = outside.peers;
  expect(guest.log).toEqual(["opened", "ended", "closed"]);
  expect([place, isRight, peer!.received, peer!.isRight, peer!.log]).toEqual([
    size,
    true,
    size,
    true,
    ["ended", "end"],
  ]);
  const { up, down } = world.lines[0]!;
  // Two windows of 32 packets of 16 KiB, on a side or on the way to it.
  for (const most of [mostUnread, mostKept, up.most, down.most]) {
    expect(most).toBeLessThanOrEqual((64 * 16 + 64) << 10);
    expect(most).toBeGreaterThan(16 << 10);
  }
  expect([world.client.unreadBytes, world.relay().keptBytes, world.relay().size]).toEqual([0, 0, 0]);
});

test("a connection that nobody reads holds no other one", () => {
  let timers: Timers;
  const outside = new SteadyOutside(
    () => timers,
    (_address, port) => ({ sends: port === 80 ? 1 << 30 : 1 << 20 }),
  );
  const world = wispWorld({ outside });
  timers = world.timers;
  world.timers.advance(10);
  const deaf = Array.from({ length: 50 }, () => new Noting(world.client, "192.0.2.7", 80));
  for (const { tcp } of deaf) tcp.setReading(false);
  world.timers.advance(1000);
  const guest = new Noting(world.client, "192.0.2.7", 81);
  world.timers.advance(2000);
  expect([guest.bytes, guest.log]).toEqual([1 << 20, ["opened", "ended"]]);
  expect(world.client.unreadBytes).toBeLessThanOrEqual(50 * 64 * (16 << 10));
  for (const { tcp } of deaf) tcp.reset();
  guest.tcp.reset();
  world.timers.advance(100);
  expect([world.client.size, world.relay().size, world.client.unreadBytes]).toEqual([0, 0, 0]);
});

test("a guest behind a gateway is let in when the other side accepts, gets its bytes, and sees a lost relay as a reset", () => {
  const { timers, outside, client, lines } = byHand();
  const lan = new Switch({ timers });
  const net = new UserNetwork({ network: lan, outside: client, timers });
  const guest = new NetGuest(lan, 0x525400000015);
  const ends = [4000, 4001].map((own) => tcpEnd(guest, timers, "93.184.216.34", 80, own));
  guest.end.onFrame = () => {
    for (const { packet } of guest.take()) for (const { take } of ends) take(packet);
  };
  guest.announce();
  for (const { tcp } of ends) tcp.connect();
  timers.advance(900);
  expect(outside.connections.map(({ address }) => address)).toEqual(["93.184.216.34", "93.184.216.34"]);
  expect(ends.map(({ tcp }) => tcp.isOpen)).toEqual([false, false]);
  for (const { events } of outside.connections) events.opened();
  timers.advance(100);
  expect(ends.map(({ tcp }) => tcp.isOpen)).toEqual([true, true]);
  const [one, two] = ends.map(({ tcp }) => tcp);
  one!.write(bytesFrom(0, 30_000));
  one!.end();
  outside.connections[0]!.events.data(bytesFrom(0, 20_000));
  outside.connections[0]!.events.ended();
  timers.advance(2000);
  expect(Buffer.concat(outside.connections[0]!.written).equals(bytesFrom(0, 30_000))).toBe(true);
  expect(Buffer.concat(one!.received).equals(bytesFrom(0, 20_000))).toBe(true);
  expect([one!.isFinished, outside.connections[0]!.log]).toEqual([true, ["end"]]);
  lines[0]!.cut();
  timers.advance(100);
  expect([two!.wasReset, outside.connections[1]!.log]).toEqual([true, ["reset"]]);
  net.close();
});

test("names in a connection are resolved by the relay, and each address is judged", async () => {
  const policy = policyOf([], () => ["198.51.100.0/24"]);
  const { timers, outside, client, refused } = byHand({ policy });
  const answers: Record<string, readonly Uint8Array[]> = {
    "public.test": [Uint8Array.of(9, 9, 9, 9), Uint8Array.of(8, 8, 8, 8)],
    "inside.test": [Uint8Array.of(127, 0, 0, 1), Uint8Array.of(10, 0, 0, 1)],
    "both.test": [Uint8Array.of(127, 0, 0, 1), Uint8Array.of(8, 8, 4, 4)],
  };
  const ask = async (name: string, port: number): Promise<Noting> => {
    const guest = new Noting(client, name, port);
    timers.advance(10);
    for (const { message, answer } of outside.queries.splice(0)) {
      const isFour = message.at(-3) === 1;
      const found = answers[name];
      answer(found === undefined ? undefined : dnsReply(message, isFour ? found : []));
    }
    await new Promise((resolve) => setImmediate(resolve));
    timers.advance(10);
    return guest;
  };
  const one = await ask("public.test", 80);
  outside.connections[0]!.events.failed("refused");
  timers.advance(10);
  expect(outside.connections.map(({ address }) => address)).toEqual(["9.9.9.9", "8.8.8.8"]);
  outside.connections[1]!.events.opened();
  timers.advance(10);
  expect(one.log).toEqual(["opened"]);
  const two = await ask("inside.test", 80);
  expect(two.log).toEqual(["failed: unreachable"]);
  expect(refused).toEqual(["tcp 127.0.0.1 80"]);
  await ask("both.test", 80);
  expect(outside.connections.map(({ address }) => address)).toEqual(["9.9.9.9", "8.8.8.8", "8.8.4.4"]);
  expect((await ask("nowhere.test", 80)).log).toEqual(["failed: unreachable"]);
  expect((await ask("not a name", 80)).log).toEqual(["failed: unreachable"]);
});

test("rules by name hold for addresses that the client has found by asking the relay for the name", async () => {
  const policy = policyOf([{ allow: true, name: "nas.test" }], () => []);
  const { timers, outside, client } = byHand({ policy });
  const before = new Noting(client, "192.168.1.5", 80);
  timers.advance(10);
  expect(before.log).toEqual(["failed: unreachable"]);
  const asked = client.query(dnsQuery("nas.test", 1));
  timers.advance(10);
  outside.queries[0]!.answer(dnsReply(outside.queries[0]!.message, [Uint8Array.of(192, 168, 1, 5)]));
  await new Promise((resolve) => setImmediate(resolve));
  timers.advance(10);
  await asked;
  const [after, other] = [new Noting(client, "192.168.1.5", 80), new Noting(client, "192.168.1.6", 80)];
  timers.advance(10);
  expect([outside.connections.map(({ address }) => address), other.log]).toEqual([
    ["192.168.1.5"],
    ["failed: unreachable"],
  ]);
  outside.connections[0]!.events.opened();
  timers.advance(10);
  expect(after.log).toEqual(["opened"]);
});

test.each([
  ["127.0.0.1", 80],
  ["::1", 80],
  ["::ffff:127.0.0.1", 80],
  ["::ffff:7f00:1", 22],
  ["10.1.2.3", 80],
  ["172.20.0.1", 443],
  ["192.168.1.1", 80],
  ["169.254.169.254", 80],
  ["100.64.0.1", 80],
  ["198.51.100.9", 80],
  ["64:ff9b::a00:1", 80],
  ["2002:7f00:1::", 80],
  ["fe80::1", 80],
  ["fd00::1", 80],
  ["0.0.0.0", 80],
  ["255.255.255.255", 67],
])("%s is not public: neither by TCP nor by UDP", (address, port) => {
  const { timers, outside, client, refused } = byHand({ policy: policyOf([], () => ["198.51.100.0/24"]) });
  const guest = new Noting(client, address, port);
  client.openUdp(4, { data: () => {}, failed: () => {} }).send(text("x"), address, port);
  timers.advance(10);
  expect(guest.log).toEqual(["failed: unreachable"]);
  expect([outside.connections.length, outside.sockets.length, refused.length]).toEqual([0, 0, 2]);
  expect(client.size).toBe(0);
});

test("datagrams go to several places, answers come from them alone, and silence ends the streams", () => {
  const { timers, outside, client, relay } = byHand();
  const came: string[] = [];
  const socket = client.openUdp(4, {
    data: (data, address, port) => came.push(`${address} ${port} ${Buffer.from(data)}`),
    failed: () => came.push("failed"),
  });
  socket.send(text("one"), "192.0.2.7", 53);
  socket.send(text("two"), "192.0.2.8", 54);
  socket.send(text("three"), "192.0.2.7", 53);
  timers.advance(10);
  const [first, second] = outside.sockets;
  expect(first!.sent.map(({ data }) => `${Buffer.from(data)}`)).toEqual(["one", "three"]);
  first!.events.data(text("re"), "192.0.2.7", 53);
  first!.events.data(text("forged"), "192.0.2.9", 53);
  first!.events.data(text("forged"), "192.0.2.7", 54);
  second!.events.data(text("re two"), "192.0.2.8", 54);
  timers.advance(10);
  expect(came).toEqual(["192.0.2.7 53 re", "192.0.2.8 54 re two"]);
  timers.advance(130_000);
  expect([client.size, relay().size, outside.open]).toEqual([0, 0, 0]);
  socket.send(text("again"), "192.0.2.7", 53);
  timers.advance(10);
  expect(outside.open).toBe(1);
  socket.close();
  timers.advance(10);
  expect([client.size, relay().size, outside.open]).toEqual([0, 0, 0]);
  // More places than a socket may have: the oldest one goes.
  const wide = client.openUdp(4, { data: () => {}, failed: () => {} });
  for (let port = 1; port <= 200; port++) wide.send(text("x"), "192.0.2.7", port);
  timers.advance(10);
  expect([client.size, relay().size, outside.open]).toEqual([64, 64, 64]);
  // And sockets together leave room for connections.
  for (let at = 0; at < 20; at++) {
    const more = client.openUdp(4, { data: () => {}, failed: () => {} });
    for (let port = 1; port <= 64; port++) more.send(text("x"), "192.0.2.8", port);
  }
  timers.advance(10);
  expect([client.size, relay().size, outside.open]).toEqual([512, 512, 512]);
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(10);
  outside.connections[0]!.events.opened();
  timers.advance(130_000);
  expect([guest.log, client.size, outside.open]).toEqual([["opened"], 1, 0]);
  wide.send(text("x"), "192.0.2.7", 1);
  timers.advance(10);
  expect(outside.open).toBe(1);
});

test("names are asked for at the relay's host, or where an option says, by TCP where an answer is too long", async () => {
  const settle = async (timers: { advance(ms: number): void }) => {
    await new Promise((resolve) => setImmediate(resolve));
    timers.advance(10);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const question = dnsQuery("example.test", 1);
  const { timers, outside, client } = byHand();
  const asked = client.query(question);
  timers.advance(10);
  const { message, answer } = outside.queries[0]!;
  expect(message.subarray(2)).toEqual(question.subarray(2));
  answer(dnsReply(message, [Uint8Array.of(9, 9, 9, 9)]));
  await settle(timers);
  expect((await asked)!.subarray(-4)).toEqual(Uint8Array.of(9, 9, 9, 9));
  expect(client.size).toBe(0);

  const other = byHand({ client: { nameServer: "192.0.2.53:5353" } });
  const long = other.client.query(question);
  other.timers.advance(10);
  const [socket] = other.outside.sockets;
  const [sent] = socket!.sent;
  expect([sent!.address, sent!.port]).toEqual(["192.0.2.53", 5353]);
  const cut = dnsReply(sent!.data, []);
  cut[2]! |= 2;
  const forged = cut.slice();
  forged[0]! ^= 1;
  socket!.events.data(forged, "192.0.2.53", 5353);
  socket!.events.data(cut, "192.0.2.53", 5353);
  other.timers.advance(10);
  await settle(other.timers);
  const [connection] = other.outside.connections;
  connection!.events.opened();
  other.timers.advance(10);
  const query = Buffer.concat(connection!.written);
  const reply = dnsReply(query.subarray(2), [Uint8Array.of(7, 7, 7, 7)], 3000);
  const whole = Uint8Array.of(reply.length >> 8, reply.length & 255, ...reply);
  connection!.events.data(whole.subarray(0, 1));
  connection!.events.data(whole.subarray(1, 2000));
  connection!.events.data(whole.subarray(2000));
  await settle(other.timers);
  expect((await long)!.length).toBe(reply.length);

  const silent = byHand();
  const none = silent.client.query(question);
  silent.timers.advance(3500);
  await settle(silent.timers);
  silent.timers.advance(3500);
  expect(await none).toBeUndefined();
  expect(silent.client.size).toBe(0);
  expect(() => byHand({ client: { nameServer: "dns.google" } })).toThrow(
    '"dns.google" is no name server: write an address such as 9.9.9.9, 9.9.9.9:53 or [2620:fe::fe]:53',
  );
});

test("nothing listens at a relay", async () => {
  const { client } = byHand();
  await expect(client.listenTcp("127.0.0.1", 8080)).rejects.toMatchObject({ code: "E_NETWORK_HOST" });
  await expect(client.listenUdp("127.0.0.1", 8080)).rejects.toThrow(
    "port 8080 can't lead to a guest: a relay opens connections and can't listen; use a daemon's network for forwards",
  );
});
