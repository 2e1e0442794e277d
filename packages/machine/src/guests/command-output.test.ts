/** Output of commands, cut into chunks anywhere, and without end. */
import { describe, expect, it, vi } from "vitest";
import { embeddedOutput, KeptText, posixOutput } from "./command-output.js";

/** Every way to cut a text into two, and the one into single characters. */
function* cuts(text: string): Iterable<string[]> {
  for (let at = 0; at <= text.length; at++) yield [text.slice(0, at), text.slice(at)];
  yield [...text];
}

describe("kept text", () => {
  it("is the end, to the character, with the number of those before it", () => {
    const kept = new KeptText(100_000);
    const line = "0123456789";
    for (let at = 0; at < 50_000; at++) kept.add(line);
    kept.add("end");
    expect(kept.take()).toEqual({
      text: `${line.repeat(10_000)}end`.slice(-100_000),
      omitted: 50_000 * 10 + 3 - 100_000,
    });
  });
});

describe("a command's output", () => {
  it("of a POSIX shell is what is between its marks, wherever they are cut", () => {
    const text = 'echo "hf""ab+"; x; echo "hf""ab-$?"\nhfab+\none\nhfab-two\nhfab+\nhfab-17\n$ ';
    for (const parts of cuts(text)) {
      const output = posixOutput("ab", 1000);
      const ends = parts.map((part) => output.take(part));
      expect(ends.find((end) => end !== undefined)).toEqual({
        status: 17,
        text: "one\nhfab-two\nhfab+\n",
        omitted: 0,
      });
    }
  });

  it.each([
    ["echo +ab;x;echo -ab\n+ab\none\n+ab\ncat (3): status 9\nx-ab\n-ab\nguest# ", 9, "one\n+ab\nx-ab\n"],
    ["+ab\nx (7): killed\n-ab\n", 137, ""],
    ["+ab\nx: no such command: try help\n-ab\n", 127, "x: no such command: try help\n"],
    ["+ab\n-ab\n", 0, ""],
  ])("of the embedded guest is what is between its lines, wherever they are cut", (text, status, output) => {
    for (const parts of cuts(text)) {
      const command = embeddedOutput("ab", 1000);
      const ends = parts.map((part) => command.take(part));
      expect(ends.find((end) => end !== undefined)).toEqual({ status, text: output, omitted: 0 });
    }
  });

  it.each([
    ["posix", posixOutput, "hfab+\n", "hfab-3\n"],
    ["embedded", embeddedOutput, "+ab\n", "y (1): status 3\n-ab\n"],
  ] as const)("is searched once, and kept to a limit: %s", (_, make, begin, end) => {
    const exec = RegExp.prototype.exec;
    const searched = vi.spyOn(RegExp.prototype, "exec");
    let characters = 0;
    searched.mockImplementation(function (this: RegExp, text: string) {
      characters += text.length;
      return exec.call(this, text);
    });
    const line = `${"x".repeat(199)}\n`;
    const output = make("ab", 100_000);
    output.take(begin);
    for (let at = 0; at < 20_000; at++) expect(output.take(line)).toBeUndefined();
    const result = output.take(end);
    searched.mockRestore();
    expect(result).toEqual({
      status: 3,
      text: line.repeat(500),
      omitted: 20_000 * 200 - 100_000,
    });
    // Each character with a mark's length before each chunk, by two patterns at most for each line.
    expect(characters).toBeGreaterThan(20_000 * 200);
    expect(characters).toBeLessThan(4 * 20_000 * 220);
  });
});
