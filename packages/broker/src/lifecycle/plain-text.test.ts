import { describe, expect, it } from "vitest";
import { PlainText } from "./plain-text.js";

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** Every way to cut a text into two, and the one into single characters. */
function* cuts(text: string): Iterable<string[]> {
  for (let at = 0; at <= text.length; at++) yield [text.slice(0, at), text.slice(at)];
  yield [...text];
}

describe("plain text", () => {
  it("has no control sequences, wherever they are cut", () => {
    for (const parts of cuts("a\x1b[6nb\x1b[01;31mc\x1b[?25l\x1b[0 qd\r\né\x1b[K")) {
      const plain = new PlainText();
      expect(parts.map((part) => plain.take(bytesOf(part))).join("")).toBe("abcd\né");
    }
  });

  it("of a sequence without an end is not held back for ever", () => {
    const plain = new PlainText();
    const text = plain.take(bytesOf(`\x1b[${"1;".repeat(1000)}`)) + plain.take(bytesOf("x"));
    expect(text).toContain("1;1;1;");
  });
});
