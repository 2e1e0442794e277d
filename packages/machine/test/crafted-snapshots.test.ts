/**
 * Snapshots whose checksums are right and whose content is not, of a plain machine and of one with devices that reach the
 * host: each is refused in one line by a SnapshotError, or makes a machine that runs, whatever its guest then does.
 * HYPERFILE_CRAFTED_SNAPSHOTS says how many are tried of each, and HYPERFILE_CRAFTED_SEED which.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryBackend, OVERLAY_CHUNK_BYTES, OverlayBackend } from "@hyperfile/devices/disk";
import { Switch } from "@hyperfile/devices/net";
import { LinuxFolder } from "@hyperfile/devices/node";
import { xxh32 } from "@hyperfile/jit/memory";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Drive, type RiscvVirt, riscvVirt } from "../src/index.js";
import {
  encodeMachine,
  encodeValue,
  LazyPages,
  restoreWithDisks,
  type SnapshotCodec,
  SnapshotError,
  settleMachine,
  whileDrained,
  zstdCodec,
} from "../src/snapshot/index.js";
import { blockGuest } from "./block-guest.js";
import { SnapshotMutator, withDirectory } from "./snapshot-mutator.js";

const COUNT = Number(process.env.HYPERFILE_CRAFTED_SNAPSHOTS ?? 300);
const SEED = Number(process.env.HYPERFILE_CRAFTED_SEED ?? 0x2545f491);
const RAM = 16 << 20;
const DISK = 4 << 20;
const INSTRUCTIONS = 100_000;
const SLICE = 10_000;
/** Most bytes that the process may grow by, whatever it reads. */
const GROWTH = 512 << 20;
const guestPath = new URL("../../../examples/guest/bin/guest64.elf", import.meta.url);

let path: string;
let folder: LinuxFolder;
let codec: SnapshotCodec;
beforeAll(async () => {
  codec = await zstdCodec();
  path = mkdtempSync(join(tmpdir(), "hyperfile-crafted-"));
  writeFileSync(join(path, "file"), "content");
  folder = await LinuxFolder.open(path);
});
afterAll(() => {
  folder.close();
  rmSync(path, { recursive: true });
});

/** A machine without a disk, and commands typed to the program in it, the last of which it has not read. */
const plain = {
  make: (): RiscvVirt =>
    riscvVirt({
      ramBytes: RAM,
      boot: { kernel: { name: "guest", bytes: readFileSync(guestPath) } },
      clock: "virtual",
      background: false,
    }),
  async bringUp(host: RiscvVirt): Promise<void> {
    await run(host, 1_000_000);
    host.receive(new TextEncoder().encode("burn 1\rtouch 100\r"));
    await run(host, 300_000);
    // Typed and not read, so that queues are not empty.
    host.receive(new TextEncoder().encode("echo typed ahead of the guest\r"));
  },
  changed: /^/,
  refused: ["directory", "machine", "memory", "state/cpu", "state/clock", "state/board"],
};

/** One with a disk, which its guest writes without end, a shared folder, a network card and a device for sockets. */
const connected = {
  make: (): RiscvVirt =>
    riscvVirt({
      ramBytes: RAM,
      boot: { code: blockGuest({ records: 1_000_000, places: 16, stride: 129 }) },
      background: false,
      drives: [ephemeralDrive()],
      shares: [{ tag: "work", folder }],
      nics: [{ network: new Switch(), mac: "52:54:00:12:34:56" }],
      vsock: {},
    }),
  bringUp: (host: RiscvVirt) => run(host, 300_000),
  changed: /^(state\/board|disk\/0)$/,
  refused: ["directory", "state/board", "disk/0", "disk/0/0"],
};

/** A disk whose snapshots hold all that was written to it. */
function ephemeralDrive(): Drive {
  const disk = new OverlayBackend(new MemoryBackend(DISK));
  return {
    disk,
    snapshot: {
      size: DISK,
      chunkBytes: OVERLAY_CHUNK_BYTES,
      settle: async () => ({ images: ["a stamp"] }),
      verify: async ({ images }) => {
        if (JSON.stringify(images) !== '["a stamp"]') throw new Error("it is made of other images");
      },
      chunks: () => disk.changes(),
      adopt: (chunks) => disk.adopt(chunks),
    },
  };
}

/** Runs so many instructions, or until nothing can wake the hart; what devices were asked for is done then. */
async function run(machine: RiscvVirt, instructions: number): Promise<void> {
  const { cpu, board, clock } = machine;
  for (let slice = 0; slice < instructions / SLICE; slice++) {
    board.tick();
    cpu.pollTimer();
    const exit = cpu.run(SLICE);
    if (board.busy()) await whileDrained(machine.state, () => {});
    if (exit !== "wait" || cpu.wakeReady()) continue;
    const deadline = Math.min(cpu.deadline(), board.deadline());
    // In the host's time nobody waits: the next slice looks again.
    if (!("idleUntil" in clock)) continue;
    if (deadline === Infinity) return;
    clock.idleUntil(deadline);
  }
}

/** A machine that crafted snapshots of it are restored to. */
class Subject {
  private constructor(
    private readonly machine: typeof plain,
    readonly host: RiscvVirt,
    readonly file: Uint8Array,
    readonly mutator: SnapshotMutator,
  ) {}

  static async of(machine: typeof plain): Promise<Subject> {
    const host = machine.make();
    host.load();
    await machine.bringUp(host);
    const { pieces } = encodeMachine(host.state, codec, await settleMachine(host.state));
    const file = new Uint8Array(Buffer.concat(pieces));
    return new Subject(machine, host, file, new SnapshotMutator(file, codec, SEED, machine.changed));
  }

  /** Another one of its kind. */
  another(): RiscvVirt {
    return this.machine.make();
  }

  /** What a file that is refused is refused with; undefined if it makes a machine, which then has run. */
  async outcome(bytes: Uint8Array, lazy: boolean): Promise<SnapshotError | undefined> {
    const { host } = this;
    try {
      await restoreWithDisks(bytes, host.state, codec, { lazy });
    } catch (error) {
      if (error instanceof SnapshotError) return error;
      throw error;
    }
    await run(host, INSTRUCTIONS);
    host.board.flush();
    const pages = new LazyPages(host.memory.guest, 1024);
    while (pages.step());
    return undefined;
  }
}

describe.each([
  ["a plain machine", plain],
  ["a machine with a disk, a folder, a network and sockets", connected],
] as const)("%s", (_, machine) => {
  let subject: Subject;
  beforeAll(async () => {
    subject = await Subject.of(machine);
  });

  it("runs on as before from what was not changed", async () => {
    const { host, file } = subject;
    // In the host's time each is another machine, which its generation tells.
    const devices = () => JSON.stringify({ ...host.board.save(), generation: undefined });
    expect(await subject.outcome(file, false)).toBeUndefined();
    const digest = devices();
    expect(await subject.outcome(file, true)).toBeUndefined();
    expect(devices()).toBe(digest);
  });

  it(`refuses each of ${COUNT} crafted snapshots by name, or runs`, async () => {
    const before = process.memoryUsage().rss;
    const refused = new Map<string, number>();
    let ran = 0;
    for (let index = 0; index < COUNT; index++) {
      await new Promise((resolve) => setImmediate(resolve));
      const { bytes, change } = subject.mutator.next();
      try {
        const error = await subject.outcome(bytes, index % 2 === 0);
        if (error === undefined) {
          ran++;
          continue;
        }
        expect(error.message).not.toContain("\n");
        expect(error.message.length).toBeLessThan(1000);
        const what = error.section ?? error.code;
        const names =
          error.section === undefined ? ["the snapshot"] : [what, what.replace(/^disk\//, "disk ")];
        expect(
          names.some((name) => error.message.includes(name)),
          error.message,
        ).toBe(true);
        refused.set(what, (refused.get(what) ?? 0) + 1);
      } catch (cause) {
        throw new Error(`crafted snapshot ${index}: ${change}`, { cause });
      }
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(GROWTH);
    // Both ends are met, and sections of every kind are refused.
    expect(ran).toBeGreaterThan(COUNT / 50);
    for (const section of machine.refused) expect([...refused.keys()]).toContain(section);
    if (COUNT > 300) console.log(JSON.stringify({ count: COUNT, ran, refused: Object.fromEntries(refused) }));
  }, 3_600_000);
});

describe("a small file that stands for much", () => {
  let subject: Subject;
  beforeAll(async () => {
    subject = await Subject.of(connected);
  });
  const small = async (bytes: Uint8Array, message: RegExp) => {
    expect(bytes.length).toBeLessThan(subject.file.length + 1_000_000);
    const before = process.memoryUsage().rss;
    const error = await subject.outcome(bytes, true);
    expect(error?.message).toMatch(message);
    expect(process.memoryUsage().rss - before).toBeLessThan(GROWTH / 4);
  };
  const bombs: Readonly<Record<string, () => Uint8Array>> = {
    "a list of values of a byte each": () => {
      const bytes = new Uint8Array(30_000_005);
      bytes[0] = 6;
      new DataView(bytes.buffer).setUint32(1, 30_000_000, true);
      return bytes;
    },
    "a record of many fields": () =>
      encodeValue(Object.fromEntries(Array.from({ length: 300_000 }, (_, index) => [`${index}`, null]))),
    "a list within the bytes that are read": () => {
      const bytes = new Uint8Array(1_000_005);
      bytes[0] = 6;
      new DataView(bytes.buffer).setUint32(1, 1_000_000, true);
      return bytes;
    },
  };
  it.each(Object.keys(bombs))("%s, is refused for every part before it is read", async (what) => {
    const bytes = bombs[what]!();
    const states = Object.keys(subject.host.state.parts).map((name) => `state/${name}`);
    for (const part of ["machine", "memory", "disk/0", ...states])
      await small(subject.mutator.with(part, bytes), new RegExp(`section ${part} (has|can't be read)`));
  });

  it("a length in the directory, is refused before anything is reserved for it", async () => {
    const body = codec.compress(new Uint8Array(200_000_000));
    const entry = {
      name: "machine",
      codec: "zstd",
      stored: body.length,
      length: 200_000_000,
      sum: xxh32(body),
    };
    await small(withDirectory(body, encodeValue([entry])), /section machine has 200000000 bytes, more/);
  });
});

describe("a value of another type", () => {
  it.each([
    ["a text", "x".repeat(5000)],
    ["a record that is no text", { toString: null }],
  ])("is shown in part, in a line: %s for a disk's size", async (_, size) => {
    const subject = await Subject.of(connected);
    const error = await subject.outcome(subject.mutator.with("disk/0", encodeValue({ size })), false);
    expect(error?.message).toMatch(
      /other disks than disk 0: it has .{5,100} bytes of it, and it has 4194304$/,
    );
  });
});

describe("a page that can't be read", () => {
  let subject: Subject;
  beforeAll(async () => {
    subject = await Subject.of(plain);
  });

  it("is told by the name of its section and stops the machine, and no exception goes through the guest", async () => {
    const machine = subject.another();
    await restoreWithDisks(subject.mutator.chunksThatAreNone(), machine.state, codec, { lazy: true });
    const end = await machine.run();
    expect(end.kind).toBe("stuck");
    expect((end as { message: string }).message).toMatch(
      /the snapshot is damaged: section memory\/\d+ can't be decompressed; take the snapshot again/,
    );
  });

  it("is told at once where all pages are read", async () => {
    expect((await subject.outcome(subject.mutator.chunksThatAreNone(), false))?.section).toMatch(
      /^memory\/\d+$/,
    );
  });
});
