import { describe, expect, test } from "vitest";
import { NetDriver } from "../../../test/net-driver.js";
import { plainFrame, RecordingEnd } from "../../../test/net-ends.js";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { BROADCAST_MAC, ipBytes } from "../../net/addresses.js";
import { allFrames, type Frame } from "../../net/frame.js";
import { tcpFlags, tcpFrame } from "../../net/frames/tcp.js";
import { udpFrame } from "../../net/frames/udp.js";
import { finishFrame } from "../../net/offload.js";
import { Switch, type SwitchPort } from "../../net/switch/switch.js";
import { DeviceStateError } from "../../state.js";
import { netFeatures } from "./config-space.js";
import { type VirtioNetOptions, virtioNet } from "./net.js";

const MAC = 0x525400000001;
const { mergeBuffers, guestTso4, guestTso6, guestChecksum, multiQueue, checksum, hostTso4, hostTso6 } =
  netFeatures;

/** A driver on a switch with one other end. */
function started(options: Partial<VirtioNetOptions> = {}, without: readonly number[] = []) {
  const lan = new Switch({ timers: new VirtualTimers(), mtu: 9000 });
  const peer = new RecordingEnd(allFrames);
  const link = lan.connect(peer, { name: "peer" });
  let port: SwitchPort | undefined;
  const network = {
    connect: (end: Parameters<Switch["connect"]>[0]) => (port = lan.connect(end, { name: "nic" })),
  };
  const driver = new NetDriver({ network, mac: "52:54:00:00:00:01", ...options });
  driver.begin(without);
  return { lan, peer, link, driver, port: port! };
}
function large(family: 4 | 6, bytes = 9000): Frame {
  const [source, destination] = family === 4 ? ["10.0.0.1", "10.0.0.2"] : ["fd00::1", "fd00::2"];
  return tcpFrame(
    { sourceMac: 2, destinationMac: MAC, source: ipBytes(source!), destination: ipBytes(destination!) },
    {
      ...{
        sourcePort: 1,
        destinationPort: 2,
        sequence: 5,
        acknowledgement: 7,
        flags: tcpFlags.ack,
        window: 99,
      },
      options: {},
      data: [Uint8Array.from({ length: bytes }, (_, index) => index & 0xff)],
    },
    1400,
  );
}
/** The header for a frame: flags, type, sizes, place of the checksum. */
function header(flags: number, type = 0, size = 0, start = 0, offset = 0, headerBytes = 0): Uint8Array {
  const bytes = new Uint8Array(12);
  const view = new DataView(bytes.buffer);
  bytes.set([flags, type]);
  [headerBytes, size, start, offset].forEach((value, index) => {
    view.setUint16(2 + 2 * index, value, true);
  });
  return bytes;
}
const dataOf = (frames: readonly Frame[], from = 54): number[] =>
  frames.flatMap(({ bytes }) => [...bytes.subarray(from)]);

describe("sending", () => {
  test("copies the frame, gives the buffers back, and goes on", () => {
    const { driver, peer } = started();
    const { bytes } = plainFrame(BROADCAST_MAC, MAC, new Uint8Array(100).fill(5));
    const heads = [driver.send(bytes), driver.send(bytes, header(0), [3, 20])];
    driver.memory.bytes.fill(0xee, driver.data);
    expect(peer.take()).toEqual([bytes, bytes]);
    expect(driver.queues[1]!.takeUsed()).toEqual(heads.map((head) => ({ head, length: 0 })));
    expect(driver.device.counters).toMatchObject({ sent: 2, bytesSent: 228, refused: 0 });
    expect(driver.takeInterrupt()).toBe(1);
  });

  test("leaves checksums and segments to others, and only these", () => {
    const { driver, peer } = started();
    for (const family of [4, 6] as const) {
      const frame = large(family);
      driver.send(frame.bytes, header(1, family === 4 ? 1 : 4, 1400, frame.checksum!.start, 16, 54));
      expect(peer.got.splice(0)).toEqual([frame]);
    }
    const { bytes } = plainFrame(BROADCAST_MAC, MAC);
    driver.send(bytes, header(1, 0, 0, 14, 6));
    expect(peer.got.splice(0)).toEqual([{ bytes, checksum: { start: 14, offset: 6 } }]);
  });

  const tcp = large(4);
  const short = plainFrame(BROADCAST_MAC, MAC).bytes;
  test.each<[string, Uint8Array, Uint8Array, readonly number[]]>([
    ["a checksum behind the frame", short, header(1, 0, 0, 59, 0), []],
    ["a checksum that ends behind the frame", short, header(1, 0, 0, 14, 45), []],
    ["a checksum far away", short, header(1, 0, 0, 0xffff, 0xffff), []],
    ["a checksum in the addresses", short, header(1, 0, 0, 13, 6), []],
    ["a checksum that was not negotiated", short, header(1, 0, 0, 14, 6), [checksum]],
    ["segments without a checksum", tcp.bytes, header(0, 1, 1400, 34, 16), []],
    ["segments of no size", tcp.bytes, header(1, 1, 0, 34, 16), []],
    ["segments of another family", tcp.bytes, header(1, 4, 1400, 34, 16), []],
    ["segments of what is no TCP", short, header(1, 1, 1400, 34, 16), []],
    ["segments whose checksum is elsewhere", tcp.bytes, header(1, 1, 1400, 34, 6), []],
    ["segments whose TCP is elsewhere", tcp.bytes, header(1, 1, 1400, 36, 16), []],
    ["segments of UDP", tcp.bytes, header(1, 3, 1400, 34, 16), []],
    ["segments with ECN, which is not offered", tcp.bytes, header(1, 0x81, 1400, 34, 16), []],
    ["segments of a type that is not known", tcp.bytes, header(1, 2, 1400, 34, 16), []],
    ["segments that were not negotiated", tcp.bytes, header(1, 1, 1400, 34, 16), [hostTso4, hostTso6]],
    ["less than a header of Ethernet", short.subarray(0, 13), header(0), []],
  ])("refuses %s", (_, bytes, head, without) => {
    const { driver, peer } = started({}, without);
    driver.send(bytes, head);
    driver.send(short);
    expect(peer.take()).toEqual([short]);
    expect(driver.device.counters).toMatchObject({ sent: 1, refused: 1 });
    expect([driver.queues[1]!.takeUsed().length, driver.status]).toEqual([2, 15]);
  });

  test("waits with the driver while the link is full", () => {
    const sent: Frame[] = [];
    let room = 2;
    let end: { drained?(): void } = {};
    const network = {
      connect: (card: { drained?(): void }) => {
        end = card;
        return {
          isUp: true,
          get isFull() {
            return sent.length >= room;
          },
          send: (frame: Frame) => void sent.push(frame),
          ready: () => {},
          disconnect: () => {},
        };
      },
    };
    const { driver } = started({ network });
    const { bytes } = plainFrame(BROADCAST_MAC, MAC);
    for (let count = 0; count < 5; count++) driver.send(bytes);
    expect([sent.length, driver.queues[1]!.takeUsed().length]).toEqual([2, 2]);
    room = 3;
    end.drained?.();
    expect([sent.length, driver.queues[1]!.takeUsed().length]).toEqual([3, 1]);
    room = Infinity;
    end.drained?.();
    expect([sent.length, driver.queues[1]!.takeUsed().length]).toEqual([5, 2]);
  });

  test("of what is no frame at all breaks the queue", () => {
    for (const length of [11, 12 + 14 + 4 + 40 + 65535 + 1]) {
      const { driver, peer } = started();
      driver.sendRaw([length]);
      expect([driver.status, peer.got.length]).toEqual([79, 0]);
      driver.begin();
      driver.send(short);
      expect(peer.take()).toEqual([short]);
    }
  });
});

describe("receiving", () => {
  test("puts header and frame into one buffer, or into as many as it takes", () => {
    const { driver, link } = started();
    const { bytes } = plainFrame(
      MAC,
      2,
      Uint8Array.from({ length: 1000 }, (_, index) => index & 0xff),
    );
    driver.give([2000]);
    link.send({ bytes });
    expect(driver.takeFrames()).toEqual([{ header: header(0, 0, 0, 0, 0), buffers: 1, bytes }]);
    driver.give([12], [1], [500, 13], [600]);
    link.send({ bytes });
    expect(driver.takeFrames()).toEqual([{ header: header(0), buffers: 4, bytes }]);
  });

  test("waits at the network until there are buffers for all of it", () => {
    const { driver, link, port } = started();
    const frames = [0, 1, 2].map((mark) => plainFrame(MAC, 2, new Uint8Array(100).fill(mark)).bytes);
    driver.give([60]);
    for (const bytes of frames) link.send({ bytes });
    expect([driver.takeFrames(), port.counters.waiting]).toEqual([[], 3]);
    expect(driver.device.busy).toBe(false);
    driver.give([60]);
    expect(driver.takeFrames()).toEqual([]);
    driver.give([60]);
    expect(driver.takeFrames().map(({ bytes, buffers }) => [bytes, buffers])).toEqual([[frames[0], 3]]);
    driver.give([200], [200]);
    expect(driver.takeFrames().map(({ bytes }) => bytes)).toEqual([frames[1], frames[2]].slice(0, 2));
  });

  test("without buffers drops what exceeds the network's queue, and counts it", () => {
    const { driver, link, port } = started();
    for (let index = 0; index < 1100; index++) link.send(plainFrame(MAC, 2));
    expect(port.counters).toMatchObject({ waiting: 1024, drops: { full: 76 } });
    driver.give(...Array.from({ length: 100 }, () => [200]));
    expect([driver.takeFrames().length, port.counters.waiting]).toEqual([100, 924]);
  });

  test("without merging needs one buffer, and drops what is too long for it", () => {
    const { driver, link } = started({}, [mergeBuffers]);
    driver.give([100], [100]);
    link.send(plainFrame(MAC, 2, new Uint8Array(80)));
    link.send(plainFrame(MAC, 2, new Uint8Array(74).fill(1)));
    expect(driver.takeFrames().map(({ bytes }) => bytes.length)).toEqual([88]);
    expect(driver.device.counters).toMatchObject({ received: 1, dropped: 1 });
  });

  test.each([4, 6] as const)(
    "IPv%i: unfinished frames reach who takes them, finished ones who does not",
    (family) => {
      const frame = large(family);
      const both = started();
      both.driver.give([9500]);
      both.link.send(frame);
      const data = frame.checksum!.start + 20;
      expect(both.driver.takeFrames()).toEqual([
        {
          header: header(1, family === 4 ? 1 : 4, 1400, frame.checksum!.start, 16, data),
          buffers: 1,
          bytes: frame.bytes,
        },
      ]);
      const sums = started({}, [guestTso4, guestTso6]);
      sums.driver.give(...Array.from({ length: 7 }, () => [2000]));
      sums.link.send(frame);
      const cut = sums.driver.takeFrames();
      expect(cut.map((each) => each.header)).toEqual(
        Array(7).fill(header(1, 0, 0, frame.checksum!.start, 16)),
      );
      expect(dataOf(cut, data)).toEqual(dataOf([frame], data));
      const none = started({}, [guestTso4, guestTso6, guestChecksum]);
      none.driver.give(...Array.from({ length: 7 }, () => [2000]));
      none.link.send(frame);
      const finished = finishFrame(frame, { checksum: false, segments4: false, segments6: false });
      expect(none.driver.takeFrames()).toEqual(
        finished.map(({ bytes }) => ({ header: header(0), buffers: 1, bytes })),
      );
    },
  );

  test("drops what comes while no driver is there, or the cable is cut", () => {
    const { driver, link, lan } = started();
    driver.give([200], [200]);
    driver.net.setLink(false);
    link.send(plainFrame(MAC, 2));
    expect(driver.takeFrames()).toEqual([]);
    driver.net.setLink(true);
    driver.set(0x70, 0);
    link.send(plainFrame(MAC, 2));
    expect(driver.device.counters).toMatchObject({ received: 0, dropped: 2 });
    driver.device.dispose();
    link.send(plainFrame(MAC, 2));
    expect(lan.addresses.map(({ port }) => port)).toEqual(["peer"]);
  });

  test("a driver that comes gets nothing that was sent to the one before it", () => {
    const { driver, link, port } = started();
    for (let index = 0; index < 5; index++) link.send(plainFrame(MAC, 2));
    driver.begin();
    expect(port.counters.waiting).toBe(0);
    driver.give([200]);
    expect(driver.takeFrames()).toEqual([]);
  });

  test("a buffer that nothing can be written to breaks the queue", () => {
    const { driver, link } = started();
    driver.queues[0]!.chain([{ gpa: driver.memory.base + driver.data, length: 64 }]);
    driver.kick(0);
    link.send(plainFrame(MAC, 2));
    expect(driver.status).toBe(79);
  });
});

describe("what the driver is told", () => {
  test("address, link, pairs and MTU", () => {
    const { driver } = started({ mtu: 9000, queuePairs: 3 });
    expect([...Array(12).keys()].map((at) => driver.config8(at))).toEqual([
      0x52, 0x54, 0, 0, 0, 1, 1, 0, 3, 0, 0x28, 0x23,
    ]);
    driver.takeInterrupt();
    driver.net.setLink(false);
    driver.net.setLink(false);
    expect([driver.config8(6), driver.takeInterrupt(), driver.get(0xfc)]).toEqual([0, 2, 1]);
    driver.net.setLink(true);
    expect([driver.config8(6), driver.takeInterrupt()]).toEqual([1, 2]);
    driver.device.write(0x100, 1, 9);
    expect(driver.config8(0)).toBe(0x52);
  });

  test("the network's own cable counts, too", () => {
    const { driver, port, peer } = started();
    port.setUp(false);
    expect(driver.config8(6)).toBe(0);
    driver.send(plainFrame(BROADCAST_MAC, MAC).bytes);
    port.setUp(true);
    expect([driver.config8(6), peer.got.length]).toEqual([1, 0]);
  });

  test.each<[Partial<VirtioNetOptions>, string]>([
    [
      { mac: "01:00:5e:00:00:01" },
      '"01:00:5e:00:00:01" is no address of a device: use one like 52:54:00:12:34:56',
    ],
    [{ mac: "52:54:00" }, '"52:54:00" is no address of a device: use one like 52:54:00:12:34:56'],
    [{ mtu: 67 }, "an MTU of 67: use 68 to 65535 bytes"],
    [{ queuePairs: 65 }, "65 pairs of queues: a network device takes 1 to 64"],
  ])("%j can't be", (options, message) => {
    expect(() => virtioNet({ network: new Switch(), mac: "52:54:00:00:00:01", ...options })).toThrow(message);
  });

  test("without offloads none is offered", () => {
    const { driver } = started({ offloads: false });
    driver.set(0x14, 0);
    expect(driver.get(0x10) & 0x1983).toBe(0);
  });
});

describe("several queues", () => {
  const flow = (port: number): Frame => ({
    bytes: udpFrame(
      { sourceMac: 2, destinationMac: MAC, source: ipBytes("10.0.0.1"), destination: ipBytes("10.0.0.2") },
      { sourcePort: port, destinationPort: 9, data: Uint8Array.of(1) },
    ),
  });
  const fill = (driver: NetDriver): void => {
    for (let pair = 0; pair < 4; pair++) driver.giveTo(2 * pair, ...Array.from({ length: 60 }, () => [100]));
  };
  const perPair = (driver: NetDriver): number[] =>
    [0, 2, 4, 6].map((index) => driver.queues[index]!.takeUsed().length);

  test("one until the driver asks for more; then a connection stays in its own", () => {
    const { driver, link } = started({ queuePairs: 4 });
    fill(driver);
    for (let port = 0; port < 40; port++) link.send(flow(port));
    expect(perPair(driver)).toEqual([40, 0, 0, 0]);
    expect(driver.command(4, 0, 4, 0)).toBe(0);
    for (let port = 0; port < 40; port++) link.send(flow(port));
    const spread = perPair(driver);
    expect(spread.every((count) => count > 2)).toBe(true);
    for (let index = 0; index < 20; index++) link.send(flow(7));
    expect(perPair(driver).filter((count) => count > 0)).toEqual([20]);
  });

  test("what can't be is refused", () => {
    const { driver } = started({ queuePairs: 4 });
    for (const command of [
      [4, 0, 0, 0],
      [4, 0, 5, 0],
      [4, 0, 1],
      [4, 1, 1, 0],
      [0, 0, 1],
      [9, 9],
      [4, 0, 1, 0, 0],
    ])
      expect(driver.command(...command), command.join()).toBe(1);
    expect([driver.command(4, 0, 2, 0), driver.status]).toEqual([0, 15]);
    driver.queues[8]!.chain([{ gpa: driver.memory.base + driver.data, length: 2 }]);
    driver.kick(8);
    expect(driver.status).toBe(79);
  });

  test("a driver that knows one pair finds the control queue behind it", () => {
    const { driver } = started({ queuePairs: 4 }, [multiQueue]);
    expect([driver.command(4, 0, 2, 0), driver.command(3, 0)]).toEqual([1, 0]);
  });
});

describe("save and restore", () => {
  test("a copy goes on, and tells the network and its driver where it is", () => {
    const { driver, lan, port, link } = started({ queuePairs: 2 });
    driver.command(4, 0, 2, 0);
    driver.give([200]);
    const saved = structuredClone(driver.device.save());
    port.disconnect();
    const other = new RecordingEnd();
    lan.connect(other);
    const copy = new NetDriver({ network: lan, mac: "52:54:00:00:00:01", queuePairs: 2 }, driver.memory);
    copy.device.restore(saved);
    expect(copy.device.save()).toEqual(saved);
    copy.adopt(driver);
    copy.device.resume();
    expect(lan.addresses).toContainEqual({ vlan: 0, mac: MAC, port: "port1" });
    expect(other.take()).toHaveLength(1);
    expect([copy.config8(6), copy.takeInterrupt() & 2]).toEqual([3, 2]);
    link.send(plainFrame(MAC, 2));
    expect(copy.takeFrames()).toHaveLength(1);
    expect([copy.command(3, 0), copy.config8(6)]).toEqual([0, 1]);
    copy.device.resume();
    expect(copy.device.counters).toMatchObject({ announcements: 1 });
  });

  test("a copy of another card has its cable cut until its driver has looked, and does not announce the other", () => {
    const { driver, lan, port } = started();
    const saved = structuredClone(driver.device.save());
    port.disconnect();
    const other = new RecordingEnd();
    lan.connect(other);
    const options = { network: lan, mac: "52:54:00:00:00:02", isCopy: true };
    const copy = new NetDriver(options, driver.memory);
    copy.device.restore(saved);
    copy.adopt(driver);
    copy.device.resume();
    expect(other.take()).toEqual([]);
    expect(copy.takeInterrupt() & 2).toBe(2);
    // It is told of both: that the cable is cut, and that it is there again.
    expect([copy.config8(6), copy.takeInterrupt() & 2]).toEqual([0, 2]);
    expect([copy.config8(6), copy.config8(5)]).toEqual([1, 2]);
    expect(copy.device.counters).toMatchObject({ announcements: 0 });
  });

  test("the state of another device is refused", () => {
    const saved = started({ queuePairs: 2 }).driver.device.save();
    const fresh = (options: Partial<VirtioNetOptions>) =>
      new NetDriver({ network: new Switch(), mac: "52:54:00:00:00:01", queuePairs: 2, ...options }).device;
    expect(() => fresh({ mac: "52:54:00:00:00:02" }).restore(saved)).toThrow(
      "mac must be 52:54:00:00:00:02, the address of the device that is there",
    );
    for (const change of [{ pairs: 3 }, { pairs: 0 }, { announce: 1 }, { plugged: null }]) {
      const core = saved.core as typeof saved | undefined;
      const device = { ...((core ?? saved).device as object), ...change };
      const changed = core === undefined ? { ...saved, device } : { ...saved, core: { ...core, device } };
      expect(() => fresh({}).restore(changed)).toThrow(DeviceStateError);
    }
  });
});
