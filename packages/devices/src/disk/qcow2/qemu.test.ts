/**
 * Images that qemu-img makes are read right, and it finds no fault with those that are written here. Skipped, and said
 * so, where qemu-img is missing. HYPERFILE_QCOW2_IMAGES sets the number of generated images.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { contentOf, generator, randomBytes, randomRequests } from "../../../test/disk-model.js";
import { qemuCheck, qemuImg, runQemuImg } from "../../../test/qemu-img.js";
import { NodeFile, nodeCodecs } from "../../node.js";
import { type BlockBackend, checkQcow2, createQcow2, Qcow2Image, RawBackend } from "../index.js";

const IMAGES = Number(process.env.HYPERFILE_QCOW2_IMAGES ?? 10);
const CLUSTERS = ["512", "1k", "4k", "32k", "64k", "256k", "2M"];
const SIZE = 1_500_160;

let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "hyperfile-qcow2-"))));
afterAll(() => rm(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

/** A disk's content with data, zeros and repetition. */
function content(seed: number, size = SIZE): Uint8Array {
  const random = generator(seed);
  const bytes = new Uint8Array(size);
  for (let each = 0; each < 12; each++) {
    const part = randomBytes(random, Math.min(size, 1 + random(120_000)));
    bytes.set(part, random(size - part.length + 1));
  }
  return bytes;
}

async function open(path: string, isReadOnly = false, backing?: BlockBackend): Promise<Qcow2Image> {
  const file = await NodeFile.open(path, { isReadOnly });
  return Qcow2Image.open(file, { codecs: nodeCodecs, ...(backing && { backing }) });
}

async function expectContent(path: string, expected: Uint8Array, backing?: BlockBackend): Promise<void> {
  const image = await open(path, true, backing);
  expect(Buffer.compare(await contentOf(image), expected)).toBe(0);
  await image.close();
}

describe.skipIf(qemuImg === undefined)(`images of qemu-img ${qemuImg ?? "(missing)"}`, () => {
  it.each(CLUSTERS)("with clusters of %s, plain and compressed, zlib and zstd", async (cluster) => {
    const bytes = content(3);
    await writeFile(at("in.raw"), bytes);
    for (const [name, flags, options] of [
      ["plain", [], ""],
      ["zlib", ["-c"], ""],
      ["zstd", ["-c"], ",compression_type=zstd"],
      ["v2", ["-c"], ",compat=0.10"],
    ] as const) {
      const path = at(`${name}-${cluster}.qcow2`);
      runQemuImg(
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        ...flags,
        "-o",
        `cluster_size=${cluster}${options}`,
        at("in.raw"),
        path,
      );
      await expectContent(path, bytes);
      const file = await NodeFile.open(path, { isReadOnly: true });
      const { corruptions, leaks, clusters } = await checkQcow2(file);
      await file.close();
      expect({ corruptions: corruptions.count, leaks: leaks.count }).toEqual({ corruptions: 0, leaks: 0 });
      expect(clusters.compressed > 0).toBe(name !== "plain");
    }
  });

  it.each([1, 2, 4, 8, 16, 32, 64])("with %i refcount bits, then written here", async (bits) => {
    const bytes = content(4);
    await writeFile(at("bits.raw"), bytes);
    const path = at(`bits-${bits}.qcow2`);
    runQemuImg(
      "convert",
      "-O",
      "qcow2",
      "-c",
      "-o",
      `cluster_size=1k,refcount_bits=${bits}`,
      at("bits.raw"),
      path,
    );
    const image = await open(path);
    await randomRequests(image, bytes, generator(bits), 25, 20_000);
    await image.close();
    await expectContent(path, bytes);
    expect(qemuCheck(path)).toEqual({ corruptions: 0, leaks: 0, errors: 0 });
  });

  it("with snapshots, which stay as they are when the disk is written", async () => {
    const bytes = content(5);
    await writeFile(at("snap.raw"), bytes);
    const path = at("snap.qcow2");
    runQemuImg("convert", "-O", "qcow2", "-c", "-o", "cluster_size=4k", at("snap.raw"), path);
    runQemuImg("snapshot", "-c", "first", path);
    const model = bytes.slice();
    const image = await open(path);
    await randomRequests(image, model, generator(9), 60, 30_000);
    await image.close();
    expect(qemuCheck(path)).toEqual({ corruptions: 0, leaks: 0, errors: 0 });
    await expectContent(path, model);
    runQemuImg("convert", "-l", "first", "-O", "raw", path, at("first.raw"));
    expect(Buffer.compare(await readFile(at("first.raw")), bytes)).toBe(0);
  });

  it("with bitmaps, which are marked as inconsistent by the first write", async () => {
    const path = at("bitmaps.qcow2");
    runQemuImg("create", "-f", "qcow2", path, String(SIZE));
    runQemuImg("bitmap", "--add", path, "kept");
    const flags = () =>
      JSON.parse(runQemuImg("info", "--output=json", path))["format-specific"].data.bitmaps[0].flags;
    expect(flags()).toEqual(["auto"]);
    await (await open(path)).close();
    expect(flags()).toEqual(["auto"]);
    const image = await open(path);
    await image.write(0, [new Uint8Array(10).fill(1)]);
    await image.close();
    expect(flags()).toEqual(["in-use", "auto"]);
    expect(qemuCheck(path)).toEqual({ corruptions: 0, leaks: 0, errors: 0 });
  });

  it("with features that are not supported, each refused by its name", async () => {
    for (const [options, message] of [
      ["extended_l2=on,cluster_size=64k", /extended\.qcow2: the image needs extended L2 entries/],
      ["data_file=" + at("external"), /external data file/],
    ] as const) {
      const path = at("extended.qcow2");
      runQemuImg("create", "-f", "qcow2", "-o", options, path, "1M");
      await expect(open(path)).rejects.toThrow(message);
    }
    const path = at("luks.qcow2");
    runQemuImg(
      "create",
      "-f",
      "qcow2",
      "--object",
      "secret,id=s,data=x",
      "-o",
      "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
      path,
      "1M",
    );
    await expect(open(path)).rejects.toThrow(/encrypted with LUKS/);
  });

  it(`generated (${IMAGES}): written here, compared and checked there`, {
    timeout: 60_000 * IMAGES,
  }, async () => {
    for (let seed = 1; seed <= IMAGES; seed++) {
      const random = generator(seed);
      const size = 512 * (1 + random(3000));
      const path = at(`made-${seed}.qcow2`);
      const version = random(4) === 0 ? 2 : 3;
      const compression = version === 3 && random(2) === 0 ? "zstd" : "zlib";
      const backing = random(2) === 0 ? content(seed + 1000, 512 * (1 + random(3000))) : undefined;
      const below = at(`below-${seed}.raw`);
      if (backing !== undefined) await writeFile(below, backing);
      const clusterSize = 2 ** (9 + random(13));
      const file = await NodeFile.open(path, { create: true });
      await createQcow2(file, {
        size,
        clusterSize,
        version,
        compression,
        ...(version === 3 && { refcountBits: 2 ** random(7), lazyRefcounts: random(2) === 0 }),
        ...(backing && { backingFile: below, backingFormat: "raw" }),
      });
      const openBelow = async () =>
        backing && new RawBackend(await NodeFile.open(below, { isReadOnly: true }));
      const image = await Qcow2Image.open(file, {
        codecs: nodeCodecs,
        ...(backing && { backing: (await openBelow())! }),
      });
      const model = new Uint8Array(size);
      if (backing !== undefined) model.set(backing.subarray(0, size));
      for (let cluster = 0; cluster < 20; cluster++) {
        const offset = random(Math.ceil(size / clusterSize)) * clusterSize;
        const bytes = randomBytes(random, Math.min(clusterSize, size - offset));
        model.set(bytes, offset);
        await image.writeCompressed(offset, bytes);
      }
      await randomRequests(image, model, random, 30, 3 * Math.min(clusterSize, 20_000));
      await image.close();
      await writeFile(at("model.raw"), model);
      expect(`${seed}: ${runQemuImg("compare", "-f", "raw", "-F", "qcow2", at("model.raw"), path)}`).toMatch(
        /identical/,
      );
      expect({ seed, ...qemuCheck(path) }).toEqual({ seed, corruptions: 0, leaks: 0, errors: 0 });
    }
  });
});
