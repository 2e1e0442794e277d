import { expect, test } from "vitest";
import { buildElf, buildImage } from "../../test/images.js";
import { ImageError, type ImageErrorCode } from "./errors.js";
import { type KernelOptions, parseKernel } from "./kernel-image.js";

function failure(file: Uint8Array, options?: KernelOptions): ImageError {
  try {
    parseKernel(file, "Image", options);
  } catch (error) {
    expect(error).toBeInstanceOf(ImageError);
    expect((error as Error).message).toMatch(/^Image: [^\n]+$/);
    return error as ImageError;
  }
  throw new Error("it was accepted");
}

test("an Image, with and without an EFI stub", () => {
  for (const efi of [false, true]) {
    const bytes = buildImage({ efi });
    expect(parseKernel(bytes, "Image")).toEqual({
      kind: "image",
      bytes,
      textOffset: 0x200000,
      imageBytes: 0x3000,
    });
  }
});

test("an ELF kernel", () => {
  expect(parseKernel(buildElf(), "vmlinux")).toMatchObject({ kind: "elf", elf: { entryGpa: 0x80000000 } });
  expect(failure(buildElf().subarray(0, 80)).code).toBe("E_ELF_TRUNCATED");
});

test("with an EFI stub every truncation is told", () => {
  const whole = buildImage({ efi: true });
  for (let length = 0; length < whole.length; length += length < 256 ? 1 : 61) {
    const error = failure(whole.subarray(0, length));
    expect(error.code).toBe("E_KERNEL_TRUNCATED");
    expect(error.message).toContain(`${length} bytes`.slice(0, -6));
  }
});

test("without one, the header is", () => {
  expect(failure(buildImage().subarray(0, 63)).code).toBe("E_KERNEL_TRUNCATED");
  expect(failure(new Uint8Array(0)).code).toBe("E_KERNEL_TRUNCATED");
});

test.each<[string, ImageErrorCode, Uint8Array]>([
  ["an absurd text_offset", "E_KERNEL_UNKNOWN", buildImage({ textOffset: 2n ** 40n })],
  ["an unaligned text_offset", "E_KERNEL_UNKNOWN", buildImage({ textOffset: 0x200001n })],
  ["an absurd image_size", "E_KERNEL_UNKNOWN", buildImage({ imageSize: 2n ** 63n })],
  ["no image_size", "E_KERNEL_UNKNOWN", buildImage({ imageSize: 0n })],
  ["big-endian", "E_KERNEL_UNKNOWN", buildImage({ flags: 1n })],
  ["no magic number", "E_KERNEL_UNKNOWN", new Uint8Array(4096)],
  ["a shell script", "E_KERNEL_UNKNOWN", new TextEncoder().encode("#!/bin/sh\n".repeat(100))],
])("%s: %s", (_, code, file) => {
  expect(failure(file).code).toBe(code);
});

test("an EFI stub whose PE header is gone", () => {
  const file = buildImage({ efi: true });
  file[64] = 0;
  expect(failure(file).message).toContain("no PE header");
});

test.each([
  ["gzip", "gunzip", [0x1f, 0x8b, 8]],
  ["xz", "unxz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]],
  ["zstd", "unzstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["lz4", "unlz4", [0x02, 0x21, 0x4c, 0x18]],
])("a kernel compressed with %s is refused with a remedy", (kind, tool, magic) => {
  const error = failure(Uint8Array.from([...magic, ...Array(100).fill(0)]));
  expect(error.code).toBe("E_KERNEL_COMPRESSED");
  expect(error.message).toBe(`Image: the kernel is compressed with ${kind}: unpack it with ${tool} first`);
});

test("a kernel compressed inside an EFI program is refused", () => {
  const file = buildImage();
  file.set(new TextEncoder().encode("MZ\0\0zimg"));
  expect(failure(file).code).toBe("E_KERNEL_COMPRESSED");
});

test("gzip is unpacked where the host can", () => {
  const packed = Uint8Array.of(0x1f, 0x8b, 1);
  expect(parseKernel(packed, "Image.gz", { gunzip: () => buildImage() })).toMatchObject({ kind: "image" });
  expect(failure(packed, { gunzip: () => new Uint8Array(4096) }).code).toBe("E_KERNEL_UNKNOWN");
  const cause = new RangeError("unexpected end");
  const error = failure(packed, {
    gunzip: () => {
      throw cause;
    },
  });
  expect(error).toMatchObject({ code: "E_KERNEL_COMPRESSED", cause });
});
