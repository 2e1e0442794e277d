/**
 * The network device against drivers that mean harm: whatever stands in its rings and headers, it reaches nothing but the
 * buffers that it was given, passes only frames that fit what they say of themselves, and goes on after a reset.
 */
import { expect, test } from "vitest";
import { ipBytes } from "../src/net/addresses.js";
import { allFrames, type Frame } from "../src/net/frame.js";
import { tcpFrame } from "../src/net/frames/tcp.js";
import { finishFrame } from "../src/net/offload.js";
import { Switch } from "../src/net/switch/switch.js";
import { generator } from "./disk-model.js";
import {
  FLAG_INDIRECT,
  FLAG_NEXT,
  FLAG_WRITE,
  FlatMemory,
  RING_SPACE,
  writeDescriptor,
} from "./mock-driver.js";
import { NetDriver } from "./net-driver.js";
import { plainFrame, RecordingEnd } from "./net-ends.js";
import { VirtualTimers } from "./virtual-timers.js";

const BASE = 0x80000000;
const RAM = 0x40000;
const TABLE = 0x10000;
const BYTES = 0x20000;
const MAC = 0x525400000001;
type Random = (end: number) => number;
const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

const tcp = ([4, 6] as const).map((family) => {
  const ip = (last: number): Uint8Array => ipBytes(family === 4 ? `10.0.0.${last}` : `fd00::${last}`);
  const { bytes } = tcpFrame(
    { sourceMac: MAC, destinationMac: 2, source: ip(1), destination: ip(2) },
    {
      sourcePort: 1,
      destinationPort: 2,
      sequence: 5,
      acknowledgement: 7,
      flags: 16,
      window: 99,
      options: {},
      data: [new Uint8Array(3000)],
    },
    1400,
  );
  return bytes;
});

/** Header and frame as no driver writes them, or nearly as one does. */
function message(random: Random): Uint8Array {
  const bytes = pick(random, [
    plainFrame(2, MAC).bytes,
    plainFrame(2, MAC, new Uint8Array(random(1600))).bytes,
    ...tcp,
    ...tcp,
  ]);
  const header = new Uint8Array(12);
  const view = new DataView(header.buffer);
  view.setUint8(0, pick(random, [0, 1, 1, 1, 2, random(256)]));
  view.setUint8(1, pick(random, [0, 0, 1, 4, 1, 4, 3, 0x81, random(256)]));
  view.setUint16(2, pick(random, [0, 54, random(0x10000)]), true);
  view.setUint16(4, pick(random, [0, 1, 1400, 1400, random(0x10000)]), true);
  view.setUint16(6, pick(random, [14, 34, 54, 34, 54, random(0x10000)]), true);
  view.setUint16(8, pick(random, [16, 16, 16, 6, random(0x10000)]), true);
  const whole = Uint8Array.of(...header, ...bytes);
  if (random(3) === 0) whole[12 + random(60)] = random(256);
  return random(12) === 0 ? whole.slice(0, random(40)) : whole;
}

const fits = ({ bytes, checksum, segments }: Frame): boolean =>
  bytes.length >= 14 &&
  (checksum === undefined ||
    (checksum.start >= 14 && checksum.start + checksum.offset + 2 <= bytes.length)) &&
  (segments === undefined || (checksum !== undefined && segments.size >= 48));

test("20,000 generated requests on all queues: nothing is reached that was not given, and the device goes on", () => {
  const random = generator(1601);
  const lan = new Switch({ timers: new VirtualTimers(), mtu: 9000 });
  const peer = new RecordingEnd(allFrames);
  const link = lan.connect(peer, { queue: { frames: 10, bytes: 1e6 } });
  const memory = new FlatMemory(BASE, RAM);
  const driver = new NetDriver({ network: lan, mac: "52:54:00:00:00:01", queuePairs: 2 }, memory);
  const seen = { passed: 0, refused: 0, broken: 0, received: 0, acked: 0, wrong: 0, wild: 0 };
  let worst = 0;
  const restart = (): void => {
    driver.begin(pick(random, [[], [], [0, 11, 12], [1, 7, 8], [15], [22], [28]]));
    memory.bytes.fill(0, TABLE);
    if (random(2) === 0) driver.command(4, 0, 2, 0);
  };
  restart();
  for (let round = 0; round < 20_000; round++) {
    const queue = random(driver.queues.length);
    const bytes =
      queue % 2 === 1
        ? message(random)
        : Uint8Array.from({ length: random(5) }, () => pick(random, [0, 1, 2, 3, 4]));
    memory.bytes.set(bytes, BYTES);
    const writable =
      queue % 2 === 1 ? 0 : pick(random, [0, 1, 12, 100, 2000, 2000, 2000, 5000, 5000, 10_000]);
    const pieces = [
      ...(bytes.length > 0 && (queue % 2 === 1 || random(3) === 0)
        ? [{ at: BYTES, length: bytes.length, write: false }]
        : []),
      ...(writable > 0 ? [{ at: BYTES + 0x8000, length: writable, write: true }] : []),
    ];
    const raw = pieces.map(({ at, length, write }, index) => ({
      gpa: random(200) === 0 ? random(2 ** 31) * 2 : BASE + at,
      length: random(300) === 0 ? random(2 ** 31) : length,
      flags:
        (write ? FLAG_WRITE : 0) |
        (index + 1 < pieces.length ? FLAG_NEXT : random(500) === 0 ? FLAG_NEXT : 0),
      next: random(300) === 0 ? random(200) : index + 1,
    }));
    const target = driver.queues[queue]!;
    const before = { ...driver.device.counters };
    memory.writes.length = 0;
    const work = memory.accesses;
    if (raw.length > 0 && random(3) === 0) {
      raw.forEach((descriptor, index) => {
        writeDescriptor(memory, BASE + TABLE + 16 * index, descriptor);
      });
      target.descriptor(100, { gpa: BASE + TABLE, length: 16 * raw.length, flags: FLAG_INDIRECT });
      target.offer(100);
    } else if (raw.length > 0) {
      raw.forEach((descriptor, index) => {
        target.descriptor(index, descriptor);
      });
      target.offer(0);
    } else target.publish(random(3) === 0 ? random(0x10000) : 0);
    driver.kick(queue);
    if (random(2) === 0)
      link.send(
        pick(random, [
          plainFrame(MAC, 2),
          { bytes: tcp[0]!, checksum: { start: 34, offset: 16 }, segments: { family: 4, size: 1400 } },
        ]),
      );
    const after = driver.device.counters;
    seen.passed += after.sent! - before.sent!;
    seen.refused += after.refused! - before.refused!;
    seen.received += after.received! - before.received!;
    if (queue === driver.queues.length - 1 && target.takeUsed().length > 0) seen.acked++;
    for (const frame of peer.got.splice(0))
      if (!fits(frame) || finishFrame(frame, allFrames).length !== 1) seen.wrong++;
    for (const { gpa, length } of memory.writes) {
      const at = gpa - BASE;
      const inRing = at < 5 * RING_SPACE && at % RING_SPACE >= 0x1800;
      const inData = at >= BYTES + 0x8000 && at + length <= BYTES + 0x8000 + 10_000;
      // Where the address of a buffer was made up, it is still one.
      if (
        !inRing &&
        !inData &&
        !raw.some((each) => gpa >= Number(each.gpa) && gpa + length <= Number(each.gpa) + each.length)
      )
        seen.wild++;
    }
    worst = Math.max(worst, memory.accesses - work);
    if (driver.device.busy) seen.wrong++;
    if (driver.status !== 15) {
      seen.broken++;
      restart();
    } else if (random(40) === 0) restart();
  }
  expect(seen).toMatchObject({ wrong: 0, wild: 0 });
  expect(seen.received).toBeGreaterThan(100);
  for (const name of ["passed", "refused", "broken", "acked"] as const)
    expect(seen[name], name).toBeGreaterThan(400);
  expect(worst).toBeLessThan(20_000);
  expect(lan.addresses.length).toBeLessThan(600);
  driver.begin();
  driver.send(plainFrame(2, MAC).bytes);
  expect(peer.take()).toEqual([plainFrame(2, MAC).bytes]);
}, 300_000);
