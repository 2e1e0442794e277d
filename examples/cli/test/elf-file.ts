/** ELF files made in memory for tests. */

/** What is loaded of a file. */
export interface Segment {
  readonly gpa: number;
  readonly words: readonly number[];
  readonly memoryBytes?: number;
  readonly offset?: number;
}

/** An ELF file of RV64 code with these segments, entered at the first. */
export function elfOf(...segments: readonly Segment[]): Uint8Array {
  const content = 64 + 56 * segments.length;
  const total = segments.reduce((sum, { words }) => sum + 4 * words.length, content);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, 243, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(segments[0]!.gpa), true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, segments.length, true);
  let at = content;
  segments.forEach(({ gpa, words, memoryBytes, offset }, index) => {
    const header = 64 + 56 * index;
    view.setUint32(header, 1, true);
    view.setUint32(header + 4, 7, true);
    const sizes = [offset ?? at, gpa, gpa, 4 * words.length, memoryBytes ?? 4 * words.length];
    sizes.forEach((value, field) => {
      view.setBigUint64(header + 8 + 8 * field, BigInt(value), true);
    });
    words.forEach((word, position) => {
      view.setInt32(at + 4 * position, word, true);
    });
    at += 4 * words.length;
  });
  return bytes;
}
