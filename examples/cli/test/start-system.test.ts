/**
 * `hyperfile start debian` through the program, with an image that somebody else has built and machines that only read and
 * write their disk: whose disk it is, what it keeps, and what it does beside a daemon that has a VM of that name.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ImageLock, openStore } from "@hyperfile/devices/node";
import type { Drive } from "@hyperfile/machine";
import { DebianError, type DebianGuest } from "@hyperfile/machine/debian";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import type { MachineOptions } from "../src/machine-types.js";
import { type ProgramSurroundings, runProgram } from "../src/program.js";
import { FakeInput, FakeMachine, FakeOutput } from "./streams.js";

const BYTES = 512 << 20;
/** Where the tests look at the disk, and what the image has there. */
const [AT, BUILT] = [300 << 20, 7];

let folder: string;
const at = (name: string) => join(folder, name);
const disk = () => at("state/systems/debian/disk.qcow2");
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-system-"));
  await mkdir(at("cache"));
  const store = openStore(at("cache"));
  await store.create("built", { size: BYTES });
  const image = await store.open("built", { isWritable: true });
  await image.write(AT, [new Uint8Array(4096).fill(BUILT)]);
  await image.close();
  await writeFile(at("file"), "not empty");
});
afterEach(() => rm(folder, { recursive: true }));

const byteAt = async ({ disk }: Drive): Promise<number> => {
  const bytes = new Uint8Array(1);
  await disk.read(AT, [bytes]);
  return bytes[0]!;
};

/** Runs the program; its machine does `use` with its disks, and then turns itself off. */
async function start(
  args: string[],
  use: (drives: readonly Drive[]) => Promise<void> = async () => {},
  other: Partial<ProgramSurroundings> = {},
) {
  let [errors, builds] = ["", 0];
  const machines: MachineOptions[] = [];
  const guest: DebianGuest = { kernel: at("file"), initrd: at("file"), release: "6.12", cached: true };
  const surroundings: ProgramSurroundings = {
    version: "0",
    write: () => {},
    streams: { input: new FakeInput(false), output: new FakeOutput(), error: (text) => (errors += text) },
    environment: { HYPERFILE_STATE: at("state") },
    prepare: async () => guest,
    buildImage: async () => {
      builds++;
      return { store: at("cache"), name: "built", guest, packages: [], cached: false };
    },
    machine: async () => ({
      createMachine: async (options) => {
        machines.push(options);
        const machine = new FakeMachine(options);
        void use(options.drives ?? []).then(() => machine.end({ kind: "off", status: 0 }));
        return machine;
      },
      explain: () => {
        throw new Error("not asked for");
      },
      disassemble: () => [],
    }),
    ...other,
  };
  const status = await runProgram(["start", ...args], surroundings);
  return { status, errors, builds, machines };
}

const write =
  (value: number) =>
  async ([drive]: readonly Drive[]) => {
    await drive!.disk.write(AT, [new Uint8Array([value])]);
    await drive!.disk.flush();
  };

describe("the whole system", () => {
  it("boots from a disk of its own, which is made from the image that was built", async () => {
    let seen: unknown[] = [];
    const { status, errors, builds, machines } = await start(["debian"], async (drives) => {
      seen = [drives.length, drives[0]!.isReadOnly ?? false, drives[0]!.disk.size, await byteAt(drives[0]!)];
    });
    expect([status, builds, seen]).toEqual([0, 1, [1, false, BYTES, BUILT]]);
    expect(machines[0]).toMatchObject({ memoryBytes: 2 ** 30, append: "console=ttyS0 root=/dev/vda" });
    expect(errors).toContain(
      `hyperfile: Debian's disk is ${disk()}; hyperfile start debian --reset begins with a new one\n`,
    );
  });

  it("keeps what it has written, also without the cache, and is built once", async () => {
    expect((await start(["debian"], write(8))).builds).toBe(1);
    await rm(at("cache"), { recursive: true });
    let seen = 0;
    const { status, builds } = await start(["debian"], async ([drive]) => {
      seen = await byteAt(drive!);
    });
    expect([status, builds, seen]).toEqual([0, 0, 8]);
  });

  it("begins with a new disk when it is told so, from the image that it has", async () => {
    await start(["debian"], write(8));
    let seen = 0;
    const { status, builds } = await start(["debian", "--reset"], async ([drive]) => {
      seen = await byteAt(drive!);
    });
    expect([status, builds, seen]).toEqual([0, 0, BUILT]);
  });

  it("takes the options of the machine, and further disks behind its own", async () => {
    await writeFile(at("second.raw"), Buffer.alloc(4096, 9));
    const drive = `file=${at("second.raw")},format=raw,readonly`;
    const { machines } = await start(["debian", "--memory", "512M", "--append", "quiet", "--drive", drive]);
    expect(machines[0]).toMatchObject({
      memoryBytes: 2 ** 29,
      append: "console=ttyS0 root=/dev/vda quiet",
    });
    expect(machines[0]!.drives!.map(({ isReadOnly }) => isReadOnly)).toEqual([false, true]);
  });

  it("is handed piped input once it asks who is there", async () => {
    const input = new FakeInput(false);
    let received: string[] = [];
    let machine!: FakeMachine;
    await start(["debian"], undefined, {
      streams: { input, output: new FakeOutput(), error: () => {} },
      machine: async () => ({
        createMachine: async (options) => {
          machine = new FakeMachine(options);
          setImmediate(() => {
            const print = (text: string) => options.console.write(new TextEncoder().encode(text));
            input.emit("data", new TextEncoder().encode("root\n"));
            print("[  OK  ] Started systemd-logind.service - User Login Management.\r\n");
            received = [machine.received];
            print("debian login: ");
            received.push(machine.received);
            machine.end({ kind: "off", status: 0 });
          });
          return machine;
        },
        explain: () => {
          throw new Error("not asked for");
        },
        disassemble: () => [],
      }),
    });
    expect(received).toEqual(["", "root\n"]);
  });
});

describe("what keeps it from starting is one line", () => {
  it("a build that fails leaves no disk", async () => {
    const fail = async () => {
      throw new DebianError("E_NETWORK", "can't reach the Debian archive: no route");
    };
    const { status, errors, machines } = await start(["debian"], undefined, { buildImage: fail });
    expect([status, errors, machines]).toEqual([
      1,
      "hyperfile: can't reach the Debian archive: no route\n",
      [],
    ]);
    expect(existsSync(disk())).toBe(false);
    expect((await start(["debian"])).status).toBe(0);
  });

  it("a disk that is in use is neither started from nor thrown away", async () => {
    await start(["debian"], write(8));
    const before = await readFile(disk());
    const lock = await ImageLock.take(disk());
    onTestFinished(() => lock.release());
    for (const args of [["debian"], ["debian", "--reset"]]) {
      const { status, errors, machines } = await start(args);
      expect([status, machines]).toEqual([1, []]);
      expect(errors.trimEnd().split("\n").at(-1)).toMatch(/disk\.qcow2: process \d+ writes the image/);
    }
    expect((await readFile(disk())).equals(before)).toBe(true);
  });

  it("a folder that can't be written, or is none", async () => {
    await writeFile(at("state"), "");
    const { status, errors } = await start(["debian"]);
    expect(status).toBe(1);
    expect(errors).toMatch(
      /^hyperfile: can't write the folder [^\n]*state\/systems\/debian\/store: [^\n]+\n$/,
    );
  });

  it.each([
    [["debian", "--embedded"], "the embedded guest is no system"],
    [["--reset"], "--reset is for a system's disk: hyperfile start debian --reset"],
    [["debian", ..."123456".split("").flatMap((n) => ["--drive", `file=${n}`])], "a machine takes 5 drives"],
  ])("%j", async (args, message) => {
    const { status, errors, machines } = await start(args);
    expect([status, machines]).toEqual([2, []]);
    expect(errors).toMatch(/^hyperfile: [^\n]*\n$/);
    expect(errors).toContain(message);
  });
});

describe("a daemon that answers", () => {
  const daemon = async (names: string[]) => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`);
      response.end(JSON.stringify(request.url === "/v1/vms" ? names.map((name) => ({ name })) : {}));
    });
    await mkdir(at("state"), { recursive: true });
    await new Promise<void>((resolve) => server.listen(at("state/daemon.sock"), resolve));
    onTestFinished(() => void server.close());
    return asked;
  };

  it("starts its VM where it has one of that name", async () => {
    const asked = await daemon(["web", "debian"]);
    const { status, machines, builds } = await start(["debian"]);
    expect([status, machines, builds]).toEqual([0, [], 0]);
    expect(asked).toEqual(["GET /v1/vms", "POST /v1/vms/debian/start"]);
  });

  it("keeps no other system from starting", async () => {
    const asked = await daemon(["web"]);
    const { status, machines } = await start(["debian"]);
    expect([status, machines.length, asked]).toEqual([0, 1, ["GET /v1/vms"]]);
    expect((await stat(disk())).size).toBeGreaterThan(0);
  });

  it("is not told to throw away the disk of a VM", async () => {
    const asked = await daemon(["debian"]);
    const { status, errors } = await start(["debian", "--reset"]);
    expect([status, asked]).toEqual([2, ["GET /v1/vms"]]);
    expect(errors).toBe(
      "hyperfile: debian is a VM of the daemon's, whose disks --reset leaves alone: leave it out, or hyperfile rm debian first\n",
    );
  });
});
