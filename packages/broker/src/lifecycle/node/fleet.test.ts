/** Fleets whose guests and threads fail as they are told to: what they say is so, and nothing is left of what has gone. */
import { existsSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ClaimsDouble } from "../../../test/claims-double.js";
import { guestSteps, nextTurn } from "../../../test/scripted-guest.js";
import { FleetDouble } from "../../../test/thread-double.js";
import { HostScheduler } from "../../cpu/node/host-scheduler.js";
import type { ManagedVm } from "./managed-vm.js";

let scheduler: HostScheduler;
let double: FleetDouble;
let claims: ClaimsDouble;

beforeEach(async () => {
  scheduler = await HostScheduler.start({ cores: 2 });
  claims = new ClaimsDouble();
  double = new FleetDouble(scheduler, undefined, claims.take);
  claims.before = () => double.script.step("claim");
});
afterEach(async () => {
  double.script.letGo();
  await double.close();
  await scheduler.close();
  await until(() => claims.held.length === 0);
});

const states = () => double.fleet.list().map(({ name, state }) => `${name} ${state}`);
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "done",
    (error: { code?: string; message: string }) => error.code ?? error.message,
  );
/** A file by the name of a snapshot, `one`; what is in it is the script's. */
function makeSnapshot(vm: ManagedVm): void {
  mkdirSync(vm.snapshotFolder.path, { recursive: true });
  writeFileSync(`${vm.snapshotFolder.path}/one.snapshot`, "");
}
/** Waits, in turns of the event loop, until something is so. */
async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + 30_000;
  while (!isSo() && performance.now() < end) await nextTurn();
  expect(isSo()).toBe(true);
}

describe("a fleet", () => {
  it("pauses a VM after a snapshot that is under way, and leaves an original as it was when its clone fails", async () => {
    await double.up("a: { kernel: embedded }");
    const a = double.fleet.vm("a");
    double.script.plans = { save: "late" };
    await Promise.all([a.snapshot("one"), a.pause()]);
    expect(a.state).toBe("paused");
    double.script.plans = { clone: "fails" };
    expect(await codeOf(double.fleet.clone("a", "b"))).toBe("E_SCRIPT");
    expect(states()).toEqual(["a paused"]);
    await a.resume();
    expect(await codeOf(double.fleet.clone("a", "b"))).toBe("E_SCRIPT");
    expect(states()).toEqual(["a running"]);
    expect(double.guests.get("a")?.stills).toBe(0);
    expect([double.slots, double.script.alive]).toEqual([1, 1]);
    double.script.plans = {};
    await double.fleet.clone("a", "b");
    expect(states()).toEqual(["a running", "b running"]);
  });

  it("leaves no thread, slot or frame of a start or restore that fails", async () => {
    await double.up("a: { kernel: embedded }");
    const a = double.fleet.vm("a");
    const threads = () => double.liveThreads.length;
    await until(() => threads() >= 1);
    for (const step of ["make", "restore", "load"] as const) {
      await a.stop(true);
      const frames = double.usedFrames;
      double.script.plans = { [step]: "fails" };
      if (step === "restore") {
        double.script.plans = {};
        await double.fleet.start("a");
        makeSnapshot(a);
        await a.stop(true);
        double.script.plans = { restore: "fails" };
      }
      expect(await codeOf(double.fleet.start("a", step === "restore" ? "one" : undefined)), step).toBe(
        "E_SCRIPT",
      );
      expect([a.state, double.slots, double.script.alive], step).toEqual(["off", 0, 0]);
      expect(double.usedFrames, step).toBe(frames);
      double.script.plans = {};
      await double.fleet.start("a");
      expect(a.state).toBe("running");
    }
  });

  it("lets a VM that is restored run on, or stay paused, whatever fails, and leaves nothing of what was made for it", async () => {
    await double.up("a: { kernel: embedded }");
    const a = double.fleet.vm("a");
    makeSnapshot(a);
    const [guest, frames] = [double.guests.get("a"), double.usedFrames];
    for (const state of ["running", "paused"] as const) {
      if (state === "paused") await a.pause();
      for (const step of ["drain", "successor", "restore"] as const) {
        double.script.plans = { [step]: "fails" };
        await expect(a.restore("one")).rejects.toMatchObject({
          code: "E_SCRIPT",
          message: `VM a is as it was, and not restored from one: ${step} has failed`,
        });
        expect([a.state, a.end, double.slots, double.script.alive], step).toEqual([state, undefined, 1, 1]);
        expect(double.usedFrames, step).toBeLessThanOrEqual(frames);
      }
      await expect(a.restore("two")).rejects.toMatchObject({ code: "E_SNAPSHOT_UNKNOWN" });
    }
    expect([guest?.stills, guest?.drains, double.script.misuses]).toEqual([1, 1, []]);
    double.script.plans = {};
    await a.restore("one");
    expect([a.state, double.slots, double.script.alive]).toEqual(["running", 1, 1]);
    expect(double.usedFrames).toBeLessThanOrEqual(frames);
    const kinds = double.fleet.events.since(0).map(({ kind }) => kind);
    expect(kinds).not.toContain("vm.off");
    expect(kinds.at(-1)).toBe("vm.restored");
    // What can't run ends: nothing is left of the one before it.
    double.script.plans = { load: "fails" };
    expect(await codeOf(a.restore("one"))).toBe("E_SCRIPT");
    await until(() => a.state === "crashed" && double.usedFrames === 0);
    expect([a.end?.message, double.slots, double.script.alive]).toEqual(["load has failed", 0, 0]);
    double.script.plans = {};
    await a.restore("one");
    expect(a.state).toBe("running");
  });

  it("goes on with a backup whatever is asked of its VM meanwhile, and makes no image where its disk is closed below it", async () => {
    const { fleet, script } = double;
    const disk = join(double.folder, "disk.raw");
    writeFileSync(disk, "");
    await double.up(`a: { kernel: embedded, disks: [{ file: "${disk}", format: raw }] }`);
    const a = fleet.vm("a");
    makeSnapshot(a);
    const target = { disk: 0, store: "/store", name: "image" };
    const backups = () => fleet.events.since(0).filter(({ kind }) => kind === "vm.backup").length;
    const powerOff = async () => {
      a.type(new TextEncoder().encode("off 0\n"));
      await a.untilOff();
    };
    const meanwhile: [string, () => Promise<unknown>, string][] = [
      ["a pause", () => a.pause(), "done"],
      ["a snapshot and a resume", () => Promise.all([a.snapshot("two"), a.resume()]), "done"],
      ["a reset", () => a.reset(), "done"],
      ["another backup", () => a.backup(target), "done"],
      ["a clone", () => fleet.clone("a", "b"), "done"],
      ["a restore", () => a.restore("one"), "E_SCRIPT"],
      ["a stop beside a clone", () => a.stop(true), "E_SCRIPT"],
      [
        "a stop that takes the thread along",
        () => fleet.remove("b", true).then(() => a.stop(true)),
        "E_VM_CRASHED",
      ],
      ["a power-off", powerOff, "E_VM_CRASHED"],
    ];
    let made = 0;
    for (const [what, command, answer] of meanwhile) {
      if (!a.isUp) await fleet.start("a");
      script.plans = { backup: "hangs" };
      const backedUp = codeOf(a.backup(target));
      await until(() => script.hung === 1);
      script.plans = {};
      // Nothing waits for the backup.
      await command();
      expect(script.hung, what).toBe(1);
      script.letGo();
      expect(await backedUp, what).toBe(answer);
      await nextTurn();
      made += Number(answer === "done") + Number(what === "another backup");
      expect([script.images, backups()], what).toEqual([made, made]);
    }
    expect(await codeOf(a.backup(target))).toBe("E_VM_STATE");
    expect([states(), double.slots, script.alive, script.misuses]).toEqual([["a off"], 0, 0, []]);
  });

  it("restores a VM where no other could be admitted: it keeps what it has of the host", async () => {
    await double.up(
      "a: { kernel: embedded, cpu: { reservation: 1.9 } }, b: { kernel: embedded, autostart: false, cpu: { reservation: 1 } }",
    );
    expect(await codeOf(double.fleet.start("b"))).toBe("E_ADMISSION");
    const a = double.fleet.vm("a");
    const { thread } = a;
    for (const vm of [a, double.fleet.vm("b")]) makeSnapshot(vm);
    await a.restore("one");
    expect([a.state, a.thread]).toEqual(["running", thread]);
    expect(await codeOf(double.fleet.vm("b").restore("one"))).toBe("E_ADMISSION");
    expect(states()).toEqual(["a running", "b off"]);
  });

  it("keeps a VM that somebody starts while the clone fails that it was to be", async () => {
    const { fleet, script } = double;
    await double.up("a: { kernel: embedded }");
    script.plans = { clone: "fails" };
    let started: Promise<string> | undefined;
    const unlisten = fleet.events.listen(({ kind, name }) => {
      // At the first moment at which it can be started.
      if (kind === "vm.off" && name === "b")
        started ??= Promise.resolve().then(() => codeOf(fleet.start("b")));
    });
    expect(await codeOf(fleet.clone("a", "b"))).toBe("E_SCRIPT");
    unlisten();
    expect(await started).toBe("done");
    expect([states(), double.slots]).toEqual([["a running", "b running"], 2]);
    await fleet.remove("b", true);
    expect(await codeOf(fleet.clone("a", "b"))).toBe("E_SCRIPT");
    expect([states(), double.slots]).toEqual([["a running"], 1]);
  });

  it("ends the thread of an original that powers off while it is cloned, and of its clone", async () => {
    for (let round = 0; round < 30; round++) {
      await double.up(`a${round}: { kernel: embedded }`, `p${round}`);
      const name = `a${round}`;
      double.script.plans = round % 2 === 0 ? { clone: "late" } : {};
      const cloned = codeOf(double.fleet.clone(name, `${name}-twin`));
      for (let turn = 0; turn < round % 7; turn++) await nextTurn();
      double.fleet.vm(name).type(new TextEncoder().encode("off 0\n"));
      await cloned;
      await double.fleet.down(`p${round}`, true);
      for (const vm of double.fleet.list()) await double.fleet.remove(vm.name, true);
    }
    expect([double.slots, double.script.alive, double.usedFrames]).toEqual([0, 0, 0]);
    // The one that waits for the next VM.
    await until(() => double.liveThreads.length <= 1);
  });

  it("says of a VM that ended while a command was on its way that it has ended, not that there is none", async () => {
    for (const command of ["pause", "snapshot", "reset", "clone"] as const) {
      await double.up("a: { kernel: embedded }");
      const a = double.fleet.vm("a");
      double.guests.get("a")?.finish({ kind: "off", status: 0 });
      // The end is told with the next turn; the command is given before.
      for (let task = 0; task < 20 && double.script.alive > 0; task++) await Promise.resolve();
      expect([double.script.alive, a.state], command).toEqual([0, "running"]);
      const given =
        command === "clone"
          ? double.fleet.clone("a", "b")
          : command === "snapshot"
            ? a.snapshot("one")
            : a[command]();
      await expect(given, command).rejects.toMatchObject({
        code: "E_VM_STATE",
        message: expect.stringMatching(/^can't \w+ VM a: it has ended meanwhile$/),
      });
      expect(states(), command).toEqual(["a off"]);
    }
  });

  it("ends one VM of a group whose guest fails, and the others go on", async () => {
    await double.up("a: { kernel: embedded, group: g }, b: { kernel: embedded, group: g }");
    double.script.plans = { run: "fails" };
    double.guests.get("a")?.finish({ kind: "off", status: 0 });
    await until(() => double.fleet.vm("a").state === "crashed");
    double.script.plans = {};
    expect(states()).toEqual(["a crashed", "b running"]);
    expect(double.fleet.vm("a").end?.message).toBe("run has failed");
    await double.fleet.start("a");
    expect(states()).toEqual(["a running", "b running"]);
    expect(double.fleet.vm("a").thread).toBe(double.fleet.vm("b").thread);
  });

  it("stops one VM of a group with the shortest of times, and the others go on", async () => {
    const vm = (name: string) => `${name}: { kernel: embedded, group: g, shutdown: never }`;
    await double.up(`${vm("a")}, ${vm("b")}, ${vm("c")}`);
    await double.fleet.vm("a").stop(false, 1);
    await double.fleet.vm("b").stop(true, 1);
    expect(states()).toEqual(["a off", "b off", "c running"]);
  });

  it("says of a guest that is off before its start is answered with what it ended, and goes on", async () => {
    double.script.endAtOnce = { kind: "off", status: 3 };
    const report = await double.up("a: { kernel: embedded }, b: { kernel: embedded, after: a }");
    expect(report.actions).toEqual([
      { name: "a", action: "ended", detail: "status 3" },
      { name: "b", action: "ended", detail: "status 3" },
    ]);
    double.script.endAtOnce = { kind: "error", status: 1, message: "stuck" };
    expect((await double.up("a: { kernel: embedded }, b: { kernel: embedded, after: a }")).actions).toEqual([
      { name: "a", action: "failed", code: "E_VM_STATE", detail: expect.stringMatching(/stuck/) },
      { name: "b", action: "skipped", detail: "it comes after a, which has failed" },
    ]);
    expect(double.slots).toBe(0);
  });

  it("takes a project down that is still coming up: what is provisioned is given up, what starts is stopped", async () => {
    const slow = "{ kernel: embedded, provision: [forever] }";
    const coming = codeOf(double.up(`a: ${slow}, b: { kernel: embedded, after: a }`));
    const provisioning = () => double.fleet.activities.list().map(({ vm, what }) => `${vm} ${what}`);
    await until(() => provisioning().includes('a provisioning: "forever"'));
    // One that waits for its turn, and one whose client has gone by then: neither begins.
    const second = codeOf(double.up(`a: ${slow}`));
    const gone = new AbortController();
    const third = codeOf(
      double.fleet.up(
        { text: `name: shop\nvms: { a: ${slow} }`, file: "H", folder: "/shop" },
        false,
        gone.signal,
      ),
    );
    gone.abort();
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    expect(await double.fleet.down("shop")).toEqual(["b", "a"]);
    expect(await Promise.all([coming, second, third])).toEqual(["E_VM_STATE", "E_VM_STATE", "E_VM_STATE"]);
    expect([states(), double.slots, double.script.alive]).toEqual([[], 0, 0]);
    expect(double.fleet.activities.list()).toEqual([]);

    double.script.plans = { make: "hangs" };
    const stuck = codeOf(double.up("a: { kernel: embedded }, b: { kernel: embedded, after: a }"));
    await until(() => double.script.hung === 1);
    expect(await double.fleet.down("shop")).toEqual(["b", "a"]);
    expect(await stuck).toBe("E_VM_STATE");
    double.script.letGo();
    double.script.plans = {};
    // It comes up again as if nothing had been.
    expect((await double.up("a: { kernel: embedded }")).actions).toEqual([{ name: "a", action: "started" }]);
  });

  it("does not begin what a client wanted that has gone before its turn", async () => {
    const slow = codeOf(double.up("a: { kernel: embedded, provision: [forever] }"));
    await until(() => double.fleet.activities.list().some(({ what }) => what.startsWith("provisioning")));
    const gone = new AbortController();
    const source = { text: "name: shop\nvms: { b: { kernel: embedded } }", file: "H", folder: "/shop" };
    const waiting = codeOf(double.fleet.up(source, false, gone.signal));
    gone.abort();
    await double.fleet.vm("a").stop(true);
    expect(await slow).toBe("done");
    expect(await waiting).toBe("E_VM_STATE");
    expect(states()).toEqual(["a off"]);
  });

  it("does not let one project wait for another that hangs, and takes that one down by force", async () => {
    double.script.plans = { make: "hangs" };
    const stuck = codeOf(double.up("a: { kernel: embedded }, c: { kernel: embedded }", "one"));
    await until(() => double.script.hung === 1);
    double.script.plans = {};
    await double.up("b: { kernel: embedded }", "two");
    expect(states()).toEqual(["a starting", "c off", "b running"]);
    expect(await codeOf(double.up("c: { kernel: embedded }", "three"))).toBe("E_NAME_TAKEN");
    expect(await double.fleet.down("one", true)).toEqual(["c", "a"]);
    expect(await stuck).toBe("E_VM_STATE");
    expect(states()).toEqual(["b running"]);
    double.script.letGo();
    await double.fleet.down("two", true);
    await until(() => double.script.alive === 0);
  });

  it("does not let one project wait for another whose claim hangs, and gives back what comes too late", async () => {
    double.script.plans = { claim: "hangs" };
    const stuck = codeOf(double.up("a: { kernel: embedded }", "one"));
    await until(() => double.script.hung === 1);
    double.script.plans = {};
    await double.up("b: { kernel: embedded }", "two");
    await double.fleet.down("two", true);
    await double.up("b: { kernel: embedded }", "two");
    expect(states()).toEqual(["a starting", "b running"]);
    expect(await double.fleet.down("one", true)).toEqual(["a"]);
    expect(await stuck).toBe("E_VM_STATE");
    double.script.letGo();
    await until(() => claims.held.length === 1);
    expect([claims.held, states(), double.slots, double.script.alive]).toEqual([["b"], ["b running"], 1, 1]);
  });

  it("shows what a silent thread told last, at once after the first time, and asks it no second time", async () => {
    await double.up("a: { kernel: embedded }, b: { kernel: embedded }");
    const [a, b] = [double.fleet.vm("a"), double.fleet.vm("b")];
    expect(await a.figures()).toMatchObject({ last: { retired: 0 }, silentMs: undefined });
    const thread = double.threads.find((one) => !one.isGone)!;
    thread.isDeaf = true;
    const asked: unknown[] = [];
    const post = thread.postMessage.bind(thread);
    thread.postMessage = (message) => {
      if (message.kind === "request") asked.push(message.method);
      post(message);
    };
    const silent = [await a.figures(), await a.figures(), await a.figures()];
    expect(asked).toEqual(["figures"]);
    for (const figures of silent) {
      expect(figures?.last).toMatchObject({ retired: 0 });
      expect(figures?.silentMs).toBeGreaterThan(0);
    }
    expect(await b.figures()).toMatchObject({ silentMs: undefined });
    await a.stop(true);
    expect(states()).toEqual(["a off", "b running"]);
  });

  it("ends a silent thread for one of its VMs only late, and tells and starts the others again", async () => {
    await double.up(
      "a: { kernel: embedded, group: g }, b: { kernel: embedded, group: g, restart: on-failure }",
    );
    double.liveThreads[0]!.isDeaf = true;
    await double.fleet.vm("a").stop(true);
    expect(double.fleet.vm("a")).toMatchObject({ state: "off", end: { kind: "stopped" } });
    const crash = double.fleet.events.since(0).find(({ kind }) => kind === "vm.crashed");
    expect(crash).toMatchObject({
      name: "b",
      message: "its thread has failed: VM a, which shared it, did not stop",
    });
    await until(() => double.fleet.vm("b").state === "running");
    expect(double.fleet.vm("b").restarts).toBe(1);
  });

  it("does not start a VM again that was stopped while it waited for that", async () => {
    await double.up("a: { kernel: embedded, restart: always }");
    const a = double.fleet.vm("a");
    a.type(new TextEncoder().encode("off 1\n"));
    await until(() => a.state === "off");
    await a.stop(false);
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect([a.state, a.restarts]).toEqual(["off", 0]);
  });
});

it("a fleet without VMs keeps no thread and no memory after a while, and makes both anew for the next VM", async () => {
  const resting = new FleetDouble(scheduler, 20);
  try {
    await resting.up("a: { kernel: embedded }", "rest");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(resting.fleet.vm("a").state).toBe("running");
    expect(resting.memories).toBe(1);
    await resting.fleet.down("rest", true);
    await until(() => resting.liveThreads.length === 0);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await resting.up("a: { kernel: embedded }", "rest");
    expect(resting.fleet.vm("a").state).toBe("running");
    expect(resting.memories).toBe(2);
  } finally {
    await resting.close();
  }
});

/** 500 and more are run with HYPERFILE_SEQUENCES=500: they take minutes. */
const SEQUENCES = Number(process.env.HYPERFILE_SEQUENCES ?? 40);

describe("random commands with random failures", () => {
  const names = ["a", "b", "c"];

  /** Xorshift32. */
  function randomFrom(seed: number): (below: number) => number {
    let state = seed | 1;
    return (below) => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return (state >>> 0) % below;
    };
  }

  /**
   * Files that this process has open; nothing where the host does not say. But for swap files, which threads take along when
   * they end, and their doubles here do not.
   */
  const openFiles = (): number => {
    const folder = "/proc/self/fd";
    if (!existsSync(folder)) return 0;
    return readdirSync(folder).filter((fd) => {
      try {
        return !readlinkSync(`${folder}/${fd}`).includes("/swap-");
      } catch {
        // The one by which the folder was read.
        return false;
      }
    }).length;
  };

  it(`leave no state that lies, no frame, slot, thread, claim, file, listener or guest, in ${SEQUENCES} sequences`, async () => {
    const filesBefore = openFiles();
    const disk = join(double.folder, "disk.raw");
    writeFileSync(disk, "");
    let given = 0;
    let done = 0;
    let hung = 0;
    let restored = 0;
    let backups = 0;
    for (let sequence = 1; sequence <= SEQUENCES; sequence++) {
      const random = randomFrom(sequence * 7919);
      const { fleet, script } = double;
      const before = fleet.events.last;
      const disks = `disks: [{ file: "${disk}", format: raw, ephemeral: true }]`;
      const vms = `a: { kernel: embedded, group: g, ${disks} }, b: { kernel: embedded, group: g }, c: { kernel: embedded, ${disks} }`;
      const [mayHang, images] = [sequence % 3 === 0, script.images];
      script.plans = {};
      await double.up(vms);
      if (sequence === 1) fleet.list().forEach(makeSnapshot);
      const commands: readonly ((vm: ManagedVm) => Promise<unknown>)[] = [
        (vm) => fleet.start(vm.name),
        (vm) => vm.pause(),
        (vm) => vm.resume(),
        (vm) => vm.reset(),
        (vm) => vm.snapshot("one"),
        (vm) => vm.restore("one"),
        (vm) => fleet.clone(vm.name, `${vm.name}-${random(3)}`),
        (vm) => vm.backup({ disk: 0, store: "/store", name: "image" }),
        (vm) => vm.exec("true", 5),
        (vm) => vm.stop(random(2) === 0, 5),
        (vm) => vm.figures(),
        async (vm) => {
          toldToEnd.add(vm);
          await vm.type(new TextEncoder().encode(`off ${random(2)}\n`));
        },
        () => fleet.remove(`${names[random(3)]}-${random(3)}`, true),
        () => double.up(vms),
      ];
      const answers: Promise<string>[] = [];
      /** What was typed while a guest was being made is offered to it again some milliseconds later. */
      const toldToEnd = new Set<ManagedVm>();
      for (let at = 0; at < 10; at++) {
        for (const step of guestSteps) {
          const plan = random(20);
          script.plans[step] =
            plan < 4 ? "fails" : plan < 8 ? "late" : plan < 10 && mayHang ? "hangs" : "done";
        }
        const known = fleet.list();
        const vm = known[random(known.length)]!;
        const command = commands[random(commands.length)]!;
        given++;
        answers.push(codeOf((async () => command(vm))()));
        for (let turn = random(4); turn > 0; turn--) await nextTurn();
        if (random(40) === 0)
          double.liveThreads[random(double.liveThreads.length)]?.fail(new Error("broken"));
      }
      script.plans = {};
      let isAnswered = false;
      const all = Promise.all(answers).finally(() => {
        isAnswered = true;
      });
      // What hangs is let go at the end: that takes some turns to what comes after it.
      while (!isAnswered) {
        hung += script.hung;
        script.letGo();
        await nextTurn();
      }
      done += (await all).filter((answer) => answer === "done").length;
      const count = (wanted: string) =>
        fleet.events.since(before).filter(({ kind }) => kind === wanted).length;
      restored += count("vm.restored");
      backups += count("vm.backup");
      // Of a thread that has died, nobody may have heard that it made one.
      expect(script.images - images).toBeGreaterThanOrEqual(count("vm.backup"));
      for (let turn = 0; turn < 12; turn++) await nextTurn();
      // What is shown is so: a VM that runs or is paused obeys as such, or has just been told to end; one that is off is refused.
      const what = `sequence ${sequence}`;
      expect(script.misuses, what).toEqual([]);
      const up = fleet.list().filter(({ isUp }) => isUp);
      expect(double.slots, what).toBe(up.length);
      for (const vm of fleet.list()) {
        const isStanding = vm.state === "paused";
        if (vm.isUp) {
          expect(["running", "paused"], `${what}: ${vm.name}`).toContain(vm.state);
          const answer = await codeOf(isStanding ? vm.resume() : vm.pause());
          if (answer === "E_VM_STATE" && toldToEnd.has(vm)) {
            await until(() => !vm.isUp);
            continue;
          }
          expect(answer, `${what}: ${vm.name}`).toBe("done");
          expect(vm.state, what).toBe(isStanding ? "running" : "paused");
        } else {
          expect(["off", "crashed"], what).toContain(vm.state);
          expect(await codeOf(vm.pause()), what).toBe("E_VM_STATE");
        }
      }
      await fleet.down("shop", true);
      for (const vm of fleet.list()) await fleet.remove(vm.name, true);
      expect([double.slots, double.usedFrames, fleet.list().length], what).toEqual([0, 0, 0]);
      expect([claims.held, fleet.events.listenerCount], what).toEqual([[], 0]);
    }
    expect(double.liveThreads.length).toBeLessThanOrEqual(1);
    expect(double.fleet.events.since(0).filter(({ kind }) => kind === "daemon.failed")).toEqual([]);
    expect(given).toBe(10 * SEQUENCES);
    expect(done).toBeGreaterThan(2 * SEQUENCES);
    expect(restored).toBeGreaterThan(SEQUENCES / 10);
    expect(backups).toBeGreaterThan(SEQUENCES / 10);
    expect(hung).toBeGreaterThan(SEQUENCES / 25);
    await until(() => openFiles() <= filesBefore);
  }, 600_000);
});
