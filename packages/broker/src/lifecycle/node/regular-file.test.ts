import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readRegularFile } from "./regular-file.js";

it("reads regular files to a limit, and waits for nothing else", async () => {
  const folder = mkdtempSync(join(tmpdir(), "hyperfile-read-"));
  try {
    const [file, fifo] = [join(folder, "file"), join(folder, "fifo")];
    writeFileSync(file, "content");
    execFileSync("mkfifo", [fifo]);
    expect(new TextDecoder().decode(await readRegularFile(file, 7))).toBe("content");
    await expect(readRegularFile(file, 6)).rejects.toMatchObject({
      code: "ETOOLARGE",
      message: /7 bytes, and at most 6/,
    });
    await expect(readRegularFile(fifo, 9)).rejects.toMatchObject({ code: "ENOTREG" });
    await expect(readRegularFile("/dev/zero", 9)).rejects.toMatchObject({ code: "ENOTREG" });
    await expect(readRegularFile(folder, 9)).rejects.toMatchObject({ code: "EISDIR" });
    await expect(readRegularFile(join(folder, "none"), 9)).rejects.toMatchObject({ code: "ENOENT" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
