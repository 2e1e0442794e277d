import { describe, expect, it } from "vitest";
import { basePackages, installPlan } from "./install-plan.js";

const planned = (name: string, preDepends: string[] = [], depends: string[] = [], bytes?: number) => ({
  name,
  preDepends,
  depends,
  bytes: bytes ?? 10,
});
const laidOut = (name: string, preDepends: string[] = [], depends: string[] = []) => ({
  name,
  preDepends,
  depends,
  bytes: undefined,
});
/** A batch as its groups, a colon, and what is configured. */
const shown = (plan: ReturnType<typeof installPlan>) =>
  plan.map(
    ({ groups, configure }) =>
      `${groups.map((group) => group.map(({ name }) => name).join(" ")).join(", ")}: ${configure.join(" ")}`,
  );

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
    expect(shown(installPlan([planned("a"), planned("b")], new Set(), 100))).toEqual(["a b: a b"]);
  });

  it("only configures what is laid out", () => {
    expect(shown(installPlan([laidOut("a"), laidOut("b", ["a"])], new Set(), 100))).toEqual([": a b"]);
  });

  it("configures what a package needs before it is unpacked", () => {
    const packages = [planned("a"), planned("b", ["a"]), planned("c", ["a"]), planned("d", ["c"])];
    expect(shown(installPlan(packages, new Set(), 100))).toEqual(["a: a", "b c: b c", "d: d"]);
    expect(shown(installPlan([laidOut("a"), planned("b", ["a"])], new Set(), 100))).toEqual([": a", "b: b"]);
  });

  it("configures nothing before what it needs is unpacked, directly or not", () => {
    const packages = [
      laidOut("a"),
      laidOut("b", ["a"], ["late"]),
      laidOut("c", ["b"]),
      planned("late", ["a"]),
      laidOut("d", [], ["a", "elsewhere"]),
    ];
    expect(shown(installPlan(packages, new Set(), 100))).toEqual([": a d", "late: b c late"]);
  });

  it("begins with the base, whose needs are there", () => {
    const packages = [planned("a"), planned("dpkg", ["libc"]), planned("b", ["dpkg"]), planned("libc")];
    expect(shown(installPlan(packages, new Set(["dpkg", "libc"]), 100))).toEqual([
      "dpkg libc a b: a dpkg b libc",
    ]);
  });

  it("unpacks no more at once than there is room for, and each package all the same", () => {
    const packages = [
      planned("a", [], [], 60),
      planned("b", [], [], 60),
      planned("c", [], [], 40),
      planned("d", [], [], 500),
    ];
    expect(shown(installPlan(packages, new Set(), 100))).toEqual(["a, b c, d: a b c d"]);
  });

  it("goes on where needs go in a circle", () => {
    const packages = [laidOut("a", [], ["b"]), planned("b", ["a"])];
    expect(shown(installPlan(packages, new Set(), 100))).toEqual([": ", "b: a b"]);
  });

  it("unpacks and configures every package, once, for any order of needs", () => {
    for (let seed = 1; seed < 200; seed++) {
      let state = seed;
      const random = (below: number) => {
        state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
        return Math.floor((state / 2_147_483_648) * below);
      };
      const needs = (index: number) =>
        Array.from({ length: random(3) }, () => `p${random(index + 1)}`).filter(
          (name) => name !== `p${index}`,
        );
      const packages = Array.from({ length: 30 }, (_, index) =>
        random(3) === 0
          ? laidOut(`p${index}`, needs(index), needs(index))
          : planned(`p${index}`, needs(index), needs(index), 1 + random(50)),
      );
      const base = new Set(["p0", "p1"]);
      const plan = installPlan(packages, base, 60);
      const unpacked = plan.flatMap(({ groups }) => groups.flat().map(({ name }) => name));
      const asked = packages.filter(({ bytes }) => bytes !== undefined).map(({ name }) => name);
      expect([...unpacked].sort()).toEqual([...asked].sort());
      expect(plan.flatMap(({ configure }) => configure).sort()).toEqual(
        packages.map(({ name }) => name).sort(),
      );
      const there = new Set(packages.map(({ name }) => name).filter((name) => !asked.includes(name)));
      const configured = new Set(base);
      for (const { groups, configure } of plan) {
        for (const { name, preDepends } of groups.flat()) {
          if (!base.has(name)) expect(preDepends.filter((needed) => !configured.has(needed))).toEqual([]);
          there.add(name);
        }
        for (const name of configure) {
          const { depends, preDepends } = packages.find((each) => each.name === name)!;
          expect([...depends, ...preDepends].filter((needed) => !there.has(needed))).toEqual([]);
          configured.add(name);
        }
      }
    }
  });
});
