import { describe, expect, test } from "vitest";
import { ipBytes } from "./addresses.js";
import { allFrames, type Frame, finishedFrames } from "./frame.js";
import { parseEthernet, tagged } from "./frames/ethernet.js";
import { parseIp4Or6, read16 } from "./frames/ip.js";
import { parseTcp, tcpFlags, tcpFrame } from "./frames/tcp.js";
import { finishFrame, tcpHeaders } from "./offload.js";

const DATA = Uint8Array.from({ length: 10_000 }, (_, index) => (index * 7) & 0xff);

function large(family: 4 | 6, flags: number = tcpFlags.ack, data = DATA): Frame {
  const source = ipBytes(family === 4 ? "10.0.0.1" : "fd00::1");
  const destination = ipBytes(family === 4 ? "10.0.0.2" : "fd00::2");
  return tcpFrame(
    { sourceMac: 2, destinationMac: 4, source, destination, id: 0xfffe },
    {
      ...{ sourcePort: 1, destinationPort: 2, sequence: 0xffffff00, acknowledgement: 7, flags, window: 99 },
      options: { windowShift: 3 },
      data: [data],
    },
    1440,
  );
}
const segmentOf = ({ bytes }: Frame, isTrusted = false) => {
  const { payload, type } = parseEthernet(bytes)!;
  const family = type === 0x0800 ? 4 : 6;
  return parseTcp(parseIp4Or6(bytes, payload, family)!, isTrusted)!;
};

describe.each([4, 6] as const)("TCP over IPv%i", (family) => {
  test("is cut to segments that together are the data", () => {
    const frames = finishFrame(large(family), finishedFrames);
    const segments = frames.map((frame) => segmentOf(frame));
    expect(segments.map(({ data }) => data.length)).toEqual([...Array(6).fill(1440), 1360]);
    expect(segments.flatMap(({ data }) => [...data])).toEqual([...DATA]);
    expect(segments.map(({ sequence }) => sequence)).toEqual(
      segments.map((_, index) => (0xffffff00 + index * 1440) >>> 0),
    );
    expect(new Set(segments.map(({ window, options }) => `${window} ${options.windowShift}`))).toEqual(
      new Set(["99 3"]),
    );
    if (family === 4)
      expect(frames.map(({ bytes }) => read16(bytes, 18))).toEqual([0xfffe, 0xffff, 0, 1, 2, 3, 4]);
  });

  test("has FIN and PSH at its end only, CWR at its beginning", () => {
    const { fin, psh, ack, cwr } = tcpFlags;
    const flags = finishFrame(large(family, fin | psh | ack | cwr), finishedFrames).map(
      (frame) => segmentOf(frame).flags,
    );
    expect(flags).toEqual([ack | cwr, ...Array(5).fill(ack), fin | psh | ack]);
  });

  test("is left as it is for who takes it so; with checksums to be computed for who takes these", () => {
    const frame = large(family);
    expect(finishFrame(frame, allFrames)).toEqual([frame]);
    const cut = finishFrame(frame, { checksum: true, segments4: family === 6, segments6: family === 4 });
    expect(cut).toHaveLength(7);
    const finished = cut.flatMap((each) => finishFrame(each, finishedFrames));
    expect(finished).toEqual(finishFrame(frame, finishedFrames));
  });

  test("with a tag is cut behind it", () => {
    const { bytes, checksum, segments } = large(family);
    const withTag = {
      bytes: tagged(bytes, 5),
      checksum: { ...checksum!, start: checksum!.start + 4 },
      segments: segments!,
    };
    const frames = finishFrame(withTag, finishedFrames);
    expect(frames.map((frame) => parseEthernet(frame.bytes)!.vlan)).toEqual(Array(7).fill(5));
    expect(frames.flatMap((frame) => [...segmentOf(frame).data])).toEqual([...DATA]);
  });

  test("without data is one segment; a size of nothing makes a bounded number", () => {
    const { bytes, checksum } = large(family, tcpFlags.ack, new Uint8Array());
    const empty = { bytes, checksum: checksum!, segments: { family, size: 1440 } };
    expect(finishFrame(empty, finishedFrames).map((frame) => segmentOf(frame).data.length)).toEqual([0]);
    expect(finishFrame({ ...large(family), segments: { family, size: 0 } }, finishedFrames)).toHaveLength(
      Math.ceil(10_000 / 48),
    );
  });
});

test("what is no TCP over IP is not cut: it goes nowhere", () => {
  const { bytes, checksum, segments } = large(4);
  const changed = (at: number, value: number): Frame => {
    const copy = bytes.slice();
    copy[at] = value;
    return { bytes: copy, checksum: checksum!, segments: segments! };
  };
  for (const frame of [
    changed(12, 0x86),
    changed(14, 0x65),
    changed(14, 0x41),
    changed(23, 17),
    changed(20, 0x20),
    changed(46, 0x10),
    changed(46, 0xf0),
    { ...changed(0, 0), bytes: bytes.subarray(0, 40) },
  ])
    expect(finishFrame(frame, finishedFrames).length, tcpHeaders(frame.bytes) && "headers").toBe(
      frame.bytes[46] === 0xf0 ? 7 : 0,
    );
});

test("a checksum that is zero by chance is written as its other zero", () => {
  // The sum of the words is ffff already.
  const bytes = Uint8Array.of(...new Array(14).fill(0), 0xff, 0xff, 0, 0);
  const [finished] = finishFrame({ bytes, checksum: { start: 14, offset: 2 } }, finishedFrames);
  expect([...finished!.bytes.subarray(14)]).toEqual([0xff, 0xff, 0xff, 0xff]);
  expect(bytes[16]).toBe(0);
});
