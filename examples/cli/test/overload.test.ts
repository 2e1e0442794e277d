/** VMs that ask for more than the host has to give, against the built program: output without end, and memory without swap space. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assemble } from "@hyperfile/decoder";
import { afterEach, beforeEach, expect, it } from "vitest";
import { buildElf } from "../../../packages/devices/test/images.js";
import { OwnDaemon } from "./own-daemon.js";

const KERNEL = 0x80200000;
/** Writes 4 KiB to the debug console of the SBI (chapter 12), again and again. */
const FLOODS = `
1: li a7, 0x4442434e
   li a6, 0
   li a0, 4096
   li a1, ${KERNEL}
   li a2, 0
   ecall
   j 1b`;
const MEBIBYTE = 2 ** 20;

let folder: string;
let daemon: OwnDaemon | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-overload-"));
  await mkdir(join(folder, "state"));
});
afterEach(async () => {
  await daemon?.end();
  daemon = undefined;
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** Bytes that a process holds of the host's memory. */
const residentOf = async (pid: number): Promise<number> =>
  1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))![1]);

it("a guest that prints without end, limited and heard by nobody, costs a fixed amount, and ends as others do", async () => {
  const { bytes } = assemble(FLOODS, { xlen: 64, origin: KERNEL });
  await writeFile(join(folder, "floods.elf"), buildElf({ segments: [{ gpa: KERNEL, bytes }] }));
  await writeFile(
    join(folder, "Hyperfile"),
    "name: one\nvms: { a: { kernel: ./floods.elf, memory: 16M, cpu: { limit: 0.2 }, console: { log: 1M } } }\n",
  );
  daemon = await OwnDaemon.start(folder, join(folder, "state"));
  expect((await daemon.run("up")).errors).toBe("");
  const printed = async () => (await daemon!.run("logs", "a", "--bytes", "1000000")).output.length;
  while ((await printed()) < 500_000) await wait(100);
  const before = await residentOf(daemon.pid);
  for (let look = 0; look < 5; look++) {
    await wait(1000);
    expect((await daemon.run("ps")).output).toMatch(/^a .* running /m);
  }
  expect((await residentOf(daemon.pid)) - before).toBeLessThan(150 * MEBIBYTE);
  expect((await daemon.run("stop", "a", "--force")).errors).toBe("");
  daemon.signal("SIGTERM");
  expect(await daemon.ended, daemon.told).toBe(0);
});

it("VMs with more memory than there is go on where no swap file can be made", async () => {
  const state = join(folder, "state");
  await writeFile(
    join(folder, "Hyperfile"),
    "name: one\nvms: { a: { kernel: embedded, memory: 48M }, b: { kernel: embedded, memory: 48M } }\n",
  );
  daemon = await OwnDaemon.start(folder, state, { args: ["--guest-memory", "48M"] });
  expect((await daemon.run("up")).errors).toBe("");
  // The daemon makes the folder anew, perhaps between the two.
  const putInTheWay = async () => {
    await rm(state, { recursive: true, force: true });
    return writeFile(state, "in the way");
  };
  const isInTheWay = () =>
    putInTheWay().then(
      () => true,
      () => false,
    );
  while (!(await isInTheWay()));
  expect((await daemon.run("exec", "a", "touch", "40000")).output).toMatch(/40000/);
  // The second one finds no memory: it waits, and ends in the end, with a line that says why. Nobody else is hurt.
  await daemon.run("exec", "--timeout", "10", "b", "touch", "40000");
  const { output } = await daemon.run("ps");
  expect(output).toMatch(/^a .* running /m);
  expect(output).toMatch(/^b .* (running|crashed .*no memory is left for VM b, .*: give VMs more memory)/m);
  expect((await daemon.run("stop", "b", "--force")).errors).toBe("");
  expect((await daemon.run("exec", "a", "echo", "well")).output).toBe("well\n");
  expect((await daemon.run("events")).output).not.toMatch(/vm\.crashed a\b/);
});
