/** Where emitted JavaScript, and the engine, find the engine's words of a hart block. */
import type { StateShape } from "@hyperfile/decoder";
import { header, STATE_OFFSET } from "../../memory/layout.js";

/** Word index of a header field of the hart block that starts at `hartOffset`. */
export const headerWord = (hartOffset: number, field: keyof typeof header): number =>
  (hartOffset + header[field]) >> 2;

/** Word index of a front end's slot in the hart block that starts at `hartOffset`. */
export const slotWord = (hartOffset: number, shape: StateShape, name: string): number =>
  (hartOffset + STATE_OFFSET + shape.slots.get(name)!.offset) >> 2;
