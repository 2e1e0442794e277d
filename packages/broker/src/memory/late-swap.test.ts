/** Swap space that can't be made, and swap space that fails. */
import { closeSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { LateSwap } from "./late-swap.js";
import { SwapFile } from "./node/swap-file.js";
import { PAGE_SIZE } from "./ports.js";
import { MemorySwap, SwapStore } from "./swap-store.js";

const page = (byte: number) => new Uint8Array(PAGE_SIZE).fill(byte);

it("that can't be made takes no page, throws nothing, and is tried again after a time", () => {
  let [now, tries, isBroken] = [0, 0, true];
  const open = () => {
    tries++;
    if (isBroken) throw Object.assign(new Error("no such folder"), { code: "ENOENT" });
    return new MemorySwap();
  };
  const store = new SwapStore(new LateSwap(open, () => now), 8);
  expect(tries).toBe(0);
  for (let at = 0; at < 20; at++) expect(store.store(page(at))).toBe(-1);
  expect([tries, store.counters.refused, store.used]).toEqual([1, 20, 0]);
  isBroken = false;
  expect(store.store(page(1))).toBe(-1);
  now = 10_000;
  const slot = store.store(page(7));
  expect([slot, tries]).toEqual([0, 2]);
  const read = page(0);
  store.load(slot, read);
  expect(read).toEqual(page(7));
});

it("in a file that can't be made or read fails with a code of its own, which ends one VM", () => {
  const folder = mkdtempSync(join(tmpdir(), "hf-swap-"));
  try {
    writeFileSync(join(folder, "file"), "in the way");
    const store = new SwapStore(new LateSwap(() => new SwapFile(join(folder, "file", "swap"))), 8);
    expect(store.store(page(1))).toBe(-1);
    const file = new SwapFile(join(folder, "swap"));
    expect(file.write(0, page(1))).toBe(true);
    expect(() => file.read(1, page(0))).toThrow(
      expect.objectContaining({ code: "E_SWAP", message: expect.stringMatching(/ends before slot 1/) }),
    );
    closeSync((file as unknown as { file: number }).file);
    expect(() => file.read(0, page(0))).toThrow(
      expect.objectContaining({ code: "E_SWAP", message: expect.stringMatching(/can't be read/) }),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
