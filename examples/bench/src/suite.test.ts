import { describe, expect, it } from "vitest";
import {
  imagePath,
  iterationsOf,
  parseResult,
  programs,
  readImage,
  selectPrograms,
  withIterations,
} from "./suite.js";

describe("an image's parameters", () => {
  it("can be replaced in a copy, and nothing else changes", async () => {
    const image = await readImage("sha256", "rv64");
    const original = iterationsOf(image, "sha256");
    const changed = withIterations(image, "sha256", 7);
    expect(iterationsOf(changed, "sha256")).toBe(7);
    expect(iterationsOf(image, "sha256")).toBe(original);
    expect(withIterations(changed, "sha256", original)).toEqual(image);
  });

  it("are the same for all instruction sets", async () => {
    for (const { name } of programs) {
      const counts = await Promise.all(
        (["rv64", "rv32", "i386"] as const).map(async (isa) =>
          iterationsOf(await readImage(name, isa), name),
        ),
      );
      expect(new Set(counts).size, name).toBe(1);
    }
  });

  it("are missed in a file that has none, or two", () => {
    const magic = new TextEncoder().encode("HFBENCH\0\x01\0\0\0");
    expect(() => iterationsOf(new Uint8Array(64), "x")).toThrow(/the image of x has no parameters/);
    expect(() => iterationsOf(new Uint8Array([...magic, ...magic]), "x")).toThrow(/has no parameters/);
    expect(() => iterationsOf(magic.slice(0, 10), "x")).toThrow(/has no parameters/);
    expect(iterationsOf(magic, "x")).toBe(1);
  });

  it("of a missing image are an error that names it", async () => {
    await expect(readImage("nothing", "rv64")).rejects.toThrow(
      `there is no image ${imagePath("nothing", "rv64")}`,
    );
  });
});

describe("a result line", () => {
  it("is found among other output", () => {
    expect(parseResult("sort", "boot\r\nsort iterations=12 checksum=0123abcd\r\n")).toEqual({
      iterations: 12,
      checksum: "0123abcd",
    });
  });

  it("of another program, or incomplete, is none", () => {
    expect(parseResult("sort", "sieve iterations=12 checksum=0123abcd\n")).toBeUndefined();
    expect(parseResult("sort", "sort iterations=12 checksum=0123\n")).toBeUndefined();
    expect(parseResult("sort", "sort: the sorts differ\n")).toBeUndefined();
  });
});

describe("the choice of programs", () => {
  it("is all by default, and keeps the order asked for", () => {
    expect(selectPrograms(undefined)).toBe(programs);
    expect(selectPrograms("sort, jit").map(({ name }) => name)).toEqual(["sort", "jit"]);
  });

  it("refuses unknown names and lists the known ones", () => {
    expect(() => selectPrograms("sort,sorted")).toThrow(/no program sorted; there are integer-mix,/);
  });
});
