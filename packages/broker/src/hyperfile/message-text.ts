/** Words of a user's in messages: a message is one line of bearable length that does nothing to a terminal. */

/** Characters of a word or value that messages show. */
const MOST_SHOWN = 60;

/** The text in one line: cut where it is long, and with control characters written out. */
export function shortened(text: string, most = MOST_SHOWN): string {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  return cut.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: it is they that are written out
    /[\x00-\x1f\x7f-\x9f]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
