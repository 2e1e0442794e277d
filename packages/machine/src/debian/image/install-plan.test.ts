import { describe, expect, it } from "vitest";
import { basePackages, installPlan } from "./install-plan.js";

const planned = (name: string, preDepends: string[] = [], bytes = 10) => ({ name, preDepends, bytes });
const names = (plan: ReturnType<typeof installPlan>) =>
  plan.map((batch) => batch.map((group) => group.map(({ name }) => name).join(" ")));

describe("the base", () => {
  const related = (name: string, priority: string, depends: string[] = [], preDepends: string[] = []) => ({
    name,
    priority,
    depends,
    preDepends,
  });

  it("is what is required, with all that it needs", () => {
    const packages = [
      related("libc", "optional", ["libgcc"]),
      related("libgcc", "optional", ["libc"]),
      related("dpkg", "required", ["tar"], ["libz"]),
      related("tar", "required"),
      related("libz", "optional", ["libc", "elsewhere"]),
      related("systemd", "important", ["libc"]),
    ];
    expect([...basePackages(packages)].sort()).toEqual(["dpkg", "libc", "libgcc", "libz", "tar"]);
  });
});

describe("the plan", () => {
  it("has one batch where nothing is needed before", () => {
    expect(names(installPlan([planned("a"), planned("b")], new Set(), 100))).toEqual([["a b"]]);
  });

  it("configures what a package needs before it is unpacked", () => {
    const packages = [planned("a"), planned("b", ["a"]), planned("c", ["a"]), planned("d", ["c"])];
    expect(names(installPlan(packages, new Set(), 100))).toEqual([["a"], ["b c"], ["d"]]);
  });

  it("begins with the base, whose needs are there", () => {
    const packages = [planned("a"), planned("dpkg", ["libc"]), planned("b", ["dpkg"]), planned("libc")];
    expect(names(installPlan(packages, new Set(["dpkg", "libc"]), 100))).toEqual([["dpkg libc a b"]]);
  });

  it("unpacks no more at once than there is room for, and each package all the same", () => {
    const packages = [
      planned("a", [], 60),
      planned("b", [], 60),
      planned("c", [], 40),
      planned("d", [], 500),
    ];
    expect(names(installPlan(packages, new Set(), 100))).toEqual([["a", "b c", "d"]]);
  });

  it("keeps every package, once, for any order of needs", () => {
    for (let seed = 1; seed < 200; seed++) {
      let state = seed;
      const random = (below: number) => {
        state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
        return Math.floor((state / 2_147_483_648) * below);
      };
      const packages = Array.from({ length: 30 }, (_, index) =>
        planned(
          `p${index}`,
          Array.from({ length: random(3) }, () => `p${random(index + 1)}`).filter(
            (name) => name !== `p${index}`,
          ),
          1 + random(50),
        ),
      );
      const plan = installPlan(packages, new Set(["p0", "p1"]), 60);
      const order = plan.map((batch) => batch.flat().map(({ name }) => name));
      expect([...order.flat()].sort()).toEqual(packages.map(({ name }) => name).sort());
      const done = new Set(["p0", "p1"]);
      for (const batch of plan) {
        for (const { name, preDepends } of batch.flat())
          if (name !== "p1") expect(preDepends.filter((needed) => !done.has(needed))).toEqual([]);
        for (const { name } of batch.flat()) done.add(name);
      }
    }
  });
});
