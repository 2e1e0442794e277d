import { describe, expect, it } from "vitest";
import { symbolFinder, symbolsIn } from "./symbols.js";

describe("symbols", () => {
  it("name the function before an address, and nothing far behind the last", () => {
    const find = symbolFinder(
      new Map([
        ["main", 0x1000n],
        ["$x", 0x1004n],
        [".Lloop", 0x1008n],
        ["helper", 0x1100n],
      ]),
    );
    expect(find(0xfffn)).toBeUndefined();
    expect(find(0x1000n)?.name).toBe("main");
    expect(find(0x10ffn)?.name).toBe("main");
    expect(find(0x1100n)?.name).toBe("helper");
    expect(find(0x1100n + 0x10000n)).toBeUndefined();
    expect(symbolFinder(new Map())(0n)).toBeUndefined();
  });

  it("are read from lists, and refused where there are none", () => {
    const file = (text: string) => ({ name: "map", bytes: new TextEncoder().encode(text) });
    const symbols = symbolsIn(file("ffffffff80000000 T _start\nffffffff80000010 t helper\t[module]\n"));
    expect([...symbols]).toEqual([
      ["_start", 0xffffffff80000000n],
      ["helper", 0xffffffff80000010n],
    ]);
    expect(() => symbolsIn(file("nothing of the kind\n"))).toThrow(
      expect.objectContaining({ code: "E_SYMBOLS" }),
    );
  });
});
