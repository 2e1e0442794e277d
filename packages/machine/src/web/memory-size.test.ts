import { expect, it } from "vitest";
import { memorySize } from "./memory-size.js";

it("reads sizes as people write them, and refuses all else", () => {
  for (const [text, bytes] of [
    ["4096", 4096],
    ["64M", 64 * 2 ** 20],
    [" 1g ", 2 ** 30],
    ["512KiB", 512 * 1024],
    ["2GB", 2 ** 31],
  ] as const)
    expect(memorySize(text)).toBe(bytes);
  for (const text of ["", "0", "M", "-1M", "1.5G", "64 M", "1T", "9999999999999999G"])
    expect(() => memorySize(text)).toThrow(
      /^memory ".*" is no size: write a number with K, M or G, such as 64M$/,
    );
});
