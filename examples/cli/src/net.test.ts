/** `--net`: what is understood, what each mistake is told, and what of it the gateway does. */
import { describe, expect, it } from "vitest";
import { type NetFlags, netUsage, parseNet } from "./net-flags.js";
import { withNet } from "./nets.js";

describe("--net", () => {
  it("names a network, and what may be reached from it, in order", () => {
    expect(parseNet("user")).toEqual({ rules: [], forwards: [] });
    expect(
      parseNet(
        "user,deny=*.example.org,allow=10.0.0.0/8:8000-8080,allow=[fd00::1]:22,allow=fd00::/8,restrict",
      ),
    ).toEqual({
      rules: [
        { allow: false, to: "*.example.org" },
        { allow: true, to: "10.0.0.0/8", ports: [8000, 8080] },
        { allow: true, to: "fd00::1", ports: [22, 22] },
        { allow: true, to: "fd00::/8" },
        { allow: false },
      ],
      forwards: [],
    });
    expect(
      parseNet("user,forward=8022:22,forward=udp:0:53,forward=tcp:0.0.0.0:8080:80,forward=[::1]:1:2")
        .forwards,
    ).toEqual([
      { protocol: "tcp", hostPort: 8022, guestPort: 22 },
      { protocol: "udp", hostPort: 0, guestPort: 53 },
      { protocol: "tcp", hostAddress: "0.0.0.0", hostPort: 8080, guestPort: 80 },
      { protocol: "tcp", hostAddress: "::1", hostPort: 1, guestPort: 2 },
    ]);
    expect(parseNet("user,mac=02:00:00:00:00:01")).toMatchObject({ mac: "02:00:00:00:00:01" });
  });

  it.each<readonly [string, string]>([
    ["", `There is no network ""; write ${netUsage}.`],
    ["tap", `There is no network "tap"; write ${netUsage}.`],
    ["user,allow", `There is no "allow"; write ${netUsage}.`],
    ["user,allow=", `There is no "allow="; write ${netUsage}.`],
    ["user,allow=:80", `":80" is nowhere; write ${netUsage}.`],
    ["user,restrict=on", `There is no "restrict=on"; write ${netUsage}.`],
    ["user,hostfwd=tcp::22-:22", `There is no "hostfwd=tcp::22-:22"; write ${netUsage}.`],
    ["user,allow=10.0.0.1:", '"" are no ports; write one, or two like 8000-8080, up to 65535.'],
    ["user,allow=10.0.0.1:9-8", '"9-8" are no ports; write one, or two like 8000-8080, up to 65535.'],
    ["user,deny=10.0.0.1:65536", '"65536" are no ports; write one, or two like 8000-8080, up to 65535.'],
    ...["22", "22:", "8022:0", "8022:65536", "icmp:1:2", "localhost:1:2"].map(
      (text) =>
        [
          `user,forward=${text}`,
          `"${text}" leads nowhere: write it like 8022:22, udp:5353:53 or 0.0.0.0:8080:80, this computer's port first.`,
        ] as const,
    ),
    ["user,mac=52:54:00", '"52:54:00" is no address of a card; write it like 52:54:00:12:34:56.'],
  ])("refuses %s", (text, message) => {
    expect(() => parseNet(text)).toThrow(expect.objectContaining({ message }));
  });

  it("is given once", () => {
    expect(() => parseNet("user", { rules: [], forwards: [] })).toThrow(
      expect.objectContaining({ message: "Give --net once." }),
    );
  });

  it.each<[NetFlags["rules"][number], string]>([
    [
      { allow: true, to: "10.0.0.0/40" },
      '--net: "10.0.0.0/40" is no range of addresses: write it like 10.0.0.0/8',
    ],
    [{ allow: true, to: "*x" }, '--net: "*x" is no name: write it like example.org or *.example.org'],
  ])("says of %j that it can't be", async (rule, message) => {
    const run = withNet(
      { rules: [rule], forwards: [] },
      () => {},
      async () => "ran",
    );
    await expect(run).rejects.toMatchObject({ code: "E_USAGE", message });
  });

  it("is a network while the run lasts", async () => {
    const nics = await withNet(
      { rules: [], forwards: [], mac: "02:00:00:00:00:01" },
      () => {},
      async (cards) => cards,
    );
    expect(nics).toMatchObject([{ mac: "02:00:00:00:00:01" }]);
  });
});
