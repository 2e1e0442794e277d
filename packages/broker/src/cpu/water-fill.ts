/**
 * Division of one amount among claims in proportion to their shares, between a least and a most for each: the
 * meaning of reservation, limit and shares. Every claim gets `clamp(level * shares, least, most)`, with the one
 * level at which the parts add up to the amount.
 *
 * Invariants: the parts add up to the amount, or to the sum of `most` where that is less; no part exceeds its `most`;
 * none falls below its `least`, unless the amount can't cover them all, when they shrink alike.
 */

/** What one party asks for. All figures are in the unit of the amount, but for the shares. */
export interface Claim {
  /** Positive weight. */
  readonly shares: number;
  /** At least this much. */
  readonly least: number;
  /** At most this much; never below `least`. */
  readonly most: number;
}

/** The parts of `amount`, in the order of the claims. */
export function waterFill(amount: number, claims: readonly Claim[]): number[] {
  const total = (pick: (claim: Claim) => number) => claims.reduce((sum, claim) => sum + pick(claim), 0);
  if (amount >= total((claim) => claim.most)) return claims.map((claim) => claim.most);
  const least = total((claim) => claim.least);
  if (amount <= least)
    return claims.map((claim) => (least === 0 ? 0 : (claim.least * Math.max(0, amount)) / least));
  const level = levelOf(amount, claims);
  return claims.map((claim) => clamp(level * claim.shares, claim.least, claim.most));
}

const clamp = (value: number, least: number, most: number): number => Math.min(Math.max(value, least), most);

/**
 * The level, found by walking the claims' corners: between two neighbouring corners the sum is a straight line. A
 * claim adds its shares to the slope from the level `least / shares` on, and takes them away at `most / shares`.
 */
function levelOf(amount: number, claims: readonly Claim[]): number {
  const corners = claims.flatMap(({ shares, least, most }) => [
    { at: least / shares, slope: shares },
    ...(most === Infinity ? [] : [{ at: most / shares, slope: -shares }]),
  ]);
  corners.sort((one, other) => one.at - other.at);
  let sum = claims.reduce((all, claim) => all + claim.least, 0);
  let slope = 0;
  let level = 0;
  for (const corner of corners) {
    const reached = sum + slope * (corner.at - level);
    if (reached >= amount && slope > 0) break;
    sum = reached;
    level = corner.at;
    slope += corner.slope;
  }
  return slope > 0 ? level + (amount - sum) / slope : level;
}
