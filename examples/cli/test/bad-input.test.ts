/**
 * The built program with every kind of bad input: each gives one line on standard error that names the thing, and a
 * status other than zero. None shows a stack, and none hangs.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { packInitramfs } from "@hyperfile/devices/image";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { elfOf } from "./elf-file.js";

const program = fileURLToPath(new URL("../bin/hyperfile.mjs", import.meta.url));
const guest64 = fileURLToPath(new URL("../../guest/bin/guest64.elf", import.meta.url));
/** A run that lasts longer is taken for a hang. */
const HANG_MILLISECONDS = 30_000;

let folder: string;
let taken: Server;
let takenPort = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-bad-"));
  taken = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  takenPort = (taken.address() as { port: number }).port;
});
afterAll(async () => {
  taken.close();
  await rm(folder, { recursive: true });
});

interface Result {
  readonly status: number | null;
  readonly signal: string | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs the program as a user would, without a terminal. */
function hyperfile(args: readonly string[], environment: Record<string, string> = {}): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
      timeout: HANG_MILLISECONDS,
      killSignal: "SIGKILL",
    });
    let [output, errors] = ["", ""];
    child.stdout.on("data", (part) => (output += part));
    child.stderr.on("data", (part) => (errors += part));
    child.on("error", reject);
    child.on("close", (status, signal) => resolve({ status, signal, output, errors }));
  });
}

/** Expects one line of complaint that `message` matches, and nothing else. */
function expectComplaint(result: Result, status: number, message: RegExp): void {
  expect(result.errors).toMatch(message);
  expect(result.errors).toMatch(/^hyperfile: [^\n]+\n$/);
  expect(result.errors).not.toMatch(/\bat .*\.(js|ts):\d+/);
  expect(result).toMatchObject({ status, signal: null, output: "" });
}

async function file(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

const START = 0x80000000;
const NOP = 0x13;
/** `j .` */
const SPIN = 0x6f;
const good = elfOf({ gpa: START, words: [NOP, SPIN] });

/** A copy with some bytes replaced. */
function patched(bytes: Uint8Array, at: number, ...values: number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(values, at);
  return copy;
}

/** A kernel `Image` of the smallest kind: a header without an EFI stub. */
function kernelImage(textOffset = 0x200000n, imageBytes = 0x1000n): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  view.setInt32(0, SPIN, true);
  view.setBigUint64(8, textOffset, true);
  view.setBigUint64(16, imageBytes, true);
  view.setUint32(56, 0x05435352, true);
  return bytes;
}

describe("programs", () => {
  it.each([1, 4, 20, 63, 64, 100, 119, 121, 127])("cut off after %i bytes", async (length) => {
    const path = await file(`cut-${length}.elf`, good.subarray(0, length));
    expectComplaint(
      await hyperfile(["run", "--elf", path, "--timeout", "5"]),
      1,
      /cut-\d+\.elf.*(truncated|not an ELF)/,
    );
  });

  it.each<[string, () => Uint8Array, RegExp]>([
    ["of another kind", () => patched(good, 0, 0x7e), /not an ELF file/],
    ["of an unknown class", () => patched(good, 4, 3), /class 3/],
    ["with the bytes in the other order", () => patched(good, 5, 2), /little-endian/],
    ["for another machine", () => patched(good, 18, 62, 0), /machine 62.*RISC-V/],
    [
      "with program headers outside the file",
      () => patched(good, 32, 0, 0, 1),
      /program header 0.*truncated or damaged/,
    ],
    [
      "with program headers beyond all files",
      () => patched(good, 32, 255, 255, 255, 255, 255, 255, 255, 255),
      /program header offset/,
    ],
    ["with headers of no size", () => patched(good, 54, 0, 0), /program headers of 0 bytes/],
    ["with nothing to load", () => patched(good, 56, 0, 0), /nothing to load/],
    [
      "with a segment outside the file",
      () => elfOf({ gpa: START, words: [NOP], offset: 1 << 20 }),
      /segment 0.*truncated or damaged/,
    ],
    [
      "with a segment larger than its memory",
      () => elfOf({ gpa: START, words: [NOP, NOP], memoryBytes: 4 }),
      /larger in the file than in memory/,
    ],
    ["below RAM", () => elfOf({ gpa: 0x10000, words: [NOP] }), /0x10000, RAM begins at 0x80000000/],
    ["above RAM", () => elfOf({ gpa: START + (1 << 30), words: [NOP] }), /at least 1025 MiB/],
    ["larger than RAM", () => elfOf({ gpa: START, words: [NOP], memoryBytes: 2 ** 31 }), /at least 2048 MiB/],
    [
      "beyond all memory",
      () => elfOf({ gpa: START, words: [NOP], memoryBytes: 2 ** 53 - 1 }),
      /ends beyond all memory/,
    ],
    [
      "with overlapping segments",
      () => elfOf({ gpa: START, words: [NOP, NOP] }, { gpa: START + 4, words: [NOP] }),
      /overlap: link one of them/,
    ],
    [
      "that start outside themselves",
      () => patched(good, 24, 0, 0, 1),
      /entry point 0x80010000 is in none of its segments/,
    ],
  ])("%s", async (_, make, message) => {
    const path = await file("bad.elf", make());
    const result = await hyperfile(["run", "--elf", path, "--timeout", "5"]);
    expectComplaint(result, 1, message);
  });
});

describe("kernels", () => {
  it.each<[string, () => Uint8Array, RegExp]>([
    ["cut off in the header", () => kernelImage().subarray(0, 63), /63 bytes are too few.*fetch it again/],
    [
      "cut off before the end that the EFI stub names",
      () => patched(kernelImage(), 0, 0x4d, 0x5a).fill(0x7f, 60, 64),
      /kernel needs \d+ bytes, the file has 4096.*fetch it again/,
    ],
    [
      "without the magic number",
      () => patched(kernelImage(), 56, 0),
      /neither an ELF file nor a RISC-V Linux Image.*give a kernel/,
    ],
    ["with an impossible offset", () => kernelImage(0x123n), /text_offset 0x123/],
    ["with an impossible size", () => kernelImage(0x200000n, 1n << 40n), /image_size 0x10000000000/],
    [
      "too large for the memory",
      () => kernelImage(0x200000n, 0x20000000n),
      /give the guest at least \d+ MiB/,
    ],
    ["compressed", () => gzipSync(kernelImage()), /compressed with gzip: unpack it with gunzip/],
    ["of nothing but zeros", () => new Uint8Array(4096), /give a kernel for riscv/],
  ])("%s", async (_, make, message) => {
    const path = await file("Image", make());
    expectComplaint(await hyperfile(["run", "--kernel", path, "--timeout", "5"]), 1, message);
  });
});

describe("initial file systems", () => {
  const archive = packInitramfs([
    { path: "dev", kind: "directory", mode: 0o755 },
    { path: "init", kind: "file", mode: 0o755, bytes: new Uint8Array(500) },
  ]);

  it.each<[string, () => Uint8Array, RegExp]>([
    ["cut off in a header", () => archive.subarray(0, 60), /truncated or damaged, build it again/],
    ["cut off in a file", () => archive.subarray(0, 400), /truncated or damaged, build it again/],
    ["cut off before the trailer", () => archive.subarray(0, archive.length - 128), /initrd.*build it again/],
    ["with a damaged member", () => patched(archive, 116, 0x78, 0x78), /damaged at byte 116.*build it again/],
    [
      "with letters for digits",
      () => patched(archive, 8, 0x7a),
      /other than hexadecimal digits: build it again/,
    ],
    ["of the old kind", () => patched(archive, 5, 0x37), /old kind.*cpio -H newc/],
    ["of another kind", () => new Uint8Array(1000).fill(7), /neither a newc cpio archive.*cpio -H newc/],
  ])("%s", async (_, make, message) => {
    const kernel = await file("good-image", kernelImage());
    const initrd = await file("initrd", make());
    expectComplaint(
      await hyperfile(["run", "--kernel", kernel, "--initrd", initrd, "--timeout", "5"]),
      1,
      message,
    );
  });

  it("larger than the memory, by holes of 3 GiB as well", async () => {
    const kernel = await file("good-image", kernelImage());
    const initrd = await file("initrd", "");
    for (const bytes of [(32 << 20) + 1, 3 * 2 ** 30]) {
      await truncate(initrd, bytes);
      expectComplaint(
        await hyperfile(["run", "--kernel", kernel, "--initrd", initrd, "--memory", "32M", "--timeout", "5"]),
        1,
        new RegExp(
          `initrd: it has ${bytes} bytes, and at most 33554432 are possible in a machine's memory\\n$`,
        ),
      );
    }
  });
});

describe("command lines", () => {
  it.each<[string[], RegExp]>([
    [["walk"], /unknown command 'walk'/],
    [["run", "--fast"], /unknown option '--fast'/],
    [["run", "--memory", "0"], /--memory.*number and a unit/],
    [["run", "--memory", "0M"], /--memory.*from 1M to 2G/],
    [["run", "--memory", "3"], /--memory.*number and a unit/],
    [["run", "--memory", "1G5"], /--memory.*number and a unit/],
    [["run", "--memory", "-1G"], /--memory.*number and a unit/],
    [["run", "--memory", "99999999999999G"], /--memory.*from 1M to 2G/],
    [["run", "--isa", "rv128"], /--isa.*rv128.*rv64gc, rv32gc/],
    [["run", "--tier", "foo"], /--tier.*foo.*Allowed choices/],
    [["run", "--verify-emitted", "never"], /--verify-emitted.*never.*Allowed choices/],
    [["run", "--timeout", "-1"], /--timeout.*positive number/],
    [["run", "--timeout", "0"], /--timeout.*positive number/],
    [["run", "--timeout", "1e99"], /--timeout.*positive number/],
    [["run", "--gdb", "99999"], /--gdb.*1 to 65535/],
    [["run", "--gdb", "0"], /--gdb.*1 to 65535/],
    [["explain", guest64, "--at", "0x1ffffffffffffffff"], /--at.*64 bits/],
    [["run", "--elf"], /--elf.*argument missing/],
  ])("%j", async (args, message) => {
    expectComplaint(await hyperfile(args), 2, message);
  });
});

it("a program that is not built says what builds it", async () => {
  const place = join(folder, "unbuilt", "bin");
  await mkdir(place, { recursive: true });
  await copyFile(program, join(place, "hyperfile.mjs"));
  const result = spawnSync(process.execPath, [join(place, "hyperfile.mjs"), "--help"], { encoding: "utf8" });
  expect([result.status, result.stdout, result.stderr]).toEqual([
    1,
    "",
    "hyperfile: the program is not built yet: run npm run setup in the checkout's folder first\n",
  ]);
});

describe("files and surroundings", () => {
  it("that are missing, folders, or empty", async () => {
    const empty = await file("empty", "");
    for (const flag of ["--elf", "--kernel", "--firmware"]) {
      expectComplaint(
        await hyperfile(["run", flag, join(folder, "none")]),
        1,
        /none: no such file or folder/,
      );
      expectComplaint(await hyperfile(["run", flag, folder]), 1, /can't read.*it is a folder/);
    }
    expectComplaint(await hyperfile(["run", "--elf", empty]), 1, /empty is empty/);
    expectComplaint(
      await hyperfile(["disasm", join(empty, "below")]),
      1,
      /a part of the path is not a folder/,
    );
  });

  it("a fifo, a device or a folder in place of a file is refused at once", async () => {
    const fifo = join(folder, "fifo");
    execFileSync("mkfifo", [fifo]);
    for (const flag of ["--elf", "--kernel", "--firmware"])
      for (const path of [fifo, "/dev/zero"])
        expectComplaint(await hyperfile(["run", flag, path]), 1, /can't read the .*: it is no regular file/);
    expectComplaint(await hyperfile(["up", fifo]), 1, /can't read the Hyperfile .*: it is no regular file/);
    expectComplaint(await hyperfile(["run", "--elf", folder]), 1, /it is a folder/);
    expectComplaint(await hyperfile(["top", fifo]), 1, /can't read the profile .*: it is no regular file/);
    expectComplaint(await hyperfile(["top", folder]), 1, /can't read the profile .*: it is a folder/);
    for (const [path, reason] of [
      [fifo, "it is no regular file"],
      ["/dev/zero", "it is no regular file"],
      [folder, "it is a folder"],
      [await file("keys", new Uint8Array(65_537)), "it has 65537 bytes, and at most 65536 are possible"],
    ] as const)
      expectComplaint(
        await hyperfile(["image", "build", "--ssh-key", path, "debian", join(folder, "debian.qcow2")]),
        1,
        new RegExp(`can't read the SSH key ${path}: ${reason}\\n$`),
      );
  });

  it("a fifo, a device or a folder in place of a file to write is refused before anything runs", async () => {
    const elf = await file("good.elf", good);
    const fifo = join(folder, "out");
    execFileSync("mkfifo", [fifo]);
    const commands: readonly (readonly [args: readonly string[], what: string])[] = [
      [["run", "--elf", elf, "--timeout", "5", "--stats"], "statistics"],
      [["run", "--elf", elf, "--timeout", "5", "--dump", "exit", "--dump-file"], "dump"],
      [["run", "--elf", elf, "--timeout", "5", "--profile"], "profile"],
      [["report"], "report"],
    ];
    for (const [args, what] of commands)
      for (const [path, reason] of [
        [fifo, "it is no regular file"],
        ["/dev/zero", "it is no regular file"],
        ["/dev/tty", "it is no regular file"],
        [folder, "it is a folder"],
      ] as const)
        expectComplaint(
          await hyperfile([...args, path]),
          1,
          new RegExp(`can't write the ${what} to ${path}: ${reason}\\n$`),
        );
    // One that somebody reads is none either.
    const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    for (const [args, what] of commands)
      expectComplaint(
        await hyperfile([...args, fifo]),
        1,
        new RegExp(`can't write the ${what} to .*: it is no regular file`),
      );
    closeSync(reader);
  }, 300_000);

  it("statistics that can't be written", async () => {
    const elf = await file("good.elf", good);
    for (const stats of [folder, join(folder, "none", "stats"), join(elf, "stats")]) {
      const result = await hyperfile(["run", "--elf", elf, "--stats", stats, "--timeout", "5"]);
      expectComplaint(result, 1, /can't write the statistics to /);
    }
  });

  it("a port that another program has", async () => {
    const elf = await file("good.elf", good);
    const result = await hyperfile(["run", "--elf", elf, "--gdb", String(takenPort), "--timeout", "5"]);
    expectComplaint(result, 1, new RegExp(`port ${takenPort}.*choose another`));
  });

  it("a cache folder that can't be made", async () => {
    const inTheWay = join(folder, "cache");
    await mkdir(inTheWay);
    await writeFile(join(inTheWay, "hyperfile"), "a file");
    const result = await hyperfile(["start", "--timeout", "5"], { XDG_CACHE_HOME: inTheWay });
    expectComplaint(result, 1, /cache.*hyperfile/);
  });
});

describe("guests", () => {
  it("that meet an illegal instruction without a handler are reported with place and disassembly", async () => {
    const elf = await file("illegal.elf", elfOf({ gpa: START, words: [NOP, 0xffffffff] }));
    const result = await hyperfile(["run", "--elf", elf]);
    expectComplaint(result, 1, /illegal instruction at 0x80000004 .*\.4byte 0xffffffff/);
  });

  it("that load from nowhere are reported with place, address and disassembly", async () => {
    // lui t0, 0x1; ld t1, 8(t0)
    const elf = await file("nowhere.elf", elfOf({ gpa: START, words: [0x000012b7, 0x0082b303] }));
    const result = await hyperfile(["run", "--elf", elf]);
    expectComplaint(result, 1, /load access fault at 0x80000004 \(value 0x1008: ld t1,8\(t0\)\)/);
  });

  it.each<[string, number[]]>([
    ["in one instruction", [SPIN]],
    // auipc t0, 0; addi t0, t0, 12; csrw mtvec, t0; .4byte 0
    ["in a handler that faults at its first instruction", [0x00000297, 0x00c28293, 0x30529073, 0]],
    // wfi; j .-4
    ["waiting for an interrupt that never comes", [0x10500073, 0xffdff06f]],
  ])("that loop for ever %s end at the time limit", async (_, words) => {
    const elf = await file("loop.elf", elfOf({ gpa: START, words }));
    expectComplaint(
      await hyperfile(["run", "--elf", elf, "--timeout", "0.5"]),
      124,
      /stopped after 0.5 seconds/,
    );
  });

  it("are cut off at any of many places without a hang", async () => {
    const bytes = await readFile(guest64);
    for (const part of [0.1, 0.5, 0.9]) {
      const path = await file("guest.elf", bytes.subarray(0, Math.floor(bytes.length * part)));
      expectComplaint(
        await hyperfile(["run", "--kernel", path, "--timeout", "5"]),
        1,
        /guest\.elf.*truncated or damaged/,
      );
    }
  });
});
