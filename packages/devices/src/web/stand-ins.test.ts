import { expect, test } from "vitest";
import { dnsQuery } from "../../test/dns-messages.js";
import { addressesIn } from "../net/nat/dns/message.js";
import { isPublic } from "../net/nat/policy.js";
import { StandIns } from "./stand-ins.js";

const A = 1;
const code = (answer: Uint8Array | undefined): number => answer![3]! & 15;

test("a name has an address of the range, which leads back to it; other questions have empty answers", () => {
  const names = new StandIns();
  const [one] = addressesIn(names.answer(dnsQuery("Example.org", A))!);
  expect([one, names.nameOf(one!)]).toEqual(["198.18.0.1", "example.org"]);
  expect(addressesIn(names.answer(dnsQuery("example.org", A))!)).toEqual([one]);
  expect(addressesIn(names.answer(dnsQuery("other.example.org", A))!)).toEqual(["198.18.0.2"]);
  expect(isPublic(one!, [])).toBe(false);
  for (const type of [28, 15, 65, 12, 255]) {
    const answer = names.answer(dnsQuery("example.org", type));
    expect([code(answer), answer![7]]).toEqual([0, 0]);
  }
  expect(names.answer(Uint8Array.of(1, 2, 3))).toBeUndefined();
  expect(names.nameOf("198.18.9.9")).toBeUndefined();
});

test.each([
  ...["localhost", "intranet", "a.localhost", "printer.local", "db.internal", "nas.home.arpa", "router.lan"],
  ...["127.0.0.1", "1.2.3.4", "0x7f.1", "127.1", "a.1", "1.2.3.0x4", "xn--a", "under score.org", "a..b.org"],
])("%s is no public name", (name) => {
  const names = new StandIns();
  const labels = name.split(".").flatMap((label) => [label.length, ...Buffer.from(label)]);
  const query = Uint8Array.of(0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, A, 0, 1);
  const answer = names.answer(query);
  expect(answer === undefined ? 3 : code(answer)).toBe(3);
  expect(names.size).toBe(0);
});

test("names are bounded; the oldest goes, and its address leads nowhere for long", () => {
  const names = new StandIns();
  const given = new Map<string, string>();
  for (let at = 0; at < 6000; at++) {
    const name = `n${at}.example.org`;
    given.set(name, addressesIn(names.answer(dnsQuery(name, A))!)[0]!);
    // One that is used stays.
    expect(names.nameOf(given.get("n0.example.org")!)).toBe("n0.example.org");
  }
  expect([names.size, new Set(given.values()).size]).toEqual([4096, 6000]);
  expect(names.nameOf(given.get("n1.example.org")!)).toBeUndefined();
  expect(names.nameOf(given.get("n5999.example.org")!)).toBe("n5999.example.org");
  // All addresses were given once: they are given again, none twice.
  for (let at = 6000; at < 140_000; at++) names.answer(dnsQuery(`n${at}.example.org`, A));
  const last = addressesIn(names.answer(dnsQuery("n139999.example.org", A))!)[0]!;
  expect([names.size, names.nameOf(last)]).toEqual([4096, "n139999.example.org"]);
});
