import { describe, expect, it } from "vitest";
import { ResourceTree } from "../cpu/resource-tree.js";
import { divideMemory } from "./division.js";
import { PAGE_SIZE } from "./ports.js";

const bytes = (pages: number) => pages * PAGE_SIZE;
/** VMs of 100 pages that all use what they want. */
const demands = (wanted: Readonly<Record<string, number>>) => (name: string) =>
  wanted[name] === undefined ? undefined : { ram: 100, wanted: wanted[name], active: wanted[name] };

function tree(): ResourceTree {
  const all = new ResourceTree(bytes(1000), "bytes");
  all.addPool("shop", { shares: 1000 }, "root");
  all.addPool("shop/batch", { shares: 1000, limit: bytes(60) }, "shop");
  all.addPool("lab", { shares: 1000 }, "root");
  all.addClient("web", { shares: 1000 }, "shop");
  all.addClient("job", { shares: 1000 }, "shop/batch");
  all.addClient("job2", { shares: 3000 }, "shop/batch");
  all.addClient("rat", { shares: 1000, reservation: bytes(30) }, "lab");
  return all;
}

describe("machine memory in nested pools", () => {
  it("is everyone's own RAM while there is enough of what they want", () => {
    const targets = divideMemory(tree().nodes(), 400, demands({ web: 50, job: 20, rat: 50 }));
    expect(Object.fromEntries(targets)).toEqual({
      web: { target: 100, limit: 100, reservation: 0 },
      job: { target: 100, limit: 100, reservation: 0 },
      rat: { target: 100, limit: 100, reservation: 30 },
    });
  });

  it("holds a pool to its limit, divided by shares, whatever is free", () => {
    const targets = divideMemory(tree().nodes(), 1000, demands({ web: 100, job: 80, job2: 80, rat: 1 }));
    const [job, job2] = [targets.get("job")!, targets.get("job2")!];
    expect(job.limit + job2.limit).toBe(60);
    expect(job2.limit / job.limit).toBeCloseTo(3, 0);
    expect(targets.get("web")).toMatchObject({ target: 100, limit: 100 });
  });

  it("divides a shortage among pools first, and never below reservations", () => {
    const wanted = { web: 100, job: 60, rat: 100 };
    const targets = divideMemory(tree().nodes(), 120, demands(wanted));
    const [web, job, rat] = ["web", "job", "rat"].map((name) => targets.get(name)!.target) as [
      number,
      number,
      number,
    ];
    expect(web + job + rat).toBe(120);
    expect(rat).toBeGreaterThanOrEqual(55);
    expect(rat).toBeLessThanOrEqual(65);
    const tight = divideMemory(tree().nodes(), 40, demands(wanted));
    expect(tight.get("rat")!.target).toBeGreaterThanOrEqual(30);
    expect(tight.get("web")!.target + tight.get("job")!.target).toBeLessThanOrEqual(10);
  });

  it("counts a part of a pool's limit where its VMs are in several memories", () => {
    const half = (pool: string) => (pool === "shop/batch" ? 0.5 : 1);
    const targets = divideMemory(tree().nodes(), 1000, demands({ job: 80 }), half);
    expect(targets.get("job")!.target).toBe(30);
  });
});
