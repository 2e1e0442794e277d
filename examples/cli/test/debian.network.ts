/**
 * Fetches the real packages, so it needs apt and a network and is no part of the default suite:
 * `npx vitest run --config vitest.network.config.ts`.
 */
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareDebianGuest } from "@hyperfile/machine/debian";
import { expect, it } from "vitest";

it("fetches Debian's kernel once", async () => {
  const cacheFolder = await mkdtemp(join(tmpdir(), "hyperfile-"));
  try {
    const first = await prepareDebianGuest({ cacheFolder });
    expect(first).toMatchObject({ cached: false, release: expect.stringMatching(/^6\.12\..*-riscv64$/) });
    // The header of a RISC-V Image has the magic "RSC\x05" at byte 56 (Documentation/arch/riscv/boot-image-header.rst).
    expect((await readFile(first.kernel)).toString("latin1", 56, 60)).toBe("RSC\x05");
    expect((await stat(first.initrd)).size).toBeGreaterThan(4e6);
    const second = await prepareDebianGuest({ cacheFolder, verify: true });
    expect(second).toEqual({ ...first, cached: true });
  } finally {
    await rm(cacheFolder, { recursive: true });
  }
});
