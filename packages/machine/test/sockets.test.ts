/** The device for sockets of a machine: its slot, streams to a guest that runs and sleeps, and what restores and clones have of them. */
import { RAM_BASE } from "@hyperfile/devices";
import { Switch } from "@hyperfile/devices/net";
import type { VsockFailure, VsockPorts } from "@hyperfile/devices/virtio";
import { guestIn } from "@hyperfile/jit/memory";
import { riscvPool } from "@hyperfile/jit/riscv";
import { expect, it, onTestFinished } from "vitest";
import { type RiscvVirt, type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, whileDrained, zstdCodec } from "../src/snapshot/index.js";
import { echoGuest } from "./echo-guest.js";

const RAM = 1 << 20;
const machineWith = (options: Partial<RiscvVirtOptions> = {}): RiscvVirt => {
  const machine = riscvVirt({ ramBytes: RAM, boot: { code: echoGuest() }, vsock: {}, ...options });
  onTestFinished(() => machine.free());
  return machine;
};
const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, (_, index) => (index * 7) & 0xff);

const untilLive = async (ports: VsockPorts): Promise<void> => {
  while (!ports.live) await new Promise((resolve) => setTimeout(resolve, 5));
};

/** Sends bytes to the guest and ends; gives what came back. */
function echoed(ports: VsockPorts, bytes: Uint8Array): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  return new Promise((resolve, reject) => {
    let left = bytes.length;
    const stream = ports.connect(7, {
      opened: () => void stream.write(bytes),
      failed: (why) => reject(new Error(why)),
      data: (data) => {
        pieces.push(data);
        left -= data.length;
        if (left === 0) stream.end();
      },
      ended: () => {},
      drained: () => {},
      // The guest has no other way to end it.
      closed: () => resolve(new Uint8Array(Buffer.concat(pieces))),
    });
  });
}
/** Why there is no stream. */
const failed = (ports: VsockPorts): Promise<VsockFailure> =>
  new Promise((resolve) => {
    const none = (): void => {};
    ports.connect(7, { opened: none, failed: resolve, data: none, ended: none, drained: none, closed: none });
  });

it("has the slot behind the network cards, and is there where it is asked for", () => {
  const nics = [{ network: new Switch(), mac: "52:54:00:12:34:56" }];
  const machine = machineWith({ nics, vsock: { cid: 77 } });
  const read = (offset: number) => machine.board.bus.read(0x10002000 + offset, 4);
  expect([read(8), read(0x100), machine.vsock!.guestCid]).toEqual([19, 77, 77]);
  expect(machine.state.config.devices).toBe("net vsock console entropy balloon");
  expect(Object.keys(machine.board.counters())).toContain("virtio1:vsock");
  const without = riscvVirt({ ramBytes: RAM });
  expect(without.vsock).toBeUndefined();
  without.free();
});

it("is refused where a run is to repeat itself, and with an address that no guest can have", () => {
  expect(() => machineWith({ clock: "virtual" })).toThrow(
    expect.objectContaining({
      code: "E_VSOCK",
      message: "a machine in virtual time has no sockets to the host: what comes in has the host's time",
    }),
  );
  expect(() => machineWith({ vsock: { cid: 2 } })).toThrow(expect.objectContaining({ code: "E_VSOCK_CID" }));
});

it("carries bytes to a guest that sleeps, and back; streams end with the machine", async () => {
  const machine = machineWith();
  const ports = machine.vsock!;
  expect(await failed(ports)).toBe("no-driver");
  const end = machine.run();
  await untilLive(ports);
  for (const length of [1, 4052, 100_000])
    expect(await echoed(ports, bytesOf(length))).toEqual(bytesOf(length));
  const open = echoed(ports, new Uint8Array());
  await new Promise((resolve) => setTimeout(resolve, 20));
  machine.reset();
  expect(await open).toHaveLength(0);
  await untilLive(ports);
  expect(await echoed(ports, bytesOf(10))).toEqual(bytesOf(10));
  const last = echoed(ports, new Uint8Array());
  await new Promise((resolve) => setTimeout(resolve, 20));
  machine.stop("enough");
  await end;
  machine.board.dispose();
  expect(await last).toHaveLength(0);
});

it("is restored and cloned without its streams, and goes on", async () => {
  const pool = riscvPool({ frameBytes: 4 * RAM });
  const memory = () => guestIn(pool, { ramBytes: RAM, ramBase: RAM_BASE });
  const machine = machineWith({ memory: memory() });
  const ports = machine.vsock!;
  void machine.run();
  await untilLive(ports);
  expect(await echoed(ports, bytesOf(5000))).toEqual(bytesOf(5000));
  const open = echoed(ports, new Uint8Array());
  await new Promise((resolve) => setTimeout(resolve, 20));
  const codec = await zstdCodec();
  machine.pause();
  const { saved, twin } = await whileDrained(machine.state, async () => ({
    saved: Buffer.concat(encodeMachine(machine.state, codec).pieces),
    twin: machine.clone(),
  }));
  onTestFinished(() => twin.free());
  const again = machineWith({ memory: memory(), beside: machine });
  restoreMachine(saved, again.state, codec);
  for (const each of [twin, again]) {
    void each.run();
    expect(await echoed(each.vsock!, bytesOf(6000))).toEqual(bytesOf(6000));
  }
  machine.resume();
  machine.reset();
  expect(await open).toHaveLength(0);
  for (const each of [machine, twin, again]) each.stop("enough");
});
