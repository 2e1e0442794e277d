/**
 * How hard memory is reclaimed, by the part of the pool that is free (ESX paper, section 6.3): `high` not at all,
 * `soft` by balloons, `hard` by swapping, `low` by swapping while guests above their target stand still. The state gets
 * worse as soon as a threshold is passed and better only above the next one, so that it does not flutter.
 */

/** The states, the best first. */
export const reclamationStates = ["high", "soft", "hard", "low"] as const;
export type ReclamationState = (typeof reclamationStates)[number];

/** The part of the pool that is free at or above which each state is left for the better; `high` is entered there. */
export interface ReclamationThresholds {
  readonly high: number;
  readonly soft: number;
  readonly hard: number;
  readonly low: number;
}

/** The ESX paper's: 6, 4, 2 and 1 per cent. */
export const defaultThresholds: ReclamationThresholds = { high: 0.06, soft: 0.04, hard: 0.02, low: 0.01 };

/**
 * The state after `before` with so much of the pool free.
 * Below `soft` it is at least soft, below `hard` at least hard, below `low` low; it improves by a state only when the
 * threshold above is reached again: soft becomes high at `high`, hard soft at `soft`, low hard at `hard`.
 */
export function nextState(
  before: ReclamationState,
  free: number,
  thresholds: ReclamationThresholds = defaultThresholds,
): ReclamationState {
  const { high, soft, hard, low } = thresholds;
  const atLeast = free < low ? 3 : free < hard ? 2 : free < soft ? 1 : 0;
  let state = Math.max(reclamationStates.indexOf(before), atLeast);
  const leave = [0, high, soft, hard];
  while (state > atLeast && free >= leave[state]!) state--;
  return reclamationStates[state]!;
}
