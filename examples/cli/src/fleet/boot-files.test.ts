/** The files that a VM of a Hyperfile boots: none is read that can't fit into its memory. */
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VmSpec } from "@hyperfile/broker";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readBootFiles } from "./boot-files.js";

const MEMORY = 32 << 20;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-boot-"));
});
afterAll(() => rm(folder, { recursive: true }));

it("an initial file system may have as many bytes as the VM's memory, and one more is refused in a line", async () => {
  await writeFile(join(folder, "kernel"), new Uint8Array(64));
  await writeFile(join(folder, "initrd"), "");
  await truncate(join(folder, "initrd"), MEMORY);
  const spec = {
    name: "web",
    memoryBytes: MEMORY,
    boot: { kernel: { file: "kernel" }, initrd: "initrd", append: "quiet" },
    console: {},
  } as unknown as VmSpec;
  const { images } = await readBootFiles(spec, folder);
  expect(images.initrd?.bytes.length).toBe(MEMORY);
  await truncate(join(folder, "initrd"), MEMORY + 1);
  // Not as `rejects` has it: that would print all bytes of what was read.
  const { code, message } = await readBootFiles(spec, folder).then(
    () => ({ code: "none", message: "" }),
    (error: { code: string; message: string }) => error,
  );
  expect([code, message]).toEqual([
    "E_FILE",
    `can't read the initrd ${join(folder, "initrd")}: it has 33554433 bytes, and at most 33554432 are possible in a machine's memory`,
  ]);
});
