import { describe, expect, test } from "vitest";
import { buildElf, buildImage } from "../../test/images.js";
import { type BootOptions, type BootPlan, bootPlan, programPlan } from "./boot.js";
import { parseElf } from "./elf.js";
import { ImageError } from "./errors.js";
import { parseKernel } from "./kernel-image.js";

const MIB = 0x100000;
const RAM = 0x80000000;
const kernel = parseKernel(buildImage({ imageSize: BigInt(35 * MIB) }), "Image");
const initrd = new Uint8Array(3 * MIB + 5);

function plan(options: Partial<BootOptions> = {}): BootPlan {
  const result = bootPlan({
    xlen: 64,
    ramBytes: 128 * MIB,
    kernel,
    deviceTree: () => new Uint8Array(5000),
    ...options,
  });
  expectSound(result, options.ramBytes ?? 128 * MIB);
  return result;
}

/** Everything is in RAM, and nothing on top of anything else. */
function expectSound({ placements }: BootPlan, ramBytes: number): void {
  const sorted = [...placements].sort((a, b) => a.gpa - b.gpa);
  let free = RAM;
  for (const { gpa, bytes, memoryBytes } of sorted) {
    expect(gpa).toBeGreaterThanOrEqual(free);
    expect(memoryBytes).toBeGreaterThanOrEqual(bytes.length);
    free = gpa + memoryBytes;
  }
  expect(free).toBeLessThanOrEqual(RAM + ramBytes);
}

function failure(act: () => unknown): ImageError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(ImageError);
    expect((error as Error).message).toMatch(/^[^\n]+$/);
    return error as ImageError;
  }
  throw new Error("it was accepted");
}

const place = (result: BootPlan, what: string) => result.placements.find((each) => each.what === what)!;

describe("without firmware", () => {
  test("an Image goes to its text_offset, and is entered in supervisor mode", () => {
    const result = plan();
    expect(result).toMatchObject({ entry: 0x80200000, mode: 1, args: [0, result.fdt, 0] });
    expect(place(result, "kernel")).toMatchObject({ gpa: 0x80200000, memoryBytes: 35 * MIB });
    expect(result.initrd).toBeUndefined();
  });

  test("an Image without a say goes one superpage up", () => {
    const free = parseKernel(buildImage({ textOffset: 0n }), "Image");
    expect(plan({ kernel: free }).entry).toBe(0x80200000);
    expect(plan({ kernel: free, xlen: 32 }).entry).toBe(0x80400000);
  });

  test("the initial RAM disk is at the top, the device tree below, and is told where", () => {
    const told: unknown[] = [];
    const deviceTree: BootOptions["deviceTree"] = (range) => {
      told.push(range);
      return new Uint8Array(100);
    };
    const result = plan({ initrd, deviceTree });
    const start = RAM + 128 * MIB - 4 * MIB + (MIB - 0x1000);
    expect(told).toEqual([{ start, end: start + initrd.length }]);
    expect(result.initrd).toEqual(told[0]);
    expect(result.fdt).toBe(start - 0x10000);
  });

  test("all keeps to the first gigabyte of RAM", () => {
    const result = plan({ initrd, ramBytes: 4096 * MIB });
    expect(result.initrd!.end).toBeLessThanOrEqual(0xc0000000);
    expect(result.fdt).toBeLessThan(0xc0000000);
  });

  test("unless it does not fit there", () => {
    const large = parseKernel(buildImage({ imageSize: BigInt(1022 * MIB) }), "Image");
    expect(plan({ kernel: large, ramBytes: 2048 * MIB }).fdt).toBe(RAM + 2048 * MIB - 0x10000);
  });

  test("a large device tree gets its room", () => {
    const tree = new Uint8Array(300_000);
    expect(place(plan({ initrd, deviceTree: () => tree }), "device tree").memoryBytes).toBeGreaterThan(
      tree.length,
    );
  });

  test("an ELF kernel goes where it is linked", () => {
    const segments = [
      { gpa: 0x80200000, va: 0xffffffff80000000n, bytes: new Uint8Array(16), memoryBytes: 0x5000 },
      { gpa: 0x80300000, va: 0xffffffff80100000n, bytes: new Uint8Array(16) },
    ];
    const elf = buildElf({ segments, entry: 0x80200004 });
    const result = plan({ kernel: parseKernel(elf, "vmlinux") });
    expect(result.entry).toBe(0x80200004);
    expect(result.placements.map(({ gpa }) => gpa)).toEqual([0x80200000, 0x80300000, result.fdt]);
  });
});

describe("with firmware", () => {
  const firmware = new Uint8Array(0x20000);

  test("it is entered in machine mode, and finds the kernel through a2", () => {
    const result = plan({ firmware, initrd });
    const info = place(result, "firmware description");
    expect(result).toMatchObject({ entry: RAM, mode: 3, args: [0, result.fdt, info.gpa] });
    const view = new DataView(info.bytes.buffer);
    const words = Array.from({ length: 6 }, (_, index) => view.getBigUint64(8 * index, true));
    expect(words).toEqual([0x4942534fn, 2n, 0x80200000n, 1n, 0n, 0n]);
  });

  test("a 32-bit hart gets 32-bit words", () => {
    const { bytes } = place(plan({ firmware, xlen: 32 }), "firmware description");
    expect([...new Uint32Array(bytes.buffer)]).toEqual([0x4942534f, 2, 0x80200000, 1, 0, 0]);
  });

  test("ELF firmware that is linked at zero moves to the start of RAM", () => {
    const { segments } = parseElf(
      buildElf({
        entry: 0,
        segments: [
          { gpa: 0, bytes: new Uint8Array(8), memoryBytes: 0x100 },
          { gpa: 0x1000, bytes: new Uint8Array(8) },
        ],
      }),
      "fw.elf",
    );
    const placed = plan({ firmware: segments }).placements.filter(({ what }) => what === "firmware");
    expect(placed.map(({ gpa }) => gpa)).toEqual([RAM, RAM + 0x1000]);
  });

  test("a kernel linked onto it is refused, with both places", () => {
    const error = failure(() => plan({ firmware, kernel: parseKernel(buildElf(), "vmlinux") }));
    expect(error.code).toBe("E_OVERLAP");
    expect(error.message).toContain("firmware (0x80000000 to 0x8007ffff)");
    expect(error.message).toContain("kernel (0x80000000 to 0x80000003)");
  });
});

describe("RAM that is too small", () => {
  test.each([
    ["the kernel alone", {}],
    ["kernel and RAM disk", { initrd }],
    ["firmware too", { initrd, firmware: new Uint8Array(100) }],
    ["a large device tree", { initrd, deviceTree: () => new Uint8Array(2 * MIB) }],
  ] as const)("%s: the message tells the smallest size that does, and it does", (_, options) => {
    const error = failure(() => plan({ ...options, ramBytes: 8 * MIB }));
    expect(error.code).toBe("E_DOES_NOT_FIT");
    expect(error.message).toMatch(/^8 MiB of memory are too few for kernel of 35 MiB/);
    const least = Number(/at least (\d+) MiB$/.exec(error.message)![1]);
    plan({ ...options, ramBytes: least * MIB });
    expect(failure(() => plan({ ...options, ramBytes: (least - 1) * MIB })).code).toBe("E_DOES_NOT_FIT");
  });

  test("every size either fits or says so", () => {
    const small = parseKernel(buildImage(), "Image");
    for (let pages = 1; pages < 1024; pages += 7) {
      const options = { kernel: small, initrd: new Uint8Array(100_000), ramBytes: pages * 0x1000 };
      if (pages * 0x1000 < 0x203000 + 0x10000 + 0x19000) {
        expect(failure(() => plan(options)).code).toBe("E_DOES_NOT_FIT");
      } else plan(options);
    }
  });

  test("a kernel linked outside RAM is refused", () => {
    for (const gpa of [0x1000, 0x7ffff000]) {
      const elf = buildElf({ segments: [{ gpa, bytes: new Uint8Array(4) }] });
      const error = failure(() => plan({ kernel: parseKernel(elf, "vmlinux") }));
      expect(error.code).toBe("E_DOES_NOT_FIT");
      expect(error.message).toContain(`linked to 0x${gpa.toString(16)}, RAM begins at 0x80000000`);
    }
  });

  test("segments linked over each other are refused", () => {
    const segments = [
      { gpa: 0x80200000, bytes: new Uint8Array(4), memoryBytes: 0x2000 },
      { gpa: 0x80201000, bytes: new Uint8Array(4) },
    ];
    expect(failure(() => plan({ kernel: parseKernel(buildElf({ segments }), "vmlinux") })).code).toBe(
      "E_OVERLAP",
    );
  });
});

describe("bare-metal programs", () => {
  test("are entered in machine mode where they are linked", () => {
    const elf = parseElf(buildElf({ xlen: 32 }), "prog.elf");
    const result = programPlan(elf, MIB);
    expect(result).toMatchObject({ entry: RAM, mode: 3, args: [0, 0, 0] });
    expectSound(result, MIB);
  });

  /** What a linker makes of `-Ttext=0x80000000`: one segment from the file's first byte, a page before RAM. */
  function linkedWithHeaders(before: Uint8Array, code: Uint8Array): Uint8Array {
    const contentAt = 64 + 56;
    const content = new Uint8Array(0x1000 - contentAt + code.length);
    content.set(before);
    content.set(code, 0x1000 - contentAt);
    const file = buildElf({ entry: RAM, segments: [{ gpa: RAM - 0x1000, bytes: content }] });
    const view = new DataView(file.buffer);
    view.setBigUint64(64 + 8, 0n, true);
    for (const at of [32, 40]) view.setBigUint64(64 + at, BigInt(file.length), true);
    return file;
  }

  test("whose first page is the file's headers below RAM are loaded from RAM on, as QEMU does", () => {
    const code = Uint8Array.of(0x13, 0, 0, 0, 0x6f, 0, 0, 0);
    const file = linkedWithHeaders(new Uint8Array(0), code);
    const result = programPlan(parseElf(file, "prog.elf"), MIB);
    expect(result).toMatchObject({ entry: RAM, mode: 3 });
    expect(result.placements).toEqual([{ what: "program", gpa: RAM, bytes: code, memoryBytes: code.length }]);
    expect(plan({ kernel: parseKernel(file, "vmlinux") }).placements[0]).toMatchObject({
      gpa: RAM,
      bytes: code,
    });
    const firmware = parseElf(file, "fw.elf").segments;
    expect(plan({ firmware }).placements.find(({ what }) => what === "firmware")).toMatchObject({
      gpa: RAM,
      bytes: code,
    });
  });

  test("with something else below RAM are refused, and told how to link", () => {
    const file = linkedWithHeaders(Uint8Array.of(1), Uint8Array.of(0x13, 0, 0, 0));
    expect(failure(() => programPlan(parseElf(file, "prog.elf"), MIB)).message).toBe(
      "the program is linked to 0x7ffff000, RAM begins at 0x80000000: link it to an address in RAM; -Wl,-N keeps its parts together, without a page before them",
    );
  });

  test("are refused where RAM does not reach", () => {
    const segments = [{ gpa: RAM, bytes: new Uint8Array(4), memoryBytes: 2 * MIB + 1 }];
    const elf = parseElf(buildElf({ segments }), "prog.elf");
    expect(failure(() => programPlan(elf, MIB)).message).toBe(
      "1 MiB of memory are too few for program of 3 MiB: give the guest at least 3 MiB",
    );
    programPlan(elf, 3 * MIB);
  });
});
