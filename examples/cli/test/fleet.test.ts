/** The built program with a daemon of its own: embedded guests from a Hyperfile, from up to down. */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const program = fileURLToPath(new URL("../bin/hyperfile.mjs", import.meta.url));
let folder: string;
let project: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-"));
  project = join(folder, "shop");
  await mkdir(project);
});
afterAll(async () => {
  await hyperfile("down", "shop", "--force", "--daemon");
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

interface Result {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Without the lines that say what a command waits for: how many there are is the host's speed. */
const withoutWaits = (errors: string): string => errors.replace(/^hyperfile: waiting for .*\n/gm, "");

/** Runs the program as a user would, in the project's folder. */
function hyperfile(...args: string[]): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      cwd: project,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, HYPERFILE_STATE: join(folder, "state"), HYPERFILE_SOCKET: undefined },
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    let [output, errors] = ["", ""];
    child.stdout.on("data", (part) => (output += part));
    child.stderr.on("data", (part) => (errors += part));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, output, errors: withoutWaits(errors) }));
  });
}

const hyperfileText = `
pools:
  front: { cpu: { shares: 2000 } }
vms:
  web:
    kernel: embedded
    memory: 32M
    pool: front
    after: db
    provision: [ "echo provisioned" ]
  db: { kernel: embedded, memory: 32M, cpu: { shares: 500 } }
`;

describe("without a daemon", () => {
  it("commands say how to start one", async () => {
    const { status, errors } = await hyperfile("ps");
    expect(status).toBe(1);
    expect(errors).toMatch(
      /^hyperfile: no daemon answers at .*; hyperfile up starts one, or says why not\n$/,
    );
  });

  it("up needs a Hyperfile, and --check names every mistake in it", async () => {
    expect((await hyperfile("up")).errors).toMatch(/there is no Hyperfile here: make one of Hyperfile, /);
    await writeFile(join(project, "Hyperfile"), "vms: { web: { kernel: embeded/, memroy: 1G } }\n");
    const { status, errors } = await hyperfile("up", "--check");
    expect(status).toBe(1);
    expect(errors).toBe("hyperfile: Hyperfile:1:33: vms.web.memroy: unknown field; did you mean memory?\n");
    await writeFile(join(project, "Hyperfile"), hyperfileText);
    expect((await hyperfile("up", "--check")).output).toBe("Hyperfile: 2 VMs, no mistakes\n");
  });

  it("the schema of Hyperfiles is printed", async () => {
    expect(JSON.parse((await hyperfile("schema")).output).title).toBe("Hyperfile");
  });
});

describe("with a Hyperfile", () => {
  it("up starts the daemon and the VMs, and is idempotent", async () => {
    const first = await hyperfile("up");
    expect(first.errors).toBe("");
    expect(first.output).toBe("shop:\n  db started\n  web started\n  web provisioned: 1 command\n");
    expect((await hyperfile("up")).output).toBe("shop:\n  db unchanged\n  web unchanged\n");
    expect((await hyperfile("logs", "web")).output).toContain("provisioned");
  });

  it("exec gives the guest's output and status", async () => {
    expect(await hyperfile("exec", "web", "burn", "1")).toMatchObject({
      status: 0,
      output: expect.stringMatching(/^burn: 1 million steps, \w+ \w+, ok\n$/),
    });
    expect((await hyperfile("exec", "web", "nonsense")).status).toBe(127);
    expect((await hyperfile("exec", "web", "sleep", "x")).status).toBe(2);
    const late = await hyperfile("exec", "--timeout", "2", "web", "sleep", "100");
    expect(late).toMatchObject({
      status: 1,
      errors: expect.stringMatching(/"sleep 100" goes on after 2 s/),
    });
    // The command was ended: the console is free for the next one.
    expect((await hyperfile("exec", "web", "echo", "free")).output).toBe("free\n");
  });

  it("set acts on the running VM", async () => {
    expect(await hyperfile("set", "web", "cpu.shares=4000", "restart=on-failure")).toEqual({
      status: 0,
      output: "web: cpu.shares 1000 -> 4000\nweb: restart never -> on-failure\n",
      errors: "",
    });
    expect((await hyperfile("set", "web", "restart=never", "cpu.shares=4000")).output).toBe(
      "web: restart on-failure -> never\nweb: cpu.shares stays 4000\n",
    );
    const vms = JSON.parse((await hyperfile("ps", "--json")).output);
    expect(vms.find(({ name }: { name: string }) => name === "web").cpu.shares).toBe(4000);
    expect((await hyperfile("ps")).output).toMatch(/^web +shop +front +running +\S+ +4000 /m);
    expect((await hyperfile("set", "web", "cpu.shars=1")).errors).toBe(
      "hyperfile: there is no setting cpu.shars; did you mean cpu.shares?\n",
    );
    expect((await hyperfile("set", "web", "toString=")).errors).toMatch(
      /^hyperfile: there is no setting toString; settings: /,
    );
    expect((await hyperfile("set", "pool:shop/front", "cpu.limit=1")).output).toBe(
      "pool:shop/front: cpu.limit none -> 1\n",
    );
    expect((await hyperfile("set", "web", "cpu.limit=64", "memory.limit=1G")).output).toBe(
      "web: cpu.limit none -> 64 (in effect 1: the limit of pool shop/front)\nweb: memory.limit none -> 1G (in effect 32M: all the memory that it has)\n",
    );
    await hyperfile("set", "web", "cpu.limit=none", "memory.limit=none");
    expect((await hyperfile("ps", "--pools")).output).toMatch(/^shop\/front +shop +2000 +0 +1 /m);
  });

  it("pause, snapshot, clone and restore go through a computation unharmed", async () => {
    const digest = /digest: ([0-9a-f]{64}) 20000000 bytes/;
    const command = ["digest", "20000000"];
    const expected = digest.exec((await hyperfile("exec", "db", ...command)).output)?.[1];
    expect(expected).toBeDefined();
    // A second of work, which takes a minute: it is under way whenever the program gets to the next commands.
    await hyperfile("set", "web", "cpu.limit=2%");
    const running = hyperfile("exec", "web", ...command);
    // The console's echo of the command tells that the guest has it.
    while (!(await hyperfile("logs", "web")).output.includes("digest 20000000"));
    await hyperfile("pause", "web");
    expect((await hyperfile("ps")).output).toMatch(/^web .* paused /m);
    expect((await hyperfile("logs", "web")).output).not.toMatch(digest);
    expect((await hyperfile("snapshot", "web", "midway")).output).toMatch(
      /^web saved as midway, \d+ bytes\n$/,
    );
    expect((await hyperfile("clone", "web", "web2", "cpu.shares=100", "cpu.limit=none")).output).toMatch(
      /^web2 is a copy of web/,
    );
    await hyperfile("set", "web", "cpu.limit=none");
    await hyperfile("resume", "web");
    expect(digest.exec((await running).output)?.[1]).toBe(expected);
    expect((await hyperfile("restore", "web", "midway")).errors).toBe("");
    // The computation that was under way in both copies comes to the same end.
    for (const [name, ends] of [
      ["web2", 1],
      ["web", 2],
    ] as const) {
      await hyperfile("exec", name, "echo", "over");
      const log = (await hyperfile("logs", name)).output;
      const digests = [...log.matchAll(new RegExp(digest, "g"))].map(([, hex]) => hex);
      expect(digests).toEqual(Array(ends).fill(expected));
    }
    expect((await hyperfile("restore", "web", "midweek")).errors).toMatch(
      /no snapshot midweek; it has midway/,
    );
  });

  it("stop and start act on one VM, reset on one that runs, and events tell of it all", async () => {
    expect((await hyperfile("stop", "db")).errors).toBe("");
    expect((await hyperfile("ps")).output).toMatch(/^db .* off /m);
    expect((await hyperfile("reset", "db")).errors).toBe("hyperfile: can't reset VM db: it is off\n");
    expect((await hyperfile("start", "db")).errors).toBe("");
    expect((await hyperfile("start", "bd")).errors).toMatch(/there is no VM bd; did you mean db\?/);
    expect((await hyperfile("reset", "db")).status).toBe(0);
    expect((await hyperfile("exec", "db", "echo", "again")).output).toBe("again\n");
    const { output } = await hyperfile("events", "db");
    const kinds = [...output.matchAll(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ([\w.]+) db\b/gm)].map(
      ([, kind]) => kind,
    );
    expect(kinds.slice(-4)).toEqual(["vm.stopping", "vm.off", "vm.starting", "vm.running"]);
    const events = (await hyperfile("events", "--json")).output.trim().split("\n");
    expect(JSON.parse(events[0]!)).toMatchObject({ id: 1, kind: "pool.defined" });
  });

  it("top and report show what happened", async () => {
    const top = await hyperfile("top");
    expect(top.output).toMatch(/^VM +POOL +CPU% +RDY% +WAIT% +STEAL% +MIPS/);
    expect(top.output).toMatch(/^web +shop\/front /m);
    const page = join(folder, "report.html");
    expect((await hyperfile("report", page)).status).toBe(0);
    const html = await readFile(page, "utf8");
    expect(html).toContain("<h2>CPU used, % of a core</h2>");
    expect(html).toMatch(/<polyline [^>]*points="[\d., ]+"/);
    expect(html).toContain("<td>shop/front</td>");
  });

  it("rm and down leave nothing that runs", async () => {
    expect((await hyperfile("rm", "web2")).errors).toMatch(
      /VM web2 is running: stop it first, or remove it by force/,
    );
    expect((await hyperfile("rm", "web2", "--force")).status).toBe(0);
    expect((await hyperfile("down")).output).toBe("web stopped\ndb stopped\n");
    expect((await hyperfile("ps", "--json")).output).toBe("[]\n");
    expect((await hyperfile("console", "web")).errors).toBe(
      "hyperfile: there is no VM web; there are no VMs\n",
    );
  });
});
