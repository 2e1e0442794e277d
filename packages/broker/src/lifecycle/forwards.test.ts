/** A Hyperfile that is read again, and forwards that were changed since: three lists make one. */
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { parseForward } from "../hyperfile/net-text.js";
import type { NetworkSpec, NicSpec } from "../hyperfile/types.js";
import { withChanges } from "./forwards.js";

const network: NetworkSpec = {
  ...{ name: "lan", subnet: "10.0.2.0/24", subnet6: "fd00::/64", dhcp: true },
  kind: "nat",
  policy: { allow: [], deny: [], restrict: false },
};
const nic = (forwards: readonly string[], more: Partial<NicSpec> = {}): NicSpec => ({
  ...{ network, mac: "52:54:00:00:00:01", address: "10.0.2.15", policy: network.policy },
  forwards: forwards.map((text) => parseForward(text)!),
  ...more,
});
const merged = (before: string[], now: string[], after: string[]): string[] =>
  withChanges([nic(before)], [nic(now)], [nic(after)])[0]!.forwards.map(
    ({ hostPort, guestPort }) => `${hostPort}:${guestPort}`,
  );

describe("forwards of a file that is read again", () => {
  it.each<[what: string, before: string[], now: string[], after: string[], result: string[]]>([
    ["nothing changed", ["1:1"], ["1:1"], ["1:1"], ["1:1"]],
    ["added by hand", ["1:1"], ["1:1", "2:2"], ["1:1"], ["1:1", "2:2"]],
    ["removed by hand", ["1:1", "2:2"], ["2:2"], ["1:1", "2:2"], ["2:2"]],
    ["added by the file", ["1:1"], ["1:1"], ["1:1", "2:2"], ["1:1", "2:2"]],
    ["removed by the file", ["1:1", "2:2"], ["1:1", "2:2"], ["2:2"], ["2:2"]],
    ["added by both", [], ["1:1"], ["1:1"], ["1:1"]],
    ["removed by both", ["1:1"], [], [], []],
    ["any port, twice, of which one was removed", ["0:1", "0:1"], ["0:1"], ["0:1", "0:1"], ["0:1"]],
    ["another port of the guest's by hand", ["1:1"], ["1:2"], ["1:1"], ["1:2"]],
  ])("%s", (_what, before, now, after, result) => {
    expect(merged(before, now, after)).toEqual(result);
  });

  it("are the file's where the card is another one, or can have none", () => {
    const other = nic(["3:3"], { network: { ...network, name: "other" } });
    const isolated = nic([], { network: { ...network, kind: "isolated" } });
    expect(withChanges([nic([])], [nic(["1:1"])], [other])).toEqual([other]);
    expect(withChanges([nic([])], [nic(["1:1"])], [isolated])).toEqual([isolated]);
    expect(withChanges([nic([])], [nic(["1:1"])], [nic([]), other])).toEqual([nic(["1:1"]), other]);
  });
});

test("whatever is changed: an unchanged file changes nothing, and without changes the file is what counts", () => {
  const forwards = fc
    .array(fc.tuple(fc.nat(3), fc.integer({ min: 1, max: 3 })))
    .map((pairs) => pairs.map(([host, guest]) => `${host}:${guest}`));
  const sorted = (texts: string[]) => texts.toSorted();
  fc.assert(
    fc.property(forwards, forwards, forwards, (one, two, three) => {
      expect(sorted(merged(one, two, one))).toEqual(sorted(two));
      expect(merged(one, one, two)).toEqual(two);
      // Once more makes no difference.
      const first = merged(one, two, three);
      expect(sorted(merged(three, first, three))).toEqual(sorted(first));
    }),
  );
});
