import { expect, test } from "vitest";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { ipBytes } from "../addresses.js";
import { fragmentFrame } from "../frames/fragment.js";
import { type IpPacket, parseIp4Or6 } from "../frames/ip.js";
import { udpFrame } from "../frames/udp.js";
import { Reassembly } from "./reassembly.js";

const to = { sourceMac: 2, destinationMac: 4, source: ipBytes("10.0.0.1"), destination: ipBytes("10.0.0.2") };
const fragments = (bytes: number, id: number, mtu = 1000): IpPacket[] =>
  fragmentFrame(
    udpFrame(to, { sourcePort: 1, destinationPort: 2, data: new Uint8Array(bytes).fill(id) }),
    mtu,
    id,
  ).map((frame) => parseIp4Or6(frame, 14, 4)!);
const started = () => {
  const timers = new VirtualTimers();
  return { timers, reassembly: new Reassembly(timers) };
};

test("parts in any order make the packet, once", () => {
  const { reassembly } = started();
  const [one, two, three] = fragments(2500, 1);
  expect([reassembly.take(three!), reassembly.take(one!)]).toEqual([undefined, undefined]);
  expect(reassembly.take(two!)?.payload.length).toBe(2508);
  expect([reassembly.bytes, reassembly.take(two!)]).toEqual([0, undefined]);
});

test("packets of different owners and numbers are apart", () => {
  const { reassembly } = started();
  const [a1, a2] = fragments(1500, 1);
  const [b1, b2] = fragments(1500, 2);
  for (const part of [a1!, b2!]) reassembly.take(part);
  expect([reassembly.take(a2!)?.payload.at(-1), reassembly.take(b1!)?.payload.at(-1)]).toEqual([1, 2]);
});

test.each<[string, (parts: IpPacket[]) => IpPacket[]]>([
  ["a part twice", ([one]) => [one!, one!]],
  ["an overlap", ([one, two]) => [one!, { ...two!, fragment: { ...two!.fragment!, offset: 8 } }]],
  [
    "a part behind the end",
    ([one, , three]) => [three!, { ...one!, fragment: { ...one!.fragment!, offset: 8000 } }],
  ],
  ["two ends", ([, , three]) => [three!, { ...three!, fragment: { ...three!.fragment!, offset: 4000 } }]],
  [
    "an end before a part",
    ([, two, three]) => [two!, { ...three!, fragment: { ...three!.fragment!, offset: 0 } }],
  ],
  ["a part beyond all packets", ([one]) => [{ ...one!, fragment: { ...one!.fragment!, offset: 65_528 } }]],
  ["a part of nothing", ([one]) => [{ ...one!, payload: new Uint8Array() }]],
  ["a middle of odd length", ([one]) => [{ ...one!, payload: one!.payload.subarray(1) }]],
])("%s ends the packet", (_, parts) => {
  const { reassembly } = started();
  const all = fragments(2500, 1);
  for (const part of parts(all)) expect(reassembly.take(part)).toBeUndefined();
  expect([reassembly.bytes, reassembly.counters.dropped]).toEqual([0, 1]);
});

test("what never becomes whole is bounded by number, bytes and time", () => {
  const { reassembly, timers } = started();
  for (let id = 1; id < 500; id++) reassembly.take(fragments(1500, id)[0]!);
  expect(reassembly.bytes).toBe(64 * 976);
  for (let id = 1; id < 500; id++) reassembly.take(fragments(40_000, id, 30_000)[0]!);
  expect(reassembly.bytes).toBeLessThanOrEqual(1 << 20);
  expect(reassembly.bytes).toBeGreaterThan(900_000);
  timers.advance(60_001);
  reassembly.take(fragments(1500, 1)[0]!);
  expect(reassembly.bytes).toBe(976);
});
