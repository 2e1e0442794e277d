/** The daemon through its API, with small guests in real threads: lives of VMs, faults, restarts of the daemon itself. */
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startDaemon } from "../../../test/daemon-host.js";
import { DaemonClient } from "../../api/node/client.js";
import { type Operation, operations } from "../../api/operations.js";
import type { MemoryView } from "../../api/types.js";
import type { FleetEvent } from "../../lifecycle/events.js";
import type { Daemon } from "./daemon.js";

let folder: string;
let daemon: Daemon;
let client: DaemonClient;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-daemon-"));
  await start();
});
afterEach(async () => {
  await daemon.close();
  await rm(folder, { recursive: true });
});

async function start(memoryBytes = 2 ** 32): Promise<void> {
  daemon = await startDaemon(folder, { memoryBytes });
  client = new DaemonClient(join(folder, "run", "daemon.sock"));
}

const up = (text: string, restart = false) =>
  client.up({ text, file: "Hyperfile", folder: "/home/user/shop", restart });

/** Waits for an event. */
async function event(kind: FleetEvent["kind"], name: string): Promise<FleetEvent> {
  for await (const one of client.events(0)) if (one.kind === kind && one.name === name) return one;
  throw new Error(`the stream ended before ${kind} of ${name}`);
}

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const two = `
pools:
  front: { cpu: { shares: 2000, limit: 1 } }
vms:
  web: { kernel: embedded, pool: front, after: db, provision: [echo made, { run: oops, status: 1 }] }
  db: { kernel: embedded, cpu: { shares: 500, reservation: 0.5 } }
`;

describe("a daemon", () => {
  it("comes before its guests where they want the same core", async () => {
    // Field 19 of proc_pid_stat(5), after the name in parentheses.
    const nice = (thread: string) =>
      Number(readFileSync(`/proc/self/task/${thread}/stat`, "utf8").split(") ").pop()!.split(" ")[16]);
    const own = getPriority();
    const behind = () => readdirSync("/proc/self/task").filter((one) => nice(one) > own);
    await up("vms: { a: { kernel: embedded }, b: { kernel: embedded } }");
    const guests = behind();
    expect(guests.length).toBeGreaterThanOrEqual(2);
    expect(new Set(guests.map(nice))).toEqual(new Set([Math.min(19, own + 10)]));
    expect(nice(String(process.pid))).toBe(own);
  });
});

describe("up and down", () => {
  it("start VMs in their order, provision them, and change nothing the second time", async () => {
    expect(await up(two)).toEqual({
      project: "shop",
      actions: [
        { name: "db", action: "started" },
        { name: "web", action: "started" },
        { name: "web", action: "provisioned", detail: "2 commands" },
      ],
    });
    expect((await up(two)).actions.map(({ action }) => action)).toEqual(["unchanged", "unchanged"]);
    const views = await client.vms();
    expect(views.map(({ name, state, pool }) => `${name} ${state} ${pool}`)).toEqual([
      "db running shop",
      "web running shop/front",
    ]);
    expect(views[0]).toMatchObject({ cpu: { shares: 500, reservation: 0.5, limit: null }, project: "shop" });
    expect((await client.pools()).map(({ name, claim }) => [name, claim])).toEqual([
      ["root", 2],
      ["shop", 0.5],
      ["shop/front", 0],
    ]);
    expect(await client.down("shop")).toEqual(["web", "db"]);
    expect(await client.vms()).toEqual([]);
    expect(await client.pools()).toHaveLength(1);
  });

  it("meet: a project that is being provisioned is taken down, and what its client waited for is told meanwhile", async () => {
    const provisioned = "vms: { a: { kernel: embedded, provision: [deaf, echo] } }";
    const coming = up(provisioned).catch(({ code }) => code);
    const activities = async () =>
      (await client.activities()).map(({ project, vm = "", what }) => [project, vm, what]);
    const isStuck = async () => (await activities()).some(([, , what]) => what === 'provisioning: "echo"');
    while (!(await isStuck())) await wait(10);
    expect(await activities()).toEqual([
      ["shop", "", "up"],
      ["shop", "a", 'provisioning: "echo"'],
    ]);
    // The command of a client that goes is given up, and the next one's turn comes.
    const socket = new Promise<void>((resolve) => {
      const body = JSON.stringify({ command: "echo never" });
      const sent = request({
        socketPath: client.socket,
        method: "POST",
        path: "/v1/vms/a/exec",
        headers: { "content-length": body.length },
        agent: false,
      });
      sent.on("error", () => resolve()).end(body);
      void wait(200).then(() => sent.destroy());
      sent.on("close", () => resolve());
    });
    await socket;
    while ((await activities()).length > 2) await wait(10);
    expect(await client.down("shop")).toEqual(["a"]);
    expect(await coming).toBe("E_VM_STATE");
    expect([await client.vms(), await activities()]).toEqual([[], []]);
  });

  it("apply what can be applied to running VMs, and say what needs a new start", async () => {
    await up(two);
    const changed = two.replace("shares: 500", "shares: 700").replace("limit: 1", "limit: 1.5");
    expect((await up(changed)).actions).toEqual([
      { name: "shop/front", action: "changed", detail: "pool" },
      { name: "db", action: "changed", detail: "cpu" },
      { name: "web", action: "unchanged" },
    ]);
    expect((await client.vm("db")).cpu.shares).toBe(700);
    const larger = changed.replace("db: { kernel: embedded,", "db: { kernel: embedded, memory: 64M,");
    const startedAt = (await client.vm("db")).startedAt!;
    expect((await up(larger)).actions[0]).toEqual({
      name: "db",
      action: "needs restart",
      detail: "memoryBytes",
    });
    expect((await client.vm("db")).startedAt).toBe(startedAt);
    expect((await up(larger, true)).actions[0]).toMatchObject({ name: "db", action: "restarted" });
    expect((await client.vm("db")).memoryBytes).toBe(64 * 2 ** 20);
    const without = "vms:\n  db: { kernel: embedded, memory: 64M, cpu: { shares: 700, reservation: 0.5 } }\n";
    expect((await up(without)).actions.at(-1)).toMatchObject({ name: "web", action: "no longer declared" });
  });

  it("refuse mistakes, names of others, and what can't be admitted, and leave all as it was", async () => {
    await up(two);
    await expect(up("vms: { web: { kernl: x }, b: { memory: 5 } }")).rejects.toMatchObject({
      code: "E_HYPERFILE",
      problems: [
        "Hyperfile:1:15: vms.web.kernl: unknown field; did you mean kernel?",
        expect.stringContaining("vms.b.memory: 5 is not a size"),
      ],
    });
    await expect(client.up({ text: two, file: "Hyperfile", folder: "/home/other" })).rejects.toMatchObject({
      code: "E_NAME_TAKEN",
      message: expect.stringContaining("of project shop"),
    });
    const greedy = "vms:\n  big: { kernel: embedded, cpu: { reservation: 1.75 } }\n";
    const admitted = await client.up({ text: greedy, file: "Hyperfile", folder: "/home/greedy" });
    expect(admitted.actions).toEqual([
      { name: "big", action: "failed", code: "E_ADMISSION", detail: expect.stringContaining("big") },
    ]);
    expect((await client.vm("big")).state).toBe("off");
    const bad = { text: "vms: { bad: { program: ./bad.elf } }", file: "H", folder };
    await expect(client.up(bad)).rejects.toMatchObject({
      code: "E_HYPERFILE",
      problems: [expect.stringMatching(/^H:1:24: vms.bad.program: there is no file .\/bad.elf: names are/)],
    });
    await expect(client.vm("bad")).rejects.toMatchObject({ code: "E_VM_UNKNOWN" });
    await writeFile(join(folder, "bad.elf"), "");
    expect((await client.up(bad)).actions).toEqual([
      { name: "bad", action: "failed", code: "E_FILE", detail: "no program" },
    ]);
    expect((await client.vm("bad")).state).toBe("off");
    expect((await client.vm("db")).state).toBe("running");
  });

  it("fail where provisioning fails, with the command and its status", async () => {
    const text = "vms: { web: { kernel: embedded, provision: [echo fine, wrong] } }";
    expect((await up(text)).actions).toEqual([
      {
        name: "web",
        action: "failed",
        code: "E_PROVISION",
        detail: 'provisioning of VM web failed: "wrong" ended with status 1, not 0',
      },
    ]);
  });

  it("go on where a guest crashes, ends or can't be made before its start is answered", async () => {
    for (const name of ["bad", "crash", "off0", "off3"]) await writeFile(join(folder, `${name}.elf`), "");
    const text = `
vms:
  a: { kernel: embedded }
  refused: { program: ./bad.elf }
  crashes: { program: ./crash.elf }
  ends: { program: ./off0.elf }
  fails: { program: ./off3.elf }
  later: { kernel: embedded, after: crashes }
  last: { kernel: embedded, after: later }
  b: { kernel: embedded, after: ends }
`;
    const { actions } = await client.up({ text, file: "Hyperfile", folder });
    expect(actions).toEqual([
      { name: "a", action: "started" },
      { name: "refused", action: "failed", code: "E_FILE", detail: "no program" },
      { name: "crashes", action: "failed", code: "E_VM_CRASHED", detail: expect.stringMatching(/broke/) },
      // Whether the start or the end is heard of first is chance.
      expect.objectContaining({ name: "ends", action: expect.stringMatching(/^(started|ended)$/) }),
      expect.objectContaining({ name: "fails", action: expect.stringMatching(/^(started|ended)$/) }),
      { name: "later", action: "skipped", detail: "it comes after crashes, which has failed" },
      { name: "last", action: "skipped", detail: "it comes after later, which has failed" },
      { name: "b", action: "started" },
    ]);
    expect(await client.exec("a", "echo well")).toMatchObject({ output: "well\n" });
    expect((await client.vms()).map(({ name, state }) => `${name} ${state}`)).toEqual([
      "a running",
      "refused off",
      expect.stringMatching(/^crashes (off|crashed)$/),
      "ends off",
      "fails off",
      "later off",
      "last off",
      "b running",
    ]);
    // What is mended is started by the next one.
    const mended = text.replace("./crash.elf", "./off0.elf");
    const again = await client.up({ text: mended, file: "Hyperfile", folder });
    for (const name of ["later", "last"])
      expect(again.actions.filter((action) => action.name === name)).toEqual([{ name, action: "started" }]);
  });
});

describe("a VM", () => {
  const one = "vms: { vm: { kernel: embedded } }";

  it("runs commands, pauses, resumes, resets, stops and starts", async () => {
    await up(one);
    expect(await client.exec("vm", "echo hello")).toEqual({ status: 0, output: "hello\n" });
    expect(await client.exec("vm", "nonsense")).toMatchObject({ status: 1 });
    await client.pause("vm");
    await expect(client.exec("vm", "echo")).rejects.toMatchObject({
      code: "E_VM_STATE",
      message: "can't exec VM vm: it is paused",
    });
    await expect(client.pause("vm")).rejects.toMatchObject({ code: "E_VM_STATE" });
    await client.resume("vm");
    await client.reset("vm");
    await client.stop("vm");
    expect((await client.vm("vm")).state).toBe("off");
    await client.start("vm");
    expect(await client.exec("vm", "echo again")).toMatchObject({ output: "again\n" });
    const log = new TextDecoder().decode(await client.logs("vm"));
    expect(log).toContain("hello");
    expect(log).toContain("reset");
  });

  it("is saved, restored and cloned, each with its state", async () => {
    await up(one);
    await client.exec("vm", "remember this");
    expect(await client.snapshot("vm", "first")).toMatchObject({ name: "first", bytes: 4 });
    await client.clone("vm", "copy", ["cpu.shares=77"]);
    expect((await client.vm("copy")).cpu.shares).toBe(77);
    await client.exec("vm", "remember that");
    expect((await client.exec("copy", "recall")).output).toBe("this\n");
    await client.stop("vm", { force: true });
    expect((await client.exec("copy", "recall")).output).toBe("this\n");
    await client.start("vm", "first");
    expect((await client.exec("vm", "recall")).output).toBe("this\n");
    await expect(client.start("vm", "first")).rejects.toMatchObject({ code: "E_VM_STATE" });
    await expect(client.snapshot("vm", "../x")).rejects.toMatchObject({ code: "E_SNAPSHOT_UNKNOWN" });
    await expect(client.clone("vm", "copy")).rejects.toMatchObject({ code: "E_NAME_TAKEN" });
    await client.remove("copy", true);
    await expect(client.vm("copy")).rejects.toMatchObject({ code: "E_VM_UNKNOWN" });
  });

  it("goes back to a snapshot while it runs or stands still, and runs on as it was where that fails", async () => {
    await up(one);
    await client.exec("vm", "remember this");
    await client.snapshot("vm", "first");
    await client.exec("vm", "remember that");
    const { startedAt } = await client.vm("vm");
    const snapshots = join(folder, "state", "vms", "vm", "snapshots");
    await writeFile(join(snapshots, "bad.snapshot"), "damaged");
    const refused = {
      code: "E_SNAPSHOT_DAMAGED",
      message: "VM vm is as it was, and not restored from bad: the snapshot is damaged",
    };
    await expect(client.restore("vm", "bad")).rejects.toMatchObject(refused);
    await expect(client.restore("vm", "none")).rejects.toMatchObject({ code: "E_SNAPSHOT_UNKNOWN" });
    expect((await client.exec("vm", "recall")).output).toBe("that\n");
    await client.pause("vm");
    await expect(client.restore("vm", "bad")).rejects.toMatchObject(refused);
    expect(await client.vm("vm")).toMatchObject({ state: "paused", startedAt });
    await client.restore("vm", "first");
    expect((await client.exec("vm", "recall")).output).toBe("this\n");
    // Commands that wait for the guest that is gone are told.
    await client.exec("vm", "deaf");
    const waiting = client.exec("vm", "echo", 60_000);
    await expect(
      Promise.all([waiting, wait(300).then(() => client.restore("vm", "first"))]),
    ).rejects.toMatchObject({
      code: "E_EXEC",
      message: "VM vm was restored",
    });
    expect((await client.exec("vm", "recall")).output).toBe("this\n");
    const kinds = (await client.pastEvents()).map(({ kind }) => kind);
    expect([
      kinds.filter((kind) => kind === "vm.off"),
      kinds.filter((kind) => kind === "vm.restored"),
    ]).toEqual([[], ["vm.restored", "vm.restored"]]);
    await client.stop("vm", { force: true });
    await expect(client.restore("vm", "bad")).rejects.toMatchObject({ message: "the snapshot is damaged" });
    expect((await client.vm("vm")).state).toBe("off");
    await client.restore("vm", "first");
    expect((await client.exec("vm", "recall")).output).toBe("this\n");
  });

  it("takes settings at once, and names mistakes in them", async () => {
    await up(one);
    expect((await client.set("vm", ["cpu.shares=4000", "cpu.limit=50%"])).cpu).toEqual({
      shares: 4000,
      reservation: 0,
      limit: 0.5,
    });
    expect((await client.set("vm", ["cpu.limit=none"])).cpu.limit).toBeNull();
    for (const [setting, message] of [
      ["cpu.share=1", /no setting cpu.share; did you mean cpu.shares/],
      ["cpu.shares=0", /cpu.shares=0 is impossible: give a whole number/],
      ["cpu.shares", /is no setting: give NAME=VALUE/],
      ["restart=allways", /did you mean always/],
      ["cpu.reservation=8", /can't be admitted/],
    ] as const)
      await expect(client.set("vm", [setting])).rejects.toThrow(message);
    await expect(client.set("vn", ["cpu.shares=1"])).rejects.toThrow(/no VM vn; did you mean vm/);
    await client.setPool("shop", ["cpu.limit=1"]);
    expect((await client.pools())[1]?.cpu.limit).toBe(1);
  });

  it("whose thread breaks is reported, and no other one notices", async () => {
    await up("vms: { bad: { kernel: embedded }, good: { kernel: embedded } }");
    await client.exec("good", "remember me");
    const crashed = event("vm.crashed", "bad");
    await expect(client.exec("bad", "crash;sleep", 5000)).rejects.toMatchObject({ code: "E_EXEC" });
    expect(await crashed).toMatchObject({ message: "its thread has failed: the guest's thread broke" });
    expect(await client.vm("bad")).toMatchObject({ state: "crashed", status: 1 });
    expect((await client.exec("good", "recall")).output).toBe("me\n");
    await client.start("bad");
    expect((await client.vm("bad")).state).toBe("running");
  });

  it("starts again as its restart says, and leaves nothing if it is disposable", async () => {
    await up(`vms:
  phoenix: { kernel: embedded, restart: on-failure }
  mayfly: { kernel: embedded, disposable: true }`);
    await client.exec("phoenix", "off 3").catch(() => {});
    for await (const one of client.events(0)) {
      if (one.kind === "vm.running" && one.name === "phoenix" && (await client.vm("phoenix")).restarts === 1)
        break;
    }
    await client.exec("mayfly", "off").catch(() => {});
    await event("vm.removed", "mayfly");
    expect(await readdir(join(folder, "state", "vms"))).toEqual(["phoenix"]);
  });

  it("ends when its time is over", async () => {
    await up("vms: { brief: { kernel: embedded, time: 100ms } }");
    expect(await event("vm.off", "brief")).toMatchObject({ message: "its time is over" });
  });
});

describe("machine memory", () => {
  const MEBIBYTE = 2 ** 20;
  const PAGES = 6000;
  const memoryOf = async (name: string) => (await client.vm(name)).memory!;

  /** Asks a VM about its memory until the answer is as it should be. */
  async function until(name: string, isSo: (memory: MemoryView) => boolean): Promise<MemoryView> {
    for (let tries = 0; tries < 600; tries++) {
      const memory = await memoryOf(name);
      if (isSo(memory)) return memory;
      await wait(100);
    }
    throw new Error(`${name} has ${JSON.stringify(await memoryOf(name))}`);
  }

  async function startWith(mebibytes: number): Promise<void> {
    await daemon.close();
    await start(mebibytes * MEBIBYTE);
  }

  it("of half the size of what VMs in several threads use keeps every byte right", async () => {
    await startWith(48);
    const names = ["a", "b", "c", "d"];
    await up(`vms: { ${names.map((name) => `${name}: { kernel: embedded, memory: 32M }`).join(", ")} }`);
    for (const result of await Promise.all(names.map((name) => client.exec(name, `fill ${PAGES}`))))
      expect(result.output).toBe(`filled ${PAGES}\n`);
    for (const result of await Promise.all(names.map((name) => client.exec(name, "check"))))
      expect(result.output).toBe(`0 wrong of ${PAGES}\n`);
    const memories = await Promise.all(names.map(memoryOf));
    const sum = (field: "granted" | "swapped") => memories.reduce((all, memory) => all + memory[field], 0);
    expect(sum("granted")).toBeLessThanOrEqual(48 * MEBIBYTE);
    expect(sum("swapped")).toBeGreaterThan(40 * MEBIBYTE);
    expect(sum("granted") + sum("swapped")).toBe(4 * PAGES * 4096);
    expect(await client.metrics()).toMatch(/hyperfile_host_memory_bytes{kind="total"} 50331648/);
  });

  it("of VMs of one group holds equal pages once; they end one by one, and fail together", async () => {
    await startWith(64);
    const vm = (name: string, group: string) => `${name}: { kernel: embedded, memory: 16M${group} }`;
    const group = ", group: dense";
    await up(`vms: { ${[vm("a1", group), vm("a2", group), vm("alone", "")].join(", ")} }`);
    for (const name of ["a1", "a2", "alone"]) await client.exec(name, "fill 1000");
    for (const name of ["a1", "a2"]) await until(name, ({ shared }) => shared >= 950 * 4096);
    expect((await memoryOf("alone")).shared).toBe(0);
    const free = async () => Number(/memory_bytes{kind="free"} (\d+)/.exec(await client.metrics())![1]);
    expect(64 * MEBIBYTE - (await free())).toBeLessThan(2.5 * 1000 * 4096);
    await client.exec("a1", "fill 500");
    for (const name of ["a1", "a2", "alone"])
      expect((await client.exec(name, "check")).output).toMatch(/^0 wrong/);
    await client.stop("a1");
    expect((await client.exec("a2", "check")).output).toBe("0 wrong of 1000\n");
    await client.start("a1");
    await client.exec("a1", "fill 100");
    const crashed = event("vm.crashed", "a2");
    await client.exec("a1", "crash;sleep", 5000).catch(() => {});
    await crashed;
    expect((await client.vms()).map(({ name, state }) => `${name} ${state}`)).toEqual([
      "a1 crashed",
      "a2 crashed",
      "alone running",
    ]);
  });

  it("of a VM that ends, in whatever state, is there for the others", async () => {
    await startWith(32);
    await up("vms: { a: { kernel: embedded, memory: 24M }, b: { kernel: embedded, memory: 24M } }");
    await client.exec("a", "fill 5000");
    const crashed = event("vm.crashed", "a");
    await client.exec("a", "crash;sleep", 5000).catch(() => {});
    await crashed;
    expect((await client.exec("b", "fill 5000")).output).toBe("filled 5000\n");
    expect((await client.exec("b", "check")).output).toBe("0 wrong of 5000\n");
    expect((await memoryOf("b")).swapped).toBe(0);
  });

  it("of a VM follows its limit and its pool's at once, and is never less than its reservation", async () => {
    await startWith(64);
    await up(`
pools: { small: { memory: { limit: 24M } } }
vms:
  kept: { kernel: embedded, memory: { size: 32M, reservation: 24M } }
  free: { kernel: embedded, memory: 32M, pool: small }
  greedy: { kernel: embedded, memory: { size: 48M, shares: 1000000 } }
`);
    await client.exec("kept", "fill 6000");
    await client.exec("free", "fill 4000");
    expect(await memoryOf("free")).toMatchObject({ swapped: 0, granted: 4000 * 4096 });
    expect((await client.set("free", ["memory.limit=8M"])).memoryAllotment.limit).toBe(8 * MEBIBYTE);
    await until("free", ({ granted }) => granted <= 8 * MEBIBYTE);
    expect((await client.exec("free", "check")).output).toBe("0 wrong of 4000\n");
    await client.set("free", ["memory.limit=none"]);
    await client.setPool("shop/small", ["memory.limit=4M"]);
    await until("free", ({ granted }) => granted <= 4 * MEBIBYTE);
    await client.exec("greedy", "fill 12000");
    expect(await memoryOf("kept")).toMatchObject({ granted: 6000 * 4096, swapped: 0 });
    await expect(client.set("greedy", ["memory.reservation=48M"])).rejects.toMatchObject({
      code: "E_ADMISSION",
    });
    for (const name of ["kept", "free", "greedy"])
      expect((await client.exec(name, "check")).output).toMatch(/^0 wrong of/);
  });
});

describe("the daemon", () => {
  it("finds projects, logs and snapshots again after it was away", async () => {
    await up("vms: { vm: { kernel: embedded } }");
    await client.exec("vm", "echo before");
    await client.exec("vm", "remember it");
    await client.snapshot("vm", "kept");
    await daemon.close();
    // What a daemon that was killed had begun to write, for this VM and for one of no project.
    const left = ["vm", "clone"].map((name) => join(folder, "state", "vms", name, "snapshots"));
    for (const path of left) {
      await mkdir(path, { recursive: true });
      await writeFile(join(path, ".1-1.snapshot-in-progress"), "half");
    }
    await start();
    expect(await Promise.all(left.map((path) => readdir(path)))).toEqual([["kept.snapshot"], []]);
    expect(await client.vm("vm")).toMatchObject({ state: "off", snapshots: [{ name: "kept" }] });
    expect(new TextDecoder().decode(await client.logs("vm"))).toContain("before");
    await client.start("vm", "kept");
    expect((await client.exec("vm", "recall")).output).toBe("it\n");
  });

  it("and its VMs go on where a console log can't be written and a snapshot is a link to nowhere", async () => {
    await mkdir(join(folder, "state", "vms", "vm", "console.log"), { recursive: true });
    await up("vms: { vm: { kernel: embedded }, other: { kernel: embedded } }");
    expect(await event("vm.log", "vm")).toMatchObject({
      message: expect.stringMatching(/it is a folder; the VM/),
    });
    expect((await client.exec("vm", "echo on")).output).toBe("on\n");
    await expect(client.logs("vm")).rejects.toMatchObject({ code: "E_LOG" });
    expect(new TextDecoder().decode(await client.logs("other"))).toContain("guest# ");
    await client.snapshot("vm", "real");
    await symlink("/nowhere", join(folder, "state", "vms", "vm", "snapshots", "dangling.snapshot"));
    expect((await client.vm("vm")).snapshots.map(({ name }) => name)).toEqual(["real"]);
    const told = (await client.pastEvents()).filter(({ kind }) => kind === "vm.log");
    expect(told).toHaveLength(1);
  });

  it("holds a guest that prints faster than its log is written, and passes all of it on", async () => {
    await up("vms: { vm: { kernel: embedded } }");
    let got = 0;
    await client.console("vm", (bytes) => {
      got += bytes.length;
    });
    // Far more than may be under way: it arrives only if the guest is let go again and again.
    await client.exec("vm", "flood 8");
    while (got < 8 * 2 ** 20) await new Promise((resolve) => setTimeout(resolve, 5));
    const { counters } = await client.vm("vm");
    expect(counters!["vm.holds"]).toBeGreaterThan(0);
    expect((await client.exec("vm", "echo on")).output).toBe("on\n");
  });

  it("is one to a socket and to a folder; the socket only its owner may use", async () => {
    const { mode } = await stat(client.socket);
    expect(mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, "run"))).mode & 0o777).toBe(0o700);
    await expect(start()).rejects.toMatchObject({ code: "E_DAEMON_RUNNING" });
    const elsewhere = startDaemon(folder, { socket: join(folder, "other.sock") });
    await expect(elsewhere).rejects.toMatchObject({
      code: "E_DAEMON_RUNNING",
      message: expect.stringContaining(`process ${process.pid}, which answers at ${client.socket}`),
    });
    await rm(client.socket);
    await expect(start()).rejects.toMatchObject({ code: "E_DAEMON_RUNNING" });
  });

  it("passes consoles both ways over WebSocket", async () => {
    await up("vms: { vm: { kernel: embedded } }");
    let text = "";
    const connection = await client.console("vm", (bytes) => {
      text += new TextDecoder().decode(bytes);
    });
    connection.resize(100, 30);
    connection.send(new TextEncoder().encode("echo over the wire\n"));
    while (!text.includes("\nover the wire")) await new Promise((resolve) => setTimeout(resolve, 5));
    await client.stop("vm", { force: true });
    expect(await connection.closed).toEqual({ reason: "vm.off", isCut: false });
    await expect(client.console("nobody", () => {})).rejects.toMatchObject({ code: "E_VM_UNKNOWN" });
  });

  it("has metrics, and a history", async () => {
    await up("vms: { vm: { kernel: embedded } }");
    await client.exec("vm", "hog;echo");
    let samples = await client.history(60);
    while (samples.length < 3 || (samples.at(-1)?.vms.vm?.used ?? 0) === 0)
      samples = await client.history(60);
    const metrics = await client.metrics();
    expect(metrics).toMatch(/^hyperfile_vm_state\{vm="vm",project="shop",state="running"\} 1$/m);
    expect(metrics).toMatch(
      /^hyperfile_vm_cpu_seconds_total\{vm="vm",project="shop",account="used"\} 0\.\d+$/m,
    );
    expect(metrics).toContain('hyperfile_info{version="1.2.3"} 1');
    for (const line of metrics.split("\n").filter((one) => one !== "" && !one.startsWith("#")))
      expect(line).toMatch(/^[a-z_]+(\{([a-z]+="[^"]*",?)+\})? [-+.e\d]+$/);
  });

  it("describes every operation in its OpenAPI document, and has no other", async () => {
    const answer = await raw("GET", "/v1/openapi.json");
    const document = JSON.parse(answer.text);
    expect(document.openapi).toBe("3.0.3");
    for (const { id, method, path } of operations as readonly Operation[])
      expect(document.paths[path][method].operationId).toBe(id);
    const refs = [...answer.text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name!);
    for (const name of refs) expect(document.components.schemas).toHaveProperty(name);
  });

  it.each([
    ["GET", "/v1/nothing", "", 404, "E_NOT_FOUND", /there is nothing at/],
    ["POST", "/v1/vms", "", 404, "E_NOT_FOUND", /takes GET, not POST/],
    ["GET", "/v1/vms/ghost", "", 404, "E_VM_UNKNOWN", /no VM ghost; there are no VMs/],
    ["POST", "/v1/up", "{", 400, "E_REQUEST", /not JSON/],
    ["POST", "/v1/up", "[]", 400, "E_REQUEST", /not a JSON object/],
    ["POST", "/v1/up", "{}", 400, "E_SETTING", /text must be a text/],
    ["POST", "/v1/up", `{"text":"${"x".repeat(5e6)}"}`, 400, "E_REQUEST", /more than 4194304 bytes/],
    ["GET", "/v1/vms/ghost/console", "", 400, "E_REQUEST", /WebSocket/],
  ])(
    "answers %s %s with an error that says what is wrong",
    async (method, path, body, status, code, message) => {
      const answer = await raw(method, path, body);
      expect(answer.status).toBe(status);
      expect(JSON.parse(answer.text)).toMatchObject({ code, message: expect.stringMatching(message) });
    },
  );
});

/** One HTTP request as it stands. */
function raw(method: string, path: string, body = ""): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: client.socket, method, path }, (response) => {
      let text = "";
      response.on("data", (part) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode!, text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}
