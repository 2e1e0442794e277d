/** Network cards of a machine: their slots, what clones and restored machines have of them, and what does not go together. */
import { Switch } from "@hyperfile/devices/net";
import { expect, it } from "vitest";
import { type Nic, type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, zstdCodec } from "../src/snapshot/index.js";

const code = Uint8Array.of(0x6f, 0, 0, 0);
const mac = "52:54:00:12:34:56";
/** A network of one switch that tells how many are connected. */
class Lan {
  connected = 0;
  private readonly lan = new Switch();

  connect(...[end]: Parameters<Nic["network"]["connect"]>) {
    this.connected++;
    const link = this.lan.connect(end);
    const disconnect = () => {
      this.connected--;
      link.disconnect();
    };
    return { isUp: true, send: link.send.bind(link), ready: link.ready.bind(link), disconnect };
  }
}
const machineWith = (options: Partial<RiscvVirtOptions>) =>
  riscvVirt({ ramBytes: 1 << 20, boot: { code }, instructions: 100, ...options });

it("have the slots behind disks and folders, and leave their network with the machine", () => {
  const lan = new Lan();
  const machine = machineWith({ nics: [{ network: lan, mac }] });
  const base = 0x10001000;
  expect(machine.board.bus.read(base + 8, 4)).toBe(1);
  const address = Array.from({ length: 6 }, (_, at) => machine.board.bus.read(base + 0x100 + at, 1));
  expect(address).toEqual([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
  expect(Object.keys(machine.board.counters())).toContain("virtio0:net");
  expect(lan.connected).toBe(1);
  machine.free();
  expect(lan.connected).toBe(0);
});

it("are restored with their address, and cloned into networks of the clone's own", async () => {
  const lan = new Lan();
  const machine = machineWith({ nics: [{ network: lan, mac }] });
  await machine.run();
  const codec = await zstdCodec();
  const saved = Buffer.concat(encodeMachine(machine.state, codec).pieces);
  expect(() => machine.clone()).toThrow(
    expect.objectContaining({
      code: "E_NIC",
      message:
        "the machine has 1 network cards: give the clone as many, with the same addresses, in networks of its own",
    }),
  );
  const other = new Lan();
  const twin = machine.clone({ nics: [{ network: other, mac }] });
  expect([lan.connected, other.connected]).toEqual([1, 1]);
  const again = machineWith({ nics: [{ network: new Switch(), mac }] });
  restoreMachine(saved, again.state, codec);
  const stranger = machineWith({ nics: [{ network: new Switch(), mac: "52:54:00:00:00:01" }] });
  expect(() => restoreMachine(saved, stranger.state, codec)).toThrow(/mac/);
  for (const each of [machine, twin, again, stranger]) each.free();
});

it("what does not go together is refused", () => {
  const network = new Switch();
  const refused = (options: Partial<RiscvVirtOptions>, message: string) =>
    expect(() => machineWith(options)).toThrow(expect.objectContaining({ code: "E_NIC", message }));
  refused(
    {
      nics: [
        { network, mac },
        { network, mac },
      ],
    },
    `network cards 0 and 1 have the address ${mac} in one network: give each its own`,
  );
  refused(
    { nics: [{ network, mac }], clock: "virtual" },
    "a machine in virtual time has no network: what comes in has the host's time",
  );
});
