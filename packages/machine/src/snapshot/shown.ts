/** What a snapshot says, in a message: whatever it is, it is a part of a line. */
import type { PlainValue } from "./values.js";

/** Characters of it at most. */
const SHOWN = 80;

/** A text, cut where it is long. */
export const cut = (text: string): string => (text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text);

/** A value as text, cut where it is long. */
export const shown = (value: PlainValue | undefined): string => cut(JSON.stringify(value) ?? "nothing");
