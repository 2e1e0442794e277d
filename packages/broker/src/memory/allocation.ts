/**
 * Who may have how many pages (ESX paper, sections 5.1 and 5.2): shares-based min-funding revocation with a tax on idle
 * memory. When there is too little for all, pages are taken from the guest that pays least for each of its own:
 *
 *   rho = S / (P (f + k (1 - f))),  k = 1 / (1 - tau)
 *
 * with S its shares, P its pages, f the part of them that is in use, and tau the tax rate: at 75 % an idle page costs
 * four times as much as one in use. Nobody falls below the reservation or rises above the limit.
 */

/** A guest's claim, in pages. */
export interface MemoryClaim {
  readonly name: string;
  readonly shares: number;
  /** Never taken away. */
  readonly reservation: number;
  /** Never exceeded. */
  readonly limit: number;
  /** What it has, or would have if it could. */
  readonly demand: number;
  /** Pages in use. */
  readonly active: number;
}

/** Default tax rate. */
export const IDLE_TAX = 0.75;
/** Steps in which a shortage is taken away: the finer, the nearer to the exact answer. */
const STEPS = 512;

/** Shares that a guest pays for a page, the lower the sooner it loses one. */
export function sharesPerPage(shares: number, pages: number, active: number, tax = IDLE_TAX): number {
  if (pages <= 0) return Infinity;
  const fraction = Math.min(1, active / pages);
  const idleCost = 1 / (1 - tax);
  return shares / (pages * (fraction + idleCost * (1 - fraction)));
}

/** Pages for each guest by name, `total` in all at most. The sum of reservations must not exceed `total`. */
export function allocatePages(
  claims: readonly MemoryClaim[],
  total: number,
  tax = IDLE_TAX,
): Map<string, number> {
  const pages = new Map<string, number>();
  for (const { name, limit, demand, reservation } of claims) {
    pages.set(name, Math.min(limit, Math.max(demand, Math.min(reservation, demand))));
  }
  let excess = [...pages.values()].reduce((sum, count) => sum + count, 0) - total;
  const step = Math.max(1, Math.ceil(excess / STEPS));
  while (excess > 0) {
    let poorest: MemoryClaim | undefined;
    let lowest = Infinity;
    for (const claim of claims) {
      const count = pages.get(claim.name)!;
      const price = sharesPerPage(claim.shares, count, claim.active, tax);
      if (count > claim.reservation && price < lowest) {
        lowest = price;
        poorest = claim;
      }
    }
    if (poorest === undefined) break;
    const count = pages.get(poorest.name)!;
    const taken = Math.min(step, excess, count - poorest.reservation);
    pages.set(poorest.name, count - taken);
    excess -= taken;
  }
  return pages;
}
