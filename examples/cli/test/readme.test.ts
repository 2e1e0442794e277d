/**
 * Every command of every README is run as it stands there, with the embedded guest where the reader would have a kernel of
 * his own, or has a reason here why it can't be.
 */
import { spawn } from "node:child_process";
import { copyFile, cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { assemble } from "@hyperfile/decoder";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { elfOf } from "./elf-file.js";
import { commandsIn, readmes, root } from "./readme-commands.js";

/** Commands that are not run, with the reason. */
const notRun: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/^npm (start|test|install)\b/, "fetches packages, or is the run of the tests itself"],
  [
    /^(npm run bench|node packages\/broker\/bench\/)/,
    "measures for minutes; the experiments have runs of their own",
  ],
  [/^node examples\/(clones|side-by-side)\//, "needs Debian's packages"],
  [
    /^npm run web\b/,
    "serves until it is ended; examples/web/test/serve.test.ts starts it and asks for the page",
  ],
  [/^node examples\/soak\//, "takes two hours"],
  [/^qemu-system-riscv64 /, "stays on the terminal; examples/guest/test/qemu.test.ts boots the guest there"],
  [
    /^make -C examples\/guest$/,
    "needs a compiler for RISC-V; examples/guest/test/build.test.ts compares what it makes",
  ],
  [/^MOS6502_STEPS=/, "is a long run of a test"],
  [/hyperfile console /, "stays on the terminal"],
  [/--firmware fw_dynamic.bin/, "needs a build of OpenSBI"],
  [/--gdb /, "waits for a debugger"],
  [/--symbols System.map$/, "follows the run of a kernel of the reader's"],
  [/--at 0xffffffff80a01234$/, "names an address of that kernel"],
];

/** READMEs of programs that need Debian's packages. */
const needDebian: ReadonlySet<string> = new Set([
  "examples/clones/README.md",
  "examples/side-by-side/README.md",
]);

let folder: string;
const statuses = new Map<string, number>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-readme-"));
  const { bytes } = assemble(
    `li a1, 0x100000
     li a0, 0x5555
     sw a0, 0(a1)
     j .`,
    { xlen: 64, origin: 0x80000000 },
  );
  const words = new Uint32Array(0x400);
  new Uint8Array(words.buffer).set(bytes);
  // The READMEs look at code at 0x80000260.
  words.fill(0x13, 0x260 / 4, 0x260 / 4 + 16);
  words[0x260 / 4 + 16] = 0x6f;
  await writeFile(join(folder, "program.elf"), elfOf({ gpa: 0x80000000, words: [...words] }));
  await copyFile(join(root, "examples/guest/bin/guest64.elf"), join(folder, "Image"));
  await writeFile(join(folder, "initramfs.cpio"), "070701");
  await mkdir(join(folder, "examples"));
  await cp(join(root, "examples/fleet"), join(folder, "examples/fleet"), { recursive: true });
  for (const name of ["disk", "sandbox", "bench", "guest"])
    await symlink(join(root, "examples", name), join(folder, "examples", name));
});
afterAll(async () => {
  await shell("hyperfile down fleet --force --daemon", folder);
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** Runs a line as a reader's shell would; the embedded guest gets commands, ends, and stands for every kernel. */
function shell(line: string, cwd: string): Promise<{ status: number | null; output: string }> {
  const program = `"${process.execPath}" "${join(root, "examples/cli/bin/hyperfile.mjs")}"`;
  const text = `npx() { shift; ${program} "$@"; }\nhyperfile() { ${program} "$@"; }\n${line}\n`;
  return new Promise((resolve, reject) => {
    const child = spawn("bash", ["-c", text], {
      cwd,
      stdio: ["pipe", "pipe", "pipe"],
      timeout: 120_000,
      killSignal: "SIGKILL",
      env: { ...process.env, HYPERFILE_STATE: join(folder, "state"), HYPERFILE_SOCKET: undefined },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => (output += part));
    child.stdin.on("error", () => {});
    child.stdin.end("poweroff\n");
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output }));
  });
}

describe.each(readmes().filter((file) => commandsIn(file).length > 0))("%s", (file) => {
  const commands = commandsIn(file);
  it("has commands that end with 0", { timeout: 300_000 }, async () => {
    let at = file === "README.md" ? folder : join(folder, dirname(file));
    for (const { command } of commands) {
      if (command.startsWith("cd ")) {
        at = join(at, command.slice(3));
        continue;
      }
      if (needDebian.has(file) || notRun.some(([pattern]) => pattern.test(command))) continue;
      // The initial file system of a kernel of the reader's is none of the embedded guest's.
      const line = command.replace(" --initrd initramfs.cpio", "");
      const inFleet = /hyperfile (up|exec|set|snapshot|clone|report|down)\b/.test(line);
      const { status, output } = await shell(line, inFleet ? at : folder);
      statuses.set(command, status ?? -1);
      expect(`${command}: ${status} ${status === 0 ? "" : output}`).toBe(`${command}: 0 `);
    }
  });
});

it("every reason is one that a README needs", () => {
  const all = readmes().flatMap(commandsIn);
  expect(statuses.size).toBeGreaterThan(10);
  for (const [pattern] of notRun) expect(all.filter(({ command }) => pattern.test(command))).not.toEqual([]);
});
