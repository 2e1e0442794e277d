import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { ImageError } from "./errors.js";
import { checkInitrd, type InitramfsEntry, packInitramfs, readInitramfs } from "./initramfs.js";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const tree: readonly InitramfsEntry[] = [
  { path: "bin", kind: "directory", mode: 0o755 },
  { path: "tmp", kind: "directory", mode: 0o1777 },
  { path: "bin/busybox", kind: "file", mode: 0o4755, bytes: encode("\x7fELF and so on") },
  { path: "empty", kind: "file", mode: 0o600, bytes: new Uint8Array(0) },
  { path: "bin/sh", kind: "symlink", target: "busybox" },
  { path: "dev/console", kind: "device", type: "character", mode: 0o600, major: 5, minor: 1 },
  { path: "dev/vda", kind: "device", type: "block", mode: 0o660, major: 254, minor: 0 },
  { path: "straße", kind: "file", mode: 0o644, bytes: encode("x") },
];

function failure(file: Uint8Array): ImageError {
  try {
    checkInitrd(file, "initrd");
  } catch (error) {
    expect(error).toBeInstanceOf(ImageError);
    expect((error as Error).message).toMatch(/^initrd: [^\n]+$/);
    return error as ImageError;
  }
  throw new Error("it was accepted");
}

/** Joins parts and zeros (given by number). */
function join(...parts: (Uint8Array | number)[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap((part) => (typeof part === "number" ? Array(part).fill(0) : [...part])),
  );
}

test("what is packed reads back, and the same entries give the same bytes", () => {
  const archive = packInitramfs(tree);
  expect(readInitramfs(archive, "initrd")).toEqual({ entries: tree, compression: undefined });
  expect(packInitramfs(structuredClone(tree))).toEqual(archive);
  expect(archive.length % 4).toBe(0);
});

test("the form is newc to the letter", () => {
  const archive = packInitramfs([{ path: "f", kind: "file", mode: 0o644, bytes: encode("abc") }]);
  const header = (fields: number[]): string =>
    "070701" + fields.map((field) => field.toString(16).padStart(8, "0")).join("");
  expect(new TextDecoder().decode(archive)).toBe(
    header([1, 0o100644, 0, 0, 1, 0, 3, 0, 0, 0, 0, 2, 0]) +
      "f\0abc\0" +
      header([2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0]) +
      "TRAILER!!!\0\0\0\0",
  );
});

test("cpio lists what is packed", (context) => {
  const run = spawnSync("cpio", ["-itv"], { input: packInitramfs(tree) });
  if (run.error !== undefined) {
    context.skip("cpio is not installed: apt install cpio");
    return;
  }
  const lines = run.stdout.toString().trimEnd().split("\n");
  expect(lines.map((line) => line.split(/\s+/)[0])).toEqual([
    "drwxr-xr-x",
    "drwxrwxrwt",
    "-rwsr-xr-x",
    "-rw-------",
    "lrwxrwxrwx",
    "crw-------",
    "brw-rw----",
    "-rw-r--r--",
  ]);
  expect(lines[4]).toMatch(/bin\/sh -> busybox$/);
  expect(lines[5]).toMatch(/5, +1 .*dev\/console$/);
});

test.each<[string, InitramfsEntry]>([
  ["an absolute path", { path: "/init", kind: "directory", mode: 0 }],
  ["no path", { path: "", kind: "directory", mode: 0 }],
  ["a zero in a path", { path: "a\0b", kind: "directory", mode: 0 }],
  ["the trailer's name", { path: "TRAILER!!!", kind: "directory", mode: 0 }],
  ["a long path", { path: "ü".repeat(2048), kind: "directory", mode: 0 }],
  ["a file type in the mode", { path: "a", kind: "file", mode: 0o100644, bytes: new Uint8Array(0) }],
  ["no target", { path: "a", kind: "symlink", target: "" }],
  ["a device number", { path: "a", kind: "device", type: "block", mode: 0, major: -1, minor: 0 }],
])("%s is refused", (_, entry) => {
  expect(() => packInitramfs([entry])).toThrow(expect.objectContaining({ code: "E_INITRD_ENTRY" }));
});

describe("reading", () => {
  const archive = packInitramfs(tree);

  test("archives may follow each other, with zeros between and behind", () => {
    const more: InitramfsEntry[] = [{ path: "more", kind: "directory", mode: 0o700 }];
    const file = join(archive, 512, packInitramfs(more), 3);
    expect(readInitramfs(file, "initrd").entries).toEqual([...tree, ...more]);
  });

  test.each([
    ["gzip", [0x1f, 0x8b]],
    ["xz", [0xfd, 0x37, 0x7a, 0x58]],
    ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
    ["lz4", [0x02, 0x21, 0x4c, 0x18]],
    ["lz4", [0x04, 0x22, 0x4d, 0x18]],
  ])("%s passes, alone and behind an archive", (name, magic) => {
    const compressed = Uint8Array.from([...magic, 1, 2, 3]);
    expect(readInitramfs(compressed, "initrd")).toMatchObject({ entries: [], compression: { name } });
    expect(readInitramfs(join(archive, 4, compressed), "initrd")).toMatchObject({
      entries: tree,
      compression: { name },
    });
  });

  test("every truncation is told", () => {
    for (let length = 1; length < archive.length - 3; length++) {
      expect(failure(archive.subarray(0, length)).code).toBe("E_INITRD_TRUNCATED");
    }
    expect(failure(new Uint8Array(0)).code).toBe("E_INITRD_UNKNOWN");
  });

  test("what is no archive, or an old one, is told how to be one", () => {
    for (const file of [encode("#!/bin/sh"), new Uint8Array(600), encode("070707".padEnd(200, "0"))]) {
      const error = failure(file);
      expect(error.code).toBe("E_INITRD_UNKNOWN");
      expect(error.message).toContain("cpio -H newc");
    }
  });

  test.each<[string, number, string]>([
    ["the magic number", 5, "9"],
    ["a digit", 30, "x"],
    ["the path's length", 94, "00000000"],
    ["the path's length", 94, "00002000"],
    ["the path's end", 94, "00000002"],
  ])("damage to %s is told", (_, at, text) => {
    const file = archive.slice();
    file.set(encode(text), at);
    expect(failure(file).code).toBe("E_INITRD_DAMAGED");
  });

  test("a huge file length is told", () => {
    const file = archive.slice();
    file.set(encode("ffffffff"), 54);
    expect(failure(file).code).toBe("E_INITRD_TRUNCATED");
  });

  test("something else behind the archive is told, with the place", () => {
    const error = failure(join(archive, encode("junk")));
    expect(error.code).toBe("E_INITRD_DAMAGED");
    expect(error.message).toContain(`byte ${archive.length} `);
  });

  test("checksums are checked where there are any", () => {
    const one = packInitramfs([{ path: "f", kind: "file", mode: 0o644, bytes: encode("abc") }]);
    one.set(encode("070702"), 0);
    expect(failure(one).message).toContain("checksum of f");
    one.set(encode((0x61 + 0x62 + 0x63).toString(16).padStart(8, "0")), 102);
    checkInitrd(one, "initrd");
  });
});
