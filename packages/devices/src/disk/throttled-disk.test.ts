/** A disk whose requests wait for their turns, under a block device: what is asked of the line, and who hastens and cancels. */
import { expect, it } from "vitest";
import { MemoryBackend } from "./memory-backend.js";
import { MeteredDisk } from "./metered-disk.js";
import { type RequestLine, ThrottledDisk } from "./throttled-disk.js";

/** A line that lets nothing go by itself. */
class HeldLine implements RequestLine {
  readonly sizes: number[] = [];
  private waiting: { go(): void; fail(error: Error): void }[] = [];

  async run<T>(bytes: number, job: () => Promise<T>): Promise<T> {
    this.sizes.push(bytes);
    await new Promise<void>((go, fail) => this.waiting.push({ go, fail }));
    return job();
  }

  hasten(): () => void {
    for (const { go } of this.waiting.splice(0)) go();
    return () => {};
  }

  cancel(error: Error): void {
    for (const { fail } of this.waiting.splice(0)) fail(error);
  }
}

it("asks for each request with what it costs, and does it in its turn", async () => {
  const line = new HeldLine();
  const memory = new MemoryBackend(1 << 20);
  const disk = new ThrottledDisk(memory, line);
  const wrote = disk.write(0, [new Uint8Array(512).fill(7), new Uint8Array(512).fill(7)]);
  const others = [disk.flush(), disk.discard(65_536, 65_536), disk.writeZeroes(131_072, 65_536)];
  const bytes = new Uint8Array(1024);
  await memory.read(0, [bytes]);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  line.hasten();
  await Promise.all([wrote, ...others]);
  const read = disk.read(0, [bytes]);
  line.hasten();
  await read;
  expect(bytes.every((byte) => byte === 7)).toBe(true);
  expect(line.sizes).toEqual([1024, 0, 0, 65_536, 1024]);
});

it("what is cancelled, by itself or by its close, never happens, and is not counted", async () => {
  const line = new HeldLine();
  const memory = new MemoryBackend(1 << 20);
  const disk = new MeteredDisk(new ThrottledDisk(memory, line));
  const cancelled = { code: "E_DISK_CANCELLED" };
  const one = expect(disk.write(0, [new Uint8Array(512).fill(7)])).rejects.toMatchObject(cancelled);
  disk.cancel();
  await one;
  const other = expect(disk.write(0, [new Uint8Array(512).fill(7)])).rejects.toMatchObject(cancelled);
  const bytes = new Uint8Array(512);
  await memory.read(0, [bytes]);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  await disk.close();
  await other;
  expect(disk.figures.write).toMatchObject({ operations: 0, failures: 0 });
});
