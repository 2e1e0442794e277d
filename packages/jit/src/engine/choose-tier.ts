/**
 * Which tier is used where one is asked for. Both backends make code at run time, and a platform may forbid either:
 * a page's content security policy needs `wasm-unsafe-eval` for WebAssembly and `unsafe-eval` for `new Function`.
 */
import { hasWebAssembly } from "../backend/wasm/runtime.js";
import type { LinearMemory } from "../memory/linear-memory.js";
import { EngineError } from "./engine-error.js";
import type { Tier } from "./tiers.js";

/** A tier that was chosen. */
export type ChosenTier = Exclude<Tier, "auto">;

/** Whether a tier runs on WebAssembly; the others run on `new Function`. */
export const needsWebAssembly = (tier: Tier): boolean => tier === "wasm" || tier === "wasm-interpreter";

/** Whether this platform lets text become code. */
export function canEvaluate(): boolean {
  try {
    return new Function("return 1")() === 1;
  } catch {
    return false;
  }
}

/**
 * The tier to use where `asked` is wanted.
 * @throws EngineError `E_TIER` if the platform does not allow it
 */
export function chooseTier(asked: Tier, memory: LinearMemory): ChosenTier {
  if (asked === "auto") return hasWebAssembly(memory) ? "wasm" : jsTier(asked);
  if (!needsWebAssembly(asked)) {
    if (canEvaluate()) return asked;
    throw new EngineError(
      "E_TIER",
      `tier ${asked}: this platform forbids new Function: use wasm, or allow it (in a page: 'unsafe-eval' in the content security policy)`,
    );
  }
  if (hasWebAssembly(memory)) return asked;
  throw new EngineError(
    "E_TIER",
    memory.wasm === undefined
      ? `tier ${asked}: this platform has no WebAssembly; use js`
      : `tier ${asked}: this platform forbids compiling WebAssembly: use js, or allow it (in a page: 'wasm-unsafe-eval' in the content security policy)`,
  );
}

/**
 * `js`, where WebAssembly was wanted and can't be had.
 * @param cause why it can't, if the platform said so
 * @throws EngineError `E_TIER` if that is forbidden as well, or another tier was asked for
 */
export function jsTier(asked: Tier, cause?: unknown): ChosenTier {
  if (asked !== "auto")
    throw new EngineError(
      "E_TIER",
      `tier ${asked}: this platform can't compile the interpreter to WebAssembly: use js`,
      { cause },
    );
  if (canEvaluate()) return "js";
  throw new EngineError(
    "E_TIER",
    "tier auto: this platform forbids compiling WebAssembly and forbids new Function: allow one of them (in a page: 'wasm-unsafe-eval' or 'unsafe-eval' in the content security policy)",
    { cause },
  );
}
