/** WISP with ends that are hostile, others', slow, or gone. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { FakeOutside } from "../../../test/fake-outside.js";
import { bytesFrom, SteadyOutside } from "../../../test/steady-peer.js";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { type Line, Noting, wispWorld } from "../../../test/wisp-world.js";
import type { Timers } from "../timers.js";
import {
  type MalformedPacket,
  parseWisp,
  type WispPacket,
  wispClose,
  wispConnect,
  wispContinue,
  wispData,
} from "./packet.js";
import type { WispPort } from "./port.js";
import { WispRelay } from "./relay.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const hex = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value, "hex"));

/** A relay whose client is the test. */
function relayByHand(options: { hasRoom?: () => boolean } = {}) {
  const timers = new VirtualTimers();
  const outside = new FakeOutside();
  const said: (WispPacket | MalformedPacket)[] = [];
  const closed: string[] = [];
  const port = {
    waiting: 0,
    send: (bytes: Uint8Array) => void said.push(parseWisp(bytes)),
    close: (why: string) => void closed.push(why),
  };
  const relay = new WispRelay({ port, outside, timers, policy: () => true, client: "192.0.2.1", ...options });
  return { timers, outside, said, closed, port: port as WispPort & { waiting: number }, relay };
}

/** A relay that the test plays. */
function clientByHand(isOurs: boolean) {
  const got: (WispPacket | MalformedPacket)[] = [];
  let line!: Line;
  const world = wispWorld({
    outside: new FakeOutside(),
    client: { isOurs },
    answer: (own, packet) => {
      line = own;
      if (packet !== undefined) got.push(packet);
    },
  });
  world.timers.advance(5);
  const say = (bytes: Uint8Array): void => {
    line.down.send(bytes);
    world.timers.advance(5);
  };
  return { ...world, got, say };
}

// -- hostile clients

test.each([
  ["", "a packet of 0 bytes"],
  ["0901000000", "a packet of type 9"],
  ["0301000000", "CONTINUE of 5 bytes"],
  ["0401000000", "CLOSE of 5 bytes"],
  ["01000000000150006161", "CONNECT for stream 0"],
  ["010000000001500000", "CONNECT to what is no name"],
  ["01070000000150006161", "CONNECT for stream 7, which is open"],
  ["0107000000010000", "CONNECT to nowhere"],
])("a client that says %s is cut off: %s", (bytes, why) => {
  const { relay, outside, closed } = relayByHand();
  relay.receive(wispConnect(7, "tcp", "192.0.2.7", 80));
  relay.receive(hex(bytes));
  expect(closed).toEqual([why]);
  expect([outside.connections[0]!.log, relay.size]).toEqual([["reset"], 0]);
  // It is over: nothing more is done for it.
  relay.receive(wispConnect(8, "tcp", "192.0.2.8", 80));
  expect(outside.connections.length).toBe(1);
});

test("what concerns one stream closes that one", () => {
  const { relay, outside, said, closed, timers } = relayByHand();
  relay.receive(wispConnect(1, "tcp", "192.0.2.7", 80));
  outside.connections[0]!.events.opened();
  said.length = 0;
  relay.receive(hex("010200000009500061"));
  relay.receive(wispData(3, [text("never opened")]));
  relay.receive(wispData(3, [text("again: it is known by now")]));
  relay.receive(wispClose(4, 2));
  relay.receive(wispContinue(4, 9));
  expect(said).toEqual([
    { type: "close", stream: 2, reason: 0x41 },
    { type: "close", stream: 3, reason: 0x41 },
  ]);
  relay.receive(wispData(1, [text("goes on")]));
  expect(Buffer.concat(outside.connections[0]!.written).toString()).toBe("goes on");
  // More packets than it may send while nothing is taken.
  outside.connections[0]!.hasRoom = false;
  relay.receive(wispData(1, [text("x")]));
  for (let at = 0; at < 200; at++) relay.receive(wispData(1, [new Uint8Array(1000)]));
  expect(said.filter(({ type }) => type === "close").at(-1)).toEqual({
    type: "close",
    stream: 1,
    reason: 0x49,
  });
  expect([outside.connections[0]!.log.at(-1), relay.keptBytes, closed]).toEqual(["reset", 0, []]);
  timers.advance(1e6);
  expect(timers.pending).toBe(0);
  for (let stream = 100; stream < 1200; stream++) relay.receive(wispData(stream, [text("x")]));
  expect(closed).toEqual(["data for streams that were never opened"]);
});

test("streams, names under way and what is kept are bounded", () => {
  const { relay, outside, said, timers } = relayByHand();
  for (let stream = 1; stream <= 1100; stream++) relay.receive(wispConnect(stream, "tcp", "192.0.2.7", 80));
  expect([relay.size, outside.connections.length]).toEqual([1024, 1024]);
  expect(said.at(-1)).toEqual({ type: "close", stream: 1100, reason: 0x49 });
  for (const { events } of outside.connections) events.opened();
  // Nobody takes anything: each stream fills as far as it may, with packets as large as they can be.
  for (const connection of outside.connections) connection.hasRoom = false;
  const large = wispData(0, [new Uint8Array((1 << 20) - 5)]);
  let most = 0;
  for (let round = 0; round < 3; round++)
    for (let stream = 1; stream <= 1024; stream++) {
      new DataView(large.buffer).setUint32(1, stream, true);
      relay.receive(large);
      most = Math.max(most, relay.keptBytes);
    }
  expect(most).toBeLessThanOrEqual(32 << 20);
  expect(relay.counters.throttled).toBeGreaterThan(900);
  relay.close();
  expect([relay.size, relay.keptBytes, timers.pending]).toEqual([0, 0, 0]);

  const names = relayByHand();
  for (let stream = 1; stream <= 200; stream++)
    names.relay.receive(wispConnect(stream, "tcp", `n${stream}.test`, 80));
  expect([names.outside.queries.length, names.relay.size]).toEqual([128, 64]);

  const full = relayByHand({ hasRoom: () => false });
  full.relay.receive(wispConnect(1, "udp", "192.0.2.7", 80));
  expect([full.said.at(-1), full.relay.size]).toEqual([{ type: "close", stream: 1, reason: 0x49 }, 0]);
});

test("a client that does not read is cut off when what it asks for grows, and costs no reading outside meanwhile", () => {
  const { relay, outside, port, closed } = relayByHand();
  relay.receive(wispConnect(1, "tcp", "192.0.2.7", 80));
  const [connection] = outside.connections;
  connection!.events.opened();
  port.waiting = 2 << 20;
  connection!.events.data(new Uint8Array(1000));
  expect(connection!.log).toEqual(["pause"]);
  port.waiting = 0;
  relay.drained();
  expect(connection!.log).toEqual(["pause", "read"]);
  port.waiting = 5 << 20;
  relay.receive(wispConnect(2, "tcp", "192.0.2.7", 80));
  expect(closed).toEqual(["the client does not read"]);
});

test("whatever a client says, the relay goes on or closes with a reason, and keeps nothing afterwards", () => {
  const stream = fc.integer({ min: 0, max: 6 });
  const packet = fc.oneof(
    stream.map((id) => wispConnect(id, "tcp", "192.0.2.7", 80)),
    stream.map((id) => wispConnect(id, "udp", "192.0.2.7", 80)),
    stream.map((id) => wispConnect(id, "udp", "dns.hyperfile.internal", 53)),
    stream.map((id) => wispConnect(id, "tcp", "name.test", 80)),
    fc.tuple(stream, fc.uint8Array({ maxLength: 40 })).map(([id, data]) => wispData(id, [data])),
    fc.tuple(stream, fc.nat({ max: 40 })).map(([id, count]) => wispContinue(id, count)),
    fc.tuple(stream, fc.nat({ max: 255 })).map(([id, reason]) => wispClose(id, reason)),
    fc.uint8Array({ maxLength: 20 }),
  );
  const move = fc.oneof(
    { weight: 6, arbitrary: packet },
    {
      weight: 1,
      arbitrary: fc.constantFrom("open", "fail", "data", "ended", "closed", "broken", "drained", "time"),
    },
  );
  fc.assert(
    fc.property(fc.array(move, { maxLength: 80 }), (moves) => {
      const { relay, outside, said, timers, closed } = relayByHand();
      const told = new Set<unknown>();
      for (const each of moves) {
        if (typeof each !== "string") relay.receive(each);
        else if (each === "time") timers.advance(20_000);
        for (const { events, log } of outside.connections) {
          if (told.has(events) || log.includes("reset") || typeof each !== "string") continue;
          if (each === "open") events.opened();
          else if (each === "data") events.data(text("bytes"));
          else if (each === "ended") events.ended();
          else if (each === "drained") events.drained();
          else if (each !== "time") {
            told.add(events);
            if (each === "fail") events.failed("refused");
            else events.closed(each === "broken");
          }
        }
      }
      // Nothing was said on a stream after its CLOSE, but for streams that were opened again.
      expect(said.every(({ type }) => type !== "malformed")).toBe(true);
      expect(closed.length).toBeLessThanOrEqual(1);
      relay.close();
      timers.advance(1e6);
      expect([relay.size, relay.keptBytes, outside.open, timers.pending]).toEqual([0, 0, 0, 0]);
    }),
    { numRuns: 400 },
  );
});

// -- clients of others

test("a client of others' is told the end by CLOSE when it has everything, and what it sends last still arrives", () => {
  const { relay, outside, said } = relayByHand();
  relay.receive(wispConnect(1, "tcp", "192.0.2.7", 80));
  const [connection] = outside.connections;
  connection!.events.opened();
  // It does not count: everything goes, as far as the port takes it.
  for (let at = 0; at < 300; at++) connection!.events.data(new Uint8Array(20_000));
  connection!.hasRoom = false;
  relay.receive(wispData(1, [text("first ")]));
  relay.receive(wispData(1, [text("last words")]));
  connection!.events.ended();
  const data = said.flatMap((packet) => (packet.type === "data" ? [packet.data.length] : []));
  expect([data.reduce((sum, length) => sum + length, 0), Math.max(...data)]).toEqual([6_000_000, 16 << 10]);
  expect(said.at(-1)).toEqual({ type: "close", stream: 1, reason: 2 });
  expect([connection!.log, relay.size]).toEqual([["read"], 1]);
  connection!.hasRoom = true;
  connection!.events.drained();
  expect([Buffer.concat(connection!.written).toString(), connection!.log]).toEqual([
    "first last words",
    ["read", "end"],
  ]);
  connection!.events.closed(false);
  expect(relay.size).toBe(0);
});

test("a client of others' that closes is done: what it has sent goes out, for some seconds", () => {
  const { relay, outside, timers } = relayByHand();
  relay.receive(wispConnect(1, "tcp", "192.0.2.7", 80));
  const [connection] = outside.connections;
  connection!.events.opened();
  relay.receive(wispData(1, [text("all")]));
  relay.receive(wispData(1, []));
  relay.receive(wispClose(1, 2));
  expect([Buffer.concat(connection!.written).toString(), connection!.log]).toEqual(["all", ["read", "end"]]);
  timers.advance(20_000);
  expect([connection!.log.at(-1), relay.size]).toEqual(["reset", 0]);
});

// -- relays of others

test("through a relay of others' a connection opens with its first packet or soon, and its end is waited for", () => {
  const { timers, client, got, say, told } = clientByHand(false);
  say(wispContinue(0, 128));
  expect(told).toEqual(["connected to the relay relay.test"]);
  const [quiet, talker, blocked] = [80, 25, 81].map((port) => new Noting(client, "192.0.2.7", port));
  timers.advance(5);
  expect(got.map((packet) => packet.type)).toEqual(["connect", "connect", "connect"]);
  say(wispData(2, [text("220 ready")]));
  say(wispClose(3, 0x48));
  expect([quiet!.log, talker!.log, talker!.text, blocked!.log]).toEqual([
    [],
    ["opened"],
    "220 ready",
    ["failed: unreachable"],
  ]);
  timers.advance(400);
  expect(quiet!.log).toEqual(["opened"]);
  // The end of the guest's direction can't be told: what comes is read on.
  quiet!.tcp.write(text("GET"));
  quiet!.tcp.end();
  timers.advance(20_000);
  say(wispData(1, [text("answer")]));
  say(wispData(1, []));
  timers.advance(20_000);
  expect([quiet!.text, quiet!.log]).toEqual(["answer", ["opened"]]);
  say(wispClose(1, 2));
  expect(quiet!.log).toEqual(["opened", "closed"]);
  // Nothing for half a minute after that end: then it is given up.
  talker!.tcp.end();
  timers.advance(40_000);
  expect(talker!.log).toEqual(["opened", "closed"]);
  timers.advance(5);
  expect(got.at(-1)).toEqual({ type: "close", stream: 2, reason: 2 });
  expect([client.size, timers.pending]).toEqual([0, 0]);
});

test("a relay of others' holds us by its counts, and a guest that does not read breaks its connection at a bound", () => {
  const { timers, client, got, say } = clientByHand(false);
  say(wispContinue(0, 3));
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(400);
  let drained = 0;
  guest.onDrained = () => drained++;
  expect(guest.tcp.write(bytesFrom(0, 100_000))).toBe(false);
  timers.advance(5);
  const data = (): number[] => got.flatMap((packet) => (packet.type === "data" ? [packet.data.length] : []));
  expect(data()).toEqual([16_384, 16_384, 16_384]);
  say(wispContinue(1, 2));
  expect([data().length, drained]).toEqual([5, 0]);
  say(wispContinue(1, 0xffff_ffff));
  expect([data().reduce((sum, length) => sum + length, 0), drained]).toEqual([100_000, 1]);
  // 4 MiB are kept for a guest that does not read.
  guest.tcp.setReading(false);
  let sent = 0;
  while (guest.log.at(-1) !== "broken" && sent < 100) {
    sent++;
    say(wispData(1, [new Uint8Array(65_536)]));
  }
  expect(sent).toBe(65);
  expect([client.unreadBytes, client.size]).toEqual([0, 0]);
  expect(got.at(-1)).toEqual({ type: "close", stream: 1, reason: 0x81 });
  // Late packets for it mean nothing.
  say(wispData(1, [text("late")]));
  const tiny = new Noting(client, "192.0.2.7", 80);
  timers.advance(400);
  tiny.tcp.setReading(false);
  for (let at = 0; at < 16_000; at++) say(wispData(2, [text("x")]));
  expect(tiny.log).toEqual(["opened"]);
  for (let at = 0; at < 1000; at++) say(wispData(2, [text("x")]));
  expect(tiny.log).toEqual(["opened", "broken"]);
});

test("what a relay sends before it closes is read, also by a guest that reads later", () => {
  const { timers, client, say } = clientByHand(false);
  say(wispContinue(0, 3));
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(400);
  guest.tcp.setReading(false);
  say(wispData(1, [text("all of ")]));
  say(wispData(1, [text("it")]));
  say(wispClose(1, 2));
  timers.advance(100_000);
  expect([guest.text, guest.log]).toEqual(["", ["opened"]]);
  expect(guest.tcp.write(text("nobody"))).toBe(true);
  guest.tcp.setReading(true);
  expect([guest.text, guest.log]).toEqual(["all of it", ["opened", "closed"]]);
  expect([client.size, client.unreadBytes]).toEqual([0, 0]);
});

test.each([
  ["", "a packet of 0 bytes"],
  ["0900000000", "a packet of type 9"],
  ["0201000000", "it does not speak WISP 1"],
  ["0301000000ff000000", "it does not speak WISP 1"],
  ["040000000048", "it does not take this client"],
])("a relay whose first word is %s is left: %s", (bytes, why) => {
  const { client, say, told, timers } = clientByHand(false);
  const guest = new Noting(client, "192.0.2.7", 80);
  say(hex(bytes));
  expect(told).toEqual([`no connection to the relay relay.test: ${why}; the next attempt is in 1 s`]);
  timers.advance(1);
  expect(guest.log).toEqual(["failed: unreachable"]);
});

test.each([
  ["02ff00000061", "DATA for stream 255, which was never opened"],
  ["04ff00000002", "CLOSE for stream 255, which was never opened"],
  ["01010000000150006161", "CONNECT from a relay"],
  ["0301000000", "CONTINUE of 5 bytes"],
])("a relay that says %s is left: %s", (bytes, why) => {
  const { client, say, told, timers } = clientByHand(true);
  say(wispContinue(0, 8));
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(5);
  say(wispContinue(1, 8));
  say(hex(bytes));
  expect(told.at(-1)).toContain(`: ${why}; the next attempt is in `);
  expect([guest.log, client.size]).toEqual([["opened", "broken"], 0]);
});

test("a relay of ours that sends more than it was told is left", () => {
  const { client, say, told, timers } = clientByHand(true);
  say(wispContinue(0, 8));
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(5);
  say(wispContinue(1, 8));
  guest.tcp.setReading(false);
  for (let at = 0; at < 33; at++) say(wispData(1, [text("x")]));
  expect(guest.log).toEqual(["opened", "broken"]);
  expect(told.at(-1)).toContain("more packets than it may send");
});

// -- connections that are lost

test("a lost connection breaks off what was open, and another one is made after longer and longer waits", () => {
  let isThere = true;
  const outside = new FakeOutside();
  const { timers, client, lines, told, relay } = wispWorld({ outside, isThere: () => isThere });
  timers.advance(10);
  const open = new Noting(client, "192.0.2.7", 80);
  timers.advance(10);
  outside.connections[0]!.events.opened();
  timers.advance(20_000);
  const opening = new Noting(client, "192.0.2.7", 81);
  timers.advance(5);
  isThere = false;
  lines[0]!.cut();
  expect([open.log, opening.log]).toEqual([["opened", "broken"], ["failed: unreachable"]]);
  expect(outside.connections.map(({ log }) => log)).toEqual([["reset"], ["reset"]]);
  // Between two attempts it fails at once.
  const between = new Noting(client, "192.0.2.7", 82);
  expect(between.log).toEqual([]);
  timers.advance(1);
  expect(between.log).toEqual(["failed: unreachable"]);
  timers.advance(200_000);
  expect(told.slice(1).map((line) => line.replace(/^.*: /, ""))).toEqual(
    [1, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30].map((wait, at) =>
      at === 0
        ? `the connection broke off; the next attempt is in ${wait} s`
        : `it does not answer; the next attempt is in ${wait} s`,
    ),
  );
  isThere = true;
  // What is asked for during an attempt waits for it.
  while (lines.at(-1)!.up.isCut) timers.advance(0.5);
  const waiting = new Noting(client, "192.0.2.7", 83);
  timers.advance(10);
  expect(outside.connections.at(-1)!.port).toBe(83);
  outside.connections.at(-1)!.events.opened();
  timers.advance(10);
  expect([waiting.log, told.at(-1)]).toEqual([["opened"], "connected to the relay relay.test"]);
  expect(relay().size).toBe(1);
  client.close();
  expect(waiting.log).toEqual(["opened", "broken"]);
  timers.advance(1e6);
  expect([client.size, timers.pending, lines.at(-1)!.closedBy]).toEqual([0, 0, "the client is closed"]);
});

test("a relay that never says its first word is given up, and tried again", () => {
  const { timers, client, told } = wispWorld({ outside: new FakeOutside(), answer: () => {} });
  const guest = new Noting(client, "192.0.2.7", 80);
  timers.advance(10_500);
  expect([told, guest.log]).toEqual([
    ["no connection to the relay relay.test: it says nothing; the next attempt is in 1 s"],
    ["failed: unreachable"],
  ]);
  timers.advance(60_000);
  expect(told.length).toBeGreaterThan(4);
  client.close();
  expect(timers.pending).toBe(0);
});

test("lines that are cut at random leave nothing behind, and whole connections have all bytes", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat({ max: 3 }), fc.integer({ min: 1, max: 400 })), {
        minLength: 1,
        maxLength: 30,
      }),
      (steps) => {
        let timers: Timers;
        const outside = new SteadyOutside(
          () => timers,
          () => ({ sends: 50_000, sendRate: 3000, takeRate: 5000 }),
        );
        const world = wispWorld({ outside, bytesPerMs: 10_000 });
        timers = world.timers;
        const guests: Noting[] = [];
        for (const [kind, wait] of steps) {
          if (kind === 0) world.lines.at(-1)!.cut();
          else if (kind === 1) guests.at(-1)?.tcp.reset();
          else {
            const guest = new Noting(world.client, "192.0.2.7", 80);
            guest.onData = () => {
              if (guest.bytes === 50_000) guest.tcp.end();
            };
            guests.push(guest);
          }
          world.timers.advance(wait);
        }
        world.timers.advance(60_000);
        expect(world.client.size).toBe(0);
        for (const { log, bytes } of guests) {
          const isWhole = log.at(-1) === "closed";
          expect(isWhole).toBe(bytes === 50_000 && !log.includes("broken") && log.includes("closed"));
        }
        world.client.close();
        world.timers.advance(60_000);
        expect([world.client.unreadBytes, world.timers.pending]).toEqual([0, 0]);
        for (const { relay } of world.lines)
          expect([relay?.size ?? 0, relay?.keptBytes ?? 0]).toEqual([0, 0]);
      },
    ),
    { numRuns: 100 },
  );
});
