/** Images and snapshots are packed by one library, which is made once, whoever comes first. */
import { nodeCodecs } from "@hyperfile/devices/node";
import { expect, it } from "vitest";
import { zstdCodec } from "../src/snapshot/index.js";

const same = (one: Uint8Array | undefined, other: Uint8Array | undefined): boolean =>
  one !== undefined && other !== undefined && Buffer.compare(one, other) === 0;

const bytes = Uint8Array.from({ length: 200_000 }, (_, at) => (at * at) >>> 8);

it("what one packs while the other begins is what it was", async () => {
  const cluster = (await nodeCodecs("zstd"))!;
  const packed = await cluster.compress(bytes);
  const loading = zstdCodec();
  for (let round = 0; round < 50; round++) {
    expect(same(await cluster.compress(bytes), packed)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const codec = await loading;
  for (let round = 0; round < 50; round++) {
    expect(same(codec.decompress(codec.compress(bytes), bytes.length), bytes)).toBe(true);
    expect(same(await cluster.decompress(packed!, bytes.length), bytes)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
});
