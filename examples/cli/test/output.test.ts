/** The built program with outputs that fail: a full device, a file that may not grow, a reader that goes away. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { assemble } from "@hyperfile/decoder";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { elfOf } from "./elf-file.js";

const program = fileURLToPath(new URL("../bin/hyperfile.mjs", import.meta.url));
const guest = fileURLToPath(new URL("../../guest/bin/guest64.elf", import.meta.url));
const HANG_MILLISECONDS = 60_000;
const START = 0x80000000;
const [UART, FINISHER] = ["0x10000000", "0x100000"];

/** A program that prints lines: so many, and ends with status 7; or without end. */
function printer(lines: number | undefined): Uint8Array {
  const { bytes } = assemble(
    `li s0, ${UART}
     li s1, ${lines ?? 1}
  1: li a0, 121
     sb a0, 0(s0)
     li a0, 10
     sb a0, 0(s0)
     ${lines === undefined ? "" : "addi s1, s1, -1"}
     bnez s1, 1b
     li a1, ${FINISHER}
     li a0, ${(7 << 16) | 0x3333}
     sw a0, 0(a1)
     j .`,
    { xlen: 64, origin: START },
  );
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  const words = [...new Uint32Array(padded.buffer)];
  return elfOf({ gpa: START, words });
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-output-"));
  await writeFile(join(folder, "some.elf"), printer(100));
  await writeFile(join(folder, "endless.elf"), printer(undefined));
});
afterAll(() => rm(folder, { recursive: true }));

interface Result {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs a line of the shell in which `hyperfile` is the program; its status is that of the first of the pipe. */
function shell(line: string): Promise<Result> {
  const text = `hyperfile() { "${process.execPath}" "${program}" "$@"; }\n${line}\nexit \${PIPESTATUS[0]}\n`;
  return new Promise((resolve, reject) => {
    const child = spawn("bash", ["-c", text], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: HANG_MILLISECONDS,
      killSignal: "SIGKILL",
      env: { ...process.env, HYPERFILE_STATE: join(folder, "state") },
    });
    let [output, errors] = ["", ""];
    child.stdout.on("data", (part) => (output += part));
    child.stderr.on("data", (part) => (errors += part));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output, errors }));
  });
}

const full = "hyperfile: can't write standard output: no space left on the device; part of it is lost\n";

describe.skipIf(!existsSync("/dev/full"))(
  "a full device is one line and a status",
  { timeout: 90_000 },
  () => {
    it.each([
      ["help", "--help"],
      ["help of a command", "run --help"],
      ["the version", "--version"],
      ["assembly", `disasm ${guest}`],
      ["an explanation", `explain ${guest}`],
      ["the schema", "schema"],
      ["the console of a program that ends", "run --elf some.elf"],
      ["the console of a program without end", "run --elf endless.elf"],
    ])("for %s", async (_, command) => {
      expect(await shell(`hyperfile ${command} > /dev/full`)).toEqual({
        status: 1,
        output: "",
        errors: full,
      });
    });

    it.each([
      ["statistics", "--stats", /can't write the statistics to \/dev\/full: it is no regular file/],
      ["a dump", "--dump exit --dump-file", /can't write the dump to \/dev\/full: it is no regular file/],
      ["a profile", "--profile", /can't write the profile to \/dev\/full: it is no regular file/],
    ])("for %s, which are files", async (_, flag, message) => {
      const { status, errors } = await shell(`hyperfile run --elf some.elf ${flag} /dev/full`);
      expect(errors).toMatch(message);
      expect(errors.trim().split("\n")).toHaveLength(1);
      expect(status).toBe(1);
      // As root, a file renamed to it would take the place of the device.
      expect((await stat("/dev/full")).isCharacterDevice()).toBe(true);
      expect((await stat("/dev/full")).isCharacterDevice()).toBe(true);
    });

    it("for messages", async () => {
      expect((await shell("hyperfile run --elf some.elf --dump exit 2> /dev/full")).status).toBe(1);
    });
  },
);

it("a file that may not grow is no success, although a part of the write was taken", {
  timeout: 90_000,
}, async () => {
  const { status, errors } = await shell(`(ulimit -f 8; hyperfile disasm ${guest} > listing)`);
  expect(errors).toBe(
    "hyperfile: can't write standard output: the file would be larger than is allowed; part of it is lost\n",
  );
  expect(status).toBe(1);
  expect((await stat(join(folder, "listing"))).size).toBe(8192);
});

it.each([
  ["statistics", "--stats", "can't write the statistics to place: the file would be larger than is allowed"],
  [
    "a dump",
    "--dump exit --dump-file",
    "can't write the dump to place: the file would be larger than is allowed",
  ],
  ["a profile", "--profile", "can't write the profile to place: the file would be larger than is allowed"],
])("%s that can't be written whole are no success", { timeout: 90_000 }, async (_, flag, message) => {
  const { status, errors } = await shell(`(ulimit -f 0; hyperfile run --elf some.elf ${flag} place)`);
  expect(errors).toBe(`hyperfile: ${message}\n`);
  expect(status).toBe(1);
});

describe("a reader that goes away is quiet", { timeout: 90_000 }, () => {
  it.each([
    ["the program it stopped", "run --elf endless.elf", "y\n"],
    ["a command", `disasm ${guest}`, /^80200000: .*\n$/],
  ])("and ends %s with the status of a closed pipe", async (_, command, first) => {
    const { status, output, errors } = await shell(`hyperfile ${command} | head -1`);
    expect({ status, errors }).toEqual({ status: 141, errors: "" });
    expect(output).toMatch(first);
  });

  it("and leaves a guest that had ended its status", async () => {
    // The reader goes only after it has seen the end.
    const { status, errors } = await shell("hyperfile run --elf some.elf | (head -c 200 > /dev/null)");
    expect({ status, errors }).toEqual({ status: 7, errors: "" });
  });
});

it("all that was written is there", { timeout: 90_000 }, async () => {
  expect(await shell("hyperfile run --elf some.elf > lines")).toEqual({ status: 7, output: "", errors: "" });
  expect(await readFile(join(folder, "lines"), "utf8")).toBe("y\n".repeat(100));
});
