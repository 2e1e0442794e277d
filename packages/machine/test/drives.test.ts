/** Disks of a machine: a guest's driver writes and flushes, in host and virtual time; saved, restored, cloned. */
import { type BlockBackend, MemoryBackend, OverlayBackend } from "@hyperfile/devices/disk";
import { describe, expect, it } from "vitest";
import { type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, zstdCodec } from "../src/snapshot/index.js";
import { blockGuest, recordFaults } from "./block-guest.js";

const guest = { records: 40, places: 16, stride: 129 };
const DISK_BYTES = 2 ** 21;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A disk whose requests take turns of the event loop: a random number of them, or so many. */
function slow(disk: BlockBackend, turns: () => number = () => Math.floor(Math.random() * 4)): BlockBackend {
  const wait = async () => {
    for (let left = turns(); left > 0; left--) await turn();
  };
  return {
    size: disk.size,
    isReadOnly: false,
    read: (offset, buffers) => wait().then(() => disk.read(offset, buffers)),
    write: (offset, buffers) => wait().then(() => disk.write(offset, buffers)),
    flush: () => wait().then(() => disk.flush()),
    discard: (offset, length) => disk.discard(offset, length),
    writeZeroes: (offset, length) => disk.writeZeroes(offset, length),
    extent: (offset, length) => disk.extent(offset, length),
    close: () => disk.close(),
  };
}

/** A machine with disks, and the number that it printed last. */
function machineWith(options: Partial<RiscvVirtOptions>, program = blockGuest(guest)) {
  const terminal = { text: "", write: (bytes: Uint8Array) => void (terminal.text += Buffer.from(bytes)) };
  const machine = riscvVirt({ ramBytes: 1 << 20, boot: { code: program }, console: terminal, ...options });
  const printed = (): number => Number(terminal.text.trim().split("\n").at(-1));
  return { machine, terminal, printed };
}

describe.each(["host", "virtual"] as const)("a guest in %s time", (clock) => {
  it("finds the disk in slot 0, writes it, and is woken by its answers", async () => {
    const memory = new MemoryBackend(DISK_BYTES);
    const { machine, printed } = machineWith({ drives: [{ disk: slow(memory) }], clock });
    expect(await machine.run()).toMatchObject({ kind: "off", status: 0 });
    expect(printed()).toBe(guest.records);
    expect(await recordFaults(memory, guest.records, guest)).toEqual([]);
    expect(machine.board.counters()["virtio0:block"]).toMatchObject({ writes: 40, flushes: 40, errors: 0 });
    machine.free();
  });

  it("is saved between two of its requests, and goes on with another copy of the disk", async () => {
    const memory = new MemoryBackend(DISK_BYTES);
    const first = machineWith({ drives: [{ disk: slow(memory) }], clock, instructions: 9_000 });
    expect(await first.machine.run()).toMatchObject({ kind: "stopped", reason: "instructions" });
    const drain = first.machine.drain();
    await drain.drained;
    const copy = memory.fork();
    const { pieces } = encodeMachine(first.machine.state, await zstdCodec());
    const saved = Buffer.concat(pieces);
    drain.release();
    expect(first.printed()).toBeGreaterThan(0);

    const second = machineWith({ drives: [{ disk: slow(copy) }], clock });
    restoreMachine(saved, second.machine.state, await zstdCodec());
    expect(await second.machine.run()).toMatchObject({ kind: "off", status: 0 });
    expect(second.printed()).toBe(guest.records);
    expect(await recordFaults(copy, guest.records, guest)).toEqual([]);
    const other = machineWith({ drives: [{ disk: new MemoryBackend(512) }], clock });
    const codec = await zstdCodec();
    expect(() => restoreMachine(saved, other.machine.state, codec)).toThrow(
      /sectors must be the 1 of the disk/,
    );
    for (const { machine } of [first, second, other]) machine.free();
  });

  it("is cloned with its disk, and the two go their own ways", async () => {
    const base = new MemoryBackend(DISK_BYTES);
    const disk = new OverlayBackend(base);
    const { machine, printed } = machineWith({ drives: [{ disk }], clock, slice: 500 });
    machine.observe(() => {
      if (printed() >= 10) machine.pause();
    });
    const run = machine.run();
    while (!(printed() >= 10)) await turn();
    machine.observe(() => {});
    const drain = machine.drain();
    await drain.drained;
    const before = printed();
    const twin = machine.clone();
    drain.release();
    machine.stop("user");
    await run;
    expect((await twin.run()).kind).toBe("off");
    const seen = await recordFaults(disk, before, guest);
    expect(seen).toEqual([]);
    // What the clone wrote is not in the original's disk, nor in what both share.
    expect(await recordFaults(disk, guest.records, guest)).not.toEqual([]);
    expect(base.allocatedBytes).toBe(0);
    expect(twin.board.counters()["virtio0:block"]!.flushes).toBeGreaterThanOrEqual(
      guest.records - before - 1,
    );
    twin.free();
    machine.free();
  });
});

it("a run in virtual time repeats itself, however slow the disk is", async () => {
  const counts = new Set<number>();
  for (let run = 0; run < 4; run++) {
    const { machine } = machineWith({
      drives: [{ disk: slow(new MemoryBackend(DISK_BYTES)) }],
      clock: "virtual",
    });
    await machine.run();
    counts.add(machine.retired());
    machine.free();
  }
  expect(counts.size).toBe(1);
});

it("a guest that computes has an answer at the end of a slice", async () => {
  const memory = new MemoryBackend(DISK_BYTES);
  const { machine, printed } = machineWith(
    { drives: [{ disk: slow(memory, () => 1) }], slice: 2000 },
    blockGuest({ ...guest, isBusy: true }),
  );
  await machine.run();
  expect(printed()).toBe(guest.records);
  const { slices } = machine.loop.counters;
  // 80 requests. Without turns of the event loop in between each takes milliseconds, so hundreds of slices.
  expect(slices).toBeLessThan(80 * 6);
  machine.free();
});

it("a disk that fails is an I/O error of the guest's, and the run goes on", async () => {
  const errors: unknown[] = [];
  const { machine, terminal } = machineWith({
    drives: [
      {
        disk: new MemoryBackend(DISK_BYTES, { limitBytes: 5 * 65536 }),
        onError: (error) => errors.push(error),
      },
    ],
  });
  expect((await machine.run()).kind).toBe("off");
  expect(terminal.text).toMatch(/^1\n2\n3\n4\n5\nE$/);
  expect(errors).toMatchObject([{ code: "E_DISK_FULL" }]);
  machine.free();
});

it("what does not go together is refused", () => {
  const disk = new MemoryBackend(DISK_BYTES);
  expect(() => machineWith({ drives: [{ disk }, { disk }] })).toThrow(
    expect.objectContaining({
      code: "E_DISK",
      message: "drives 0 and 1 are the same disk: give each its own",
    }),
  );
  const drives = Array.from({ length: 6 }, () => ({ disk: new MemoryBackend(512) }));
  expect(() => machineWith({ drives })).toThrow(expect.objectContaining({ code: "E_VIRTIO_SLOTS" }));
  const { machine } = machineWith({ drives: [{ disk: slow(disk) }] });
  expect(() => machine.clone()).toThrow(
    expect.objectContaining({ code: "E_DISK", message: expect.stringContaining("drive 0 can't be cloned") }),
  );
  const twin = machine.clone({ drives: [{ disk: disk.fork() }] });
  twin.free();
  machine.free();
});
