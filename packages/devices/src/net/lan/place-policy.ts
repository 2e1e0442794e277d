/** Policies of a card and of its network as people write them down, and what both mean together. */
import type { PolicyRule } from "../nat/policy.js";

/** A place that a policy names. */
export interface PlaceRule {
  /** `in`: who may use a forward to the guest; `out`: what the guest may reach. */
  readonly direction: "out" | "in";
  /** Both unless given. */
  readonly protocol: "tcp" | "udp" | undefined;
  /** An address or a range; everything unless given, or a name. */
  readonly range: string | undefined;
  /** A name, or `*.` and the end of names. */
  readonly name: string | undefined;
  readonly ports: readonly [number, number] | undefined;
}

/** What the guests of a network, or behind a card, may reach. */
export interface PlacePolicy {
  readonly allow: readonly PlaceRule[];
  /** Stronger than `allow`. */
  readonly deny: readonly PlaceRule[];
  /** Whether nothing is reached but what is allowed; else what is public is. */
  readonly restrict: boolean;
}

/** A policy that says nothing: what is usual holds. */
export const usualPolicy: PlacePolicy = { allow: [], deny: [], restrict: false };

/** What a card's policy and its network's mean together: what either denies is denied. */
export function rulesOf(card: PlacePolicy, network: PlacePolicy): PolicyRule[] {
  const both = [card, network];
  const rules = (which: "allow" | "deny"): PolicyRule[] =>
    both.flatMap((policy) => policy[which].map((rule) => ruleOf(which === "allow", rule)));
  const isRestricted = both.some(({ restrict }) => restrict);
  const hasCallers = both.some(({ allow }) => allow.some(({ direction }) => direction === "in"));
  return [
    ...rules("deny"),
    ...rules("allow"),
    ...(isRestricted ? [{ allow: false }] : []),
    ...(hasCallers ? [{ allow: false, direction: "in" } as const] : []),
  ];
}

const ruleOf = (allow: boolean, { direction, protocol, range, name, ports }: PlaceRule): PolicyRule => ({
  allow,
  direction,
  ...(protocol === undefined ? {} : { protocol }),
  ...(range === undefined ? {} : { range }),
  ...(name === undefined ? {} : { name }),
  ...(ports === undefined ? {} : { ports }),
});
