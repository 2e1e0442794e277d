import { describe, expect, test } from "vitest";
import { buildElf } from "../../test/images.js";
import { isElf, parseElf } from "./elf.js";
import { ImageError, type ImageErrorCode } from "./errors.js";

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

function failure(file: Uint8Array): ImageError {
  try {
    parseElf(file, "prog.elf");
  } catch (error) {
    expect(error).toBeInstanceOf(ImageError);
    return error as ImageError;
  }
  throw new Error("it was accepted");
}

describe.each([32, 64] as const)("ELF%i", (xlen) => {
  const wide = xlen === 64;

  test("segments, entry and symbols", () => {
    const elf = parseElf(
      buildElf({
        xlen,
        entry: 0x80000004,
        segments: [
          { gpa: 0x80000000, bytes: bytes(1, 2, 3, 4, 5, 6, 7, 8) },
          { gpa: 0, bytes: bytes(9), type: 4 },
          { gpa: 0x80001000, va: 0x40001000n, bytes: bytes(9, 9), memoryBytes: 0x100 },
          { gpa: 0x80002000, bytes: bytes(), memoryBytes: 0 },
        ],
        symbols: [
          { name: "tohost", value: 0x80001000 },
          { name: "fromhost", value: 0x80001040 },
        ],
      }),
      "prog.elf",
    );
    expect(elf).toMatchObject({ xlen, entry: 0x80000004n, entryGpa: 0x80000004 });
    expect(elf.segments).toEqual([
      {
        gpa: 0x80000000,
        va: 0x80000000n,
        bytes: bytes(1, 2, 3, 4, 5, 6, 7, 8),
        memoryBytes: 8,
        executable: true,
        headerBytes: 0,
      },
      {
        gpa: 0x80001000,
        va: 0x40001000n,
        bytes: bytes(9, 9),
        memoryBytes: 0x100,
        executable: true,
        headerBytes: 0,
      },
    ]);
    expect(elf.symbols).toEqual(
      new Map([
        ["tohost", 0x80001000n],
        ["fromhost", 0x80001040n],
      ]),
    );
  });

  test("a program linked at virtual addresses enters at a physical one", () => {
    const segments = [{ gpa: 0x80200000, va: 0xc0000000n, bytes: new Uint8Array(64) }];
    const elf = parseElf(buildElf({ xlen, entry: 0xc0000010, segments }), "vmlinux");
    expect(elf).toMatchObject({ entry: 0xc0000010n, entryGpa: 0x80200010 });
    expect(parseElf(buildElf({ xlen, entry: 0x80200020, segments }), "vmlinux").entryGpa).toBe(0x80200020);
  });

  test("undefined, section and file symbols are no symbols; a global wins over locals", () => {
    const { symbols } = parseElf(
      buildElf({
        xlen,
        symbols: [
          { name: "tohost", value: 1, binding: 0, type: 4 },
          { name: "gone", value: 2, section: 0 },
          { name: "part", value: 3, binding: 0, type: 3 },
          { name: "twice", value: 4, binding: 0 },
          { name: "twice", value: 5 },
          { name: "twice", value: 6, binding: 0 },
          { name: "local", value: 7, binding: 0 },
          { name: "local", value: 8, binding: 0 },
        ],
      }),
      "prog.elf",
    );
    expect([...symbols]).toEqual([
      ["twice", 5n],
      ["local", 8n],
    ]);
  });

  test("every truncation is told, with the place", () => {
    const whole = buildElf({ xlen, symbols: [{ name: "tohost", value: 0x80000000 }] });
    expect(failure(whole.subarray(0, 3)).code).toBe("E_ELF_MALFORMED");
    for (let length = 4; length < whole.length; length++) {
      const error = failure(whole.subarray(0, length));
      expect(error.code).toBe("E_ELF_TRUNCATED");
      expect(error.message).toMatch(
        new RegExp(`^prog\\.elf: the .* at byte \\d+ needs \\d+ bytes, the file has ${length}:`),
      );
    }
  });

  const field = (narrowAt: number, wideAt: number) => (wide ? wideAt : narrowAt);
  const program = wide ? 64 : 52;
  const sections = field(32, 40);
  const cases: readonly [string, ImageErrorCode, (view: DataView, section: number) => void][] = [
    ["an unknown class", "E_ELF_MALFORMED", (view) => view.setUint8(4, 3)],
    ["big-endian", "E_ELF_MALFORMED", (view) => view.setUint8(5, 2)],
    ["another machine", "E_ELF_MACHINE", (view) => view.setUint16(18, 62, true)],
    ["an entry outside", "E_ELF_MALFORMED", (view) => view.setUint8(25, 0x77)],
    ["program headers too small", "E_ELF_MALFORMED", (view) => view.setUint16(field(42, 54), 8, true)],
    ["program headers outside", "E_ELF_TRUNCATED", (view) => view.setUint32(field(28, 32), 0xfffffff0, true)],
    [
      "more program headers than bytes",
      "E_ELF_TRUNCATED",
      (view) => view.setUint16(field(44, 56), 0xffff, true),
    ],
    ["nothing to load", "E_ELF_MALFORMED", (view) => view.setUint16(field(44, 56), 0, true)],
    ["content outside", "E_ELF_TRUNCATED", (view) => view.setUint32(program + field(4, 8), 0xffffff00, true)],
    [
      "more content than memory",
      "E_ELF_MALFORMED",
      (view) => view.setUint32(program + field(20, 40), 3, true),
    ],
    ["section headers too small", "E_ELF_MALFORMED", (view) => view.setUint16(field(46, 58), 16, true)],
    ["section headers outside", "E_ELF_TRUNCATED", (view) => view.setUint32(sections, 0xfffffff0, true)],
    ["names in no section", "E_ELF_MALFORMED", (view, at) => view.setUint32(at + field(24, 40), 9, true)],
    ["symbols outside", "E_ELF_TRUNCATED", (view, at) => view.setUint32(at + field(16, 24), 0xffff, true)],
    [
      "a symbol's name outside",
      "E_ELF_MALFORMED",
      (view, at) => {
        const symbols = view.getUint32(at + field(16, 24), true);
        view.setUint32(symbols + field(16, 24), 0xffff, true);
      },
    ],
  ];
  test.each(cases)("%s: %s", (_, code, damage) => {
    const file = buildElf({ xlen, symbols: [{ name: "tohost", value: 0x80000000 }] });
    const view = new DataView(file.buffer);
    damage(view, view.getUint32(sections, true) + field(40, 64));
    const error = failure(file);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^prog\.elf: [^\n]+$/);
  });
});

test("64-bit offsets and sizes beyond all files and memories", () => {
  for (const at of [32, 64 + 8, 64 + 24, 64 + 32, 64 + 40]) {
    for (const value of [2n ** 64n - 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n]) {
      const file = buildElf();
      new DataView(file.buffer).setBigUint64(at, value, true);
      if (at !== 64 + 40 || value >= 2n ** 53n - 1n) expect(failure(file).code).toMatch(/^E_ELF_/);
    }
  }
});

test("many symbols that share one long name cost no more than the file is worth", () => {
  const long = "x".repeat(1000);
  const file = buildElf({ symbols: [{ name: long, value: 1 }, ...Array(999).fill({ name: "y", value: 2 })] });
  const view = new DataView(file.buffer);
  const symbols = Number(view.getBigUint64(Number(view.getBigUint64(40, true)) + 64 + 24, true));
  for (let index = 1; index <= 1000; index++) view.setUint32(symbols + 24 * index, 1, true);
  expect(failure(file).message).toContain("overlap");
});

test("what is no ELF file", () => {
  expect(isElf(bytes())).toBe(false);
  expect(isElf(buildElf())).toBe(true);
  expect(failure(bytes()).code).toBe("E_ELF_MALFORMED");
  expect(failure(new TextEncoder().encode("#!/bin/sh\n")).message).toBe(
    "prog.elf: not an ELF file: it does not begin with \\x7fELF",
  );
});
