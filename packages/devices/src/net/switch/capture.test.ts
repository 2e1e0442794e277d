import { describe, expect, test } from "vitest";
import { plainFrame, RecordingEnd } from "../../../test/net-ends.js";
import { readPcapng } from "../../../test/pcapng-reader.js";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { allFrames, type Frame } from "../frame.js";
import { Capture, type CaptureCounts, type CaptureOptions } from "./capture.js";
import { Switch } from "./switch.js";

const DATE = 1_700_000_000_123;

/** A network of web (2), db (4) and a third one (6), and a capture of it that is taken at once or not at all. */
function captured(options: CaptureOptions = {}, isTaken = true) {
  const timers = new VirtualTimers();
  const lan = new Switch({ timers });
  const links = ["web", "db", "third"].map((name) => lan.connect(new RecordingEnd(allFrames), { name }));
  const parts: Uint8Array[] = [];
  const told = { counts: undefined as CaptureCounts | undefined, end: undefined as string | undefined };
  const capture: Capture = new Capture(
    lan,
    { timers, date: DATE, ...options },
    {
      blocks: (bytes, counts) => {
        expect(told.end).toBeUndefined();
        parts.push(bytes);
        told.counts = counts;
        if (isTaken) capture.took(bytes.length);
      },
      ended: (reason) => {
        expect(told.end).toBeUndefined();
        told.end = reason;
      },
    },
  );
  const file = () => Uint8Array.from(parts.flatMap((part) => [...part]));
  return {
    ...{ timers, lan, links, capture, told, parts, file },
    read: () => readPcapng(file()),
    send: (from: number, to: number, bytes = 46) =>
      links[from]!.send(plainFrame(to, 2 * (from + 1), new Uint8Array(bytes).fill(from))),
  };
}

describe("a capture", () => {
  test("of a network has each frame once, where it entered, with its time", () => {
    const { send, timers, capture, read, told, file } = captured();
    send(0, 0xffff_ffff_ffff);
    timers.advance(7);
    send(1, 2);
    send(2, 4);
    timers.advance(13);
    // A part of it is there before its end.
    expect(read().packets.map(({ on }) => on)).toEqual(["web", "db", "third"]);
    expect(told).toEqual({ counts: { frames: 3, dropped: 0 }, end: undefined });
    capture.end("asked");
    const { interfaces, packets, statistics } = read();
    expect(interfaces).toEqual(
      ["web", "db", "third"].map((name) => ({ name, link: 1, snapLength: 0x40000, resolution: 9 })),
    );
    expect(packets.map(({ direction, length, missing }) => [direction, length, missing])).toEqual(
      Array(3).fill(["outbound", 60, 0]),
    );
    expect(packets[1]!.bytes).toEqual(plainFrame(2, 4, new Uint8Array(46).fill(1)).bytes);
    const began = BigInt(DATE) * 1_000_000n;
    expect(packets.map(({ time }) => time - began)).toEqual([0n, 7_000_000n, 7_000_000n]);
    expect(statistics).toEqual(["web", "db", "third"].map((on) => ({ on, received: 1, dropped: 0 })));
    expect(told.end).toBe("asked");
    const { length } = file();
    send(0, 4);
    capture.end("network");
    timers.advance(1000);
    expect([file().length, told.end, timers.pending]).toEqual([length, "asked", 0]);
  });

  test("of a port has what enters and leaves by it, and nothing else", () => {
    const { send, capture, read } = captured({ port: "db" });
    for (const from of [0, 1, 2]) send(from, 0xffff_ffff_ffff);
    send(0, 6);
    send(2, 4);
    send(1, 2);
    capture.end("asked");
    expect(read().packets.map(({ on, direction, bytes }) => [on, direction, bytes[11]])).toEqual([
      ["db", "inbound", 2],
      ["db", "outbound", 4],
      ["db", "inbound", 6],
      ["db", "inbound", 6],
      ["db", "outbound", 4],
    ]);
  });

  test("has frames as they were sent: what is to be cut is whole, and cut to the snap length where there is one", () => {
    const large: Frame = {
      bytes: plainFrame(4, 2, new Uint8Array(20_000)).bytes,
      checksum: { start: 34, offset: 16 },
      segments: { family: 4, size: 1448 },
    };
    for (const snapLength of [undefined, 96]) {
      const { links, capture, read } = captured(snapLength === undefined ? {} : { snapLength });
      links[0]!.send(large);
      capture.end("asked");
      expect(read().packets.map(({ bytes, length }) => [bytes.length, length])).toEqual([
        [snapLength ?? 20_014, 20_014],
      ]);
    }
  });

  test("that nobody takes drops what does not fit and tells how much, and goes on when there is room", () => {
    const { send, capture, parts, read, told, timers } = captured({ windowBytes: 10_000 }, false);
    for (let count = 0; count < 20; count++) send(0, 4, 986);
    timers.advance(20);
    expect(told.counts).toEqual({ frames: 9, dropped: 11 });
    expect(parts.reduce((sum, { length }) => sum + length, 0)).toBeLessThanOrEqual(10_000);
    for (const { length } of parts) capture.took(length);
    send(0, 4);
    send(0, 4);
    capture.end("asked");
    const { packets, statistics } = read();
    expect(packets.map(({ missing }) => missing)).toEqual([...Array(9).fill(0), 11, 0]);
    expect(statistics).toEqual([{ on: "web", received: 22, dropped: 11 }]);
    expect(told).toEqual({ counts: { frames: 11, dropped: 11 }, end: "asked" });
  });

  test.each([100, 200, 1000, 5000, 100_000])("of at most %i bytes is no longer, and whole", (mostBytes) => {
    const { send, file, read, told } = captured({ mostBytes });
    for (let count = 0; count < 200; count++) send(count % 3, 0xffff_ffff_ffff, 700);
    expect([told.end, file().length <= mostBytes]).toEqual(["size", true]);
    const { packets, statistics } = read();
    // The next frame, with what is around it, would have been too much.
    expect(file().length).toBeGreaterThan(mostBytes - 900);
    expect(statistics.reduce((sum, { received }) => sum + received, 0)).toBe(packets.length);
  });

  test("ends by its time, frames or none", () => {
    const { timers, told, read } = captured({ seconds: 1.5 });
    timers.advance(1499);
    expect(told.end).toBeUndefined();
    timers.advance(1);
    expect([told.end, read().packets.length, timers.pending]).toEqual(["time", 0, 0]);
  });

  test("that is abandoned gives nothing more and waits for nothing", () => {
    const { send, capture, timers, parts, told } = captured({ seconds: 9 });
    send(0, 4);
    capture.abandon();
    send(0, 4);
    capture.end("asked");
    timers.advance(10_000);
    expect([parts.length, told.end, timers.pending]).toEqual([0, undefined, 0]);
  });

  test("holds no frame back: all arrive, whatever becomes of the capture", () => {
    const { send, links } = captured({ windowBytes: 500 }, false);
    for (let count = 0; count < 1000; count++) send(0, 4);
    expect(links[1]!.counters.sent).toBe(1000);
  });
});
