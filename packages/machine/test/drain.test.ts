/**
 * A machine with a device that answers late or never: what waits for it has an end, says what it waited for, and leaves the
 * machine as it was.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assemble } from "@hyperfile/decoder";
import { RAM_BASE, virtMap } from "@hyperfile/devices";
import type { VirtioDevice, VirtioHost, VirtioRequest } from "@hyperfile/devices/virtio";
import { expect, it, onTestFinished } from "vitest";
import { riscvVirt } from "../src/index.js";
import { saveSnapshotFile } from "../src/node.js";
import { drainMachine, whileDrained } from "../src/snapshot/index.js";

/** A device whose backend answers when it is told to. */
class Slow implements VirtioDevice {
  readonly name = "slow";
  readonly id = 42;
  readonly features: readonly number[] = [];
  readonly queueSizes = [8];
  readonly counters = {};
  readonly asked: VirtioRequest[] = [];
  private host!: VirtioHost;

  attach(host: VirtioHost): void {
    this.host = host;
  }
  activate(): void {}
  notify(): void {
    for (let request = this.host.take(0); request !== undefined; request = this.host.take(0))
      this.asked.push(request);
  }
  readConfig(): number {
    return 0;
  }
  writeConfig(): void {}
  reset(): void {}
  save() {
    return {};
  }
  restore(): void {}

  answer(value: number): void {
    const request = this.asked.shift()!;
    request.chain.write(Uint8Array.of(value));
    request.complete(1);
  }
}

/** Where the rings are, and what the device's first two requests write; offsets in RAM. */
const [RINGS, DATA] = [0x10000, 0x20000];
const STATUS = 0x100000;

/** A driver: sets the device up, asks twice, waits for both answers, and powers off with their sum. */
const program = `
        li   s0, ${virtMap.virtio.base}
        li   s1, ${RAM_BASE + RINGS}
        li   s2, ${RAM_BASE + DATA}
        sw   zero, 0x70(s0)
        li   t0, 3
        sw   t0, 0x70(s0)
        li   t0, 1
        sw   t0, 0x24(s0)
        sw   t0, 0x20(s0)
        li   t0, 11
        sw   t0, 0x70(s0)
        li   t0, 8
        sw   t0, 0x38(s0)
        sw   s1, 0x80(s0)       # descriptors
        addi t1, s1, 0x400
        sw   t1, 0x90(s0)       # available
        addi t1, s1, 0x600
        sw   t1, 0xa0(s0)       # used
        li   t0, 1
        sw   t0, 0x44(s0)
        li   t0, 15
        sw   t0, 0x70(s0)
        sd   s2, 0(s1)          # two descriptors of one byte each, for the device to write
        li   t0, 0x200000001
        sd   t0, 8(s1)
        addi t1, s2, 1
        sd   t1, 16(s1)
        sd   t0, 24(s1)
        li   t0, 0x10000
        sw   t0, 0x404(s1)      # ring: 0, 1
        li   t0, 2
        sh   t0, 0x402(s1)      # idx
        fence
        sw   zero, 0x50(s0)
1:      lhu  t1, 0x602(s1)
        bne  t1, t0, 1b
        lbu  t1, 0(s2)
        lbu  t2, 1(s2)
        add  t1, t1, t2
        slli t1, t1, 16
        li   t2, 0x3333
        or   t1, t1, t2
        li   t2, ${STATUS}
        sw   t1, 0(t2)
        j    .`;
const { bytes: code } = assemble(program, { xlen: 64, origin: RAM_BASE });
const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
const BUSY = {
  code: "E_DEVICES_BUSY",
  message:
    "virtio0:slow has 2 requests in flight, not answered within 0.02 s: mend what is behind it, give it more time (drain), or stop the machine",
};

/** A machine that stands still while its device has two requests in hand. */
async function standing() {
  const slow = new Slow();
  const machine = riscvVirt({ ramBytes: 1 << 20, boot: { code }, devices: [() => slow], drainMs: 20 });
  const run = machine.run();
  while (slow.asked.length < 2) await turn();
  const release = machine.loop.standStill();
  return { slow, machine, run, release };
}

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "hyperfile-drain-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

it("what waits for a device that never answers fails by its name, and the machine goes on as before", async () => {
  const { slow, machine, run, release } = await standing();
  const path = folder();
  await expect(drainMachine(machine.state)).rejects.toMatchObject(BUSY);
  await expect(saveSnapshotFile(join(path, "a.snapshot"), machine.state)).rejects.toMatchObject(BUSY);
  let acts = 0;
  await expect(whileDrained(machine.state, () => acts++)).rejects.toMatchObject(BUSY);
  expect([acts, readdirSync(path)]).toEqual([0, []]);
  release();
  slow.answer(4);
  slow.answer(5);
  expect(await run).toEqual({ kind: "off", status: 9 });
});

it("what waits for a device that answers late is done then, and new requests wait until it is over", async () => {
  const { slow, machine, run, release } = await standing();
  const path = join(folder(), "a.snapshot");
  const saving = saveSnapshotFile(path, machine.state);
  const other = whileDrained(machine.state, () => machine.board.inFlight());
  await turn();
  expect(machine.board.inFlight()).toEqual({ "virtio0:slow": 2 });
  slow.answer(1);
  slow.answer(2);
  expect((await saving).bytes).toBeGreaterThan(0);
  expect(await other).toEqual({});
  const letWork = await drainMachine(machine.state);
  letWork();
  release();
  expect(await run).toEqual({ kind: "off", status: 3 });
});

it("a device's answer reaches nothing of a machine that is gone", async () => {
  const { slow, machine, run, release } = await standing();
  const { guest, pool } = machine.memory;
  machine.stop("stopped");
  release();
  expect(await run).toEqual({ kind: "stopped", reason: "stopped" });
  machine.free();
  const used = pool.used;
  slow.answer(7);
  slow.answer(8);
  expect([pool.used, guest.usage().touched]).toEqual([used, 0]);
});
