/** Where emitted JavaScript, and the engine, find the engine's words of a hart block. */
import { header } from "../../memory/layout.js";

/** Word index of a header field of the hart block that starts at `hartOffset`. */
export const headerWord = (hartOffset: number, field: keyof typeof header): number =>
  (hartOffset + header[field]) >> 2;
