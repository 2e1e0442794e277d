/** Outputs that fail: files, devices, pipes, and what becomes of a command's status. */
import { EventEmitter } from "node:events";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type OutputStream, StandardOutput, statusOfOutput } from "./standard-output.js";

/** A pipe whose writes end as a test says. */
class FakePipe extends EventEmitter implements OutputStream {
  text = "";
  error: Error | undefined;
  write(data: string | Uint8Array, done: (error?: Error | null) => void): void {
    if (this.error === undefined) this.text += String(data);
    setImmediate(() => {
      if (this.error !== undefined) this.emit("error", this.error);
      done(this.error);
    });
  }
}

const failing = (code: string) => Object.assign(new Error(code), { code });

async function written(code?: string): Promise<StandardOutput> {
  const pipe = new FakePipe();
  if (code !== undefined) pipe.error = failing(code);
  const output = new StandardOutput(pipe);
  output.write("x");
  await output.flush();
  return output;
}

describe("a command's status", () => {
  it.each([
    ["all was written", undefined, undefined, 3, 3, undefined],
    ["nobody read to the end", "EPIPE", undefined, 0, 141, undefined],
    ["the guest failed and nobody read to the end", "EPIPE", undefined, 3, 3, undefined],
    [
      "the disk was full",
      "ENOSPC",
      undefined,
      0,
      1,
      /standard output: no space left on the device; part of it is lost\n$/,
    ],
    ["the guest failed and the disk was full", "ENOSPC", undefined, 3, 1, /no space/],
    ["messages were lost", undefined, "EIO", 0, 1, /can't write standard error/],
    ["nobody read messages", undefined, "EPIPE", 0, 0, undefined],
  ])("where %s", async (_, output, errors, own, status, line) => {
    const result = statusOfOutput(own, await written(output), await written(errors));
    expect(result.status).toBe(status);
    if (line === undefined) expect(result.line).toBeUndefined();
    else expect(result.line).toMatch(line);
  });
});

describe("an output", () => {
  it("tells of its first failure once, and writes nothing after it", async () => {
    const pipe = new FakePipe();
    const output = new StandardOutput(pipe);
    const told: Error[] = [];
    output.on("error", (error) => told.push(error));
    output.write("one");
    await output.flush();
    pipe.error = failing("EPIPE");
    output.write("two");
    output.write("three");
    await output.flush();
    pipe.error = undefined;
    output.write("four");
    await output.flush();
    expect(pipe.text).toBe("one");
    expect(told).toHaveLength(1);
    expect([output.isClosed, output.failure]).toEqual([true, told[0]]);
  });

  it("that is a file or a device gets all of a write, or fails with it", () => {
    const name = join(tmpdir(), `hyperfile-output-${process.pid}`);
    const fd = openSync(name, "w");
    const file = new StandardOutput(Object.assign(new FakePipe(), { fd }));
    file.write("x".repeat(1 << 20));
    file.write(Uint8Array.of(10));
    closeSync(fd);
    expect(readFileSync(name, "utf8")).toBe(`${"x".repeat(1 << 20)}\n`);
    rmSync(name);
    const full = openSync("/dev/full", "w");
    const device = new StandardOutput(Object.assign(new FakePipe(), { fd: full }));
    device.write("x");
    closeSync(full);
    expect(device.failure).toMatchObject({ code: "ENOSPC" });
  });
});
