import { describe, expect, it } from "vitest";
import {
  nextVmState,
  type VmCommand,
  type VmState,
  vmCommands,
  vmHappenings,
  vmStates,
  vmTransitions,
} from "./vm-states.js";

describe("the states of a VM", () => {
  it("can all be reached, and left for off", () => {
    const reach = (from: VmState): Set<VmState> => {
      const reached = new Set<VmState>();
      const queue: VmState[] = [from];
      for (let state = queue.pop(); state !== undefined; state = queue.pop())
        for (const next of Object.values(vmTransitions[state]))
          if (!reached.has(next)) {
            reached.add(next);
            queue.push(next);
          }
      return reached;
    };
    for (const state of vmStates) expect([...reach(state)].sort()).toEqual([...vmStates].sort());
  });

  it("take these commands and no other", () => {
    const taken = Object.fromEntries(
      vmCommands.map((command) => [
        command,
        vmStates.filter((state) => nextVmState(state, command) !== undefined),
      ]),
    ) as Record<VmCommand, VmState[]>;
    expect(taken).toEqual({
      start: ["off", "crashed"],
      pause: ["running"],
      resume: ["paused"],
      reset: ["running"],
      snapshot: ["running", "paused"],
      clone: ["running", "paused"],
      backup: ["running", "paused"],
      restore: ["off", "running", "paused", "crashed"],
      shutdown: ["running"],
      stop: ["starting", "running", "paused", "stopping"],
    });
  });

  it("that have a guest or wait for one end by whatever happens to it", () => {
    for (const state of ["starting", "running", "paused", "stopping"] as const) {
      expect(nextVmState(state, "ended")).toBe("off");
      expect(nextVmState(state, "broke")).toBe("crashed");
    }
    for (const state of ["off", "crashed"] as const)
      for (const happening of vmHappenings) expect(nextVmState(state, happening)).toBeUndefined();
  });
});
