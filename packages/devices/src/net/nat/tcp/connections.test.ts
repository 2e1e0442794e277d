/** Guests' connections through the gateway: a simple TCP end on the switch, and an outside that the test plays. */
import { describe, expect, test } from "vitest";
import type { FakeTcp } from "../../../../test/fake-outside.js";
import { startedTcp as started } from "../../../../test/tcp-guest.js";
import { finishedFrames } from "../../frame.js";
import { type Segment, tcpFlags, tcpFrame } from "../../frames/tcp.js";
import { finishFrame } from "../../offload.js";
import { policyOf } from "../policy.js";

/** 20,000 and more are run with HYPERFILE_CONNECTIONS=20000. */
const CONNECTIONS = Number(process.env.HYPERFILE_CONNECTIONS ?? 6000);

const { syn, rst, ack } = tcpFlags;
const pattern = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8)) & 0xff);

const joined = (pieces: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(pieces));
const flagsOf = (segments: readonly Segment[]): number[] => segments.map(({ flags }) => flags);

describe("a guest's SYN", () => {
  test("is answered when the outside has accepted, and not before", () => {
    const { open, outside, timers } = started();
    const { tcp, segments } = open("1.2.3.4", 80);
    tcp.connect();
    timers.advance(500);
    expect([outside.connections.map(({ address, port }) => [address, port]), segments]).toEqual([
      [["1.2.3.4", 80]],
      [],
    ]);
    // It is sent again meanwhile, and is one connection all the same.
    timers.advance(2500);
    expect([outside.connections.length, segments]).toEqual([1, []]);
    outside.connections[0]!.events.opened();
    timers.advance(100);
    expect([tcp.isOpen, segments[0]!.flags]).toEqual([true, syn | ack]);
  });

  test("is refused when the outside refuses, and told when there is no way", () => {
    const { open, outside, timers, complaints, net } = started();
    const [one, two] = [open("1.2.3.4", 80, 4000), open("1.2.3.4", 81, 4001)];
    one.tcp.connect();
    two.tcp.connect();
    outside.connections[0]!.events.failed("refused");
    outside.connections[1]!.events.failed("unreachable");
    timers.advance(10);
    expect([one.tcp.wasReset, two.tcp.wasReset, complaints, net.statistics.tcpConnections]).toEqual([
      true,
      false,
      [1],
      0,
    ]);
  });

  test("to where the policy does not let it go reaches nothing", () => {
    const refused: string[] = [];
    const { open, outside, timers, complaints } = started({
      onRefused: ({ address, protocol }) => refused.push(`${protocol} ${address}`),
    });
    ["127.0.0.1", "169.254.169.254", "192.168.1.1", "fd00:1::1", "::ffff:127.0.0.1"].forEach(
      (address, index) => {
        open(address, 80, 4000 + index).tcp.connect();
      },
    );
    const host = open("10.0.2.2", 80, 4100);
    host.tcp.connect();
    timers.advance(10);
    expect([outside.connections, complaints.length, host.tcp.wasReset]).toEqual([[], 5, true]);
    expect(refused.sort()).toEqual(
      ["127.0.0.1", "127.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.1.1", "fd00:1::1"]
        .map((each) => `tcp ${each}`)
        .sort(),
    );
  });

  test("to the gateway is one to the host's loopback, where that is allowed", () => {
    const { open, outside } = started({
      policy: policyOf([{ allow: true, range: "127.0.0.1", ports: [8000, 8000] }], () => []),
    });
    open("10.0.2.2", 8000).tcp.connect();
    expect(outside.connections[0]).toMatchObject({ address: "127.0.0.1", port: 8000 });
  });
});

describe("a forward", () => {
  const port = { protocol: "tcp", hostPort: 8022, guest: "10.0.2.15", guestPort: 22 } as const;

  test("leads who connects to the guest, who is read when the guest has accepted", async () => {
    const { net, outside, timers, guest, serve } = started();
    guest.announce();
    const forward = await net.forward(port);
    const [listener] = outside.tcpListeners;
    expect([forward.port, listener!.address, listener!.port]).toEqual([8022, "127.0.0.1", 8022]);
    const tcp = serve(22);
    const caller = listener!.call("127.0.0.1", 40_000)!;
    expect([caller.log, tcp.isOpen]).toEqual([[], false]);
    timers.advance(100);
    expect([caller.log, tcp.isOpen]).toEqual([["read"], true]);
    const [up, down] = [pattern(100_000), pattern(70_000)];
    caller.events.data(down);
    tcp.write(up);
    tcp.end();
    timers.advance(10_000);
    expect([joined(tcp.received), joined(caller.written)]).toEqual([down, up]);
    expect(caller.log.at(-1)).toBe("end");
    caller.events.ended();
    caller.events.closed(false);
    timers.advance(30_000);
    expect(net.statistics).toMatchObject({ tcpConnections: 0, tcpOpened: 1 });
    forward.close();
    expect(listener!.isOpen).toBe(false);
  });

  test("is broken off where the guest refuses, does not answer, or a rule is in the way", async () => {
    const refuses = started();
    await refuses.net.forward(port);
    refuses.serve(22).reset();
    const none = refuses.outside.tcpListeners[0]!.call("127.0.0.1", 40_000)!;
    refuses.timers.advance(200_000);
    expect([none.log, refuses.net.statistics.tcpConnections]).toEqual([["reset"], 0]);
    const denies = started({
      policy: policyOf([{ allow: false, direction: "in", range: "198.18.0.0/15" }], () => []),
    });
    await denies.net.forward(port);
    const [listener] = denies.outside.tcpListeners;
    expect(listener!.call("198.18.0.1", 1)).toBeUndefined();
    expect(listener!.call("127.0.0.1", 1)).toBeDefined();
    expect(denies.net.counters.refused).toBe(1);
  });

  test("that is asked for while its network is closed is not there", async () => {
    const { net, outside } = started();
    const asked = net.forward(port);
    net.close();
    await expect(asked).rejects.toMatchObject({ code: "E_NETWORK_HOST" });
    expect(outside.tcpListeners.map(({ isOpen }) => isOpen)).toEqual([false]);
  });

  test("bounds who waits for a guest that does not answer", async () => {
    const { net, outside, timers } = started();
    await net.forward(port);
    const [listener] = outside.tcpListeners;
    const callers = Array.from({ length: 1100 }, (_, index) => listener!.call("127.0.0.1", index + 1));
    expect(callers.filter((each) => each !== undefined)).toHaveLength(1024);
    expect(net.statistics).toMatchObject({ tcpConnections: 1024, tcpNoRoom: 76 });
    timers.advance(300_000);
    expect(net.statistics.tcpConnections).toBe(0);
    expect(callers.every((each) => each === undefined || each.log.includes("reset"))).toBe(true);
  });
});

/** A connection that is open. */
function opened() {
  const all = started();
  const { tcp, segments } = all.open("1.2.3.4", 80);
  tcp.connect();
  const [outer] = all.outside.connections as [FakeTcp];
  outer.events.opened();
  all.timers.advance(10);
  return { ...all, tcp, segments, outer };
}

describe("an open connection", () => {
  test("carries bytes both ways, and each end by itself", () => {
    const { tcp, outer, timers, net } = opened();
    const [up, down] = [pattern(100_000), pattern(150_000)];
    tcp.write(up);
    tcp.end();
    timers.advance(5000);
    expect([joined(outer.written), outer.log]).toEqual([up, ["end"]]);
    outer.events.data(down);
    outer.events.ended();
    timers.advance(5000);
    expect([joined(tcp.received), tcp.isFinished]).toEqual([down, true]);
    outer.events.closed(false);
    timers.advance(20_000);
    expect(net.statistics).toMatchObject({ tcpConnections: 0, tcpBytes: 0 });
  });

  test("an outside that does not take holds the guest back, and gets all of it later", () => {
    const { tcp, outer, timers, net } = opened();
    outer.hasRoom = false;
    const up = pattern(600_000);
    tcp.write(up);
    timers.advance(60_000);
    expect(tcp.unsent).toBeGreaterThan(300_000);
    expect(net.statistics.tcpBytes).toBeLessThanOrEqual(256 << 10);
    outer.hasRoom = true;
    outer.events.drained();
    timers.advance(120_000);
    expect(joined(outer.written)).toEqual(up);
  });

  test("a guest that does not take holds the outside back, however long, and is not given up", () => {
    const { tcp, outer, timers, net } = opened();
    tcp.window = 0;
    tcp.acknowledge();
    const piece = pattern(50_000);
    let sent = 0;
    while (!outer.log.includes("pause") && sent < 100) {
      outer.events.data(piece.slice());
      timers.advance(1);
      sent++;
    }
    expect(sent).toBe(6);
    timers.advance(86_400_000);
    expect(net.statistics.tcpBytes).toBe(300_000);
    tcp.window = 60_000;
    tcp.acknowledge();
    timers.advance(60_000);
    expect([tcp.receivedBytes, outer.log]).toEqual([300_000, ["pause", "read"]]);
  });

  test("a day of silence keeps it, a peer that is gone does not", () => {
    const { tcp, outer, timers, net } = opened();
    timers.advance(86_400_000);
    outer.events.data(pattern(10));
    timers.advance(100);
    expect([tcp.receivedBytes, net.statistics.tcpConnections]).toEqual([10, 1]);
    tcp.wasReset = true;
    timers.advance(7_200_000 + 75_000 * 11);
    expect([net.statistics.tcpConnections, outer.log]).toEqual([0, ["reset"]]);
  });

  test("a reset goes through in both directions", () => {
    const one = opened();
    one.tcp.reset();
    expect([one.outer.log, one.net.statistics.tcpConnections]).toEqual([["reset"], 0]);
    const two = opened();
    two.outer.events.closed(true);
    two.timers.advance(10);
    expect([two.tcp.wasReset, two.net.statistics.tcpConnections]).toEqual([true, 0]);
    const three = opened();
    three.net.close();
    expect(three.outer.log).toEqual(["reset"]);
  });
});

test("what belongs to no connection is answered by a reset, and a reset by nothing", () => {
  const { guest, timers, open } = started();
  const { segments } = open("1.2.3.4", 80, 4000);
  const send = (flags: number): void => {
    const segment = {
      sourcePort: 4000,
      destinationPort: 80,
      sequence: 77,
      acknowledgement: 99,
      window: 5,
      options: {},
    };
    const [finished] = finishFrame(
      tcpFrame(guest.to("1.2.3.4"), { ...segment, flags, data: [pattern(3)] }, 1460),
      finishedFrames,
    );
    guest.send(finished!.bytes);
  };
  send(ack);
  send(syn | ack);
  send(0);
  send(rst);
  send(rst | ack);
  timers.advance(10);
  expect(flagsOf(segments)).toEqual([rst, rst, rst | ack]);
  expect(segments.map(({ sequence, acknowledgement }) => [sequence, acknowledgement])).toEqual([
    [99, 0],
    [99, 0],
    [0, 80],
  ]);
});

test(`${CONNECTIONS} short connections leave nothing, over ports that are used again`, () => {
  const { outside, timers, net, open } = started();
  for (let round = 0; round < CONNECTIONS; round++) {
    const { tcp } = open("1.2.3.4", 80, 1024 + (round % 5000));
    tcp.connect();
    const outer = outside.connections.pop()!;
    outer.events.opened();
    timers.advance(2);
    tcp.write(Uint8Array.of(1));
    outer.events.data(Uint8Array.of(2));
    outer.events.ended();
    tcp.end();
    timers.advance(4);
    if (round % 1000 === 0)
      expect([joined(outer.written), outer.log, tcp.receivedBytes], `${round}`).toEqual([
        Uint8Array.of(1),
        ["end"],
        1,
      ]);
    outer.events.closed(false);
  }
  timers.advance(120_000);
  expect(net.statistics).toMatchObject({ tcpConnections: 0, tcpBytes: 0, tcpOpened: CONNECTIONS });
}, 300_000);

test("a flood of SYNs is bounded, and costs other guests nothing", () => {
  const { guest, net, outside } = started();
  const knock = (port: number): void => {
    const segment = {
      sourcePort: port,
      destinationPort: 80,
      sequence: port,
      acknowledgement: 0,
      window: 5,
      options: {},
      flags: syn,
    };
    const [finished] = finishFrame(
      tcpFrame(guest.to("1.2.3.4"), { ...segment, data: [] }, 1460),
      finishedFrames,
    );
    guest.send(finished!.bytes);
  };
  for (let port = 1; port < 5000; port++) knock(port);
  expect([outside.connections.length, net.statistics.tcpNoRoom]).toEqual([1024, 4999 - 1024]);
  guest.four = "10.0.2.16";
  knock(1);
  expect(outside.connections).toHaveLength(1025);
});
