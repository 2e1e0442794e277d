/** One VM's life with a guest whose every step can fail, hang or be late, alone and with commands that meet. */
import { describe, expect, it } from "vitest";
import { guestSteps, nextTurn, Script, ScriptedGuest, type StepPlan } from "../../test/scripted-guest.js";
import type { GuestEnd, GuestMemoryParts } from "./guest-port.js";
import { VmLife } from "./vm-life.js";
import { nextVmState, type VmCommand, type VmState, vmCommands, vmTransitions } from "./vm-states.js";

const noMemory = {} as GuestMemoryParts;
const noRam = {
  free() {},
  copy: () => ({ memory: noMemory, ram: noRam }),
  anew: () => ({ memory: noMemory, ram: noRam }),
};

/** A life with its accounts. */
class Trial {
  readonly script = new Script();
  readonly told: VmState[] = ["starting"];
  readonly ends: GuestEnd[] = [];
  /** Guests that still had what is theirs when the end was told. */
  readonly aliveAtEnd: number[] = [];
  readonly broken: unknown[] = [];
  readonly twins: ScriptedGuest[] = [];
  guest: ScriptedGuest | undefined;
  readonly life = new VmLife("vm", {
    state: (state) => void this.told.push(state),
    left: () => {},
    ended: (state, end) => {
      this.aliveAtEnd.push(this.script.alive);
      this.told.push(state);
      this.ends.push(end);
    },
    broke: (error) => void this.broken.push(error),
  });

  start(): Promise<void> {
    return this.life.start(async () => {
      await this.script.step("make");
      this.guest = new ScriptedGuest(this.script, undefined, noMemory, noRam);
      return this.guest;
    });
  }

  /** Gives a command; `done`, or the code of its refusal. */
  give(command: Exclude<VmCommand, "start">): Promise<string> {
    const { life } = this;
    const orders: Record<typeof command, () => Promise<unknown>> = {
      pause: () => life.pause(),
      resume: () => life.resume(),
      reset: () => life.reset(),
      snapshot: () => life.snapshot("path"),
      clone: async () => {
        const twin = await life.clone((guest) => guest.clone("twin", undefined as never));
        this.twins.push(twin as ScriptedGuest);
      },
      backup: () => life.backup((guest) => (guest as ScriptedGuest).backup()),
      restore: () =>
        life.restore(
          async (guest) => {
            const next = (await guest.successor(undefined as never)) as ScriptedGuest;
            try {
              await next.restoreFrom();
            } catch (error) {
              next.free();
              throw error;
            }
            return next;
          },
          (next) => {
            this.guest = next as ScriptedGuest;
          },
        ),
      shutdown: () => life.shutdown(),
      stop: () => life.stop("stopped", 20),
    };
    return answerOf(orders[command]());
  }

  /** Brings the life to a state. */
  async reach(state: "running" | "paused" | "stopping"): Promise<this> {
    await this.start();
    if (state === "paused") await this.life.pause();
    if (state === "stopping") await this.life.shutdown();
    expect(this.life.state).toBe(state);
    return this;
  }

  /** What must be so whenever nothing is under way. */
  check(what: string): void {
    const { life, script, guest } = this;
    const isOver = this.ends.length > 0;
    expect(this.ends.length, what).toBeLessThanOrEqual(1);
    expect(this.told.at(-1), what).toBe(life.state);
    this.told.slice(1).forEach((state, at) => {
      const ways = Object.values(vmTransitions[this.told[at]!]);
      expect(ways, `${what}: ${this.told.join(", ")}`).toContain(state);
    });
    expect(["off", "crashed"].includes(life.state), what).toBe(isOver);
    expect(script.alive - this.twins.length, what).toBe(isOver ? 0 : 1);
    expect(script.misuses, what).toEqual([]);
    const paused = life.state === "paused" ? 1 : 0;
    if (!isOver) expect([guest?.stills, guest?.drains], what).toEqual([paused, paused]);
  }
}

/** What can be asked of a life that there is: a start makes one. */
const commands = vmCommands.filter((command) => command !== "start");
const plans: readonly StepPlan[] = ["done", "late", "fails"];
const all = (plan: StepPlan) => Object.fromEntries(guestSteps.map((step) => [step, plan]));
/** What the steps do while two commands meet. */
const pairPlans: Readonly<Record<string, Script["plans"]>> = {
  "all done": all("done"),
  "all late": all("late"),
  "all failing": all("fails"),
  "a guest that can't load": { ...all("late"), load: "fails" },
  "a guest whose run ends with an exception": { ...all("late"), run: "fails" },
};
const answerOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "done",
    (error: { code: string }) => error.code,
  );

describe("a life", () => {
  it.each(["running", "paused", "stopping"] as const)(
    "that is %s takes the commands of the table, and refuses the others by name",
    async (state) => {
      for (const command of commands) {
        const trial = await new Trial().reach(state);
        const next = nextVmState(state, command);
        const answer = await trial.give(command);
        if (next === undefined) {
          expect(answer, command).toBe("E_VM_STATE");
          expect(trial.life.state).toBe(state);
        } else {
          expect(answer, command).toBe("done");
          expect(trial.life.state).toBe(command === "stop" ? "off" : next);
        }
        trial.check(`${command} while ${state}`);
      }
    },
  );

  it("is refused with the maker's own error, and leaves nothing, if the guest can't be made or loaded", async () => {
    for (const step of ["make", "load"] as const) {
      const trial = new Trial();
      trial.script.plans = { [step]: "fails" };
      const [started, paused] = [trial.start(), trial.give("pause")];
      await expect(started, step).rejects.toMatchObject({ code: "E_SCRIPT" });
      expect(await paused).toBe("E_SCRIPT");
      expect(trial.told, step).toEqual(["starting", "off"]);
      expect(trial.broken).toEqual([]);
      trial.check(step);
    }
  });

  it("stays as it was when a step fails: a failed snapshot or clone lets the guest go on", async () => {
    for (const state of ["running", "paused"] as const)
      for (const [command, step] of [
        ["snapshot", "save"],
        ["clone", "clone"],
        ["reset", "reset"],
        ["pause", "drain"],
        ["restore", "drain"],
        ["restore", "successor"],
        ["restore", "restore"],
        ["backup", "backup"],
      ] as const) {
        const trial = await new Trial().reach(state);
        const { guest } = trial;
        trial.script.plans = { [step]: "fails" };
        const isAllowed = nextVmState(state, command) !== undefined;
        expect(await trial.give(command)).toBe(isAllowed ? "E_SCRIPT" : "E_VM_STATE");
        expect(trial.life.state).toBe(state);
        expect(trial.life.present).toBe(guest);
        trial.check(`${command} fails while ${state}`);
        trial.script.plans = {};
        expect(await trial.give(state === "running" ? "pause" : "resume")).toBe("done");
        trial.check(`after ${command} has failed while ${state}`);
      }
  });

  it("goes on with a restored guest in the place of the one that was there, which is given up last", async () => {
    for (const state of ["running", "paused"] as const)
      for (const plan of plans.slice(0, 2)) {
        const trial = await new Trial().reach(state);
        const { guest } = trial;
        trial.script.plans = { drain: plan, successor: plan, restore: plan };
        const restored = trial.give("restore");
        await nextTurn();
        // The one that was there goes on where it was until the other is ready.
        if (plan === "late")
          expect([trial.life.present, trial.guest?.stills]).toEqual([guest, 1 + Number(state === "paused")]);
        expect(await restored).toBe("done");
        expect(trial.guest).not.toBe(guest);
        expect([trial.life.present, trial.life.state]).toEqual([trial.guest, "running"]);
        expect(trial.ends).toEqual([]);
        trial.check(`restored while ${state}, ${plan}`);
        trial.script.plans = {};
        expect([await trial.give("restore"), await trial.give("pause")]).toEqual(["done", "done"]);
        trial.guest!.finish({ kind: "off", status: 4 });
        expect(await trial.give("resume")).toBe("done");
        for (let turn = 0; turn < 3; turn++) await nextTurn();
        expect(trial.ends).toEqual([{ kind: "off", status: 4 }]);
        trial.check("a restored guest that ends");
      }
  });

  it("ends with the guest whose place another one was to take, if that ends by itself before", async () => {
    for (const step of ["successor", "restore"] as const) {
      const trial = await new Trial().reach("running");
      trial.script.plans = { [step]: "hangs" };
      const restored = trial.give("restore");
      await nextTurn();
      trial.guest!.finish({ kind: "off", status: 2 });
      await nextTurn();
      trial.script.letGo();
      expect(await restored, step).toBe("E_VM_STATE");
      for (let turn = 0; turn < 3; turn++) await nextTurn();
      expect([trial.life.state, trial.ends], step).toEqual(["off", [{ kind: "off", status: 2 }]]);
      trial.check(`a guest that ends by itself while ${step} is under way`);
    }
  });

  it("is over, with the reason, if a restored guest can't run: the other one is given up by then", async () => {
    const trial = await new Trial().reach("running");
    trial.script.plans = { load: "fails" };
    expect(await trial.give("restore")).toBe("E_SCRIPT");
    expect(trial.ends).toEqual([{ kind: "error", status: 1, message: "load has failed" }]);
    expect(trial.life.state).toBe("crashed");
    trial.check("a restored guest that can't run");
  });

  it("pauses after a snapshot that is under way, and stays paused", async () => {
    const trial = await new Trial().reach("running");
    trial.script.plans = { save: "hangs" };
    const [saved, paused] = [trial.give("snapshot"), trial.give("pause")];
    await nextTurn();
    expect([trial.life.state, trial.guest?.stills]).toEqual(["running", 1]);
    trial.script.letGo();
    expect(await Promise.all([saved, paused])).toEqual(["done", "done"]);
    expect(trial.life.state).toBe("paused");
    trial.check("paused after a snapshot");
  });

  it("is paused when its devices have nothing in hand any more, and not before", async () => {
    const trial = await new Trial().reach("running");
    trial.script.plans = { drain: "hangs" };
    const [paused, resumed] = [trial.give("pause"), trial.give("resume")];
    await nextTurn();
    expect([trial.life.state, trial.guest?.stills, trial.told]).toEqual([
      "running",
      1,
      ["starting", "running"],
    ]);
    trial.script.letGo();
    expect(await Promise.all([paused, resumed])).toEqual(["done", "done"]);
    expect(trial.told).toEqual(["starting", "running", "paused", "running"]);
    trial.check("paused and resumed");
  });

  it("ends when it is told to, whatever hangs, and gives its memory back when nothing reads it any more", async () => {
    for (const [command, step] of [
      ["snapshot", "save"],
      ["clone", "clone"],
      ["pause", "drain"],
      ["restore", "drain"],
      ["restore", "successor"],
      ["restore", "restore"],
    ] as const) {
      const trial = await new Trial().reach("running");
      trial.script.plans = { [step]: "hangs" };
      const [hanging, waiting] = [trial.give(command), trial.give("pause")];
      await nextTurn();
      expect(await trial.give("stop")).toBe("done");
      expect(await Promise.all([hanging, waiting])).toEqual(["E_VM_STATE", "E_VM_STATE"]);
      expect(trial.life.state).toBe("off");
      // A guest that is being read stays till that is over; one whose devices are waited for need not.
      const alive = { drain: 0, save: 1, clone: 1, successor: 1, restore: 2 }[step];
      expect(trial.script.alive, `${command}, ${step}`).toBe(alive);
      trial.script.letGo();
      for (let turn = 0; turn < 5; turn++) await nextTurn();
      trial.check(`${command} that hangs`);
    }
    const making = new Trial();
    making.script.plans = { make: "hangs" };
    const started = making.start();
    await nextTurn();
    expect(await making.give("stop")).toBe("done");
    await expect(started).rejects.toMatchObject({ code: "E_VM_STATE" });
    making.script.letGo();
    for (let turn = 0; turn < 5; turn++) await nextTurn();
    making.check("a guest that is made after its life is over");
  });

  it("goes on with every other command while a backup is under way, which only an end of its guest breaks off", async () => {
    for (const state of ["running", "paused"] as const)
      for (const command of commands) {
        const trial = await new Trial().reach(state);
        trial.script.plans = { backup: "hangs" };
        const backedUp = trial.give("backup");
        await nextTurn();
        trial.script.plans = {};
        const answer = await trial.give(command);
        const what = `${command} during a backup, while ${state}`;
        expect(answer, what).toBe(nextVmState(state, command) === undefined ? "E_VM_STATE" : "done");
        if (command === "shutdown" && answer === "done")
          expect(await trial.give("backup")).toBe("E_VM_STATE");
        const others = command === "backup" ? 1 : 0;
        expect([trial.script.hung, trial.script.images], what).toEqual([1, others]);
        trial.script.letGo();
        // What is answered is what was made, also to those who ask when the life is over.
        const isBrokenOff = answer === "done" && ["stop", "restore"].includes(command);
        expect(await backedUp, what).toBe(isBrokenOff ? "E_SCRIPT" : "done");
        expect(trial.script.images, what).toBe(others + (isBrokenOff ? 0 : 1));
        trial.check(what);
      }
  });

  it("is over once, with the reason, if the guest ends by itself, breaks, or throws", async () => {
    for (const [end, state] of [
      [{ kind: "off", status: 3 }, "off"],
      [{ kind: "error", status: 1, message: "stuck" }, "crashed"],
    ] as const) {
      const trial = await new Trial().reach("running");
      trial.guest!.finish(end);
      for (let turn = 0; turn < 3; turn++) await nextTurn();
      expect(trial.ends).toEqual([end]);
      expect(trial.aliveAtEnd, "what it had is free when its end is told").toEqual([0]);
      expect(trial.life.state).toBe(state);
      expect(await trial.give("pause")).toBe("E_VM_STATE");
      expect(await trial.give("stop")).toBe("done");
      trial.check(end.kind);
    }
    const trial = await new Trial().reach("paused");
    trial.script.plans = { run: "fails" };
    trial.guest!.finish({ kind: "off", status: 0 });
    for (let turn = 0; turn < 3; turn++) await nextTurn();
    expect(trial.ends).toEqual([{ kind: "error", status: 1, message: "run has failed" }]);
    expect(trial.broken).toMatchObject([{ code: "E_SCRIPT" }]);
    trial.check("throws");
  });

  it("is never in a state that lies, for all pairs of commands at once and every step done, late or failing", async () => {
    let pairs = 0;
    for (const state of ["starting", "running", "paused"] as const)
      for (const first of commands)
        for (const second of commands)
          for (const [plan, script] of Object.entries(pairPlans))
            for (const turns of [0, 1, 2]) {
              const trial = new Trial();
              if (state !== "starting") await trial.reach(state);
              trial.script.plans = script;
              const { guest } = trial;
              const what = `${first}, ${turns} turns later ${second}, while ${state}, ${plan}`;
              const started = state === "starting" ? answerOf(trial.start()) : Promise.resolve("done");
              const answers = [trial.give(first)];
              for (let turn = 0; turn < turns; turn++) await nextTurn();
              answers.push(trial.give(second));
              const [one, two] = await Promise.all(answers);
              const begun = await started;
              // What was late for a life that is over is given back.
              for (let turn = 0; turn < 8; turn++) await nextTurn();
              trial.check(what);
              expect(trial.script.images, what).toBe(
                Number(first === "backup" && one === "done") + Number(second === "backup" && two === "done"),
              );
              const isStopped = first === "stop" || second === "stop";
              if (begun !== "done") expect(["off", "crashed"], what).toContain(trial.life.state);
              if (begun !== "done" && !isStopped) expect([one, two], what).not.toContain("done");
              // A command that was done took effect, unless the other one came after it.
              if (two === "done" && second === "pause") expect(trial.life.state, what).toBe("paused");
              if (two === "done" && second === "restore") expect(trial.life.state, what).toBe("running");
              if (
                state !== "starting" &&
                script.load !== "fails" &&
                one !== "done" &&
                first === "restore" &&
                two === "done" &&
                !["restore", "stop"].includes(second)
              )
                expect(trial.life.present, what).toBe(guest);
              if (two === "done" && second === "resume") expect(trial.life.state, what).toBe("running");
              const isLost = second === "restore" && script.load === "fails";
              if (one === "done" && two !== "done" && first === "pause" && !isLost)
                expect(trial.life.state, what).toBe("paused");
              // A run that ends with an exception is a crash, whoever wanted it to end.
              if (isStopped && script.run !== "fails") expect(trial.life.state, what).toBe("off");
              if (isStopped) expect(["off", "crashed"], what).toContain(trial.life.state);
              pairs++;
            }
    expect(pairs).toBe(3 * 9 * 9 * 5 * 3);
  });
});
