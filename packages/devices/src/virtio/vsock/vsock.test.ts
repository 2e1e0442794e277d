import { describe, expect, test } from "vitest";
import { turn } from "../../../test/block-driver.js";
import { connecting, listening, type StreamUser, VsockDriver } from "../../../test/vsock-driver.js";
import { accepted, bytesOf, concat, connected } from "../../../test/vsock-streams.js";
import { FIRST_HOST_PORT } from "./connections.js";
import { vsockOps } from "./packet.js";
import type { VsockStream } from "./stream.js";
import { virtioVsock } from "./vsock.js";

const { request, response, reset, shutdown, readWrite, creditUpdate } = vsockOps;

describe("the device", () => {
  test("is number 19, has three queues and tells the guest its address", () => {
    const driver = new VsockDriver({ cid: 0x12345 });
    driver.negotiate();
    expect([driver.get(8), driver.get(0x100), driver.get(0x104)]).toEqual([19, 0x12345, 0]);
    const sizes = [0, 1, 2, 3].map((queue) => {
      driver.set(0x30, queue);
      return driver.get(0x34);
    });
    expect(sizes).toEqual([128, 128, 128, 0]);
    driver.device.write(0x100, 4, 7);
    expect(driver.get(0x100)).toBe(0x12345);
  });

  test.each([0, 1, 2, 2.5, 0xffffffff, Number.NaN])("a guest can't have the address %d", (cid) => {
    expect(() => virtioVsock({ cid })).toThrow(
      expect.objectContaining({ code: "E_VSOCK_CID", message: expect.stringContaining(`${cid} is no`) }),
    );
  });
});

describe("a program of the guest connects", () => {
  test("and is answered as the standard has it", () => {
    const driver = new VsockDriver().begin();
    const users = listening(driver.ports, 0x55667788);
    driver.send({ op: request, sourcePort: 0x11223344, destinationPort: 0x55667788 });
    expect([...driver.take()[0]!.bytes]).toEqual([]);
    const at = driver.data + 8 * 4;
    expect([...driver.memory.bytes.slice(at, at + 44)]).toEqual([
      ...[2, 0, 0, 0, 0, 0, 0, 0],
      ...[3, 0, 0, 0, 0, 0, 0, 0],
      ...[0x88, 0x77, 0x66, 0x55],
      ...[0x44, 0x33, 0x22, 0x11],
      ...[0, 0, 0, 0],
      ...[1, 0, 2, 0],
      ...[0, 0, 0, 0],
      ...[0, 0, 4, 0],
      ...[0, 0, 0, 0],
    ]);
    expect(users[0]!.stream).toMatchObject({ guestPort: 0x11223344, hostPort: 0x55667788 });
    expect(users[0]!.told).toEqual([]);
    expect(driver.device.counters).toMatchObject({ accepted: 1, sent: 1, received: 1 });
  });

  test("to a port where nobody listens, or nobody takes it, and is refused", async () => {
    const driver = new VsockDriver().begin();
    driver.send({ destinationPort: 1 });
    let take: (() => VsockStream) | undefined;
    const user = connecting(driver.ports, 77);
    const listener = driver.ports.listen(2, (caller) => {
      take = () => caller.take(user);
    });
    driver.take();
    driver.send({ destinationPort: 2 });
    expect(driver.take().map(({ header }) => [header.op, header.sourcePort, header.destinationPort])).toEqual(
      [[reset, 2, 1000]],
    );
    // Too late.
    take!().write(Uint8Array.of(1));
    await turn();
    expect([driver.takeOps(), user.told]).toEqual([[], ["broken"]]);
    listener.close();
    driver.ports.listen(2, (caller) => void caller.take(user)).close();
    driver.send({ destinationPort: 2 });
    expect(driver.takeOps()).toEqual([reset]);
  });

  test("twice from one port: that breaks the stream off", () => {
    const { driver, user, send } = accepted();
    send({ op: request });
    expect([driver.takeOps(), user.told]).toEqual([[reset], ["broken"]]);
  });

  test("and a port of the host's has one listener", () => {
    const { ports } = new VsockDriver();
    const first = ports.listen(7, () => {});
    expect(() => ports.listen(7, () => {})).toThrow("somebody listens at port 7 of the host: use another");
    first.close();
    ports.listen(7, () => {});
    first.close();
    expect(() => ports.listen(7, () => {})).toThrow();
    for (const port of [-1, 0.5, 2 ** 32 - 1]) {
      expect(() => ports.listen(port, () => {})).toThrow(
        `${port} is no port: use an integer from 0 to 4294967294`,
      );
      expect(() => connecting(ports, port)).toThrow(expect.objectContaining({ code: "E_VSOCK_PORT" }));
    }
  });
});

describe("the host connects", () => {
  test("and both send", () => {
    const { driver, user, stream, send } = connected();
    stream.write(bytesOf(100));
    stream.write(bytesOf(50, 9));
    const [first, second, ...others] = driver.take();
    expect([first!.header, first!.bytes]).toEqual([
      expect.objectContaining({
        op: readWrite,
        sourcePort: FIRST_HOST_PORT,
        destinationPort: 9000,
        length: 100,
      }),
      bytesOf(100),
    ]);
    expect([second!.bytes, others]).toEqual([bytesOf(50, 9), []]);
    send({}, bytesOf(3000));
    driver.send(
      { op: readWrite, sourcePort: 9000, destinationPort: stream.hostPort },
      bytesOf(70_000, 3),
      true,
    );
    expect(user.told).toEqual([3000, 70_000]);
    expect(user.takeBytes()).toEqual(concat(bytesOf(3000), bytesOf(70_000, 3)));
  });

  test("with what was written before the guest has accepted", () => {
    const driver = new VsockDriver().begin();
    const user = connecting(driver.ports, 9000);
    user.stream.write(bytesOf(10));
    user.stream.end();
    expect(driver.takeOps()).toEqual([request]);
    driver.send({ op: response, sourcePort: 9000, destinationPort: user.stream.hostPort });
    expect(driver.takeOps()).toEqual([readWrite, shutdown]);
  });

  test("and is refused", async () => {
    const driver = new VsockDriver().begin();
    const user = connecting(driver.ports, 9000);
    driver.send({ op: reset, sourcePort: 9000, destinationPort: user.stream.hostPort });
    expect([user.told, driver.takeOps()]).toEqual([["refused"], [request]]);
    user.stream.write(bytesOf(1));
    user.stream.reset();
    await turn();
    expect([user.told, driver.takeOps()]).toEqual([["refused"], []]);
  });

  test("to a guest without a driver, and is told so later", async () => {
    const driver = new VsockDriver();
    const users = [connecting(driver.ports, 1), connecting(driver.ports, 1)];
    expect([users.map(({ told }) => told), driver.ports.live]).toEqual([[[], []], false]);
    users[1]!.stream.reset();
    await turn();
    expect(users.map(({ told }) => told)).toEqual([["no-driver"], []]);
    expect(driver.begin().takeOps()).toEqual([]);
    expect(driver.ports.live).toBe(true);
  });

  test("and gives up before the guest was asked: the guest learns nothing", () => {
    const driver = new VsockDriver().begin(0);
    connecting(driver.ports, 1).stream.reset();
    driver.give(1);
    expect(driver.takeOps()).toEqual([]);
    const user = connecting(driver.ports, 1);
    expect(driver.takeOps()).toEqual([request]);
    user.stream.reset();
    expect(driver.takeOps()).toEqual([reset]);
    driver.send({ op: response, sourcePort: 1, destinationPort: user.stream.hostPort });
    expect([driver.takeOps(), user.told]).toEqual([[reset], []]);
  });

  test.each([readWrite, request, shutdown, creditUpdate, 99])("an answer of %d is none", (op) => {
    const driver = new VsockDriver().begin();
    const user = connecting(driver.ports, 9000);
    driver.send({ op, sourcePort: 9000, destinationPort: user.stream.hostPort });
    expect([user.told, driver.takeOps()]).toEqual([["refused"], [request, reset]]);
  });

  test("nor is one that comes before the guest was asked", () => {
    const driver = new VsockDriver().begin(0);
    const user = connecting(driver.ports, 9000);
    driver.send({ op: response, sourcePort: 9000, destinationPort: user.stream.hostPort });
    expect(user.told).toEqual(["refused"]);
    driver.give(4);
    expect(driver.takeOps()).toEqual([reset]);
  });
});

describe("a driver that goes", () => {
  test("takes the streams with it; listeners stay", async () => {
    const { driver, user, users, stream, send } = accepted();
    const asked = connecting(driver.ports, 4);
    stream.write(bytesOf(10));
    driver.set(0x70, 0);
    expect([user.told, asked.told]).toEqual([["broken"], ["no-driver"]]);
    stream.write(bytesOf(10));
    driver.begin();
    expect(driver.takeOps()).toEqual([]);
    send({ op: request });
    expect([driver.takeOps(), users.length]).toEqual([[response], 2]);
    // A user who asks again at once is answered later.
    const eager = users[1]!;
    let again: StreamUser | undefined;
    eager.closed = () => {
      again = connecting(driver.ports, 4);
    };
    driver.device.dispose();
    expect(again?.told).toEqual([]);
    await turn();
    expect([again?.told, driver.ports.live]).toEqual([["no-driver"], false]);
  });
});

describe("save and restore", () => {
  /** A device that goes on from the state of another, with its driver and memory. */
  function copyOf(driver: VsockDriver): VsockDriver {
    const saved = structuredClone(driver.device.save());
    const copy = new VsockDriver({}, driver.memory);
    copy.device.restore(saved);
    expect(copy.device.save()).toEqual(saved);
    copy.adopt(driver);
    return copy;
  }

  test("a copy tells its driver that the streams are gone, and waits until that has dealt with it", () => {
    const { driver, user } = accepted();
    const copy = copyOf(driver);
    const users = listening(copy.ports, 5000);
    const early = connecting(copy.ports, 9000);
    copy.queues[2]!.takeUsed();
    copy.device.resume();
    const [event, ...others] = copy.queues[2]!.takeUsed();
    expect([event?.length, others]).toEqual([4, []]);
    expect([...copy.memory.bytes.slice(copy.data, copy.data + 4)]).toEqual([0, 0, 0, 0]);
    // What the guest still sends is taken, and answered when it may be.
    copy.send({ op: readWrite }, bytesOf(10));
    copy.send({ sourcePort: 1001 });
    connecting(copy.ports, 9001);
    expect([copy.takeOps(), early.told, users.length]).toEqual([[], [], 1]);
    copy.kick(2);
    expect(copy.takeOps()).toEqual([]);
    expect(copy.queues[2]!.availEvent).toBe(8);
    copy.giveEvent();
    expect(copy.takeOps()).toEqual([reset, request, response, request]);
    expect(early.stream.hostPort).toBe(FIRST_HOST_PORT);
    expect([user.told, copy.device.counters.transportResets]).toEqual([[], 1]);
    copy.device.resume();
    expect(copy.queues[2]!.takeUsed()).toEqual([]);
  });

  test("ports of the original's streams are not used again", () => {
    const driver = new VsockDriver().begin();
    const first = connecting(driver.ports, 9000);
    const copy = copyOf(driver);
    const second = connecting(copy.ports, 9000);
    expect(second.stream.hostPort).toBe(first.stream.hostPort + 1);
  });

  test("a driver that gave no buffers for events is told when it does, and not kept waiting", () => {
    const driver = new VsockDriver().begin(64, 0);
    const copy = copyOf(driver);
    copy.device.resume();
    connecting(copy.ports, 1);
    expect(copy.takeOps()).toEqual([request]);
    copy.giveEvent(8);
    expect(copy.queues[2]!.takeUsed()).toHaveLength(1);
    connecting(copy.ports, 1);
    expect(copy.takeOps()).toEqual([request]);
  });

  test("a buffer that the event does not fit into breaks the device", () => {
    const driver = new VsockDriver().begin(64, 0);
    driver.giveEvent(3);
    const copy = copyOf(driver);
    copy.device.resume();
    expect(copy.status).toBe(79);
  });

  test("the streams of a machine that goes back end", async () => {
    const { driver, user } = accepted();
    const saved = structuredClone(driver.device.save());
    let again: StreamUser | undefined;
    user.closed = () => {
      again = connecting(driver.ports, 1);
    };
    driver.device.restore(saved);
    await turn();
    expect(again!.told).toEqual(["no-driver"]);
    driver.device.resume();
    driver.giveEvent();
    driver.send({ op: readWrite }, bytesOf(4));
    expect(driver.takeOps()).toEqual([reset]);
  });

  test("a new driver knows of no streams before a restore", () => {
    const copy = copyOf(accepted().driver);
    copy.device.resume();
    copy.begin();
    connecting(copy.ports, 1);
    expect([copy.takeOps(), copy.queues[2]!.takeUsed()]).toEqual([[request], []]);
  });

  test("while it is drained nothing moves", () => {
    const { driver, user, stream, send } = accepted();
    const drain = driver.device.drain();
    stream.write(bytesOf(5));
    send({}, bytesOf(6));
    expect([driver.takeOps(), user.told]).toEqual([[], []]);
    drain.release();
    expect([driver.takeOps(), user.told]).toEqual([[readWrite], [6]]);
  });

  test("a state of another shape is refused", () => {
    const { driver } = accepted();
    const saved = driver.device.save();
    for (const nextPort of [-1, 2 ** 32 - 1, "1"]) {
      const device = { ...(saved.device as object), nextPort };
      expect(() => new VsockDriver().device.restore({ ...saved, device } as typeof saved)).toThrow(
        "saved state of vsock: nextPort must be an integer from 0 to 4294967294",
      );
    }
  });
});
