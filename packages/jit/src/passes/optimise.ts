/** The passes that every block goes through before a backend sees it, in their order. */
import type { Block } from "@hyperfile/decoder";
import { eliminateDead } from "./eliminate-dead.js";
import { foldConstants } from "./fold-constants.js";
import { forwardSlots } from "./forward-slots.js";

/** Runs all passes: slot values first, so that constants reach across instructions, dead code last. */
export const optimise = (block: Block): Block => eliminateDead(foldConstants(forwardSlots(block)));
