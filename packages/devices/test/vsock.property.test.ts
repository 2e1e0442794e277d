/**
 * The device for sockets against guests that mean harm, and against one that does not: whatever stands in its rings and
 * headers, it reaches nothing but the buffers that it was given, keeps a bounded number of streams and bytes, and goes on;
 * and what goes through it comes out as it was, however both sides wait for each other.
 */
import { expect, test } from "vitest";
import { MOST_STREAMS } from "../src/virtio/vsock/connections.js";
import { type VsockHeader, vsockHeader, vsockOps, vsockShutdown } from "../src/virtio/vsock/packet.js";
import { generator, randomBytes } from "./disk-model.js";
import {
  FLAG_INDIRECT,
  FLAG_NEXT,
  FLAG_WRITE,
  FlatMemory,
  RING_SPACE,
  writeDescriptor,
} from "./mock-driver.js";
import { connecting, GUEST, HOST, listening, type StreamUser, VsockDriver } from "./vsock-driver.js";
import { dispatch, GuestSocket } from "./vsock-guest.js";

const BASE = 0x80000000;
const RAM = 0x80000;
const TABLE = 0x10000;
const BYTES = 0x20000;
const ROOM = BYTES + 0x40000;
const ROOM_BYTES = 0x10000;
const { request, response, reset, shutdown, readWrite, creditUpdate, creditRequest } = vsockOps;
type Random = (end: number) => number;
const pick = <T>(random: Random, list: readonly T[]): T => list[random(list.length)]!;

/** A header as no driver writes it, or nearly as one does. */
function header(random: Random, users: readonly StreamUser[]): VsockHeader {
  const stream = users.length > 0 && random(4) > 0 ? pick(random, users).stream : undefined;
  const word = (): number => random(0x10000) * 0x10000 + random(0x10000);
  return {
    sourceCid: random(30) === 0 ? pick(random, [0, 2, 4, 0xffffffff, word()]) : GUEST,
    destinationCid: random(30) === 0 ? pick(random, [0, 1, 3, 0xffffffff, word()]) : HOST,
    sourcePort: stream?.guestPort ?? pick(random, [random(2000), random(50), word(), 0xffffffff]),
    destinationPort: stream?.hostPort ?? pick(random, [5000, 5000, 5001, 0x40000000 + random(50), word()]),
    length: pick(random, [0, 0, 1, random(4000), random(70_000), word()]),
    type: random(30) === 0 ? pick(random, [0, 2, 0xffff]) : 1,
    op: pick(random, [
      request,
      request,
      response,
      reset,
      shutdown,
      readWrite,
      readWrite,
      readWrite,
      creditUpdate,
      creditRequest,
      random(12),
      random(0x10000),
    ]),
    flags: pick(random, [0, 1, 2, 3, word()]),
    bufferBytes: pick(random, [0, 1, 5000, 0x40000, 0xffffffff, word()]),
    forwarded: pick(random, [0, 0, 1, random(10_000), 0xffffffff, word()]),
  };
}

test("25,000 generated packets: nothing is reached that was not given, what is kept is bounded, and the device goes on", () => {
  const random = generator(1607);
  const memory = new FlatMemory(BASE, RAM);
  const driver = new VsockDriver({}, memory);
  const users = listening(driver.ports, 5000);
  const seen = { broken: 0, refused: 0, accepted: 0, received: 0, told: 0, wild: 0, wrong: 0 };
  let worst = 0;
  const restart = (): void => {
    driver.start([128, 128, 128], pick(random, [[], [], [0], [28], [29]]));
    memory.bytes.fill(0, TABLE);
    if (random(2) === 0) driver.giveEvent();
  };
  restart();
  for (let round = 0; round < 25_000; round++) {
    const queue = pick(random, [0, 0, 1, 1, 1, 1, 1, 2]);
    const packet = vsockHeader(header(random, users));
    const length = pick(random, [44, 44, 44 + random(5000), 44 + 65_536, random(44)]);
    memory.bytes.set(packet, BYTES);
    const isPacket = queue === 1;
    const writable =
      isPacket && random(50) > 0 ? 0 : pick(random, [4, 45, 44, 300, 4096, 4096, 4096, 20_000]);
    const pieces = [
      ...(length > 0 && (isPacket || random(30) === 0) ? [{ at: BYTES, length, write: false }] : []),
      ...(writable > 0 ? [{ at: ROOM, length: writable, write: true }] : []),
    ];
    const raw = pieces.map(({ at, length, write }, index) => ({
      gpa: random(300) === 0 ? random(2 ** 31) * 2 : BASE + at,
      length: random(300) === 0 ? random(2 ** 31) : length,
      flags: (write ? FLAG_WRITE : 0) | (index + 1 < pieces.length || random(500) === 0 ? FLAG_NEXT : 0),
      next: random(300) === 0 ? random(200) : index + 1,
    }));
    const target = driver.queues[queue]!;
    const before = { ...driver.device.counters };
    memory.writes.length = 0;
    const work = memory.accesses;
    if (random(3) === 0) {
      raw.forEach((descriptor, index) => {
        writeDescriptor(memory, BASE + TABLE + 16 * index, descriptor);
      });
      target.descriptor(100, { gpa: BASE + TABLE, length: 16 * raw.length, flags: FLAG_INDIRECT });
      target.offer(100);
    } else if (random(100) > 0) {
      raw.forEach((descriptor, index) => {
        target.descriptor(index, descriptor);
      });
      target.offer(0);
    } else target.publish(random(0x10000));
    driver.kick(queue);
    const user = users.length > 0 ? pick(random, users) : undefined;
    const act = random(12);
    if (act === 0) users.push(connecting(driver.ports, random(50)));
    else if (act === 1) user?.stream.setReading(random(2) === 0);
    else if (act === 2) user?.stream.write(new Uint8Array(random(10_000)));
    else if (act === 3) user?.stream.end();
    else if (act === 4) user?.stream.reset();
    const after = driver.device.counters;
    for (const name of ["refused", "accepted", "received"] as const)
      seen[name] += after[name]! - before[name]!;
    for (const { gpa, length: size } of memory.writes) {
      const at = gpa - BASE;
      const inRing = at < 3 * RING_SPACE && at % RING_SPACE >= 0x1800;
      const inRoom = at >= ROOM && at + size <= ROOM + ROOM_BYTES;
      const isNamed = raw.some(
        (each) => gpa >= Number(each.gpa) && gpa + size <= Number(each.gpa) + each.length,
      );
      if (!inRing && !inRoom && !isNamed) seen.wild++;
    }
    worst = Math.max(worst, memory.accesses - work);
    if (driver.device.busy) seen.wrong++;
    // Nobody is told more than once that it is over, nor anything afterwards.
    for (let index = users.length - 1; index >= 0; index--) {
      const { told } = users[index]!;
      const over = told.findIndex((what) =>
        ["closed", "broken", "refused", "no-driver", "too-many"].includes(what as string),
      );
      if (over >= 0 && over !== told.length - 1) seen.wrong++;
      if (over >= 0) seen.told++;
      if (over >= 0 || (act === 4 && users[index] === user)) users.splice(index, 1);
    }
    if (users.length > MOST_STREAMS) seen.wrong++;
    if (driver.status !== 15) {
      seen.broken++;
      restart();
    } else if (random(400) === 0) restart();
  }
  expect(seen).toMatchObject({ wrong: 0, wild: 0 });
  for (const name of ["broken", "refused", "accepted", "received", "told"] as const)
    expect(seen[name], name).toBeGreaterThan(400);
  expect(worst).toBeLessThan(20_000);
  driver.begin(8);
  users.length = 0;
  driver.send({ sourcePort: 3 });
  driver.send({ sourcePort: 3, op: readWrite }, Uint8Array.of(1, 2, 3));
  users[0]!.stream.write(Uint8Array.of(4, 5));
  expect(users[0]!.takeBytes()).toEqual(Uint8Array.of(1, 2, 3));
  expect(driver.take().map(({ bytes }) => [...bytes])).toEqual([[], [4, 5]]);
}, 300_000);

test.each([1, 2, 3, 4, 5, 6])(
  "streams of guests by the book carry every byte, both ways, to its end (%d)",
  (seed) => {
    const random = generator(seed);
    const driver = new VsockDriver().begin(20);
    const accepted = listening(driver.ports, 5000);
    const sockets: GuestSocket[] = [];
    const streams = Array.from({ length: 6 }, (_, index) => {
      const isGuests = index % 2 === 0;
      const bufferBytes = pick(random, [1000, 5000, 0x40000, 0x40000]);
      const [toHost, toGuest] = [randomBytes(random, random(400_000)), randomBytes(random, random(400_000))];
      const asked = isGuests ? undefined : connecting(driver.ports, 9000 + index);
      const socket = new GuestSocket(driver, 9000 + index, asked?.stream.hostPort ?? 5000, bufferBytes);
      sockets.push(socket);
      if (isGuests) socket.connect();
      dispatch(driver, sockets);
      if (!isGuests) socket.accept();
      const user = asked ?? accepted.at(-1)!;
      const progress = { sent: 0, written: 0, mayWrite: true, hasEnded: false, isShut: false };
      return { socket, user, toHost, toGuest, ...progress };
    });
    type Stream = (typeof streams)[number];
    const write = (each: Stream): void => {
      if (each.user.told.includes("drained")) {
        each.mayWrite = true;
        each.user.told.splice(each.user.told.indexOf("drained"), 1);
      }
      if (each.written === each.toGuest.length && !each.hasEnded) {
        each.hasEnded = true;
        each.user.stream.end();
      } else if (each.mayWrite) {
        const part = each.toGuest.slice(
          each.written,
          each.written + 1 + random(pick(random, [10, 3000, 100_000])),
        );
        each.written += part.length;
        each.mayWrite = each.user.stream.write(part);
      }
    };
    const send = (each: Stream): void => {
      if (!each.socket.isOpen) return;
      if (each.sent === each.toHost.length && !each.isShut) {
        each.isShut = true;
        each.socket.shutdown(vsockShutdown.send);
      }
      const most = Math.min(each.socket.credit, 1 + random(pick(random, [10, 3000, 65_536])));
      const part = each.toHost.slice(each.sent, each.sent + most);
      if (part.length === 0) return;
      each.sent += part.length;
      each.socket.write(part);
    };
    const isOver = ({ socket, user }: Stream): boolean => socket.isClosed && user.told.includes("closed");
    let rounds = 0;
    while (!streams.every(isOver) && rounds++ < 200_000) {
      const each = pick(random, streams);
      const act = random(10);
      if (act < 3) write(each);
      else if (act < 6) send(each);
      else if (act === 6) each.user.stream.setReading(random(3) > 0);
      else if (act === 7) dispatch(driver, sockets);
      else each.socket.take();
      driver.queues[1]!.takeUsed();
    }
    for (const { socket, user, toHost, toGuest } of streams) {
      expect(Buffer.concat(socket.read).equals(toGuest)).toBe(true);
      expect(Buffer.from(user.takeBytes()).equals(toHost)).toBe(true);
      expect(user.told.filter((what) => typeof what === "string" && what !== "drained")).toEqual(
        socket.hostPort === 5000 ? ["ended", "closed"] : ["opened", "ended", "closed"],
      );
    }
    expect(driver.device.counters).toMatchObject({ refused: 0 });
  },
  120_000,
);
