import { describe, expect, test } from "vitest";
import { listening, RECEIVE_BYTES, type StreamUser, VsockDriver } from "../../../test/vsock-driver.js";
import { accepted, bytesOf, concat, connected, joined } from "../../../test/vsock-streams.js";
import { vsockOps, vsockShutdown } from "./packet.js";

const { request, response, reset, shutdown, readWrite, creditUpdate, creditRequest } = vsockOps;

describe("credit", () => {
  test("the host sends what the guest keeps, asks once for more, and goes on", () => {
    const { driver, stream, send } = connected({ bufferBytes: 10_000 });
    stream.write(bytesOf(25_000));
    const first = driver.take();
    expect(first.map(({ header }) => header.op)).toEqual([readWrite, readWrite, readWrite, creditRequest]);
    expect(joined(first)).toEqual(bytesOf(25_000).slice(0, 10_000));
    send({ op: creditUpdate });
    send({ op: creditUpdate });
    expect(driver.takeOps()).toEqual([]);
    send({ op: creditUpdate, forwarded: 4000 });
    const second = driver.take();
    expect(joined(second)).toEqual(bytesOf(25_000).slice(10_000, 14_000));
    expect(second.at(-1)!.header.op).toBe(creditRequest);
    // With another buffer, as SO_VM_SOCKETS_BUFFER_SIZE gives.
    send({ op: creditUpdate, forwarded: 14_000, bufferBytes: 20_000 });
    expect(joined(driver.take())).toEqual(bytesOf(25_000).slice(14_000));
  });

  test("a guest that keeps nothing is asked, and holds only itself up", () => {
    const { driver, user, stream, send } = connected({ bufferBytes: 0 });
    expect(stream.write(bytesOf(300_000))).toBe(false);
    expect(driver.takeOps()).toEqual([creditRequest]);
    send({ op: creditUpdate, forwarded: 0xffff_fff0, bufferBytes: 8 });
    expect([driver.takeOps(), user.told]).toEqual([[], []]);
  });

  test("the guest's bytes wait for a user who does not read, and hold the guest back", () => {
    const { driver, user, stream, send } = accepted();
    stream.setReading(false);
    for (let part = 0; part < 4; part++) send({}, bytesOf(65_536, part));
    expect([driver.takeOps(), user.told]).toEqual([[], []]);
    stream.setReading(true);
    expect(user.takeBytes()).toEqual(concat(...[0, 1, 2, 3].map((part) => bytesOf(65_536, part))));
    const told = driver.take();
    expect(told.map(({ header }) => header.op)).toContain(creditUpdate);
    expect(told.at(-1)!.header).toMatchObject({ forwarded: 262_144, bufferBytes: 262_144 });
    send({}, bytesOf(65_536, 4));
    expect(user.takeBytes()).toEqual(bytesOf(65_536, 4));
  });

  test("is told when half of it is gone, with every packet, and whenever the guest asks", () => {
    const { driver, stream, send } = accepted();
    send({}, bytesOf(65_536));
    expect(driver.takeOps()).toEqual([]);
    send({}, bytesOf(65_536));
    expect(driver.take().map(({ header }) => [header.op, header.forwarded])).toEqual([
      [creditUpdate, 131_072],
    ]);
    send({}, bytesOf(10));
    stream.write(bytesOf(1));
    expect(driver.take().map(({ header }) => [header.op, header.forwarded])).toEqual([[readWrite, 131_082]]);
    send({ op: creditRequest });
    expect(driver.takeOps()).toEqual([creditUpdate]);
  });

  test("a guest that sends more than it may has its stream broken off; what it sent before comes", () => {
    const { driver, user, stream, send } = accepted();
    stream.setReading(false);
    for (let part = 0; part < 4; part++) send({}, bytesOf(65_536));
    send({}, bytesOf(1));
    expect(driver.takeOps()).toEqual([reset]);
    expect(user.told).toEqual([]);
    stream.setReading(true);
    expect([user.takeBytes().length, user.told.at(-1)]).toEqual([262_144, "broken"]);
  });

  test("single bytes of the guest's are put together", () => {
    const { user, stream, send } = accepted();
    stream.setReading(false);
    for (let index = 0; index < 10_000; index++) send({}, Uint8Array.of(index));
    send({}, bytesOf(5000));
    send({}, bytesOf(2));
    stream.setReading(true);
    expect(user.told).toEqual([4096, 4096, 1808, 5000, 2]);
    expect(user.takeBytes()).toEqual(
      concat(
        Uint8Array.from({ length: 10_000 }, (_, index) => index),
        bytesOf(5000),
        bytesOf(2),
      ),
    );
  });

  test("whoever writes too much is asked to wait, and told when there is room", () => {
    const { driver, user, stream, send } = connected({ bufferBytes: 0xffff_ffff });
    driver.take(false);
    expect(stream.write(bytesOf(64 * (RECEIVE_BYTES - 44)))).toBe(true);
    driver.take(false);
    expect(stream.write(bytesOf(200_000))).toBe(true);
    expect(stream.write(bytesOf(100_000))).toBe(false);
    expect(user.told).toEqual([]);
    driver.give(41);
    expect(user.told).toEqual([]);
    driver.give(1);
    expect(user.told).toEqual(["drained"]);
    driver.give(60);
    send({ op: creditUpdate });
    expect(user.told).toEqual(["drained"]);
    expect(joined(driver.take())).toEqual(concat(bytesOf(200_000), bytesOf(100_000)));
  });

  test("streams take turns", () => {
    const driver = new VsockDriver().begin(0);
    const users = listening(driver.ports, 5000);
    for (const sourcePort of [1, 2, 3]) driver.send({ sourcePort });
    for (const { stream } of users) stream.write(bytesOf(20_000));
    driver.give(9);
    expect(driver.take(false).map(({ header }) => [header.destinationPort, header.op])).toEqual([
      [1, response],
      [2, response],
      [3, response],
      ...[1, 2, 3, 1, 2, 3].map((port) => [port, readWrite]),
    ]);
  });
});

describe("ends", () => {
  const ends = ({ user, driver }: { user: StreamUser; driver: VsockDriver }) => [
    user.told.splice(0),
    driver.take().map(({ header }) => [header.op, header.flags]),
  ];

  test("the host first, then the guest by closing", () => {
    const all = accepted();
    all.stream.write(bytesOf(3));
    all.stream.end();
    all.stream.end();
    expect(all.stream.write(bytesOf(4))).toBe(true);
    expect(ends(all)).toEqual([
      [],
      [
        [readWrite, 0],
        [shutdown, vsockShutdown.send],
      ],
    ]);
    all.send({}, bytesOf(5));
    expect(ends(all)).toEqual([[5], []]);
    all.send({ op: shutdown, flags: vsockShutdown.both });
    expect(ends(all)).toEqual([["ended", "closed"], [[reset, 0]]]);
    all.send({}, bytesOf(5));
    expect(ends(all)).toEqual([[], [[reset, 0]]]);
  });

  test("the guest first, then the host, which the guest confirms", () => {
    const all = accepted();
    all.send({ op: shutdown, flags: vsockShutdown.send });
    all.send({ op: shutdown, flags: 0 });
    expect(ends(all)).toEqual([["ended"], []]);
    all.stream.write(bytesOf(3));
    all.stream.end();
    expect(ends(all)).toEqual([
      ["closed"],
      [
        [readWrite, 0],
        [shutdown, vsockShutdown.both],
      ],
    ]);
    // Not yet: it has still to read what was sent.
    all.send({ op: creditUpdate, forwarded: 3 });
    all.send({ op: creditRequest });
    expect(ends(all)).toEqual([[], []]);
    all.send({ op: reset });
    all.send({ op: reset });
    expect(ends(all)).toEqual([[], []]);
    all.send({ op: request });
    expect(ends(all)).toEqual([[], [[response, 0]]]);
  });

  test("the host first, then the guest by a half: both are told that it is over", () => {
    const all = accepted();
    all.stream.end();
    expect(ends(all)).toEqual([[], [[shutdown, vsockShutdown.send]]]);
    all.send({ op: shutdown, flags: vsockShutdown.send });
    expect(ends(all)).toEqual([["ended", "closed"], [[shutdown, vsockShutdown.both]]]);
    all.send({ op: shutdown, flags: vsockShutdown.both });
    expect(ends(all)).toEqual([[], [[reset, 0]]]);
  });

  test("data after an end breaks the stream off", () => {
    const all = accepted();
    all.send({ op: shutdown, flags: vsockShutdown.send });
    all.send({}, bytesOf(1));
    expect(ends(all)).toEqual([["ended", "broken"], [[reset, 0]]]);
  });

  test("a guest that takes no more: what was written is lost, and nobody waits for room", () => {
    const all = connected({ bufferBytes: 4 });
    expect(all.stream.write(bytesOf(300_000))).toBe(false);
    all.send({ op: shutdown, flags: vsockShutdown.receive });
    expect(ends(all)[0]).toEqual(["drained"]);
    expect(all.stream.write(bytesOf(300_000))).toBe(true);
    all.send({}, bytesOf(6));
    all.send({ op: shutdown, flags: vsockShutdown.send });
    expect(ends(all)).toEqual([[6, "ended", "broken"], [[reset, 0]]]);
  });

  test("a guest that closes while bytes are on their way to it", () => {
    const all = connected({ bufferBytes: 4 });
    all.stream.write(bytesOf(5));
    all.send({ op: shutdown, flags: vsockShutdown.both });
    expect(ends(all)[0]).toEqual(["ended", "broken"]);
  });

  test("a reset by either side", () => {
    const guest = accepted();
    guest.send({ op: reset });
    expect(ends(guest)).toEqual([["broken"], []]);
    const host = accepted();
    host.stream.reset();
    host.stream.reset();
    host.stream.write(bytesOf(1));
    expect(ends(host)).toEqual([[], [[reset, 0]]]);
  });

  test("come after all bytes, whenever these are read", () => {
    const all = accepted();
    all.stream.setReading(false);
    all.send({}, bytesOf(3));
    all.send({ op: shutdown, flags: vsockShutdown.both });
    expect(ends(all)).toEqual([[], [[reset, 0]]]);
    // The guest may use the port again.
    all.send({ op: request });
    expect([all.users.length, all.driver.takeOps()]).toEqual([2, [response]]);
    all.stream.setReading(true);
    expect(ends(all)).toEqual([[3, "ended", "closed"], []]);
  });

  test("users may act when they are told", () => {
    const driver = new VsockDriver().begin();
    const told: (string | number)[] = [];
    driver.ports.listen(5000, (caller) => {
      const stream = caller.take({
        data: (data) => {
          told.push(data.length);
          stream.setReading(false);
          stream.write(data);
          stream.setReading(true);
          if (data.length === 1) stream.reset();
        },
        ended: () => stream.end(),
        drained: () => told.push("drained"),
        closed: () => told.push("closed"),
      });
    });
    driver.send({});
    driver.send({ op: readWrite }, bytesOf(100));
    driver.send({ op: shutdown, flags: vsockShutdown.send });
    expect(driver.takeOps()).toEqual([response, readWrite, shutdown]);
    driver.send({ sourcePort: 2 });
    driver.send({ op: readWrite, sourcePort: 2 }, bytesOf(1));
    expect(driver.takeOps()).toEqual([response, reset]);
    expect(told).toEqual([100, "closed", 1]);
  });
});
