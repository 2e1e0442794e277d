import { describe, expect, test } from "vitest";
import { plainFrame, RecordingEnd } from "../../../test/net-ends.js";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { BROADCAST_MAC } from "../addresses.js";
import { allFrames, type Frame } from "../frame.js";
import { parseEthernet, tagged } from "../frames/ethernet.js";
import { type PortOptions, Switch, type SwitchOptions } from "./switch.js";

/** A switch with so many ends, whose addresses are 2, 4, 6 and so on. */
function network(count: number, options: SwitchOptions = {}, ports: readonly PortOptions[] = []) {
  const timers = new VirtualTimers();
  const lan = new Switch({ timers, ...options });
  const ends = Array.from({ length: count }, () => new RecordingEnd());
  const links = ends.map((end, index) => lan.connect(end, ports[index] ?? {}));
  return {
    ...{ timers, lan, ends, links },
    send: (from: number, to: number, payload?: Uint8Array) =>
      links[from]!.send(plainFrame(to, 2 * (from + 1), payload)),
    got: () => ends.map((end) => end.take().length),
  };
}

describe("learning", () => {
  test("what goes to nobody that is known goes to all, and then to one", () => {
    const { send, got, lan } = network(3);
    send(0, 4);
    expect(got()).toEqual([0, 1, 1]);
    send(1, 2);
    expect(got()).toEqual([1, 0, 0]);
    send(0, 4);
    expect(got()).toEqual([0, 1, 0]);
    send(2, BROADCAST_MAC);
    send(2, 0x333300000001);
    expect(got()).toEqual([2, 2, 0]);
    expect(lan.addresses).toEqual([
      { vlan: 0, mac: 2, port: "port0" },
      { vlan: 0, mac: 4, port: "port1" },
      { vlan: 0, mac: 6, port: "port2" },
    ]);
  });

  test("who moves is found at the new place, who is silent for long is forgotten", () => {
    const { send, got, links, timers } = network(3, { agingMs: 1000 });
    send(0, BROADCAST_MAC);
    links[1]!.send(plainFrame(BROADCAST_MAC, 2));
    got();
    send(2, 2);
    expect(got()).toEqual([0, 1, 0]);
    timers.advance(1001);
    send(2, 2);
    expect(got()).toEqual([1, 1, 0]);
  });

  test("a port that invents addresses forgets its own only", () => {
    const { send, got, links, lan } = network(3, { addresses: 64 });
    send(0, BROADCAST_MAC);
    for (let mac = 0x1000; mac < 0x9000; mac += 2) links[1]!.send(plainFrame(2, mac));
    got();
    expect(lan.addresses).toHaveLength(5);
    send(2, 2);
    expect(got()).toEqual([1, 0, 0]);
  });

  test("a port that is taken out is nowhere", () => {
    const { send, got, links, lan } = network(3);
    send(0, BROADCAST_MAC);
    links[0]!.disconnect();
    got();
    send(1, 2);
    expect([got(), lan.addresses.length]).toEqual([[0, 0, 1], 1]);
    send(0, 4);
    expect(got()).toEqual([0, 0, 0]);
  });
});

test("what may not pass is dropped, and told by its reason", () => {
  const { links, got, send } = network(2, {}, [{ mac: 2 }]);
  const [port] = links;
  port!.send({ bytes: new Uint8Array(13) });
  port!.send(plainFrame(4, 2, new Uint8Array(1505)));
  port!.send(plainFrame(4, 0x010000000002));
  port!.send(plainFrame(4, 8));
  port!.send(plainFrame(0x0180c2000000, 2));
  port!.send(plainFrame(0x0180c200000f, 2));
  expect(got()).toEqual([0, 0]);
  port!.send(plainFrame(2, 2));
  expect(got()).toEqual([0, 0]);
  expect(port!.counters.drops).toEqual({
    malformed: 2,
    source: 2,
    vlan: 0,
    reserved: 2,
    filtered: 1,
    full: 0,
  });
  send(0, 4, new Uint8Array(1500));
  expect(got()).toEqual([0, 1]);
  for (const mtu of [67, 65536, 1500.5])
    expect(() => new Switch({ mtu })).toThrow(expect.objectContaining({ code: "E_NETWORK_OPTION" }));
});

test("isolated ports reach the one that is not, and each other never", () => {
  const { send, got } = network(3, {}, [{}, { isIsolated: true }, { isIsolated: true }]);
  for (const from of [0, 1, 2]) send(from, BROADCAST_MAC);
  expect(got()).toEqual([2, 1, 1]);
  send(1, 6);
  send(1, 2);
  expect(got()).toEqual([1, 0, 0]);
});

describe("virtual networks", () => {
  const withVlans = () =>
    network(5, {}, [
      { vlans: { access: 10 } },
      { vlans: { access: 20 } },
      { vlans: { trunk: [10, 20] } },
      { vlans: { trunk: [20], native: 10 } },
      {},
    ]);
  const vlansOf = (frames: readonly Uint8Array[]) => frames.map((bytes) => parseEthernet(bytes)!.vlan);

  test("a frame is seen in its own only, with a tag where there are several", () => {
    const { send, ends } = withVlans();
    send(0, BROADCAST_MAC);
    expect(ends.map((end) => vlansOf(end.take()))).toEqual([[], [], [10], [undefined], []]);
    send(1, BROADCAST_MAC);
    expect(ends.map((end) => vlansOf(end.take()))).toEqual([[], [], [20], [20], []]);
    send(4, BROADCAST_MAC);
    expect(ends.map((end) => end.take().length)).toEqual([0, 0, 0, 0, 0]);
  });

  test("tags choose the network of a trunk, and none of an access port", () => {
    const { links, ends } = withVlans();
    const frame = (mac: number, vlan: number): Frame => ({
      bytes: tagged(plainFrame(BROADCAST_MAC, mac).bytes, vlan),
    });
    links[2]!.send(frame(6, 20));
    expect(ends.map((end) => vlansOf(end.take()))).toEqual([[], [undefined], [], [20], []]);
    links[2]!.send(plainFrame(BROADCAST_MAC, 6));
    links[2]!.send(frame(6, 30));
    links[0]!.send(frame(2, 20));
    expect(ends.map((end) => end.take().length)).toEqual([0, 0, 0, 0, 0]);
    expect([links[2]!.counters.drops.vlan, links[0]!.counters.drops.vlan]).toEqual([2, 1]);
    links[0]!.send(frame(2, 0));
    expect(ends.map((end) => vlansOf(end.take()))).toEqual([[], [], [10], [undefined], []]);
  });

  test("the same address may be in two of them at two places", () => {
    const { links, ends, lan } = withVlans();
    links[0]!.send(plainFrame(BROADCAST_MAC, 100));
    links[1]!.send(plainFrame(BROADCAST_MAC, 100));
    expect(lan.addresses).toHaveLength(2);
    for (const end of ends) end.take();
    links[2]!.send({ bytes: tagged(plainFrame(100, 6).bytes, 20) });
    expect(ends.map((end) => end.take().length)).toEqual([0, 1, 0, 0, 0]);
  });

  test("numbers that no network has are refused", () => {
    for (const vlan of [0, 4095, 1.5])
      expect(() => new Switch().connect(new RecordingEnd(), { vlans: { access: vlan } })).toThrow(
        `${vlan} is no VLAN: use a number from 1 to 4094`,
      );
  });

  test("checksums that are to be computed move with the tag", () => {
    const lan = new Switch();
    const [access, trunk] = [new RecordingEnd(allFrames), new RecordingEnd(allFrames)];
    const link = lan.connect(access, { vlans: { access: 7 } });
    lan.connect(trunk, { vlans: { trunk: [7] } });
    link.send({ ...plainFrame(BROADCAST_MAC, 2), checksum: { start: 20, offset: 6 } });
    expect(trunk.got[0]!.checksum).toEqual({ start: 24, offset: 6 });
  });
});

describe("ends without room", () => {
  test("get what waited in its order, up to what is kept, and hold up nobody else", () => {
    const { send, ends, links } = network(3, {}, [{}, { queue: { frames: 5, bytes: 1e6 } }]);
    ends[1]!.room = 2;
    for (let index = 0; index < 10; index++) send(0, BROADCAST_MAC, Uint8Array.of(index));
    expect(ends.map(({ got }) => got.length)).toEqual([0, 2, 10]);
    expect(links[1]!.counters).toMatchObject({ sent: 2, waiting: 5, waitingBytes: 75, drops: { full: 3 } });
    ends[1]!.room = Infinity;
    expect(ends[1]!.got).toHaveLength(2);
    links[1]!.ready();
    expect(ends[1]!.take().map((bytes) => bytes[14])).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(links[1]!.counters).toMatchObject({ sent: 7, waiting: 0, waitingBytes: 0 });
  });

  test("keep a bounded number of bytes", () => {
    const { send, ends, links } = network(2, {}, [{}, { queue: { frames: 1000, bytes: 4000 } }]);
    ends[1]!.room = 0;
    for (let index = 0; index < 10; index++) send(0, BROADCAST_MAC, new Uint8Array(986));
    expect(links[1]!.counters).toMatchObject({ waiting: 4, waitingBytes: 4000, drops: { full: 6 } });
  });

  test("whose cable is cut lose what waited, and are told", () => {
    const { send, ends, links } = network(2);
    ends[1]!.room = 0;
    send(0, BROADCAST_MAC);
    links[1]!.setUp(false);
    send(0, BROADCAST_MAC);
    links[1]!.setUp(true);
    ends[1]!.room = 1;
    links[1]!.ready();
    expect([ends[1]!.got.length, ends[1]!.states]).toEqual([0, [false, true]]);
    send(0, BROADCAST_MAC);
    expect(ends[1]!.got).toHaveLength(1);
  });
});

test("ends that answer each other for ever have their turns, and no stack grows", () => {
  const { ends, links, timers } = network(2);
  let frames = 0;
  ends[0]!.onFrame = () => {
    frames++;
    links[0]!.send(plainFrame(4, 2));
  };
  ends[1]!.onFrame = () => links[1]!.send(plainFrame(2, 4));
  links[0]!.send(plainFrame(4, 2));
  const once = frames;
  expect(once).toBe(2048);
  timers.step();
  expect(frames).toBe(2 * once);
  links[0]!.disconnect();
  while (timers.step());
  expect(frames).toBe(2 * once);
});

test("20,000 generated frames: memory is bounded, nothing is thrown, and frames go where they may", () => {
  let state = 99;
  const random = (end: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % end;
  };
  const { links, ends, lan, timers } = network(4, { addresses: 64 }, [
    {},
    { vlans: { trunk: [1, 2], native: 1 }, queue: { frames: 50, bytes: 20_000 } },
    { vlans: { access: 1 }, isIsolated: true },
    { vlans: { access: 2 } },
  ]);
  ends[1]!.room = 100;
  let wrong = 0;
  ends.forEach((end, index) => {
    end.onFrame = ({ bytes }) => {
      // The last byte says from where it came.
      if (bytes[bytes.length - 1] === index) wrong++;
    };
  });
  let sent = 0;
  for (let round = 0; round < 20_000; round++) {
    const from = random(4);
    const bytes = Uint8Array.from({ length: 10 + random(60) }, () => random(256));
    if (random(2) === 0 && bytes.length > 18) bytes.set([0x81, 0, 0, random(4)], 12);
    bytes[6]! &= random(8) === 0 ? 255 : 254;
    bytes[bytes.length - 1] = from;
    const offload = { checksum: { start: 14, offset: 2 }, segments: { family: 4, size: random(9) } } as const;
    links[from]!.send(random(9) === 0 && bytes.length > 20 ? { bytes, ...offload } : { bytes });
    sent++;
    timers.advance(1);
  }
  const counters = links.map((link) => link.counters);
  const sum = (pick: (each: (typeof counters)[number]) => number) =>
    counters.reduce((all, each) => all + pick(each), 0);
  expect([wrong, sum(({ received }) => received)]).toEqual([0, sent]);
  expect(lan.addresses.length).toBeLessThanOrEqual(64);
  expect(counters[1]!.waiting).toBe(50);
  expect(counters[1]!.drops.full).toBeGreaterThan(1000);
  expect(sum(({ drops }) => drops.source)).toBeGreaterThan(500);
  expect(sum(({ drops }) => drops.vlan)).toBeGreaterThan(500);
  expect(ends[2]!.got.length).toBeGreaterThan(1000);
});

test("a mirror sees what goes in and out, until it is taken away", () => {
  const { lan, send } = network(2, {}, [{ name: "web" }, { name: "db" }]);
  const seen: string[] = [];
  const stop = lan.mirror(({ port, direction, frame }) =>
    seen.push(`${port} ${direction} ${frame.bytes.length}`),
  );
  send(0, 4, new Uint8Array(87).fill(7));
  stop();
  send(0, 4);
  expect(seen).toEqual(["web in 101", "db out 101"]);
});
