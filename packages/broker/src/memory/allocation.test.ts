import { describe, expect, it } from "vitest";
import { allocatePages, type MemoryClaim, sharesPerPage } from "./allocation.js";
import { nextState, type ReclamationState } from "./reclamation.js";

describe("shares per page", () => {
  it("follows the paper: an idle page costs four times a used one at a tax of 75 %", () => {
    expect(sharesPerPage(1000, 100, 100)).toBe(10);
    expect(sharesPerPage(1000, 100, 0)).toBe(2.5);
    expect(sharesPerPage(1000, 100, 50)).toBe(4);
    expect(sharesPerPage(1000, 100, 0, 0)).toBe(10);
    expect(sharesPerPage(1000, 0, 0)).toBe(Infinity);
  });
});

describe("allocation", () => {
  const claim = (name: string, claim: Partial<MemoryClaim>): MemoryClaim => ({
    name,
    shares: 1000,
    reservation: 0,
    limit: 10_000,
    demand: 10_000,
    active: 10_000,
    ...claim,
  });
  const pages = (claims: MemoryClaim[], total: number, tax?: number) =>
    Object.fromEntries(allocatePages(claims, total, tax));

  it("gives everybody what they want while there is enough", () => {
    const claims = [claim("a", { demand: 100 }), claim("b", { demand: 300, limit: 200 })];
    expect(pages(claims, 300)).toEqual({ a: 100, b: 200 });
  });

  it("shares in proportion among guests that use all they have", () => {
    const found = pages([claim("a", {}), claim("b", { shares: 3000 })], 8000);
    expect(found.a! / 2000).toBeCloseTo(1, 1);
    expect(found.b! / 6000).toBeCloseTo(1, 1);
    expect(found.a! + found.b!).toBe(8000);
  });

  it("takes from the idle first, in the measure of the tax", () => {
    const claims = [claim("idle", { active: 1000 }), claim("busy", {})];
    const taxed = pages(claims, 10_000);
    const equal = pages(claims, 10_000, 0);
    expect(equal.idle! / 5000).toBeCloseTo(1, 1);
    // S / (P (f + k (1 - f))) is the same for both: P_busy = 1000 + 4 (P_idle - 1000).
    expect(taxed.idle! / 2600).toBeCloseTo(1, 1);
    expect(taxed.busy! / 7400).toBeCloseTo(1, 1);
  });

  it("keeps reservations, whatever the shares", () => {
    const claims = [claim("a", { reservation: 6000, shares: 1 }), claim("b", { shares: 100_000 })];
    expect(pages(claims, 8000)).toEqual({ a: 6000, b: 2000 });
    expect(pages([claim("a", { reservation: 6000 }), claim("b", { reservation: 6000 })], 8000)).toEqual({
      a: 6000,
      b: 6000,
    });
  });
});

describe("states of reclamation", () => {
  it("get worse at once and better only past the next threshold", () => {
    let state: ReclamationState = "high";
    const seen = [0.5, 0.05, 0.039, 0.05, 0.059, 0.06, 0.03, 0.015, 0.03, 0.04, 0.005, 0.015, 0.02, 0.5].map(
      (free) => {
        state = nextState(state, free);
        return state;
      },
    );
    expect(seen).toEqual([
      "high",
      "high",
      "soft",
      "soft",
      "soft",
      "high",
      "soft",
      "hard",
      "hard",
      "soft",
      "low",
      "low",
      "hard",
      "high",
    ]);
  });

  it("have thresholds of their own where they are given", () => {
    const thresholds = { high: 0.5, soft: 0.4, hard: 0.3, low: 0.2 };
    expect([0.45, 0.35, 0.25, 0.1].map((free) => nextState("high", free, thresholds))).toEqual([
      "high",
      "soft",
      "hard",
      "low",
    ]);
  });
});
