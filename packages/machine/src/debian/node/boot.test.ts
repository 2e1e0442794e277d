import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { debianCommandLine } from "../command-line.js";
import { guestModules } from "../initramfs.js";
import { debianBoot } from "./boot.js";
import { writePrepared } from "./cache.js";

let folder: string;
let prepared: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-"));
  prepared = join(folder, "debian-trixie-riscv64");
  await mkdir(prepared);
  const fields = {
    format: 1,
    release: "1",
    recipe: "old",
    archive: "a",
    packages: [],
    modules: guestModules,
  } as const;
  const parts = ["vmlinux", "initramfs.cpio", "busybox"].map((name) => [name, Buffer.from(name)] as const);
  await writePrepared(prepared, { ...fields, packages: [] }, new Map(parts));
});
afterEach(() => rm(folder, { recursive: true }));

it("gives what a machine boots, with the words that its init script reads", async () => {
  const boot = await debianBoot({ cacheFolder: folder, columns: 100, rows: 40, append: "quiet" });
  expect(boot.kernel).toMatchObject({ name: join(prepared, "vmlinux") });
  expect(Buffer.from(boot.kernel!.bytes.subarray(0, 100)).toString()).toBe("vmlinux");
  // The magic of a cpio archive: it was built of its parts.
  expect(Buffer.from(boot.initrd!.bytes).toString("latin1", 0, 6)).toBe("070701");
  expect(boot.append).toBe("console=ttyS0 hyperfile.size=100x40 quiet");
});

it("tells a guest that reads from a pipe so, and nothing of a terminal", () => {
  expect(debianCommandLine({ piped: true, columns: 80, rows: 24 })).toBe(
    "console=ttyS0 quiet hyperfile.input=pipe",
  );
  expect(debianCommandLine({ columns: 80 })).toBe("console=ttyS0");
});

it("names what is in the way where neither cache nor apt has it", async () => {
  const { PATH } = process.env;
  process.env.PATH = folder;
  try {
    await writeFile(join(prepared, "vmlinux"), "VMLINUX");
    await expect(debianBoot({ cacheFolder: folder })).rejects.toMatchObject({
      name: "DebianError",
      code: "E_NO_APT",
      message: expect.stringContaining(prepared),
    });
  } finally {
    process.env.PATH = PATH;
  }
});
