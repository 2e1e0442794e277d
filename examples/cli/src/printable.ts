/**
 * Text as a terminal may get it. What the program says may have the words of files, guests and other programs in it, which
 * must not move the cursor, clear the screen or turn lines around: all that the commands write goes through here, except for
 * consoles, the output of `exec`, and the program's own redrawing.
 */

/** Control characters but tabs and ends of lines, and those that change the direction of text (Unicode, UAX 9). */
const UNPRINTABLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /\r(?!\n)|[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Text of several lines in which what is not printable is shown as JSON writes it. */
export const printable = (text: string): string => text.replace(UNPRINTABLE, escaped);

/** The same for what has to stay in its line: a cell of a table, a part of a message. */
export const printableLine = (text: string): string => printable(text).replace(/[\t\r\n]/g, escaped);
