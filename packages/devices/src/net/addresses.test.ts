import { isIPv4, isIPv6 } from "node:net";
import { expect, test } from "vitest";
import {
  canonicalIp,
  formatMac,
  inRange,
  isGroupMac,
  parseIp,
  parseMac,
  parseRange,
  readMac,
  writeMac,
} from "./addresses.js";

test.each([
  ["10.0.2.15", "10.0.2.15"],
  ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["0:0:0:0:0:0:0:0", "::"],
  ["::1", "::1"],
  ["fe80::", "fe80::"],
  ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
  ["::ffff:1.2.3.4", "::ffff:102:304"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
])("%s is %s, as RFC 5952 writes it", (text, canonical) => {
  expect(canonicalIp(text)).toBe(canonical);
});

test("what is no address to Node is none here", () => {
  const parts = [
    "",
    "0",
    "1",
    "255",
    "256",
    "01",
    ".",
    "..",
    ":",
    "::",
    "ffff",
    "10000",
    "g",
    "-1",
    "1.2.3.4",
    " ",
  ];
  let addresses = 0;
  const differing: string[] = [];
  for (const one of parts)
    for (const two of parts)
      for (const three of parts)
        for (const joint of [":", "."]) {
          for (const text of [
            [one, two, three].join(joint),
            [one, two, three, "7"].join(joint),
            `::${one}${joint}${two}`,
          ]) {
            const isAddress = isIPv4(text) || isIPv6(text);
            if ((parseIp(text) !== undefined) !== isAddress) differing.push(text);
            if (isAddress) addresses++;
          }
        }
  expect(differing).toEqual([]);
  expect(addresses).toBeGreaterThan(100);
});

test("ranges hold what begins as they do", () => {
  const holds = (range: string, ip: string): boolean => inRange(parseIp(ip)!, parseRange(range)!);
  expect(holds("10.0.0.0/8", "10.255.0.1")).toBe(true);
  expect(holds("10.0.0.0/8", "11.0.0.1")).toBe(false);
  expect(holds("172.16.0.0/12", "172.31.255.255")).toBe(true);
  expect(holds("172.16.0.0/12", "172.32.0.0")).toBe(false);
  expect(holds("fe80::/10", "febf::1")).toBe(true);
  expect(holds("fe80::/10", "fec0::1")).toBe(false);
  expect(holds("0.0.0.0/0", "1.2.3.4")).toBe(true);
  expect(holds("0.0.0.0/0", "::")).toBe(false);
  expect(holds("1.2.3.4", "1.2.3.4")).toBe(true);
  for (const wrong of ["10.0.0.0/33", "::/129", "10.0.0/8", "x/8", "10.0.0.0/", "10.0.0.0/-1"])
    expect(parseRange(wrong), wrong).toBeUndefined();
});

test("MAC addresses", () => {
  const mac = parseMac("52:54:00:Ab:cd:ef")!;
  expect([mac, formatMac(mac), formatMac(1)]).toEqual([
    0x525400abcdef,
    "52:54:00:ab:cd:ef",
    "00:00:00:00:00:01",
  ]);
  const bytes = new Uint8Array(8);
  writeMac(bytes, 1, mac);
  expect([[...bytes], readMac(bytes, 1)]).toEqual([[0, 0x52, 0x54, 0, 0xab, 0xcd, 0xef, 0], mac]);
  for (const wrong of [
    "52:54:00:ab:cd",
    "52:54:00:ab:cd:ef:00",
    "525400abcdef",
    "52:54-00:ab:cd:ef",
    "5g:54:00:ab:cd:ef",
  ])
    expect(parseMac(wrong)).toBeUndefined();
  expect([isGroupMac(0x01005e000001), isGroupMac(0xffffffffffff), isGroupMac(mac)]).toEqual([
    true,
    true,
    false,
  ]);
});
