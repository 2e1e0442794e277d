import { xxh32 } from "@hyperfile/jit/memory";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { frameContentSize, type SnapshotCodec, zstdCodec } from "./codec.js";
import { SnapshotError } from "./errors.js";
import { encodeSections, SnapshotFile } from "./format.js";
import { decodeValue, encodeValue, type PlainValue } from "./values.js";

let codec: SnapshotCodec;
beforeAll(async () => {
  codec = await zstdCodec();
});

const text = (value: string) => new TextEncoder().encode(value);
const join = (pieces: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(pieces));
const errorOf = (run: () => unknown): SnapshotError => {
  try {
    run();
  } catch (error) {
    if (error instanceof SnapshotError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
};

describe("plain values", () => {
  const value: fc.Arbitrary<PlainValue> = fc.letrec<{ value: PlainValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.double({ noNaN: false }),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array({ maxLength: 20 }),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(
        fc.string().filter((name) => name !== "__proto__"),
        tie("value"),
        { maxKeys: 4 },
      ),
    ),
  })).value;

  it("come back exactly", () => {
    fc.assert(
      fc.property(value, (original) => {
        expect(decodeValue(encodeValue(original))).toEqual(original);
      }),
      { numRuns: 300 },
    );
  });

  it("are refused with an error, never misread or waited for, when bytes are wrong", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        let read: PlainValue;
        try {
          read = decodeValue(bytes);
        } catch (error) {
          expect(error instanceof RangeError || error instanceof TypeError).toBe(true);
          return;
        }
        expect(decodeValue(encodeValue(read))).toEqual(read);
      }),
      { numRuns: 2000 },
    );
    const deep = new Uint8Array(5 * 100).fill(0);
    for (let at = 0; at < deep.length; at += 5) deep.set([6, 1], at);
    expect(() => decodeValue(deep)).toThrow("nested too deeply");
    expect(() => decodeValue(Uint8Array.of(6, 255, 255, 255, 255))).toThrow("longer than the data");
  });

  it("are read up to what their owner expects, counted over all depths", () => {
    const many = (count: number) => encodeValue([Array(count).fill(null), { a: 1, b: [true, "x"] }]);
    const limits = { bytes: 1000, values: 20 };
    // The list, two in it, two fields, and two in the last of them.
    expect(decodeValue(many(13), limits)).toHaveLength(2);
    expect(() => decodeValue(many(14), limits)).toThrow("there are more values than can be");
    expect(() => decodeValue(many(1000), limits)).toThrow("1046 bytes are more than the 1000 that are read");
    const large = encodeValue(Array(0x10000).fill(null));
    expect(() => decodeValue(large)).toThrow("there are more values than can be");
    expect(() => decodeValue(encodeValue(new Uint8Array(0x100000)))).toThrow("are more than the 1048576");
    expect(() => decodeValue(encodeValue({ ["x".repeat(257)]: 1 }))).toThrow("a name is too long");
    const twice = Uint8Array.of(7, 2, 0, 0, 0, 1, 0, 0, 0, 97, 0, 1, 0, 0, 0, 97, 0);
    expect(() => decodeValue(twice)).toThrow("there are two fields named a");
  });
});

describe("zstd", () => {
  it("gives back what it was given", () => {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => (index * index) >> 7);
    const packed = codec.compress(bytes);
    expect(packed.length).toBeLessThan(bytes.length / 2);
    expect(frameContentSize(packed)).toBe(bytes.length);
    expect(codec.decompress(packed, bytes.length)).toEqual(bytes);
  });

  it("believes no frame about its length", () => {
    const packed = codec.compress(new Uint8Array(5000));
    expect(() => codec.decompress(packed, 4999)).toThrow("another length");
    // A frame that says that it holds 2^60 bytes.
    const crafted = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 16, 1, 0, 0);
    expect(frameContentSize(crafted)).toBe(2 ** 60);
    expect(() => codec.decompress(crafted, 100)).toThrow("another length");
    expect(() => codec.decompress(new Uint8Array(3), 100)).toThrow("another length");
  });
});

describe("a snapshot file", () => {
  const sections = [
    { name: "machine", bytes: encodeValue({ config: { xlen: 64 } }) },
    {
      name: "noise",
      bytes: Uint8Array.from({ length: 600 }, (_, index) => Math.imul(index, 0x9e3779b1) >>> 24),
    },
    { name: "memory/0", bytes: new Uint8Array(65_536).map((_, index) => index >> 8) },
    { name: "empty", bytes: new Uint8Array(0) },
  ];
  const encode = () => join(encodeSections(sections, codec));

  it("holds its sections", () => {
    const bytes = encode();
    expect(bytes.length).toBeLessThan(10_000);
    for (const view of [bytes, Buffer.from(bytes)]) {
      const file = new SnapshotFile(view, codec);
      expect(file.names).toEqual(sections.map(({ name }) => name));
      for (const { name, bytes: content } of sections)
        expect(new Uint8Array(file.section(name, content.length))).toEqual(content);
      expect(file.record("machine")).toEqual({ config: { xlen: 64 } });
      expect(file.lengthOf("memory/0")).toBe(65_536);
      expect(() => file.section("memory/0", 65_535)).toThrow("has 65536 bytes, more than the 65535");
      expect(() => file.record("machine", { bytes: 100, values: 2 })).toThrow(
        "section machine can't be read",
      );
      expect(() => file.section("memory/1", 1)).toThrow("section memory/1 is missing");
    }
  });

  it("is refused by the name of the place that was altered, whichever byte it is", () => {
    const bytes = encode();
    const named = new Map<string, number>();
    for (let at = 0; at < bytes.length; at++) {
      const altered = bytes.slice();
      altered[at]! ^= 1 << (at % 8);
      const error = errorOf(() => new SnapshotFile(altered, codec));
      if (at < 8) {
        expect(error.code).toBe("E_SNAPSHOT_FORMAT");
        continue;
      }
      expect(error.code).toBe("E_SNAPSHOT_DAMAGED");
      expect(error.message).toContain(`section ${error.section!} `);
      named.set(error.section!, (named.get(error.section!) ?? 0) + 1);
    }
    expect([...named.keys()]).toEqual(["header", "directory", "machine", "noise", "memory/0"]);
    expect(named.get("noise")).toBe(600);
  });

  it("is refused by the name of the section that was cut, wherever it ends", () => {
    const bytes = encode();
    const named = new Set<string>();
    for (let length = 8; length < bytes.length; length++) {
      const error = errorOf(() => new SnapshotFile(bytes.subarray(0, length), codec));
      expect(error.code).toBe("E_SNAPSHOT_DAMAGED");
      named.add(error.section!);
    }
    expect([...named]).toEqual(["header", "directory", "machine", "noise", "memory/0"]);
    expect(errorOf(() => new SnapshotFile(join([bytes, new Uint8Array(3)]), codec)).message).toBe(
      "the snapshot is damaged: section end has 3 bytes after it; take the snapshot again or use another",
    );
    expect(errorOf(() => new SnapshotFile(text("kernel"), codec)).message).toBe(
      "this is not a snapshot: it does not begin with HYPERSNP",
    );
  });

  it("of another version is refused by both versions", () => {
    const error = errorOf(() => new SnapshotFile(join(encodeSections(sections, codec, 2)), codec));
    expect(error.code).toBe("E_SNAPSHOT_VERSION");
    expect(error.message).toBe(
      "the snapshot has format version 2, this program reads 1: restore it with the version that took it",
    );
  });

  it("with a crafted directory costs an error, not memory", () => {
    const crafted = (entries: PlainValue) => {
      const [header, , ...bodies] = encodeSections(sections, codec);
      const directory = encodeValue(entries);
      const view = new DataView(header!.buffer);
      view.setUint32(12, directory.length, true);
      view.setUint32(16, xxh32(directory), true);
      view.setUint32(20, xxh32(header!.slice(0, 20)), true);
      return errorOf(() => new SnapshotFile(join([header!, directory, ...bodies]), codec));
    };
    const entry = { name: "a", codec: "zstd", stored: 1, length: 2 ** 40, sum: 0 };
    for (const entries of [
      null,
      [null],
      [entry],
      [{ ...entry, length: -1 }],
      [{ ...entry, length: 0.5 }],
      [{ ...entry, codec: "none", length: 5 }],
      [{ ...entry, codec: "lzma", length: 5 }],
      [{ ...entry, name: 5 }],
      [{ ...entry, name: "two\nlines", length: 5 }],
      [{ ...entry, name: "x".repeat(65), length: 5 }],
      [{ ...entry, length: 5, stored: 2 ** 52 }, entry],
    ] as PlainValue[]) {
      expect(crafted(entries).section).toBe("directory");
    }
    expect(crafted([{ ...entry, length: 5, stored: 2 ** 52 }]).section).toBe("a");
  });
});
