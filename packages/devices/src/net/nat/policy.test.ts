import { describe, expect, test } from "vitest";
import { isPublic, type PolicyQuestion, policyOf, unmapped } from "./policy.js";

const HOST = ["127.0.0.1/8", "203.0.114.7/24", "2a00:1:2:3::7/64"];

describe("unless told otherwise", () => {
  test.each([
    "1.1.1.1",
    "8.8.8.8",
    "172.15.0.1",
    "172.32.0.1",
    "192.167.0.1",
    "100.63.0.1",
    "169.253.0.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1:2:4::7",
    "64:ff9b::101:101",
    "2002:101:101::1",
    "::ffff:1.1.1.1",
  ])("%s is reached", (address) => {
    expect(isPublic(address, HOST)).toBe(true);
  });

  test.each([
    ["this host", "0.0.0.0"],
    ["this network", "0.1.2.3"],
    ["loopback", "127.0.0.1"],
    ["all of loopback", "127.255.255.254"],
    ["a private network", "10.0.0.1"],
    ["a private network", "172.16.0.1"],
    ["a private network", "172.31.255.255"],
    ["a private network", "192.168.1.1"],
    ["a shared network", "100.64.0.1"],
    ["metadata", "169.254.169.254"],
    ["protocol assignments", "192.0.0.192"],
    ["documentation", "192.0.2.1"],
    ["documentation", "198.51.100.1"],
    ["documentation", "203.0.113.1"],
    ["6to4 relays", "192.88.99.1"],
    ["benchmarks", "198.18.0.1"],
    ["groups", "224.0.0.1"],
    ["reserved", "240.0.0.1"],
    ["everybody", "255.255.255.255"],
    ["the host itself", "203.0.114.7"],
    ["the host's network", "203.0.114.1"],
    ["this host", "::"],
    ["loopback", "::1"],
    ["an IPv4 address in the old form", "::7f00:1"],
    ["loopback, mapped", "::ffff:127.0.0.1"],
    ["a private network, mapped", "::ffff:10.0.0.1"],
    ["metadata, mapped", "::ffff:169.254.169.254"],
    ["the host's network, mapped", "::ffff:203.0.114.1"],
    ["translated loopback", "::ffff:0:127.0.0.1"],
    ["loopback by NAT64", "64:ff9b::7f00:1"],
    ["metadata by NAT64", "64:ff9b::a9fe:a9fe"],
    ["local NAT64", "64:ff9b:1::1"],
    ["loopback by 6to4", "2002:7f00:1::"],
    ["a private network by 6to4", "2002:a00:1::1"],
    ["metadata by 6to4", "2002:a9fe:a9fe::1"],
    ["Teredo", "2001::1"],
    ["documentation", "2001:db8::1"],
    ["documentation", "3fff::1"],
    ["discarded", "100::1"],
    ["segment routing", "5f00::1"],
    ["unique local", "fc00::1"],
    ["unique local", "fdff::1"],
    ["metadata of AWS", "fd00:ec2::254"],
    ["link-local", "fe80::1"],
    ["site-local", "fec0::1"],
    ["groups", "ff02::1"],
    ["the host itself", "2a00:1:2:3::7"],
    ["the host's network", "2a00:1:2:3:ffff::1"],
  ])("%s, %s, is refused", (_, address) => {
    expect(isPublic(address, HOST)).toBe(false);
  });
});

describe("rules", () => {
  const ask = (address: string, more: Partial<PolicyQuestion> = {}): PolicyQuestion => ({
    ...{ protocol: "tcp", direction: "out", guest: "10.0.2.15", address, port: 443, names: [] },
    ...more,
  });
  const host = (): readonly string[] => HOST;

  test("the first that fits decides, and what is usual where none does", () => {
    const policy = policyOf(
      [
        { allow: false, range: "1.1.1.0/24" },
        { allow: true, range: "127.0.0.1", ports: [8000, 8080], protocol: "tcp" },
        { allow: false, ports: [25, 25] },
        { allow: true, range: "10.9.0.0/16" },
      ],
      host,
    );
    expect(policy(ask("1.1.1.1"))).toBe(false);
    expect(policy(ask("1.1.2.1"))).toBe(true);
    expect(policy(ask("127.0.0.1", { port: 8000 }))).toBe(true);
    expect(policy(ask("127.0.0.1", { port: 8081 }))).toBe(false);
    expect(policy(ask("127.0.0.1", { port: 8000, protocol: "udp" }))).toBe(false);
    expect(policy(ask("127.0.0.2", { port: 8000 }))).toBe(false);
    expect(policy(ask("1.2.3.4", { port: 25 }))).toBe(false);
    expect(policy(ask("10.9.1.1"))).toBe(true);
    expect(policy(ask("10.8.1.1"))).toBe(false);
  });

  test("what denies an address denies it in every form, what allows it only as it is", () => {
    const policy = policyOf(
      [
        { allow: false, range: "1.1.1.1" },
        { allow: true, range: "10.0.0.1" },
      ],
      host,
    );
    for (const address of ["::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"])
      expect(policy(ask(address)), address).toBe(false);
    for (const address of ["::ffff:10.0.0.1", "64:ff9b::a00:1"])
      expect(policy(ask(address)), address).toBe(false);
  });

  test("by name, of whole labels", () => {
    const policy = policyOf(
      [{ allow: true, name: "example.org" }, { allow: true, name: "*.example.org" }, { allow: false }],
      host,
    );
    const named = (...names: string[]): boolean => policy(ask("1.2.3.4", { names }));
    expect([named("example.org"), named("a.b.example.org"), named("x.com", "example.org")]).toEqual([
      true,
      true,
      true,
    ]);
    expect([named(), named("badexample.org"), named("example.org.evil.com")]).toEqual([false, false, false]);
  });

  test("a name that leads to the host's own network gains nothing, unless a rule says so for the address", () => {
    const denied = policyOf([{ allow: false, name: "*.evil.com" }], host);
    expect(denied(ask("127.0.0.1", { names: ["good.com"] }))).toBe(false);
    expect(denied(ask("1.2.3.4", { names: ["a.evil.com"] }))).toBe(false);
  });

  test("inwards what was forwarded comes through, unless a rule says no", () => {
    const policy = policyOf([{ allow: false, range: "203.0.114.9", direction: "in" }], host);
    expect(policy(ask("203.0.114.9", { direction: "in" }))).toBe(false);
    expect(policy(ask("203.0.114.8", { direction: "in" }))).toBe(true);
    expect(policy(ask("127.0.0.1", { direction: "in" }))).toBe(true);
    expect(policyOf([{ allow: true, range: "127.0.0.1", direction: "in" }], host)(ask("127.0.0.1"))).toBe(
      false,
    );
  });

  test.each([
    [
      { allow: true, range: "10.0.0.0/40" },
      '"10.0.0.0/40" is no range of addresses: write it like 10.0.0.0/8',
    ],
    [{ allow: true, ports: [9, 8] as const }, "ports 9-8: use 0 to 65535, the smaller one first"],
    [{ allow: true, ports: [0, 65536] as const }, "ports 0-65536: use 0 to 65535, the smaller one first"],
    [{ allow: true, name: "*example" }, '"*example" is no name: write it like example.org or *.example.org'],
  ])("%j can't be", (rule, message) => {
    expect(() => policyOf([rule], host)).toThrow(message);
  });
});

test("a mapped address is connected to as what it means", () => {
  expect([unmapped("::ffff:102:304"), unmapped("::1"), unmapped("1.2.3.4")]).toEqual([
    "1.2.3.4",
    "::1",
    "1.2.3.4",
  ]);
});

test("an address that stands for a name is judged by names and rules, and counts as public otherwise", () => {
  const question: PolicyQuestion = {
    protocol: "tcp",
    direction: "out",
    guest: "10.0.2.15",
    address: "198.18.0.1",
    port: 80,
    names: ["bad.example"],
    isStandIn: true,
  };
  expect(policyOf([], () => [])(question)).toBe(true);
  expect(policyOf([], () => [])({ ...question, isStandIn: false })).toBe(false);
  expect(policyOf([{ allow: false, name: "bad.example" }], () => [])(question)).toBe(false);
  expect(policyOf([{ allow: false, name: "*.example" }], () => [])(question)).toBe(false);
  expect(policyOf([{ allow: true, name: "good.example" }, { allow: false }], () => [])(question)).toBe(false);
});
