/** Which machines of snapshots are plain, and in which way others are not. */
import { expect, it } from "vitest";
import { encodeSections, SnapshotFile } from "./format.js";
import { plainMachineOf } from "./plain-machine.js";
import { encodeValue, type PlainRecord } from "./values.js";

const codec = { compress: (bytes: Uint8Array) => bytes, decompress: (bytes: Uint8Array) => bytes };
const plain = { xlen: 64, ramBytes: 1 << 20, devices: "console entropy balloon", time: "host" };

function described(config: PlainRecord | undefined) {
  const machine = encodeValue(config === undefined ? {} : { config });
  const card = (mac: string) => ({ status: 0, device: { mac, pairs: 1 } });
  const board = encodeValue({
    uart: { mac: "52:54:00:00:00:09" },
    virtio0: card("52:54:00:00:00:01"),
    virtio1: card("52:54:00:00:00:02"),
    virtio2: card("no address"),
    virtio3: { device: null },
  });
  const pieces = encodeSections(
    [
      { name: "machine", bytes: machine },
      { name: "state/board", bytes: board },
    ],
    codec,
  );
  return plainMachineOf(new SnapshotFile(Buffer.concat(pieces), codec));
}

it.each<[string, PlainRecord | undefined, unknown]>([
  ["a plain one", plain, { xlen: 64, ramBytes: 1 << 20, hasSockets: false, nics: [] }],
  [
    "one with sockets",
    { ...plain, devices: "vsock console entropy balloon" },
    { xlen: 64, ramBytes: 1 << 20, hasSockets: true, nics: [] },
  ],
  [
    "one with network cards",
    { ...plain, devices: "net net vsock console entropy balloon" },
    { xlen: 64, ramBytes: 1 << 20, hasSockets: true, nics: ["52:54:00:00:00:01", "52:54:00:00:00:02"] },
  ],
  [
    "one with more cards than its board",
    { ...plain, devices: "net net net console" },
    { problem: "is of no kind that is known here" },
  ],
  ["one with disks", { ...plain, devices: "block block console" }, { problem: "has block, block" }],
  [
    "one with devices without end",
    { ...plain, devices: "x ".repeat(5000) },
    { problem: expect.stringMatching(/^has (x, ){20,30}.{0,5}$/) },
  ],
  ["one in virtual time", { ...plain, time: "virtual" }, { problem: "is in virtual time" }],
  ["one with other memory", { ...plain, regions: [] }, { problem: "has memory beside its RAM" }],
  ["one of a width that is none", { ...plain, xlen: 128 }, { problem: "is of no kind that is known here" }],
  ["one without a size", { ...plain, ramBytes: "much" }, { problem: "is of no kind that is known here" }],
  ["none at all", undefined, { problem: "is in virtual time" }],
])("%s", (_what, config, machine) => {
  expect(described(config)).toEqual(machine);
});
