import { describe, expect, test } from "vitest";
import { turn } from "../../../test/block-driver.js";
import { connecting, listening, VsockDriver } from "../../../test/vsock-driver.js";
import { accepted, bytesOf } from "../../../test/vsock-streams.js";
import { MOST_STREAMS } from "./connections.js";
import { type VsockHeader, vsockOps, vsockShutdown } from "./packet.js";

const { request, response, reset, shutdown, readWrite, creditUpdate } = vsockOps;

describe("packets that no driver sends", () => {
  test.each<[string, Partial<VsockHeader>, number[]]>([
    ["from another guest", { sourceCid: 4 }, []],
    ["from an address of 64 bits", { sourceCid: Infinity }, []],
    ["to another guest", { destinationCid: 4 }, [reset]],
    ["of a type that is not offered", { type: 2 }, [reset]],
    ["of a type that there is not", { type: 77 }, [reset]],
    ["with data for nobody", { op: readWrite }, [reset]],
    ["of an operation that there is not", { op: 0 }, [reset]],
    ["that end what is not there", { op: shutdown, flags: 3 }, [reset]],
    ["that accept what was not asked", { op: response }, [reset]],
    ["that reset what is not there", { op: reset }, []],
    ["that reset, to another guest", { op: reset, destinationCid: 4 }, []],
  ])("%s", (_, header, ops) => {
    const driver = new VsockDriver().begin();
    driver.send(header);
    expect([driver.takeOps(), driver.status]).toEqual([ops, 15]);
    expect(driver.queues[1]!.takeUsed()).toHaveLength(1);
    listening(driver.ports, 5000);
    driver.send({});
    expect(driver.takeOps()).toEqual([response]);
  });

  test("a refusal comes from whom the packet was for", () => {
    const driver = new VsockDriver().begin();
    driver.send({ destinationCid: 9, type: 2 });
    expect(driver.take()[0]!.header).toMatchObject({ sourceCid: 9, destinationCid: 3, type: 2, op: reset });
  });

  test("a length that is not there breaks the stream off", () => {
    const { driver, user, send } = accepted();
    send({ length: 101 }, bytesOf(100));
    expect([driver.takeOps(), user.told, driver.status]).toEqual([[reset], ["broken"], 15]);
  });

  test("less than was put behind it is what there is", () => {
    const { user, send } = accepted();
    send({ length: 40 }, bytesOf(100));
    send({ length: 0 }, bytesOf(100));
    expect(user.told).toEqual([40]);
  });

  test.each([0, response, 8, 0xffff])("operation %d in a stream breaks it off", (op) => {
    const { driver, user, send } = accepted();
    send({ op });
    expect([driver.takeOps(), user.told]).toEqual([[reset], ["broken"]]);
    expect(driver.device.counters.refused).toBe(1);
  });

  test("what is no packet breaks the device, and streams with it, until it is reset", () => {
    for (const isShort of [true, false]) {
      const { driver, user } = accepted();
      const gpa = driver.memory.base + driver.data;
      driver.queues[1]!.chain(isShort ? [{ gpa, length: 43 }] : [{ gpa, length: 64, write: true }]);
      driver.kick(1);
      expect([driver.status, user.told]).toEqual([79, ["broken"]]);
      driver.begin();
      driver.send({ sourcePort: 8 });
      expect(driver.takeOps()).toEqual([response]);
    }
  });

  test("so does a buffer that no packet fits into", () => {
    const driver = new VsockDriver().begin(0);
    const user = connecting(driver.ports, 1);
    driver.give(1, 44);
    expect([driver.status, user.told]).toEqual([79, ["no-driver"]]);
    driver.begin(0);
    connecting(driver.ports, 1);
    driver.give(1, 45);
    expect([driver.status, driver.takeOps()]).toEqual([15, [request]]);
  });
});

describe("what a guest can make the host keep", () => {
  test("answers: without buffers for them no packets are taken, and none is lost", () => {
    const driver = new VsockDriver().begin(0);
    const users = listening(driver.ports, 5000);
    for (let port = 0; port < 200; port++) driver.send({ sourcePort: port, op: readWrite });
    driver.send({ sourcePort: 7777 });
    const taken = driver.queues[1]!.takeUsed().length;
    expect(taken).toBe(128);
    driver.give(60);
    expect(driver.take(false).map(({ header }) => header.destinationPort)).toEqual([...Array(60).keys()]);
    driver.give(100);
    expect(driver.take(false)).toHaveLength(100);
    driver.give(60);
    expect(driver.takeOps()).toEqual([...Array<number>(40).fill(reset), response]);
    expect([users.length, driver.queues[1]!.takeUsed().length]).toEqual([1, 73]);
  });

  test("streams: so many, whatever becomes of them for the guest", async () => {
    const driver = new VsockDriver().begin();
    const users = listening(driver.ports, 5000);
    for (let port = 0; port < MOST_STREAMS + 10; port++) {
      driver.send({ sourcePort: port });
      users[port]?.stream.setReading(false);
      driver.send({ sourcePort: port, op: readWrite }, bytesOf(10));
      driver.send({ sourcePort: port, op: reset });
      driver.take();
    }
    expect(users).toHaveLength(MOST_STREAMS);
    const late = connecting(driver.ports, 1);
    await turn();
    expect(late.told).toEqual(["too-many"]);
    users[5]!.stream.setReading(true);
    driver.send({});
    expect([driver.takeOps(), users.length]).toEqual([[response], MOST_STREAMS + 1]);
  });

  test("streams whose end it does not confirm give way to others", () => {
    const driver = new VsockDriver().begin();
    const users = listening(driver.ports, 5000);
    for (let port = 0; port < MOST_STREAMS + 10; port++) {
      driver.send({ sourcePort: port });
      driver.send({ sourcePort: port, op: shutdown, flags: vsockShutdown.send });
      users[port]?.stream.end();
      driver.take();
    }
    expect(users).toHaveLength(MOST_STREAMS + 10);
    expect(driver.device.counters.resets).toBe(10);
    driver.send({ sourcePort: 0, op: creditUpdate });
    driver.send({ sourcePort: 10, op: creditUpdate });
    expect(driver.take().map(({ header }) => [header.op, header.destinationPort])).toEqual([[reset, 0]]);
  });

  test("bytes: less for each stream where there are many", () => {
    const driver = new VsockDriver().begin();
    listening(driver.ports, 5000);
    let most = 0;
    for (let port = 0; port < MOST_STREAMS; port++) {
      driver.send({ sourcePort: port });
      most += driver.take()[0]!.header.bufferBytes;
    }
    expect(most).toBe(128 * 262_144 + 1920 * 16_384);
  });
});
