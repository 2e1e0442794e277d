/** Commands that wait for others, through the built program: they say for what, and who gives up leaves nothing behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { OwnDaemon, program } from "./own-daemon.js";

let folder: string;
let daemon: OwnDaemon;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-wait-"));
  await mkdir(join(folder, "state"));
  daemon = await OwnDaemon.start(folder, join(folder, "state"));
});
afterAll(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

const hyperfile = (vms: string): Promise<void> =>
  writeFile(join(folder, "Hyperfile"), `name: shop\nvms: { ${vms} }\n`);

/** A command that goes on, with all that it says. */
class Running {
  output = "";
  errors = "";
  readonly ended: Promise<number | string | null>;
  private readonly child: ChildProcess;

  constructor(...args: string[]) {
    this.child = spawn(process.execPath, [program, ...args], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_PATH: undefined, ...daemon.variables },
    });
    this.child.stdout!.on("data", (part) => (this.output += part));
    this.child.stderr!.on("data", (part) => (this.errors += part));
    this.ended = new Promise((resolve) => {
      this.child.on("close", (status, signal) => resolve(signal ?? status));
    });
  }

  interrupt(): void {
    this.child.kill("SIGINT");
  }

  async untilSaid(what: RegExp): Promise<void> {
    while (!what.test(this.errors)) await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

it("up says what it waits for, gives up its turn with its client, and down ends what is being provisioned", async () => {
  await hyperfile('a: { kernel: embedded, memory: 32M, provision: ["sleep 9999"] }');
  const first = new Running("up");
  const provisioning = /^hyperfile: waiting for VM a: provisioning: "sleep 9999", for \d+ s so far$/m;
  await first.untilSaid(provisioning);
  // A changed file waits for its turn; whoever wanted that goes.
  await hyperfile("a: { kernel: embedded, memory: 32M }, b: { kernel: embedded, memory: 32M }");
  const second = new Running("up");
  await second.untilSaid(provisioning);
  second.interrupt();
  expect(await second.ended).toBe("SIGINT");
  const started = await daemon.run("start", "a");
  expect(started.errors).toBe("hyperfile: can't start VM a: it is running\n");
  expect(await daemon.run("down")).toEqual({ status: 0, output: "a stopped\n", errors: "" });
  expect(await first.ended).toBe(1);
  expect(first.errors.split("\n").slice(-2)).toEqual(["hyperfile: project shop is being taken down", ""]);
  expect((await daemon.run("ps", "--json")).output).toBe("[]\n");
}, 120_000);

it("exec says what it waits for, and Ctrl-C gives the command in the guest up", async () => {
  await hyperfile("a: { kernel: embedded, memory: 32M }");
  expect((await daemon.run("up")).errors).toBe("");
  const first = new Running("exec", "--timeout", "600", "a", "sleep", "9999");
  while (!(await daemon.run("logs", "a")).output.includes("sleep 9999"));
  const second = new Running("exec", "--timeout", "600", "a", "echo", "second");
  await second.untilSaid(/^hyperfile: waiting for VM a: command: "sleep 9999", for \d+ s so far$/m);
  const third = new Running("exec", "--timeout", "600", "a", "echo", "third");
  await third.untilSaid(/waiting for VM a: command: "sleep 9999"/);
  third.interrupt();
  expect(await third.ended).toBe("SIGINT");
  first.interrupt();
  expect(await first.ended).toBe("SIGINT");
  expect([await second.ended, second.output]).toEqual([0, "second\n"]);
  expect((await daemon.run("exec", "a", "echo", "fourth")).output).toBe("fourth\n");
  expect((await daemon.run("logs", "a")).output).not.toContain("echo third");
  expect((await daemon.run("down", "--force")).errors).toBe("");
}, 120_000);
