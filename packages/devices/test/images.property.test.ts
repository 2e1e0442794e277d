import fc from "fast-check";
import { expect, test } from "vitest";
import { bootPlan, programPlan } from "../src/image/boot.js";
import { parseElf } from "../src/image/elf.js";
import { ImageError } from "../src/image/errors.js";
import { packInitramfs, readInitramfs } from "../src/image/initramfs.js";
import { parseKernel } from "../src/image/kernel-image.js";
import { buildElf, buildImage } from "./images.js";

const RAM_BYTES = 0x800000;
const symbols = [
  { name: "tohost", value: 0x80001000 },
  { name: "fromhost", value: 0x80001040 },
];
const segments = [
  { gpa: 0x80000000, bytes: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
  { gpa: 0x80001000, bytes: new Uint8Array(16), memoryBytes: 0x100 },
];
const archive = packInitramfs([
  { path: "bin", kind: "directory", mode: 0o755 },
  { path: "bin/busybox", kind: "file", mode: 0o755, bytes: Uint8Array.of(1, 2, 3, 4, 5) },
  { path: "dev/console", kind: "device", type: "character", mode: 0o600, major: 5, minor: 1 },
]);
const bootKernel = (file: Uint8Array): void => {
  const kernel = parseKernel(file, "kernel");
  const tree = () => new Uint8Array(64);
  bootPlan({ xlen: 64, ramBytes: RAM_BYTES, kernel, initrd: archive, deviceTree: tree });
};
const runProgram = (file: Uint8Array): void => {
  programPlan(parseElf(file, "program"), RAM_BYTES);
};

test.each<[string, Uint8Array, (file: Uint8Array) => void]>([
  ["ELF32", buildElf({ xlen: 32, segments, symbols }), runProgram],
  ["ELF64", buildElf({ xlen: 64, segments, symbols }), runProgram],
  ["an ELF kernel", buildElf({ segments, symbols }), bootKernel],
  ["an Image", buildImage({ length: 0x100 }), bootKernel],
  ["an Image with an EFI stub", buildImage({ efi: true }), bootKernel],
  ["an archive", archive, (file) => void readInitramfs(file, "initrd")],
])(
  "%s: what is cut, changed or made up is an ImageError or a valid file, and nothing else",
  (_, whole, load) => {
    load(whole);
    const expectVerdict = (file: Uint8Array): void => {
      try {
        load(file);
      } catch (error) {
        if (!(error instanceof ImageError)) throw error;
        expect(error.message).toMatch(/^[^\n]+$/);
      }
    };
    const position = fc.nat(whole.length - 1);
    // Headers are at the front, and most of what can go wrong with them.
    const place = fc.oneof(position, fc.nat(Math.min(200, whole.length - 1)));
    const change = fc.tuple(place, fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 0x30, 0x7f, 0x80, 0xff)));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 4 }), fc.option(position), (changes, end) => {
        const file = whole.slice(0, end ?? whole.length);
        for (const [at, value] of changes) if (at < file.length) file[at] = value;
        expectVerdict(file);
      }),
      { numRuns: 1500 },
    );
  },
);
