/** Pools: the worked cases of VMware's documentation, admission, and the division of a capacity. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MOST_POOL_DEPTH, type ResourceNode, ResourceTree } from "./resource-tree.js";
import { type Claim, waterFill } from "./water-fill.js";

describe("expandable reservations (VMware's two worked cases, in GHz)", () => {
  /** A parent of 6 GHz in which one VM reserves `used`, with an expandable child of 2 GHz that a VM has used up. */
  function parentWith(used: number): ResourceTree {
    const tree = new ResourceTree(12, "GHz");
    tree.addPool("parent", { reservation: 6, expandable: true, limit: 6 });
    tree.addClient("m1", { reservation: used }, "parent");
    tree.admit("m1");
    tree.addPool("child", { reservation: 2, expandable: true }, "parent");
    tree.addClient("c1", { reservation: 2 }, "child");
    tree.admit("c1");
    tree.addClient("c2", { reservation: 2 }, "child");
    return tree;
  }

  it("admits a VM of 2 GHz where the parent of 6 uses 1 and gave 2 to the child", () => {
    const tree = parentWith(1);
    expect(tree.available("child")).toBe(3);
    tree.admit("c2");
    expect(tree.available("child")).toBe(1);
    tree.retire("c2");
    expect(tree.available("child")).toBe(3);
  });

  it("refuses it where the parent uses 3", () => {
    const tree = parentWith(3);
    expect(tree.available("child")).toBe(1);
    expect(() => tree.admit("c2")).toThrow(
      /^VM c2 can't be admitted: a reservation of 4 GHz is needed in pool parent, which has 3 left, and its limit is 6 GHz/,
    );
    expect(tree.nodes().find(({ name }) => name === "c2")?.admitted).toBe(false);
  });
});

describe("admission", () => {
  it("takes a pool's reservation from its parent at once, and gives it back with the pool", () => {
    const tree = new ResourceTree(4, "cores");
    tree.addPool("a", { reservation: 3 });
    expect(() => tree.addPool("b", { reservation: 2 })).toThrow(
      /pool b .* 2 cores .* 1 left, and the host has 4/,
    );
    expect(tree.hasPool("b")).toBe(false);
    tree.removePool("a");
    tree.addPool("b", { reservation: 2 });
    expect(tree.available("root")).toBe(2);
  });

  it("keeps a pool that may not borrow within its own reservation", () => {
    const tree = new ResourceTree(4, "cores");
    tree.addPool("fixed", { reservation: 1, expandable: false });
    tree.addClient("vm", { reservation: 1.5 }, "fixed");
    expect(() => tree.admit("vm")).toThrow(/pool fixed, which has 1 left, and it can't borrow/);
    tree.configure("fixed", { expandable: true }, "pool");
    tree.admit("vm");
    expect(() => tree.configure("fixed", { expandable: false }, "pool")).toThrow(/can't be admitted/);
  });

  it("never lends beyond a pool's limit", () => {
    const tree = new ResourceTree(8, "cores");
    tree.addPool("capped", { reservation: 1, limit: 2 });
    tree.addClient("a", { reservation: 2 }, "capped");
    tree.addClient("b", { reservation: 0.5 }, "capped");
    tree.admit("a");
    expect(tree.available("capped")).toBe(0);
    expect(() => tree.admit("b")).toThrow(/limit is 2 cores/);
  });

  it("changes nothing when a change is refused", () => {
    const tree = new ResourceTree(2, "cores");
    tree.addClient("vm", { reservation: 1 });
    tree.admit("vm");
    expect(() => tree.configure("vm", { reservation: 3 })).toThrow(/VM vm/);
    expect(tree.allotmentOf("vm").reservation).toBe(1);
    expect(() => tree.configure("vm", { limit: 0.5 })).toThrow(/above the limit/);
    expect(() => tree.configure("vm", { shares: 0 })).toThrow(/shares of 0/);
    expect(() => tree.configure("vm", { reservation: -1 })).toThrow(/reservation of -1/);
    expect(() => tree.configure("vm", { limit: 0 })).toThrow(/limit of 0/);
  });

  it("names what it does not know", () => {
    const tree = new ResourceTree(2, "cores");
    expect(() => tree.admit("ghost")).toThrow(/no VM ghost/);
    expect(() => tree.addClient("vm", {}, "ghost")).toThrow(/no pool ghost/);
    tree.addPool("p");
    expect(() => tree.addPool("p")).toThrow(/pool p already/);
    tree.addClient("vm", {}, "p");
    expect(() => tree.addClient("vm")).toThrow(/VM vm already/);
    expect(() => tree.removePool("p")).toThrow(/still holds vm/);
    expect(() => tree.removePool("root")).toThrow(/stays/);
    tree.removeClient("vm");
    tree.removePool("p");
  });

  it("holds what it admitted, whatever the order (any tree)", () => {
    const requests = fc.array(
      fc.record({
        pool: fc.integer({ min: 0, max: 3 }),
        reservation: fc.integer({ min: 0, max: 5 }),
        leaves: fc.boolean(),
      }),
      { maxLength: 30 },
    );
    fc.assert(
      fc.property(requests, (list) => {
        const tree = new ResourceTree(10, "cores");
        tree.addPool("p1", { reservation: 3, expandable: true, limit: 6 });
        tree.addPool("p2", { reservation: 1, expandable: true }, "p1");
        tree.addPool("p3", { reservation: 2, expandable: false });
        const admitted = new Set<string>();
        for (const [at, { pool, reservation, leaves }] of list.entries()) {
          const name = `vm${at}`;
          const where = ["root", "p1", "p2", "p3"][pool]!;
          tree.addClient(name, { reservation }, where);
          const fits = reservation <= tree.available(where);
          try {
            tree.admit(name);
            admitted.add(name);
          } catch {
            expect(fits).toBe(false);
          }
          if (leaves && admitted.delete(name)) tree.retire(name);
        }
        const parts = tree.entitlements((name) => (admitted.has(name) ? 100 : 0));
        for (const name of admitted) {
          expect(parts.get(name)).toBeGreaterThanOrEqual(tree.allotmentOf(name).reservation - 1e-9);
        }
      }),
    );
  });
});

/** What each node claims, worked out from what reports say of the others. */
function claimsAnew(tree: ResourceTree): Map<string, number> {
  const nodes = tree.nodes();
  const claimOf = ({ name, isPool, allotment, admitted, parent }: ResourceNode): number => {
    const { reservation, expandable } = allotment;
    if (!isPool) return admitted ? reservation : 0;
    if (!expandable || parent === undefined) return reservation;
    const inside = nodes.filter((node) => node.parent === name).map(claimOf);
    return Math.max(
      reservation,
      inside.reduce((sum, claim) => sum + claim, 0),
    );
  };
  return new Map(nodes.map((node) => [node.name, claimOf(node)]));
}

describe("many pools and clients", () => {
  it("claim what they would if it were added up anew (any changes)", () => {
    const step = fc.record({
      kind: fc.constantFrom("admit", "retire", "configure", "remove"),
      client: fc.integer({ min: 0, max: 99 }),
      // Tenths are not exact: their sums show what rounding does.
      reservation: fc.integer({ min: 0, max: 9 }).map((tenths) => tenths / 10),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const tree = new ResourceTree(1000, "cores");
        tree.addPool("p1", { reservation: 1 });
        tree.addPool("p2", { reservation: 0.3 }, "p1");
        tree.addPool("p3", { reservation: 30, expandable: false }, "p2");
        for (const { kind, client, reservation } of steps) {
          // Most are in one pool, whose sum is not made anew with every change.
          const [name, pool] = [`c${client}`, client < 80 ? "p2" : client < 90 ? "p3" : "root"];
          if (!tree.hasClient(name)) tree.addClient(name, { reservation }, pool);
          if (kind === "admit") tree.admit(name);
          else if (kind === "retire") tree.retire(name);
          else if (kind === "configure") tree.configure(name, { reservation });
          else tree.removeClient(name);
        }
        const expected = claimsAnew(tree);
        for (const { name, claim } of tree.nodes()) expect(claim).toBeCloseTo(expected.get(name)!, 9);
      }),
      { numRuns: 50 },
    );
  });

  it("are asked once each for what they can use, however deep they are", () => {
    const tree = new ResourceTree(8, "cores");
    for (let depth = 1; depth <= MOST_POOL_DEPTH; depth++) {
      tree.addPool(`p${depth}`, { reservation: 0.1 }, depth === 1 ? "root" : `p${depth - 1}`);
      tree.addClient(`c${depth}`, { reservation: 0.01 }, `p${depth}`);
      tree.admit(`c${depth}`);
    }
    let asked = 0;
    const parts = tree.entitlements(() => {
      asked++;
      return 1;
    });
    expect(asked).toBe(MOST_POOL_DEPTH);
    expect([...parts.values()].reduce((sum, part) => sum + part, 0)).toBeCloseTo(8);
  });

  it("have a greatest depth", () => {
    const tree = new ResourceTree(1, "cores");
    for (let depth = 1; depth <= MOST_POOL_DEPTH; depth++)
      tree.addPool(`p${depth}`, {}, depth === 1 ? "root" : `p${depth - 1}`);
    expect(() => tree.addPool("deep", {}, `p${MOST_POOL_DEPTH}`)).toThrow(
      "pool deep would be in 65 others: 64 are possible",
    );
    tree.addClient("vm", {}, `p${MOST_POOL_DEPTH}`);
  });

  it("are admitted in a step for each pool above them: thousands are no work", { timeout: 20_000 }, () => {
    const tree = new ResourceTree(1000, "cores");
    for (let at = 0; at < 10_000; at++) tree.addPool(`p${at}`, { reservation: 0.01 });
    for (let at = 0; at < 50_000; at++) {
      tree.addClient(`c${at}`, { reservation: 0.01 }, "p7");
      tree.admit(`c${at}`);
    }
    expect(tree.available("root")).toBeCloseTo(1000 - 9_999 * 0.01 - 500, 6);
  });
});

describe("division", () => {
  it("follows shares, pool by pool", () => {
    const tree = new ResourceTree(6, "cores");
    tree.addPool("a", { shares: 2000 });
    tree.addPool("b", { shares: 1000 });
    tree.addClient("a1", { shares: 1000 }, "a");
    tree.addClient("a2", { shares: 3000 }, "a");
    tree.addClient("b1", {}, "b");
    const parts = tree.entitlements(() => 10);
    expect(parts.get("a1")).toBeCloseTo(1);
    expect(parts.get("a2")).toBeCloseTo(3);
    expect(parts.get("b1")).toBeCloseTo(2);
  });

  it("gives an idle client's part to its siblings first", () => {
    const tree = new ResourceTree(2, "cores");
    tree.addPool("a");
    tree.addPool("b");
    for (const name of ["a1", "a2"]) tree.addClient(name, {}, "a");
    tree.addClient("b1", {}, "b");
    const parts = tree.entitlements((name) => (name === "a2" ? 0 : 1));
    expect(parts.get("a1")).toBeCloseTo(1);
    expect(parts.get("b1")).toBeCloseTo(1);
    expect(parts.has("a2")).toBe(false);
  });

  it("keeps reservations and limits of clients and pools", () => {
    const tree = new ResourceTree(2, "cores");
    tree.addPool("small", { shares: 100_000, limit: 0.5 });
    tree.addClient("s", {}, "small");
    tree.addClient("reserved", { shares: 1, reservation: 1 });
    tree.addClient("rest", { shares: 1000 });
    const parts = tree.entitlements(() => 2);
    expect(parts.get("s")).toBeCloseTo(0.5);
    expect(parts.get("reserved")).toBeCloseTo(1);
    expect(parts.get("rest")).toBeCloseTo(0.5);
  });

  it("adds up, within least and most, at one level (any claims)", () => {
    const claim = fc
      .record({
        shares: fc.integer({ min: 1, max: 100_000 }),
        least: fc.integer({ min: 0, max: 50 }),
        extra: fc.integer({ min: 0, max: 100 }),
      })
      .map(({ shares, least, extra }): Claim => ({ shares, least, most: least + extra }));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), fc.array(claim, { maxLength: 12 }), (amount, claims) => {
        const parts = waterFill(amount, claims);
        const sum = parts.reduce((all, part) => all + part, 0);
        const most = claims.reduce((all, { most }) => all + most, 0);
        const least = claims.reduce((all, { least }) => all + least, 0);
        expect(sum).toBeCloseTo(Math.min(amount, most), 6);
        for (const [at, part] of parts.entries()) {
          expect(part).toBeLessThanOrEqual(claims[at]!.most + 1e-9);
          if (amount >= least) expect(part).toBeGreaterThanOrEqual(claims[at]!.least - 1e-9);
        }
        // Those that neither bound holds have parts in proportion to their shares.
        const free = claims.flatMap((one, at) =>
          parts[at]! > one.least + 1e-6 && parts[at]! < one.most - 1e-6 ? [parts[at]! / one.shares] : [],
        );
        for (const level of free) expect(level).toBeCloseTo(free[0]!, 6);
      }),
      { numRuns: 500 },
    );
  });
});
