/**
 * The packages as their users get them. `node examples/own-cpu/pack-check.mjs` prints the sizes; with `--node PATH...` what
 * is installed runs in those Nodes as well.
 */
import { expect, it } from "vitest";
import { packCheck } from "../pack-check.mjs";

const KIB = 1024;
const MILLISECONDS = 900_000;

it(
  "packs, installs, types, runs and bundles without the workspace",
  async () => {
    const { tarballs, bundles } = await packCheck();
    expect(Object.keys(tarballs)).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^hyperfile-decoder-.*\.tgz$/),
        expect.stringMatching(/^hyperfile-jit-.*\.tgz$/),
        expect.stringMatching(/^hyperfile-machine-.*\.tgz$/),
        expect.stringMatching(/^hyperfile-broker-.*\.tgz$/),
      ]),
    );
    expect(bundles["a front end from rows, with assembler"]?.gzip).toBeLessThan(18 * KIB);
    expect(bundles["a CPU from rows, in every tier"]?.gzip).toBeLessThan(130 * KIB);
    expect(bundles["a RISC-V machine"]?.gzip).toBeLessThan(190 * KIB);
  },
  MILLISECONDS,
);
