/** The passes that every block goes through before a backend sees it, in their order. */
import type { Block } from "@hyperfile/decoder";
import { conditionRules } from "./conditions.js";
import { eliminateDead } from "./eliminate-dead.js";
import { extensionRules } from "./extensions.js";
import { constantRules } from "./fold-constants.js";
import { ruleSet, simplify } from "./simplify.js";
import { strengthRules } from "./strength.js";

/** Constants first: the other rules find them as second operands, and never alone. */
const rules = ruleSet(constantRules, strengthRules, extensionRules, conditionRules);

/** Runs all passes, dead code last. */
export const optimise = (block: Block): Block => eliminateDead(simplify(block, rules));
