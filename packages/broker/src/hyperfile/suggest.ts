/** The nearest valid word for a mistyped one. What is looked at and shown of many or long words is bounded. */
import { shortened } from "./message-text.js";

/** Longest word that can be a mistyped one. */
const LONGEST_WORD = 64;
/** Valid words that are compared with a mistyped one, and that a message lists. */
const [MOST_COMPARED, MOST_LISTED] = [1000, 12];

/** Edits (insert, delete, replace, swap of neighbours) between two words. */
export function editDistance(one: string, other: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i++) {
    const row = [i];
    for (let j = 1; j <= other.length; j++) {
      const same = one[i - 1] === other[j - 1] ? 0 : 1;
      let least = Math.min(previous[j]! + 1, row[j - 1]! + 1, previous[j - 1]! + same);
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]) {
        least = Math.min(least, before[j - 2]! + 1);
      }
      row.push(least);
    }
    before = previous;
    previous = row;
  }
  return previous[other.length]!;
}

/** The valid word that `word` was probably meant to be, or undefined where none is near. */
export function nearest(word: string, valid: readonly string[]): string | undefined {
  if (word.length > LONGEST_WORD) return undefined;
  const wanted = word.toLowerCase();
  const most = Math.max(1, Math.floor(wanted.length / 3));
  let [best, least] = [undefined as string | undefined, most + 1];
  for (const candidate of valid.slice(0, MOST_COMPARED)) {
    if (candidate.length > LONGEST_WORD) continue;
    const other = candidate.toLowerCase();
    // A beginning or an end of the word is near, however long the rest is.
    const isPart = wanted.length >= 3 && (other.startsWith(wanted) || wanted.startsWith(other));
    // Each character more or less is an edit.
    if (!isPart && Math.abs(other.length - wanted.length) >= least) continue;
    const distance = isPart ? Math.min(most, editDistance(wanted, other)) : editDistance(wanted, other);
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

/** The end of a message about an unknown word: a suggestion, or the valid words where none is near. */
export function hint(word: string, valid: readonly string[], what: string): string {
  const suggestion = nearest(word, valid);
  if (suggestion !== undefined) return `did you mean ${suggestion}?`;
  if (valid.length === 0) return `there are no ${what}`;
  const rest = valid.length - MOST_LISTED;
  const listed = valid.slice(0, MOST_LISTED).map((one) => shortened(one));
  return `${what}: ${listed.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}
