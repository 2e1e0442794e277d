/** Frames against bytes that others have written, and against each other. */
import { describe, expect, test } from "vitest";
import { hexBytes } from "../../../test/net-ends.js";
import { formatIp, ipBytes } from "../addresses.js";
import { checksumOf, sumWords } from "../checksum.js";
import { finishedFrames } from "../frame.js";
import { finishFrame } from "../offload.js";
import { arpFrame, parseArp } from "./arp.js";
import { parseEthernet } from "./ethernet.js";
import { icmpError, icmpFrame, mayComplain, parseIcmp } from "./icmp.js";
import { type IpPacket, ipFrame, parseIp4Or6 } from "./ip.js";
import { parseTcp, tcpFlags, tcpFrame } from "./tcp.js";
import { parseUdp, udpFrame } from "./udp.js";

const A = { mac: 0x525400000001, four: ipBytes("10.0.2.15"), six: ipBytes("fd00::15") };
const B = { mac: 0x525400000002, four: ipBytes("10.0.2.2"), six: ipBytes("fd00::2") };
const to = (family: 4 | 6) => ({
  sourceMac: A.mac,
  destinationMac: B.mac,
  source: family === 4 ? A.four : A.six,
  destination: family === 4 ? B.four : B.six,
});
const packetOf = (bytes: Uint8Array): IpPacket | undefined => {
  const header = parseEthernet(bytes)!;
  return parseIp4Or6(bytes, header.payload, header.type === 0x0800 ? 4 : 6);
};
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

test("the example of RFC 1071 sums to ddf2", () => {
  const bytes = hexBytes("0001 f203 f4f5 f6f7");
  expect(checksumOf(sumWords(bytes))).toBe(~0xddf2 & 0xffff);
  expect(sumWords(hexBytes("0102 03"))).toBe(0x0102 + 0x0300);
});

test("an IPv4 header that is widely known has the checksum b861", () => {
  const header = hexBytes("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7");
  const frame = new Uint8Array(14 + 0x73);
  frame.set(header, 14);
  const packet = parseIp4Or6(frame, 14, 4)!;
  expect([packet.source, packet.destination, packet.protocol, packet.hops]).toEqual([
    "192.168.0.1",
    "192.168.0.199",
    17,
    64,
  ]);
  const made = ipFrame(
    { ...to(4), source: ipBytes("192.168.0.1"), destination: ipBytes("192.168.0.199"), protocol: 17 },
    0x73 - 20,
  );
  expect(made.subarray(14, 34)).toEqual(header);
  frame[14 + 8] = 63;
  expect(parseIp4Or6(frame, 14, 4)).toBeUndefined();
});

test("an ARP request as Linux sends it", () => {
  const bytes = hexBytes(
    "ffffffffffff 525400000001 0806 0001 0800 06 04 0001 525400000001 0a00020f 000000000000 0a000202",
  );
  const message = parseArp(bytes, 14)!;
  expect(message).toEqual({
    operation: 1,
    senderMac: A.mac,
    senderIp: "10.0.2.15",
    targetMac: 0,
    targetIp: "10.0.2.2",
  });
  expect(arpFrame(0xffffffffffff, message)).toEqual(bytes);
  for (let length = 14; length < bytes.length; length++)
    expect(parseArp(bytes.subarray(0, length), 14)).toBeUndefined();
  bytes[18] = 8;
  expect(parseArp(bytes, 14)).toBeUndefined();
});

describe.each([4, 6] as const)("IPv%i", (family) => {
  test("a datagram goes there and is read again, and a wrong bit is found", () => {
    const frame = udpFrame(to(family), { sourcePort: 1234, destinationPort: 53, data: text("hello") });
    expect(parseUdp(packetOf(frame)!, false)).toEqual({
      sourcePort: 1234,
      destinationPort: 53,
      data: text("hello"),
    });
    frame[frame.length - 1]! ^= 1;
    expect(parseUdp(packetOf(frame)!, false)).toBeUndefined();
    expect(parseUdp(packetOf(frame)!, true)?.data).toHaveLength(5);
  });

  test("a datagram without a checksum is one in IPv4 only", () => {
    const frame = udpFrame(to(family), { sourcePort: 1, destinationPort: 2, data: text("x") });
    frame.fill(0, frame.length - 3, frame.length - 1);
    expect(parseUdp(packetOf(frame)!, false) === undefined).toBe(family === 6);
  });

  test("lengths that lie are refused, padding is passed over", () => {
    const frame = udpFrame(to(family), { sourcePort: 1, destinationPort: 2, data: text("four") });
    const longer = new Uint8Array(frame.length + 9);
    longer.set(frame);
    expect(parseUdp(packetOf(longer)!, false)?.data).toEqual(text("four"));
    for (let length = 0; length < frame.length; length++) {
      const cut = frame.subarray(0, length);
      const header = parseEthernet(cut);
      if (header !== undefined) expect(parseIp4Or6(cut, header.payload, family), `${length}`).toBeUndefined();
    }
    const at = frame.length - 12 + 4;
    for (const length of [0, 7, 13, 0xffff]) {
      frame[at] = length >> 8;
      frame[at + 1] = length & 0xff;
      expect(parseUdp(packetOf(frame)!, true), `${length}`).toBeUndefined();
    }
  });

  test("a segment with all options goes there and is read again", () => {
    const segment = {
      sourcePort: 40000,
      destinationPort: 80,
      sequence: 0xfffffff0,
      acknowledgement: 0x80000001,
      flags: tcpFlags.syn | tcpFlags.ack,
      window: 65535,
      options: { mss: 1460, sackPermitted: true, windowShift: 7, sack: [{ start: 0xffffff00, end: 5 }] },
    };
    const frame = tcpFrame(to(family), { ...segment, data: [text("ab"), text("cde")] }, 1460);
    const [finished] = finishFrame(frame, finishedFrames);
    expect(parseTcp(packetOf(finished!.bytes)!, false)).toEqual({ ...segment, data: text("abcde") });
    expect(parseTcp(packetOf(frame.bytes)!, false)).toBeUndefined();
    expect(parseTcp(packetOf(frame.bytes)!, true)?.data).toEqual(text("abcde"));
  });

  test("options that are cut off end the list, and nothing is read behind it", () => {
    const frame = tcpFrame(
      to(family),
      {
        sourcePort: 1,
        destinationPort: 2,
        sequence: 0,
        acknowledgement: 0,
        flags: 2,
        window: 0,
        options: { mss: 9, windowShift: 200 },
        data: [],
      },
      1460,
    ).bytes;
    const at = 14 + (family === 4 ? 20 : 40) + 20;
    expect(parseTcp(packetOf(frame)!, true)?.options).toEqual({ mss: 9, windowShift: 14 });
    for (const [place, value] of [
      [1, 0],
      [1, 1],
      [1, 255],
      [0, 0],
    ] as const) {
      const copy = frame.slice();
      copy[at + place] = value;
      expect(parseTcp(packetOf(copy)!, true)?.options).toEqual({});
    }
    for (const header of [0, 4, 15]) {
      const copy = frame.slice();
      copy[at - 8] = header << 4;
      expect(parseTcp(packetOf(copy)!, true)).toBeUndefined();
    }
  });

  test("an echo, and the error about a packet, which quotes it", () => {
    const type = family === 4 ? 8 : 128;
    const frame = icmpFrame(to(family), { type, code: 0, body: text("\0\x01\0\x02ping") });
    const packet = packetOf(frame)!;
    expect(parseIcmp(packet)).toEqual({ type, code: 0, body: text("\0\x01\0\x02ping") });
    const error = icmpError(packet, "too-big", 1400);
    expect([error.type, error.code]).toEqual(family === 4 ? [3, 4] : [2, 0]);
    expect([...error.body.subarray(0, 4)]).toEqual([0, 0, 5, 0x78]);
    expect(error.body.subarray(4)).toEqual(packet.bytes);
    expect(mayComplain(packet)).toBe(true);
    const about = packetOf(icmpFrame(to(family), error))!;
    expect([parseIcmp(about)?.type, mayComplain(about)]).toEqual([error.type, false]);
    frame[frame.length - 1]! ^= 4;
    expect(parseIcmp(packetOf(frame)!)).toBeUndefined();
    const long = packetOf(
      udpFrame(to(family), { sourcePort: 1, destinationPort: 1, data: new Uint8Array(4000) }),
    )!;
    expect(packetOf(icmpFrame(to(family), icmpError(long, "port")))!.bytes).toHaveLength(
      family === 4 ? 576 : 1280,
    );
  });
});

describe("IPv6 extension headers", () => {
  const packet = (...headers: number[]): IpPacket | undefined => {
    const frame = ipFrame({ ...to(6), protocol: headers[0]! }, headers.length - 1 + 4);
    frame.set(headers.slice(1), 54);
    return packetOf(frame);
  };
  const hop = (next: number): number[] => [next, 0, 1, 4, 0, 0, 0, 0];

  test("are passed over up to the payload", () => {
    expect(packet(0, ...hop(60), ...hop(17))).toMatchObject({ protocol: 17, fragment: undefined });
    expect(packet(0, ...hop(17))!.payload).toHaveLength(4);
  });

  test("say which fragment it is", () => {
    const fragment = packet(44, 17, 0, 0, 9, 1, 2, 3, 4)!;
    expect(fragment.fragment).toEqual({ id: 0x01020304, offset: 8, isMore: true });
    expect(packet(44, 17, 0, 0, 0, 1, 2, 3, 4)!.fragment).toBeUndefined();
  });

  test("that have no end, are too many or lead on by other ways make no packet", () => {
    expect(packet(0, ...Array.from({ length: 9 }, () => hop(0)).flat())).toBeUndefined();
    expect(packet(0, 17, 9, 0, 0, 0, 0, 0, 0)).toBeUndefined();
    expect(packet(43, 17, 0, 0, 1, 0, 0, 0, 0)).toBeUndefined();
    expect(packet(43, 17, 0, 0, 0, 0, 0, 0, 0)).toBeDefined();
    expect(packet(44, 44, 0, 0, 1, 0, 0, 0, 1, 17, 0, 0, 1, 0, 0, 0, 1)).toBeUndefined();
    expect(packet(60)).toBeUndefined();
  });
});

test("generated bytes are parsed or refused, and nothing is thrown", () => {
  let state = 12345;
  const random = (end: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % end;
  };
  const templates = ([4, 6] as const).flatMap((family) => [
    udpFrame(to(family), { sourcePort: 1, destinationPort: 2, data: new Uint8Array(40) }),
    icmpFrame(to(family), { type: 8, code: 0, body: new Uint8Array(20) }),
    tcpFrame(
      to(family),
      {
        sourcePort: 1,
        destinationPort: 2,
        sequence: 1,
        acknowledgement: 2,
        flags: 16,
        window: 9,
        options: { sack: [{ start: 1, end: 2 }] },
        data: [new Uint8Array(9)],
      },
      1460,
    ).bytes,
  ]);
  const seen = { packets: 0, refused: 0, wrong: 0 };
  for (let round = 0; round < 20_000; round++) {
    const frame = templates[random(templates.length)]!.slice(0, 20 + random(80));
    for (let count = random(4); count > 0; count--) frame[random(frame.length)] = random(256);
    const header = parseEthernet(frame)!;
    parseArp(frame, header.payload);
    for (const family of [4, 6] as const) {
      const packet = parseIp4Or6(frame, header.payload, family);
      if (packet === undefined) {
        seen.refused++;
        continue;
      }
      seen.packets++;
      if (formatIp(packet.sourceBytes) !== packet.source) seen.wrong++;
      for (const isTrusted of [true, false])
        for (const { data } of [parseUdp(packet, isTrusted), parseTcp(packet, isTrusted)].flatMap(
          (one) => one ?? [],
        ))
          if (data.length > packet.payload.length) seen.wrong++;
      parseIcmp(packet);
      if (icmpError(packet, "port").body.length > 1280) seen.wrong++;
    }
  }
  expect(seen.wrong).toBe(0);
  expect(seen.packets).toBeGreaterThan(1000);
  expect(seen.refused).toBeGreaterThan(1000);
});
