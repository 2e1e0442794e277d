/**
 * Clones of an unmodified Debian in one network with their original: each has random numbers, a machine id, a host name, a
 * hardware address and a lease of its own, and the right time. Left out where Debian's files were never fetched with the agent (`npm
 * start` does). `HYPERFILE_CLONES=30` has it make as many.
 */
import { RAM_BASE } from "@hyperfile/devices";
import { HeldNetwork, noOutside, policyOf, Switch, UserNetwork } from "@hyperfile/devices/net";
import { guestIn } from "@hyperfile/jit/memory";
import { riscvPool } from "@hyperfile/jit/riscv";
import { expect, it, onTestFinished } from "vitest";
import { AgentClient, makeIndividual, setGuestTime } from "../src/agent/index.js";
import { type RiscvVirt, riscvVirt } from "../src/index.js";
import { whileDrained } from "../src/snapshot/index.js";
import { DEBIAN_PROMPT, debianWithAgent } from "./debian.js";
import { Session, Terminal } from "./session.js";

const CLONES = Number(process.env.HYPERFILE_CLONES ?? 2);
const RAM = 256 << 20;
const MAC = "52:54:00:00:00:01";
const images = await debianWithAgent();
const macOf = (index: number): string => `52:54:00:00:01:${index.toString(16).padStart(2, "0")}`;
const clientOf = (machine: RiscvVirt): AgentClient =>
  new AgentClient((port, events) => machine.vsock!.connect(port, events), { timeoutMs: 120_000 });

/** What a guest is known by: a UUID, machine id, host name, hardware and IP address, and seconds since 1970. */
async function traits(client: AgentClient): Promise<string[]> {
  const { output } = await client.run({
    words: [
      "sh",
      "-c",
      "cat /proc/sys/kernel/random/uuid /etc/machine-id; hostname; cat /sys/class/net/eth0/address; ip -4 -o addr show dev eth0 | awk '{ print $4 }'; date +%s",
    ],
  });
  return new TextDecoder().decode(output).trim().split("\n");
}

it.skipIf(images === undefined)(
  `${CLONES} clones of Debian are ${CLONES} others, in one network with the original`,
  async () => {
    const pool = riscvPool({ frameBytes: (2 + CLONES) * RAM });
    const lan = new Switch();
    const gateway = new UserNetwork({ network: lan, outside: noOutside, policy: policyOf([], () => []) });
    const terminal = new Terminal();
    const original = riscvVirt({
      ramBytes: RAM,
      boot: images!,
      console: terminal,
      memory: guestIn(pool, { ramBytes: RAM, ramBase: RAM_BASE }),
      nics: [{ network: lan, mac: MAC }],
      vsock: {},
    });
    onTestFinished(() => {
      original.free();
      gateway.close();
    });
    const session = new Session(original, terminal);
    await session.until(DEBIAN_PROMPT);
    const client = clientOf(original);
    await expect.poll(() => client.ping().catch(() => 0), { timeout: 120_000 }).toBe(1);
    await client.identity(true);
    const all = [await traits(client)];
    original.pause();
    const made = await whileDrained(original.state, async () =>
      Array.from({ length: CLONES }, () => {
        const network = new HeldNetwork(lan);
        return { network, machine: original.clone({ nics: [{ network, mac: MAC }] }) };
      }),
    );
    onTestFinished(() => {
      for (const { machine } of made) machine.free();
    });
    original.resume();
    for (const [index, { network, machine }] of made.entries()) {
      const run = machine.run();
      const own = clientOf(machine);
      const identity = await makeIndividual(own, {
        hostName: `clone-${index}`,
        cards: [{ from: MAC, to: macOf(index) }],
        plugIn: () => network.letIn(),
      });
      await setGuestTime(own, machine.clock);
      const before = Date.now() / 1000;
      const found = await traits(own);
      const after = Date.now() / 1000;
      expect(found.slice(1, 4)).toEqual([identity.machineId, `clone-${index}`, macOf(index)]);
      const date = Number(found[5]);
      expect(Math.max(before - date, date - after)).toBeLessThan(3);
      all.push(found);
      const ping = await own.run({ words: ["ping", "-c", "1", "-W", "10", "10.0.2.2"] });
      expect(ping.end).toEqual({ kind: "exited", status: 0 });
      // Its original's client would ask for its original's address again.
      const clients = await own.run({ words: ["pidof", "udhcpc"] });
      expect(new TextDecoder().decode(clients.output)).toMatch(/^\d+\n$/);
      machine.stop("enough");
      await run;
    }
    expect(await traits(client)).toEqual([expect.any(String), ...all[0]!.slice(1, 5), expect.any(String)]);
    for (const trait of [0, 1, 2, 3, 4])
      expect(new Set(all.map((each) => each[trait])).size).toBe(1 + CLONES);
    for (const [, machineId, , , address] of all) {
      expect(machineId).toMatch(/^[0-9a-f]{32}$/);
      expect(address).toMatch(/^10\.0\.2\.\d+\/24$/);
    }
    expect(gateway.leases).toHaveLength(1 + CLONES);
    await session.stop();
  },
  900_000,
);
