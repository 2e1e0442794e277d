/**
 * The checksum of the internet protocols (RFC 1071): the ones' complement of the ones' complement sum of 16-bit words.
 * Sums are kept unfolded, as integers, so that parts can be added; a part that is followed by another has an even length.
 */

/** Adds the words of `bytes` from `start` to before `end`; an odd byte at the end is the high half of a word. */
export function sumWords(bytes: Uint8Array, start = 0, end = bytes.length, sum = 0): number {
  let total = sum;
  let at = start;
  for (; at + 8 <= end; at += 8)
    total +=
      ((bytes[at]! << 8) | bytes[at + 1]!) +
      ((bytes[at + 2]! << 8) | bytes[at + 3]!) +
      ((bytes[at + 4]! << 8) | bytes[at + 5]!) +
      ((bytes[at + 6]! << 8) | bytes[at + 7]!);
  for (; at + 2 <= end; at += 2) total += (bytes[at]! << 8) | bytes[at + 1]!;
  return at < end ? total + (bytes[at]! << 8) : total;
}

/** A sum in 16 bits. */
export function foldSum(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** The checksum for a sum over the message with zero in its place, or the check of one with it: zero if it is right. */
export const checksumOf = (sum: number): number => ~foldSum(sum) & 0xffff;

/** The sum of what TCP, UDP and ICMPv6 cover beside themselves (RFC 9293, section 3.1; RFC 8200, section 8.1). */
export function pseudoSum(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): number {
  return (
    sumWords(destination, 0, destination.length, sumWords(source)) +
    protocol +
    (length & 0xffff) +
    (length >>> 16)
  );
}
