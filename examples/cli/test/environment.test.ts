/**
 * The built program in surroundings that are bad: state folders on disks that are full, read-only or gone, few file
 * descriptors, no shared memory, no network. Each is one line and a status, and VMs that run go on.
 *
 * Disks are small file systems in memory where this process may mount; elsewhere limits and permissions stand for them,
 * so that no test is left out.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rename, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { writePrepared } from "../../../packages/machine/src/debian/node/cache.js";
import { OwnDaemon, program, type RunResult, runToEnd, type Variables } from "./own-daemon.js";

/** Runs a tool of the host's; gives whether it was successful. */
function tool(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

let folder: string;
let state: string;
let canMount = false;
let daemon: OwnDaemon | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-env-"));
  const place = join(folder, "try");
  await mkdir(place);
  canMount = tool("mount", "-t", "tmpfs", "-o", "size=64k", "none", place);
  if (canMount) tool("umount", "-l", place);
  await writeFile(join(folder, "Hyperfile"), "name: one\nvms: { a: { kernel: embedded, memory: 32M } }\n");
  await writeFile(join(folder, "more"), "name: two\nvms: { b: { kernel: embedded, memory: 32M } }\n");
});
beforeEach(async () => {
  state = await mkdtemp(join(folder, "state-"));
});
afterEach(async () => {
  await daemon?.end();
  daemon = undefined;
  tool("umount", "-l", state);
});
afterAll(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));

const mount = (options: string) => tool("mount", "-t", "tmpfs", "-o", options, "none", state);
/** One line that matches, and a status of 1. */
function expectLine({ status, output, errors }: RunResult, line: RegExp): void {
  expect(errors).toMatch(line);
  expect(errors).toMatch(/^hyperfile: [^\n]+\n$/);
  expect([status, output]).toEqual([1, ""]);
}
const hyperfile = (variables: Variables, ...args: string[]) =>
  runToEnd([process.execPath, program, ...args], { cwd: folder, variables });
const ownState = (path: string) => ({
  HYPERFILE_STATE: path,
  HYPERFILE_SOCKET: undefined,
  XDG_RUNTIME_DIR: undefined,
});

describe("a daemon that can't have its state folder says so, to the command that starts it as well", () => {
  const cases: [what: string, prepare: () => Promise<string> | string, reason: RegExp][] = [
    ["below a file", () => join(folder, "Hyperfile", "state"), /a part of the path is not a folder/],
    ["in /proc", () => "/proc/hyperfile", /no such file or folder/],
    [
      "on a read-only file system",
      async () => {
        if (mount("size=64k,ro")) return join(state, "state");
        // A file system of the kernel's own, which nobody writes to.
        return "/sys/hyperfile";
      },
      /the file system is read-only|permission denied/,
    ],
    [
      "on a full file system",
      async () => {
        if (!mount("size=16k")) return "/proc/hyperfile";
        await writeFile(join(state, "filler"), new Uint8Array(65_536)).catch(() => {});
        return state;
      },
      /no space left on the device|no such file or folder/,
    ],
  ];
  it.each(cases)("%s", async (_, prepare, reason) => {
    const path = await prepare();
    const line = `can't use the state folder ${path}: (${reason.source}); mend that, or choose another folder \\(HYPERFILE_STATE\\)`;
    expectLine(await hyperfile(ownState(path), "daemon"), new RegExp(`^hyperfile: ${line}\\n$`));
    expectLine(
      await hyperfile(ownState(path), "up"),
      new RegExp(`^hyperfile: the daemon does not start: ${line}\\n$`),
    );
  });
});

const digest = async () => (await daemon!.run("exec", "a", "digest", "1000000")).output;

describe("VMs that run go on", () => {
  const well = async () =>
    expect(await daemon!.run("exec", "a", "echo", "well")).toEqual({
      status: 0,
      output: "well\n",
      errors: expect.stringMatching(
        /^hyperfile: VM a has no agent .*: the command is typed on its console\n$/,
      ),
    });

  it("on a disk that becomes full: what needs it is refused, and works when there is room again", async () => {
    const isDisk = canMount && mount("size=2m");
    daemon = await OwnDaemon.start(folder, state);
    expect((await daemon.run("up")).errors).toBe("");
    expect((await daemon.run("snapshot", "a", "before")).status).toBe(0);
    const before = await digest();
    const limit = (bytes: string) => tool("prlimit", "--pid", String(daemon!.pid), `--fsize=${bytes}`);
    if (isDisk) await writeFile(join(state, "filler"), new Uint8Array(4 << 20)).catch(() => {});
    else expect(limit("0:unlimited")).toBe(true);
    const reason = "no space left on the device|the file would be larger than is allowed";
    expectLine(
      await daemon.run("up", "more"),
      new RegExp(`can't keep project two in .*/projects: (${reason}); mend that and try again`),
    );
    expectLine(await daemon.run("snapshot", "a", "after"), /can't write the snapshot .*after\.snapshot: /);
    await well();
    expect(await digest()).toBe(before);
    // What was saved before can be had.
    expect((await daemon.run("restore", "a", "before")).errors).toBe("");
    await well();
    expect((await readdir(join(state, "projects"))).sort()).toEqual(["one.json"]);
    expect((await readdir(join(state, "vms", "a", "snapshots"))).sort()).toEqual(["before.snapshot"]);
    expect((await daemon.run("ps")).output).not.toMatch(/^b /m);
    if (isDisk) await rm(join(state, "filler"));
    else expect(limit("unlimited")).toBe(true);
    expect((await daemon.run("up", "more")).output).toBe("two:\n  b started\n");
    expect((await daemon.run("snapshot", "a", "after")).status).toBe(0);
    expect((await daemon.run("down", "two")).errors).toBe("");
  });

  it("on a disk that becomes read-only", async () => {
    // Permissions bind the owner, if he is not above them.
    const capabilities = [
      "--inh-caps=-dac_override,-dac_read_search",
      "--bounding-set=-dac_override,-dac_read_search",
    ];
    const before = process.getuid?.() === 0 ? ["setpriv", ...capabilities] : [];
    daemon = await OwnDaemon.start(folder, state, { before });
    expect((await daemon.run("up")).errors).toBe("");
    // Its log is there once something has been printed.
    await well();
    const folders = ["", "projects", "vms", "vms/a"].map((name) => join(state, name));
    for (const path of folders) await chmod(path, 0o500);
    expectLine(await daemon.run("up", "more"), /can't keep project two in .*: permission denied; mend that/);
    expectLine(await daemon.run("snapshot", "a", "x"), /can't mkdir .*snapshots: permission denied/);
    await well();
    for (const path of folders) await chmod(path, 0o700);
    expect((await daemon.run("up", "more")).output).toBe("two:\n  b started\n");
  });

  it("where the disk vanishes", async () => {
    const isDisk = canMount && mount("size=2m");
    daemon = await OwnDaemon.start(folder, state);
    expect((await daemon.run("up")).errors).toBe("");
    if (isDisk) expect(tool("umount", "-l", state)).toBe(true);
    else await rename(state, `${state}-away`);
    await well();
    expect((await daemon.run("ps")).output).toMatch(/^a .* running /m);
    // The folder is made anew where that can be.
    expect((await daemon.run("up", "more")).output).toBe("two:\n  b started\n");
    expect((await daemon.run("snapshot", "a", "x")).errors).toBe("");
    expect((await daemon.run("restore", "a", "x")).errors).toBe("");
    await well();
    expect((await daemon.run("down", "two")).errors).toBe("");
  });

  it("with a hundred file descriptors, all but some of which silent clients hold: others are answered", async () => {
    daemon = await OwnDaemon.start(folder, state, { before: ["prlimit", "--nofile=100"] });
    expect((await daemon.run("up")).errors).toBe("");
    const held: Socket[] = [];
    try {
      for (let count = 0; count < 300; count++) {
        const socket = connect(daemon.variables.HYPERFILE_SOCKET!);
        held.push(socket.on("error", () => {}));
        await new Promise((resolve) => socket.on("connect", resolve).on("close", resolve));
        if (count % 75 === 74) {
          const { status, output, errors } = await daemon.run("ps");
          expect([status, errors]).toEqual([0, ""]);
          expect(output).toMatch(/^a .* running /m);
        }
      }
      await well();
    } finally {
      for (const socket of held) socket.destroy();
    }
  });

  it("with a hundred file descriptors: a VM for which there are none is refused, by its name", async () => {
    const names = Array.from({ length: 16 }, (_, at) => `m${at}`);
    const text = names.map((name) => `  ${name}: { kernel: embedded, memory: 32M }\n`).join("");
    await writeFile(join(folder, "many"), `name: many\nvms:\n${text}`);
    daemon = await OwnDaemon.start(folder, state, { before: ["prlimit", "--nofile=100"] });
    expect((await daemon.run("up")).errors).toBe("");
    const { status, output, errors } = await daemon.run("up", "many");
    expect(status).toBe(1);
    const started = names.filter((name) => output.includes(`  ${name} started\n`));
    const refused = names.filter((name) => !started.includes(name));
    expect(started.length).toBeGreaterThan(1);
    expect(refused.length).toBeGreaterThan(1);
    const lines = errors.trimEnd().split("\n");
    expect(lines.length).toBe(refused.length);
    for (const [at, line] of lines.entries())
      expect(line).toMatch(new RegExp(`^hyperfile: VM ${refused[at]}: .*too many files are open`));
    await well();
    for (const name of [started[0]!, started.at(-1)!])
      expect((await daemon.run("exec", name, "echo", name)).output).toBe(`${name}\n`);
    expect((await daemon.run("down", "many", "--force")).errors).toBe("");
    // What they had is there again.
    expect((await daemon.run("up", "more")).errors).toBe("");
    await well();
  });
});

describe("a state folder that vanishes with the socket in it", () => {
  /** The process that has the state folder, if any. */
  const holder = async () => {
    const target = await readlink(join(state, "lock", "holder")).catch(() => "{}");
    return (JSON.parse(target) as { pid?: number }).pid;
  };
  /** Waits until the daemon is to be found again. */
  async function untilFound(): Promise<void> {
    const end = performance.now() + 30_000;
    const isThere = async () => existsSync(join(state, "daemon.sock")) && (await holder()) === daemon!.pid;
    while (!(await isThere()) && performance.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await isThere()).toBe(true);
  }

  it("is made anew by the daemon, which up, ps and exec find as before, and which no second one joins", async () => {
    daemon = await OwnDaemon.start(folder, state, { ownSocket: false });
    await rm(state, { recursive: true });
    await untilFound();
    expect((await daemon.run("up")).errors).toBe("");
    const before = await digest();
    await rename(state, `${state}-away`);
    await untilFound();
    expect((await daemon.run("ps")).output).toMatch(/^a .* running /m);
    expect(await digest()).toBe(before);
    expect((await daemon.run("up", "more")).output).toBe("two:\n  b started\n");
    expect(await holder()).toBe(daemon.pid);
    expectLine(await hyperfile(ownState(state), "daemon"), /a daemon answers at .*daemon\.sock already/);
    expect((await daemon.run("down", "two")).errors).toBe("");
    expect((await daemon.run("stop", "a", "--force")).errors).toBe("");
  });

  it("and can't be made again ends a daemon without VMs, with a line that says so", async () => {
    daemon = await OwnDaemon.start(folder, state, { ownSocket: false });
    // The daemon may have made the folder anew between the two.
    const putInTheWay = async () => {
      await rm(state, { recursive: true, force: true });
      return writeFile(state, "in the way");
    };
    while (
      !(await putInTheWay().then(
        () => true,
        () => false,
      ))
    );
    expect(await daemon.ended, daemon.told).toBe(1);
    expect(
      daemon.told
        .replace(/\(\d{4}-.*Z\)/, "(TIME)")
        .split("\n")
        .slice(1),
    ).toEqual([
      `hyperfile: the daemon ends (TIME): the state folder ${state} has gone: can't use the state folder ${state}: a part of the path is not a folder; mend that, or choose another folder (HYPERFILE_STATE)`,
      "",
    ]);
    await rm(state);
    await mkdir(state);
  });
});

it("a limit of time beyond what one timer has does not end a VM at once", async () => {
  daemon = await OwnDaemon.start(folder, state);
  await writeFile(
    join(folder, "long"),
    "name: three\nvms: { c: { kernel: embedded, memory: 32M, time: 600h } }\n",
  );
  expect((await daemon.run("up", "long")).errors).toBe("");
  expect((await daemon.run("exec", "c", "echo", "well")).output).toBe("well\n");
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect((await daemon.run("ps")).output).toMatch(/^c .* running /m);
});

it("without shared memory of the system's (/dev/shm) VMs start and run", async () => {
  // In a namespace of its own, or as it is where none can be had: nothing of ours is ever there.
  const hide = "mount -t tmpfs -o size=4k,ro none /dev/shm";
  const own = ["unshare", "--mount", "sh", "-c", `${hide} && exec "$0" "$@"`];
  const isHidden = tool("unshare", "--mount", "sh", "-c", hide);
  daemon = await OwnDaemon.start(folder, state, { before: isHidden ? own : [] });
  expect((await daemon.run("up")).errors).toBe("");
  expect((await daemon.run("exec", "a", "echo", "well")).output).toBe("well\n");
  const mine = (await readdir("/dev/shm").catch(() => [])).filter((name) => /hyperfile/i.test(name));
  expect(mine).toEqual([]);
});

it.each([
  ["a signal", (): unknown => daemon!.signal("SIGTERM"), "signal SIGTERM"],
  ["its terminal's end", () => daemon!.signal("SIGHUP"), "signal SIGHUP"],
  ["a client", () => daemon!.run("down", "--daemon"), "a client asked for it \\(shutdown\\)"],
] as const)("a daemon that ends by %s says so in its log", async (_, end, reason) => {
  daemon = await OwnDaemon.start(folder, state);
  expect((await daemon.run("up")).errors).toBe("");
  await end();
  expect(await daemon.ended, daemon.told).toBe(0);
  expect(daemon.told).toMatch(new RegExp(`\\nhyperfile: the daemon ends \\(\\d{4}-.*Z\\): ${reason}\\n$`));
});

it("down --daemon ends the daemon where there is no Hyperfile, too", async () => {
  daemon = await OwnDaemon.start(folder, state);
  const elsewhere = await mkdtemp(join(folder, "elsewhere-"));
  const run = (...args: string[]) =>
    runToEnd([process.execPath, program, ...args], { cwd: elsewhere, variables: daemon!.variables });
  expectLine(await run("down"), /there is no Hyperfile here/);
  expect(await run("down", "--daemon")).toEqual({ status: 0, output: "", errors: "" });
  expect(await daemon.ended, daemon.told).toBe(0);
});

describe("a daemon that is told to end when it is idle", () => {
  it("ends with status 0 once the last VM and client have gone, and not before", async () => {
    daemon = await OwnDaemon.start(folder, state, { args: ["--idle-exit", "2"] });
    expect((await daemon.run("up")).errors).toBe("");
    await new Promise((resolve) => setTimeout(resolve, 5000));
    expect((await daemon.run("exec", "a", "echo", "well")).output).toBe("well\n");
    expect((await daemon.run("stop", "a")).errors).toBe("");
    expect(await daemon.ended, daemon.told).toBe(0);
    expect(daemon.told).toMatch(
      /\nhyperfile: the daemon ends \(\d{4}-.*Z\): no VM was up and no client there for 2 s\n$/,
    );
    // Its project is taken up by the next one.
    daemon = await OwnDaemon.start(folder, state);
    expect((await daemon.run("ps")).output).toMatch(/^a .* off /m);
  });
});

describe("offline", () => {
  let proxy: Server;
  let variables: Variables;
  let asked = 0;
  beforeAll(async () => {
    // It takes connections, and refuses whatever is asked.
    proxy = createServer((socket) => {
      asked++;
      socket.on("error", () => {});
      socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => proxy.once("listening", resolve));
    const { port } = proxy.address() as { port: number };
    const url = `http://127.0.0.1:${port}`;
    // apt's own settings come before variables; these come before both.
    const settings = join(folder, "apt.conf");
    await writeFile(settings, `Acquire::http::Proxy "${url}";\nAcquire::https::Proxy "${url}";\n`);
    const names = ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    variables = { ...Object.fromEntries(names.map((name) => [name, url])), no_proxy: "", NO_PROXY: "" };
    variables = { ...variables, APT_CONFIG: settings };
  });
  afterAll(() => proxy.close());

  /** What a cache has but for the compiled modules that Node 22.8 and newer keep there. */
  const keptIn = async (cache: string) =>
    (await readdir(join(cache, "hyperfile"))).filter((name) => name !== "compiled");

  it.each(["/proc/none", "/dev/null", "/dev/full/below"])("a cache at %s is done without", async (cache) => {
    const { status, output, errors } = await runToEnd([process.execPath, program, "--version"], {
      cwd: folder,
      variables: { ...variables, XDG_CACHE_HOME: cache },
    });
    expect([status, errors]).toEqual([0, ""]);
    expect(output).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it("start says why there is no Debian in a line, and boots the embedded guest", async () => {
    const cache = join(folder, "no-cache");
    const { status, output, errors } = await runToEnd(
      [process.execPath, program, "start", "--timeout", "60"],
      {
        cwd: folder,
        variables: { ...variables, XDG_CACHE_HOME: cache },
        input: "echo well\npoweroff\n",
      },
    );
    const lines = errors.split("\n").filter((line) => line.startsWith("hyperfile: no Debian guest"));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^hyperfile: no Debian guest \(.+\); starting the embedded one$/);
    expect(output).toMatch(/^well\r?$/m);
    expect(status).toBe(0);
    expect(await keptIn(cache)).toEqual([]);
  });

  it("without apt, start debian says what to do in a line, and start boots the embedded guest", async () => {
    const cache = join(folder, "no-apt");
    const nothing = join(folder, "nothing");
    await mkdir(nothing, { recursive: true });
    const run = (...args: string[]) =>
      runToEnd([process.execPath, program, ...args], {
        cwd: folder,
        variables: { ...ownState(state), PATH: nothing, XDG_CACHE_HOME: cache },
        input: "echo well\npoweroff\n",
      });
    const reason = "no apt on this host: apt-config is not installed; install apt, or boot another kernel";
    expectLine(await run("start", "debian"), new RegExp(`^hyperfile: ${reason}\n$`));
    const { status, output, errors } = await run("start", "--timeout", "600");
    expect(errors.split("\n").filter((line) => line.startsWith("hyperfile: no Debian guest"))).toEqual([
      expect.stringMatching(
        new RegExp(`^hyperfile: no Debian guest \\(${reason}\\); starting the embedded one$`),
      ),
    ]);
    expect(output).toMatch(/^well\r?$/m);
    expect([status, await keptIn(cache)]).toEqual([0, []]);
  });

  /** A cache whose Debian is whole, but made by another version of the program; its files are stand-ins. */
  async function cachedDebian(name: string): Promise<{ cache: string; prepared: string }> {
    const cache = join(folder, name);
    const prepared = join(cache, "hyperfile", "debian-trixie-riscv64");
    const manifest = { format: 1, release: "1", recipe: "old", archive: "a", packages: [] } as const;
    await writePrepared(
      prepared,
      { ...manifest, packages: [] },
      new Map<string, Uint8Array>([
        ["vmlinux", Buffer.from("an image that is none")],
        ["initramfs.cpio", Buffer.from("outdated")],
        ["busybox", Buffer.from("busybox program")],
      ]),
    );
    return { cache, prepared };
  }

  it.each([
    ["cut", "vmlinux", (bytes: Buffer) => bytes.subarray(0, 5)],
    [
      "altered in one bit",
      "vmlinux",
      (bytes: Buffer) => bytes.map((byte, at) => (at === 3 ? byte ^ 4 : byte)),
    ],
    ["altered in what is rebuilt", "busybox", (bytes: Buffer) => bytes.map((byte) => byte ^ 1)],
    ["without sense in its manifest", "manifest.json", () => Buffer.from("{")],
  ])("a cached Debian that is %s is said to be so, and never booted", async (what, file, damage) => {
    const { cache, prepared } = await cachedDebian(`cache-${what.replaceAll(" ", "-")}`);
    const path = join(prepared, file);
    await writeFile(path, damage(await readFile(path)));
    const damaged = await readFile(path);
    const surroundings = { ...variables, XDG_CACHE_HOME: cache };
    const { status, output, errors } = await runToEnd(
      [process.execPath, program, "start", "--timeout", "60"],
      { cwd: folder, variables: surroundings, input: "echo well\npoweroff\n" },
    );
    const line = `the cached Debian in ${prepared} is damaged, and can't be fetched again: `;
    expect(errors.split("\n").filter((part) => part.startsWith("hyperfile: no Debian guest"))).toEqual([
      expect.stringMatching(
        new RegExp(`^hyperfile: no Debian guest \\(${line}.+\\); starting the embedded one$`),
      ),
    ]);
    expect(output).toMatch(/^well\r?$/m);
    expect(status).toBe(0);
    // It stays for another try, and nothing half is left beside it.
    expect(await readFile(path)).toEqual(damaged);
    expect(await keptIn(cache)).toEqual(["debian-trixie-riscv64"]);
  });

  it("a VM of the daemon whose cached Debian is damaged is refused in a line, and the others go on", async () => {
    const { cache, prepared } = await cachedDebian("cache-of-the-daemon");
    await writeFile(join(prepared, "vmlinux"), "cut");
    await writeFile(
      join(folder, "with-debian"),
      "name: three\nvms: { d: { kernel: debian, memory: 128M }, e: { kernel: embedded, memory: 32M } }\n",
    );
    daemon = await OwnDaemon.start(folder, state, {
      before: [
        "env",
        ...Object.entries({ ...variables, XDG_CACHE_HOME: cache }).map(([name, value]) => `${name}=${value}`),
      ],
    });
    const { status, output, errors } = await daemon.run("up", "with-debian");
    expect(errors).toMatch(
      new RegExp(
        `^hyperfile: VM d: .*the cached Debian in ${prepared} is damaged, and can't be fetched again: [^\\n]+\\n$`,
      ),
    );
    expect([status, output]).toEqual([1, expect.stringContaining("  e started\n")]);
    expect((await daemon.run("exec", "e", "echo", "well")).output).toBe("well\n");
    expect((await daemon.run("down", "three")).errors).toBe("");
  });

  it("VMs of the daemon need no network", async () => {
    const before = asked;
    daemon = await OwnDaemon.start(folder, state);
    const result = await runToEnd([process.execPath, program, "up"], {
      cwd: folder,
      variables: { ...variables, ...daemon.variables },
    });
    expect(result).toEqual({ status: 0, output: "one:\n  a started\n", errors: "" });
    expect(asked).toBe(before);
  });
});
