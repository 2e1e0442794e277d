/** The soak in short, against the built program. */
import { expect, it } from "vitest";
import { expectedDigest } from "../src/digest.js";
import { programFile, programNames } from "../src/programs.js";
import { soak } from "../src/soak.js";

it("programs are ELF files of one segment", () => {
  for (const name of programNames) {
    const file = programFile(name, { ramBytes: 16 * 2 ** 20 });
    expect(file.slice(0, 4), name).toEqual(Uint8Array.of(0x7f, 0x45, 0x4c, 0x46));
    expect(file.length, name).toBeGreaterThan(120);
  }
});

it("the host computes what the guest's digest has to print", () => {
  expect(expectedDigest(100_000)).toBe("cd4168698f011e73328f1b034ff0ae4bd0b13613545c37b8a5aebaaad9a95a4f");
});

it("a daemon with VMs and clients without manners lives, answers, and gives everything back", async () => {
  const { findings, tally } = await soak({ seconds: 15, vms: 16, clients: 10, seed: 7, print: () => {} });
  // How long an answer takes is for long runs on a quiet host to say.
  const failed = findings.filter(({ what, pass }) => !pass && !what.startsWith("ps answers"));
  expect(failed).toEqual([]);
  expect(findings.length).toBeGreaterThanOrEqual(6);
  expect(tally.of("clone done")).toBeGreaterThan(0);
});
