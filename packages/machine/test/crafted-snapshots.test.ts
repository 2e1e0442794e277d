/**
 * Snapshots whose checksums are right and whose content is not: each is refused in one line by a SnapshotError, or
 * makes a machine that runs, whatever its guest then does. HYPERFILE_CRAFTED_SNAPSHOTS says how many are tried, and
 * HYPERFILE_CRAFTED_SEED which.
 */
import { readFileSync } from "node:fs";
import { xxh32 } from "@hyperfile/jit/memory";
import { beforeAll, describe, expect, it } from "vitest";
import { type RiscvVirt, riscvVirt } from "../src/index.js";
import {
  encodeMachine,
  encodeValue,
  LazyPages,
  restoreMachine,
  type SnapshotCodec,
  SnapshotError,
  zstdCodec,
} from "../src/snapshot/index.js";
import { SnapshotMutator, withDirectory } from "./snapshot-mutator.js";

const COUNT = Number(process.env.HYPERFILE_CRAFTED_SNAPSHOTS ?? 300);
const SEED = Number(process.env.HYPERFILE_CRAFTED_SEED ?? 0x2545f491);
const RAM = 16 << 20;
const INSTRUCTIONS = 100_000;
const SLICE = 10_000;
/** Most bytes that the process may grow by, whatever it reads. */
const GROWTH = 512 << 20;

let codec: SnapshotCodec;
let file: Uint8Array;
let host: RiscvVirt;
let mutator: SnapshotMutator;
const make = (): RiscvVirt =>
  riscvVirt({
    ramBytes: RAM,
    boot: { kernel: { name: "guest", bytes: readFileSync(guestPath) } },
    clock: "virtual",
    background: false,
  });
const guestPath = new URL("../../../examples/guest/bin/guest64.elf", import.meta.url);

beforeAll(async () => {
  codec = await zstdCodec();
  host = make();
  host.load();
  run(host, 1_000_000);
  host.receive(new TextEncoder().encode("burn 1\rtouch 100\r"));
  run(host, 300_000);
  // Typed and not read, so that queues are not empty.
  host.receive(new TextEncoder().encode("echo typed ahead of the guest\r"));
  const { pieces } = encodeMachine(host.state, codec);
  file = new Uint8Array(Buffer.concat(pieces));
  mutator = new SnapshotMutator(file, codec, SEED);
});

/** Runs so many instructions, or until nothing can wake the hart. */
function run(machine: RiscvVirt, instructions: number): void {
  const { cpu, board, clock } = machine;
  for (let slice = 0; slice < instructions / SLICE; slice++) {
    board.tick();
    cpu.pollTimer();
    if (cpu.run(SLICE) !== "wait" || cpu.wakeReady()) continue;
    const deadline = Math.min(cpu.deadline(), board.deadline());
    if (deadline === Infinity) return;
    clock.idleUntil(deadline);
  }
}

/** What a file that is refused is refused with; undefined if it makes a machine, which then has run. */
function outcome(bytes: Uint8Array, lazy: boolean): SnapshotError | undefined {
  try {
    restoreMachine(bytes, host.state, codec, { lazy });
  } catch (error) {
    if (error instanceof SnapshotError) return error;
    throw error;
  }
  run(host, INSTRUCTIONS);
  host.board.flush();
  const pages = new LazyPages(host.memory.guest, 1024);
  while (pages.step());
  return undefined;
}

it("what was not changed runs on as before", () => {
  expect(outcome(file, false)).toBeUndefined();
  const digest = JSON.stringify(host.board.save());
  expect(outcome(file, true)).toBeUndefined();
  expect(JSON.stringify(host.board.save())).toBe(digest);
});

it(`each of ${COUNT} crafted snapshots is refused by name, or makes a machine that runs`, () => {
  const before = process.memoryUsage().rss;
  const refused = new Map<string, number>();
  let ran = 0;
  for (let index = 0; index < COUNT; index++) {
    const { bytes, change } = mutator.next();
    try {
      const error = outcome(bytes, index % 2 === 0);
      if (error === undefined) {
        ran++;
        continue;
      }
      expect(error.message).not.toContain("\n");
      expect(error.message.length).toBeLessThan(1000);
      const what = error.section ?? error.code;
      expect(error.message).toContain(error.section ?? "the snapshot");
      refused.set(what, (refused.get(what) ?? 0) + 1);
    } catch (cause) {
      throw new Error(`crafted snapshot ${index}: ${change}`, { cause });
    }
  }
  expect(process.memoryUsage().rss - before).toBeLessThan(GROWTH);
  // Both ends are met, and sections of every kind are refused.
  expect(ran).toBeGreaterThan(COUNT / 50);
  for (const section of ["directory", "machine", "memory", "state/cpu", "state/clock", "state/board"])
    expect([...refused.keys()]).toContain(section);
  if (COUNT > 300) console.log(JSON.stringify({ count: COUNT, ran, refused: Object.fromEntries(refused) }));
}, 3_600_000);

describe("a small file that stands for much", () => {
  const small = (bytes: Uint8Array, message: RegExp) => {
    expect(bytes.length).toBeLessThan(file.length + 1_000_000);
    const before = process.memoryUsage().rss;
    const error = outcome(bytes, true);
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
  it.each(Object.keys(bombs))("%s, is refused for every part before it is read", (what) => {
    const bytes = bombs[what]!();
    for (const part of ["machine", "memory", ...Object.keys(host.state.parts).map((name) => `state/${name}`)])
      small(mutator.with(part, bytes), new RegExp(`section ${part} (has|can't be read)`));
  });

  it("a length in the directory, is refused before anything is reserved for it", () => {
    const body = codec.compress(new Uint8Array(200_000_000));
    const entry = {
      name: "machine",
      codec: "zstd",
      stored: body.length,
      length: 200_000_000,
      sum: xxh32(body),
    };
    small(withDirectory(body, encodeValue([entry])), /section machine has 200000000 bytes, more/);
  });
});

describe("a page that can't be read", () => {
  it("is told by the name of its section and stops the machine, and no exception goes through the guest", async () => {
    const machine = make();
    const chunks = mutator.chunksThatAreNone();
    restoreMachine(chunks, machine.state, codec, { lazy: true });
    const end = await machine.run();
    expect(end.kind).toBe("stuck");
    expect((end as { message: string }).message).toMatch(
      /the snapshot is damaged: section memory\/\d+ can't be decompressed; take the snapshot again/,
    );
  });

  it("is told at once where all pages are read", () => {
    expect(outcome(mutator.chunksThatAreNone(), false)?.section).toMatch(/^memory\/\d+$/);
  });
});
