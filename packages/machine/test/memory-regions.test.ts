/**
 * Machines whose memory is more than RAM at one place: ROM, flash in QEMU's banks, RAM above a hole, a framebuffer that a
 * device lends. They run, are described, saved, restored and cloned; what does not fit is refused before anything is made.
 */
import { assemble } from "@hyperfile/decoder";
import { BoardError, type BoardPart, virtMap } from "@hyperfile/devices";
import { findNode, parseTree, readCells } from "@hyperfile/devices/fdt";
import { MemoryError } from "@hyperfile/jit";
import { guestIn } from "@hyperfile/jit/memory";
import { riscvPool } from "@hyperfile/jit/riscv";
import { describe, expect, it } from "vitest";
import { MachineError, type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, SnapshotError, zstdCodec } from "../src/snapshot/index.js";

const codec = await zstdCodec();
const MEBIBYTE = 1 << 20;
const FLASH = virtMap.flash.base;
const ROM = 0x40000000;
const HIGH = 0x90000000;
const SCREEN = 0x50000000;

const code = (source: string, origin: number): Uint8Array => assemble(source, { xlen: 64, origin }).bytes;

/** A device that lends a page, which the guest writes; what was written is its state. */
const screen: BoardPart = {
  name: "screen",
  make: ({ lend }) => {
    const pixels = lend.allocate(4096);
    const window = lend.window("screen", SCREEN, 4096);
    window.map(0, pixels);
    return {
      registers: [],
      counters: {},
      reset: () => pixels.write(0, new Uint8Array(4096)),
      save: () => {
        const bytes = new Uint8Array(4096);
        pixels.read(0, bytes);
        return { bytes };
      },
      restore: ({ bytes }) => pixels.write(0, bytes as Uint8Array),
      dispose: () => {
        window.close();
        pixels.free();
      },
    };
  },
};

/** Adds up in flash what is in ROM, into RAM above the hole and onto the screen; the store into flash is ignored. */
const inFlash = code(
  `li t0, ${ROM}
   li t1, ${HIGH}
   li t2, ${SCREEN}
   li t3, ${FLASH}
   loop: lw a0, 0(t0)
   add a1, a1, a0
   sw a1, 0(t1)
   sw a1, 0(t2)
   sw zero, 0(t3)
   j loop`,
  FLASH,
);
const boot = { code: code(`li t0, ${FLASH}\n jr t0`, 0x80000000) };
const rom = (value: number) =>
  ({ kind: "rom", name: "constants", base: ROM, contents: Uint8Array.of(value, 0, 0, 0) }) as const;
const options = (value = 5): RiscvVirtOptions => ({
  ramBytes: MEBIBYTE,
  boot,
  clock: "virtual",
  memoryRegions: [rom(value), { kind: "ram", name: "high", base: HIGH, bytes: 8192 }],
  flash: [inFlash],
  lentBytes: 4096,
  parts: [screen],
  hotThreshold: 10,
});

/** What the machine has in ROM, above the hole and on the screen. */
const seen = (machine: ReturnType<typeof riscvVirt>): number[] =>
  [ROM, HIGH, SCREEN].map((gpa) => {
    const bytes = new Uint8Array(4);
    expect(machine.memory.guest.read(gpa, bytes)).toBe(true);
    return new DataView(bytes.buffer).getInt32(0, true);
  });

function started(value = 5, tier: RiscvVirtOptions["tier"] = "auto") {
  const machine = riscvVirt({ ...options(value), tier });
  machine.load();
  // 2 to enter flash, some to set up; then 6 a round.
  machine.cpu.run(6000);
  return machine;
}

describe.each(["auto", "interpreter", "js", "wasm-interpreter", "wasm"] as const)("in tier %s", (tier) => {
  it("a machine runs in flash, and goes on so as a clone and from a snapshot", () => {
    const machine = started(5, tier);
    const [constant, sum, shown] = seen(machine);
    expect([constant, shown]).toEqual([5, sum]);
    expect(sum! % 5).toBe(0);
    expect(sum).toBeGreaterThan(4900);
    const { pieces } = encodeMachine(machine.state, codec);
    const restored = riscvVirt({ ...options(), tier });
    restoreMachine(Buffer.concat(pieces), restored.state, codec);
    const twin = machine.clone();
    for (const other of [machine, restored, twin]) {
      expect(seen(other)).toEqual([5, sum, shown]);
      other.cpu.run(600);
      expect(seen(other)).toEqual([5, sum! + 500, sum! + 500]);
    }
    twin.free();
    restored.free();
    machine.free();
    // A frame that held code goes between two runs.
    machine.memory.pool.bury();
    expect(machine.memory.pool.used).toBeLessThanOrEqual(1);
  });
});

it("snapshots fit only machines with the same ROM", () => {
  const { pieces } = encodeMachine(started(5).state, codec);
  const file = Buffer.concat(pieces);
  for (const other of [options(6), { ...options(), flash: [] }, { ...options(), memoryRegions: [rom(5)] }]) {
    const restore = () =>
      restoreMachine(file, riscvVirt({ ...other, boot: { code: boot.code } }).state, codec);
    expect(restore).toThrow(SnapshotError);
    expect(restore).toThrow("it has regions");
  }
});

it("a machine without such regions says nothing of them in a snapshot, as before there were any", () => {
  expect(Object.keys(riscvVirt({ ramBytes: MEBIBYTE, boot }).state.config)).toEqual([
    "xlen",
    "ramBytes",
    "board",
    "devices",
    "time",
  ]);
});

it("the device tree tells of them", () => {
  const machine = riscvVirt(options());
  const { root } = parseTree(machine.board.deviceTree({ isa: "rv64imafdc", mmu: "sv48" }));
  const reg = (path: string) => readCells(findNode(root, path)!.properties.reg!);
  expect(reg("/memory@80000000")).toEqual([0, 0x80000000, 0, MEBIBYTE]);
  expect(reg("/memory@90000000")).toEqual([0, HIGH, 0, 8192]);
  expect(reg("/rom@40000000")).toEqual([0, ROM, 0, 4096]);
  expect(reg("/flash@20000000")).toEqual([0, FLASH, 0, 32 * MEBIBYTE]);
  expect(findNode(root, "/flash@22000000")).toBeUndefined();
});

it("devices read ROM and what is lent, and write only the latter", () => {
  // What a board's devices have for memory; a queue whose buffer it refuses is rejected.
  const { guest } = riscvVirt(options()).memory;
  for (const [gpa, isTaken] of [
    [ROM, false],
    [FLASH, false],
    [ROM - 4, false],
    [SCREEN, true],
    [HIGH, true],
    [HIGH + 8192 - 4, false],
  ] as const)
    expect([gpa, guest.write(gpa, new Uint8Array(8).fill(1))]).toEqual([gpa, isTaken]);
  const read = new Uint8Array(2);
  expect([ROM, FLASH, SCREEN, HIGH].map((gpa) => [guest.read(gpa, read), read[0]])).toEqual([
    [true, 5],
    [true, inFlash[0]],
    [true, 1],
    [true, 1],
  ]);
});

describe("what is no region is refused in one line that says what it is", () => {
  const good = rom(1);
  const { contents: _contents, ...bare } = good;
  it.each([
    ["ROM without contents", [bare], "E_REGION_CONTENTS", /^constants: rom needs contents, a Uint8Array$/],
    ["contents that are text", [{ ...good, contents: "text" }], "E_REGION_CONTENTS", /^constants: rom needs/],
    [
      "what devices lend",
      [{ ...bare, kind: "lent" }],
      "E_REGION_KIND",
      /^constants: .*"lent": use ram, rom or/,
    ],
    [
      "another kind",
      [{ ...good, kind: "zzz" }],
      "E_REGION_KIND",
      /^constants: there is no kind of memory "zzz"/,
    ],
    [
      "no kind",
      [{ ...good, kind: undefined }],
      "E_REGION_KIND",
      /^constants: there is no kind of memory undefined/,
    ],
    ["nothing", [undefined], "E_REGION_KIND", /^region 0 of the memory is undefined, no region$/],
    ["null behind another", [good, null], "E_REGION_KIND", /^region 1 of the memory is null, no region$/],
    [
      "an odd name",
      [{ ...good, name: "../x\n" }],
      "E_REGION_NAME",
      /^region 0 .* can't be called "..\/x\\n": use/,
    ],
    [
      "a long name",
      [{ ...good, name: "x".repeat(32) }],
      "E_REGION_NAME",
      /^region 0 .* can't be called "x{32}"/,
    ],
    [
      "no name",
      [{ ...good, name: undefined }],
      "E_REGION_NAME",
      /^region 0 of the memory has no name: give it one$/,
    ],
    ["no base", [{ ...good, base: undefined }], "E_REGION_RANGE", /^constants: 4096 bytes from undefined/],
    [
      "a base that is text",
      [{ ...good, base: "0x1000" }],
      "E_REGION_RANGE",
      /^constants: 4096 bytes from 0x1000/,
    ],
    [
      "RAM without bytes",
      [{ kind: "ram", name: "more", base: ROM }],
      "E_REGION_RANGE",
      /^more: undefined bytes from/,
    ],
    [
      "RAM of NaN bytes",
      [{ kind: "ram", name: "more", base: ROM, bytes: NaN }],
      "E_REGION_RANGE",
      /^more: NaN bytes/,
    ],
    [
      "5,000 regions",
      Array.from({ length: 5000 }, (_, at) => ({ ...good, name: `r${at}`, base: ROM + at * 8192 })),
      "E_MEMORY_SIZE",
      /^5001 regions of memory are too many: use 256 at most$/,
    ],
    ["no list", "regions", "E_MEMORY", /^memoryRegions has to be a list$/],
  ])("%s", (_, memoryRegions, code, message) => {
    const wrong = { ...options(), memoryRegions } as unknown as RiscvVirtOptions;
    expect(() => riscvVirt(wrong)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });

  it.each([-1, -4096, 1, 1.5, Number.NaN, 2 ** 60])("%s bytes to lend", (lentBytes) => {
    expect(() => riscvVirt({ ...options(), lentBytes })).toThrow(
      expect.objectContaining({
        code: "E_MEMORY_SIZE",
        message: expect.stringMatching(/lentBytes|is too much/),
      }),
    );
  });

  it("flash that is no image", () => {
    expect(() => riscvVirt({ ...options(), flash: ["x"] as unknown as Uint8Array[] })).toThrow(
      "pflash0: flash needs contents, a Uint8Array",
    );
  });

  it("256 regions are made", () => {
    const memoryRegions = Array.from({ length: 255 }, (_, at) => ({
      ...good,
      name: `r${at}`,
      base: ROM + at * 8192,
    }));
    expect(() => riscvVirt({ ...options(), memoryRegions })).not.toThrow();
  });
});

it("what does not fit is refused by name", () => {
  const at = (base: number) => ({ ...options(), memoryRegions: [{ ...rom(1), base }] });
  expect(() => riscvVirt(at(0x80000000))).toThrow(MemoryError);
  expect(() => riscvVirt(at(0x80000000))).toThrow("constants (0x80000000 to 0x80000fff) overlaps ram");
  expect(() => riscvVirt(at(FLASH + 4096))).toThrow("overlaps");
  expect(() => riscvVirt(at(virtMap.uart.base))).toThrow(BoardError);
  expect(() => riscvVirt({ ...options(), flash: [inFlash, inFlash, inFlash] })).toThrow(
    "3 images for flash: the board has 2 banks",
  );
  expect(() => riscvVirt({ ...options(), flash: [new Uint8Array(33 * MEBIBYTE)] })).toThrow(
    "pflash0: 34603008 bytes of contents do not fit into 33554432",
  );
  const memory = guestIn(riscvPool({ frameBytes: 2 * MEBIBYTE, codePages: 16 }), {
    ramBytes: MEBIBYTE,
    ramBase: 0x80000000,
  });
  expect(() => riscvVirt({ ...options(), memory })).toThrow(MachineError);
  expect(() => riscvVirt({ ...options(), memory })).toThrow("the memory that is given has no constants");
});
