import { buffer } from "node:stream/consumers";
import { pack } from "tar-stream";
import { expect, it } from "vitest";
import { TarEnd } from "./tar-end.js";

async function archive(files: Readonly<Record<string, number>>): Promise<Uint8Array> {
  const tar = pack();
  for (const [name, bytes] of Object.entries(files)) tar.entry({ name }, Buffer.alloc(bytes));
  tar.finalize();
  return buffer(tar);
}

it.each([1, 7, 511, 512, 513, 100_000])(
  "finds the end of the members in pieces of %i bytes",
  async (step) => {
    const bytes = await archive({ "./a": 0, "./b": 1, "./c": 512, "./d": 1025 });
    const end = new TarEnd();
    for (let at = 0; at < bytes.length; at += step) end.take(bytes.subarray(at, at + step));
    // Each a header, and its content in whole blocks, which are zeros here as well.
    expect(end.bytes).toBe(512 * (1 + 2 + 2 + 4));
  },
);

it("is 0 of an archive that has nothing", async () => {
  const end = new TarEnd();
  end.take(await archive({}));
  expect(end.bytes).toBe(0);
});

it("reads a size that is too large for octal digits", () => {
  const header = new Uint8Array(512).fill(1);
  header.set([0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 5], 124);
  const end = new TarEnd();
  end.take(header);
  expect(end.bytes).toBe(512 + 2 * 2 ** 32 + 512);
});
