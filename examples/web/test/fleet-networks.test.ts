/**
 * Networks of a fleet of one thread, with Debian: a program that has VMs in a network needs no more than this. Left out where
 * Debian's files were never fetched (`npm start` does).
 */
import { createHash } from "node:crypto";
import { InlineFleet, type InlineNicFigures } from "@hyperfile/broker/inline";
import { Lan } from "@hyperfile/devices/net";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { FakeOutside } from "../../../packages/devices/test/fake-outside.js";
import { debianWithAgent } from "../../../packages/machine/test/debian.js";
import { GuestMaker } from "../src/host/page-guest.js";

const images = await debianWithAgent();
const PATIENCE = { timeout: 300_000, interval: 20 };
const digestOf = (bytes: number): string => createHash("sha256").update(new Uint8Array(bytes)).digest("hex");

describe.skipIf(images === undefined)("VMs of one thread in networks", () => {
  const maker = new GuestMaker();
  const text = new Map<string, string>();
  const outside = Object.assign(new FakeOutside(), { query: async () => undefined });
  const fleet: InlineFleet = new InlineFleet({
    listener: {
      state: () => {},
      console: (vm, bytes) => {
        text.set(vm, `${text.get(vm) ?? ""}${new TextDecoder().decode(bytes)}`);
        fleet.heard(vm, bytes.length);
      },
    },
    openNetwork: (spec) => new Lan(spec, { outside }),
  });
  const recipe = { ramBytes: 128 << 20, boot: images!, hasSockets: true };
  const make = (name: string, surroundings: Parameters<GuestMaker["make"]>[2]) =>
    maker.make(recipe, name, surroundings);

  /** Runs a command in a VM; resolves with what it printed. */
  let commands = 0;
  async function run(vm: string, command: string): Promise<string> {
    const number = ++commands;
    const from = (text.get(vm) ?? "").length;
    // The echo of what is typed has the marks in two parts.
    const line = `echo begin"-"${number}; { ${command}; }; echo done"-"${number}\n`;
    fleet.type(vm, new TextEncoder().encode(line));
    const printed = () =>
      new RegExp(`\\nbegin-${number}\\r\\n([^]*)done-${number}\\r`).exec(
        (text.get(vm) ?? "").slice(from),
      )?.[1];
    await vi.waitFor(() => expect(printed()).toBeDefined(), PATIENCE);
    return printed()!.replaceAll("\r", "").trimEnd();
  }
  const nicOf = (vm: string): InlineNicFigures => fleet.figures().find(({ name }) => name === vm)!.nics[0]!;
  const addressIn = (vm: string): Promise<string> =>
    run(vm, "ip -4 -o addr show dev eth0 | awk '{ print $4 }'; cat /sys/class/net/eth0/address; hostname");
  /** Waits until a guest has taken the addresses and the name that it is to have. */
  const settled = async (vm: string): Promise<void> => {
    const { address, mac } = nicOf(vm);
    await expect
      .poll(() => addressIn(vm), { timeout: 300_000, interval: 500 })
      .toBe(`${address}/24\n${mac}\n${vm}`);
  };

  /**
   * Takes what comes to a port, until the other side has ended. It reads a pipe that nobody writes to: of the console it
   * would be stopped, as a job in the background, when somebody types.
   */
  const listen = (vm: string, port: number): Promise<string> =>
    run(
      vm,
      `rm -f /tmp/sum /tmp/never; mkfifo /tmp/never; (nc -l -p ${port} <> /tmp/never | sha256sum > /tmp/part; mv /tmp/part /tmp/sum) & true`,
    );
  /** The digest of what came. */
  const heard = (vm: string): Promise<string> =>
    run(vm, "until [ -e /tmp/sum ]; do sleep 1; done; cut -c 1-64 /tmp/sum");

  beforeAll(async () => {
    fleet.networks.add("lan");
    fleet.add("a", { make, nics: [{ network: "lan" }] });
    await fleet.start("a");
    await vi.waitFor(() => expect(text.get("a")).toContain("root@"), PATIENCE);
    await run("a", "hostname a");
  }, 600_000);
  afterAll(async () => {
    for (const { name } of fleet.figures()) await fleet.remove(name);
    fleet.networks.remove("lan");
  });

  it("a copy has a name and addresses of its own, and both reach each other by name", async () => {
    await settled("a");
    await fleet.clone("a", "b");
    await settled("b");
    expect(nicOf("b").address).not.toBe(nicOf("a").address);
    expect(await run("a", "ping -c 2 -W 60 -q b | grep -c ' [12] packets received'")).toBe("1");
    expect(await run("b", "ping -c 2 -W 60 -q a.internal | grep -c ' [12] packets received'")).toBe("1");
    expect(await run("a", "ping -c 1 nobody 2>&1")).toContain("bad address");
  }, 900_000);

  it("what one sends the other by TCP comes whole, and is counted on both sides", async () => {
    const before = [nicOf("a").counters, nicOf("b").counters];
    await listen("b", 7777);
    await run("a", "dd if=/dev/zero bs=4096 count=1000 2> /dev/null | nc b 7777");
    expect(await heard("b")).toBe(digestOf(4_096_000));
    const after = [nicOf("a").counters, nicOf("b").counters];
    const [sent, received] = ["bytes.sent", "bytes.received"].map(
      (name, at) => after[at]![name]! - before[at]![name]!,
    );
    expect(sent).toBeGreaterThan(4_096_000);
    expect(received).toBeGreaterThan(4_096_000);
    expect(received).toBeLessThan(5_000_000);
    expect(after[0]!["frames.sent"]).toBeGreaterThan(before[0]!["frames.sent"]!);
    expect(after[1]!["wait.received"]).toBeGreaterThanOrEqual(0);
  }, 600_000);

  it("a limit holds by bytes, and what it has held comes when it is gone", async () => {
    const limit = 128 * 1024;
    await run("a", "true");
    await listen("b", 7778);
    fleet.configure("a", { net: { send: { limit } } });
    const [from, began] = [nicOf("a").counters["bytes.sent"]!, performance.now()];
    fleet.type("a", new TextEncoder().encode("dd if=/dev/zero bs=4096 count=300 2> /dev/null | nc b 7778\n"));
    let held = 0;
    await vi.waitFor(() => {
      held = nicOf("a").counters["bytes.sent"]! - from;
      // A turn may be in hand, and a frame of 64 KiB longer than it was.
      if (held > (limit * (performance.now() - began)) / 1000 + 2 * 65_536) return;
      expect(held).toBeGreaterThan(4 * 65_536);
    }, PATIENCE);
    expect(held).toBeLessThanOrEqual((limit * (performance.now() - began)) / 1000 + 2 * 65_536);
    expect(nicOf("a").counters["wait.sent"]).toBeGreaterThan(0);
    fleet.configure("a", { net: { send: { limit: Infinity } } });
    expect(await heard("b")).toBe(digestOf(1_228_800));
    await run("a", "true");
  }, 600_000);

  it("what is outside is as the program has it, and what is not public is refused", async () => {
    fleet.type("a", new TextEncoder().encode("echo hello | nc -w 60 1.1.1.1 7\n"));
    await expect.poll(() => outside.connections.length, PATIENCE).toBe(1);
    const [connection] = outside.connections;
    expect([connection!.address, connection!.port]).toEqual(["1.1.1.1", 7]);
    connection!.events.opened();
    await expect.poll(() => Buffer.concat(connection!.written).toString(), PATIENCE).toBe("hello\n");
    connection!.events.data(new TextEncoder().encode("and back\n"));
    connection!.events.ended();
    connection!.events.closed(false);
    await expect.poll(() => text.get("a"), PATIENCE).toContain("\r\nand back\r\n");
    const { refused = 0 } = nicOf("a").counters;
    expect(await run("a", "nc -w 60 169.254.169.254 80 < /dev/null; echo status $?")).toContain("status 1");
    expect(outside.connections).toHaveLength(1);
    expect(nicOf("a").counters.refused).toBeGreaterThan(refused);
  }, 600_000);

  it("a snapshot goes on with its card, in its own machine and in another, which has addresses of its own", async () => {
    await fleet.snapshot("a", "saved");
    await fleet.restore("a", "saved");
    expect(await run("a", "ping -c 2 -W 60 -q b | grep -c ' [12] packets received'")).toBe("1");
    fleet.add("c", { make, nics: [{ network: "lan" }] });
    await fleet.restore("c", "saved");
    await settled("c");
    expect(await run("c", "ping -c 2 -W 60 -q a | grep -c ' [12] packets received'")).toBe("1");
  }, 900_000);

  it("a cable that is taken out is out, and in again when it is put back", async () => {
    fleet.networks.plug("b", 0, false);
    expect(await run("a", "ping -c 1 -W 5 -q b | grep -c ' 0 packets received'")).toBe("1");
    fleet.networks.plug("b", 0, true);
    expect(await run("a", "ping -c 3 -W 60 -q b | grep -c ' [123] packets received'")).toBe("1");
  }, 600_000);
});
