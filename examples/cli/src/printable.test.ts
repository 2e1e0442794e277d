import { expect, it } from "vitest";
import { printable, printableLine } from "./printable.js";

it("shows what a terminal would act on, and leaves text as it is", () => {
  const text = "ä 漢字 😀\ttab\r\nline\n";
  expect(printable(text)).toBe(text);
  expect(printable("a\x1b[2J\rb\0\x07\x7f\x9b31m\u202ec\u2066")).toBe(
    "a\\u001b[2J\\u000db\\u0000\\u0007\\u007f\\u009b31m\\u202ec\\u2066",
  );
  // All that is not text: no character below a space but tab and line feed, none of C1, nothing that turns lines around.
  const all = Array.from({ length: 0x2100 }, (_, code) => String.fromCharCode(code)).join("");
  expect(printable(all)).not.toMatch(/(?![\t\n])[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u);
  expect(printableLine("a\nb\tc\r\n\x1b")).toBe("a\\u000ab\\u0009c\\u000d\\u000a\\u001b");
  // JSON stays JSON, with the same value.
  const value = { name: "x\x1b[0m\x7f\u202e\n" };
  expect(JSON.parse(printable(JSON.stringify(value)))).toEqual(value);
});
