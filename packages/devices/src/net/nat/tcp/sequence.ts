/** Sequence numbers of TCP: integers of 32 bits that go round (RFC 9293, section 3.4). */

/** A number so many further on. */
export const plus = (sequence: number, count: number): number => (sequence + count) >>> 0;

/** How far `sequence` is behind `origin`; negative if it is before it. The two are less than 2^31 apart. */
export const distance = (sequence: number, origin: number): number => (sequence - origin) | 0;
