/**
 * `hyperfile capture` as its user has it, with guests that have no network of their own: what the gateway sends for a forward
 * of the host's passes the switch.
 */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { readPcapng } from "../../../packages/devices/test/pcapng-reader.js";
import { OwnDaemon, program, type RunResult, runToEnd } from "./own-daemon.js";

let folder: string;
let daemon: OwnDaemon;
let port: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-capture-"));
  await mkdir(join(folder, "state"));
  daemon = await OwnDaemon.start(folder, join(folder, "state"));
  await writeFile(
    join(folder, "Hyperfile"),
    `name: nets
networks: { lan: , back: { kind: isolated } }
vms:
  web: { kernel: embedded, memory: 32M, nics: [{ network: lan, forwards: ["0:80"] }] }
  db: { kernel: embedded, memory: 32M, nics: [back] }
  off: { kernel: embedded, memory: 32M, nics: [lan], autostart: false }
`,
  );
  expect(await daemon.run("up")).toMatchObject({ status: 0, errors: "" });
  port = Number((await daemon.run("forward", "web")).output.split(":")[1]);
});
afterAll(async () => {
  await daemon.end();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** The gateway asks for the guest's address when somebody calls. */
const call = (): void => {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  setTimeout(() => socket.destroy(), 200);
};

/** Calls while a capture goes on. */
async function whileCalling(run: Promise<RunResult>): Promise<RunResult> {
  const timer = setInterval(call, 50);
  try {
    return await run;
  } finally {
    clearInterval(timer);
  }
}

it("writes what passes to a file that ends by its time, its size or Ctrl-C and is whole each time", async () => {
  const timed = await whileCalling(daemon.run("capture", "lan", "timed.pcapng", "--seconds", "2"));
  expect(timed).toMatchObject({ status: 0, output: "" });
  const bytes = await readFile(join(folder, "timed.pcapng"));
  const { interfaces, packets, statistics } = readPcapng(bytes);
  expect(timed.errors).toBe(
    `hyperfile: capturing lan to timed.pcapng; Ctrl-C ends\nhyperfile: timed.pcapng: ${packets.length} frames, ${bytes.length} bytes\n`,
  );
  expect(interfaces.map(({ name, link, resolution }) => [name, link, resolution])).toEqual([
    ["(gateway)", 1, 9],
  ]);
  expect(packets.length).toBeGreaterThan(1);
  // ARP, or TCP over IPv4.
  expect(packets.every((each) => each.bytes[12] === 8 && each.direction === "outbound")).toBe(true);
  const seconds = Number(packets.at(-1)!.time / 1_000_000_000n);
  expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(60);
  expect(statistics).toEqual([{ on: "(gateway)", received: packets.length, dropped: 0 }]);
  expect((await stat(join(folder, "timed.pcapng"))).mode & 0o777).toBe(0o600);

  const sized = await whileCalling(
    daemon.run("capture", "nets/lan", "sized.pcapng", "--vm", "web", "--bytes", "1K", "--snaplen", "20"),
  );
  expect(sized.status).toBe(0);
  const small = await readFile(join(folder, "sized.pcapng"));
  expect(small.length).toBeLessThanOrEqual(1024);
  const own = readPcapng(small);
  expect(own.interfaces.map(({ name, snapLength }) => [name, snapLength])).toEqual([["web", 20]]);
  expect(own.packets.every((each) => each.bytes.length === 20 && each.direction === "inbound")).toBe(true);
  expect(own.packets.length).toBeGreaterThan(4);

  // To a pipe, until Ctrl-C.
  const child = spawn(process.execPath, [program, "capture", "lan", "-"], {
    ...{
      cwd: folder,
      env: { ...process.env, NODE_PATH: undefined, ...daemon.variables } as NodeJS.ProcessEnv,
    },
  });
  const parts: Buffer[] = [];
  child.stdout.on("data", (part: Buffer) => parts.push(part));
  const timer = setInterval(call, 50);
  await vi.waitFor(() => expect(Buffer.concat(parts).length).toBeGreaterThan(400), { timeout: 30_000 });
  clearInterval(timer);
  child.kill("SIGINT");
  expect(await new Promise((resolve) => child.on("close", resolve))).toBe(0);
  const piped = readPcapng(Buffer.concat(parts));
  expect(piped.statistics).toEqual([{ on: "(gateway)", received: piped.packets.length, dropped: 0 }]);
}, 120_000);

it("says in a line what is in the way, and keeps what others have", async () => {
  await writeFile(join(folder, "there"), "mine");
  const refusals: [args: string[], line: string][] = [
    [["lna", "x"], "there is no network lna; did you mean lan?"],
    [["lan", "x", "--vm", "db"], "VM db is not in network nets/lan: its cards are in back"],
    [["lan", "x", "--vm", "off"], "VM off is off: start it first"],
    [
      ["lan", "there"],
      "can't write the capture to there: a file is in the way; choose another name, or remove it",
    ],
    [["lan", "no/x"], "can't write the capture to no/x: no such file or folder"],
    [["lan", "x", "--snaplen", "0"], "Give 1 to 262144 bytes"],
    [["lan", "x", "--bytes", "10"], "Give a number and a unit, such as 100M, of at least 1K"],
  ];
  for (const [args, line] of refusals) {
    const { status, errors } = await daemon.run("capture", ...args);
    expect([status, errors.trimEnd().split("\n").length]).toEqual([args[2]?.match(/snap|bytes/) ? 2 : 1, 1]);
    expect(errors).toContain(line);
  }
  expect(await readFile(join(folder, "there"), "utf8")).toBe("mine");
  await expect(stat(join(folder, "x"))).rejects.toThrow("ENOENT");
}, 120_000);

it("leaves a whole file where there is no more room, and where the network ends", async () => {
  // A file that may not be larger, as on a disk that is full.
  const full = await whileCalling(
    runToEnd(["prlimit", "--fsize=1000", process.execPath, program, "capture", "lan", "full.pcapng"], {
      cwd: folder,
      variables: daemon.variables,
    }),
  );
  expect(full.status).toBe(1);
  const bytes = await readFile(join(folder, "full.pcapng"));
  expect(full.errors.trimEnd().split("\n").at(-1)).toMatch(
    new RegExp(
      `^hyperfile: can't write full.pcapng any further: .*; it has what came until then, ${bytes.length} bytes$`,
    ),
  );
  expect(readPcapng(bytes).packets.length).toBeGreaterThan(2);

  const ending = daemon.run("capture", "back", "back.pcapng");
  await vi.waitFor(() => stat(join(folder, "back.pcapng")), { timeout: 30_000 });
  expect((await daemon.run("stop", "db", "--force")).errors).toBe("");
  const { status, errors } = await ending;
  expect([status, errors.split("\n").at(-2)]).toEqual([0, "hyperfile: no VM of back is up any more"]);
  readPcapng(await readFile(join(folder, "back.pcapng")));
  expect((await daemon.run("capture", "back", "again.pcapng")).errors).toBe(
    "hyperfile: no VM of network nets/back is up: start one first\n",
  );
}, 120_000);
