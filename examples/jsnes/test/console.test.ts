/**
 * A console with our CPU shows and plays the same as one with jsnes's own, frame by frame.
 */
import { createHash } from "node:crypto";
import type { Tier } from "@hyperfile/jit";
import type { NESOptions } from "jsnes";
import { describe, expect, it } from "vitest";
import { TranslatedNes } from "../src/console.js";
import { type Console, JsnesConsole } from "../src/jsnes.js";
import { testRom } from "../src/test-rom.js";

const FRAMES = Number(process.env.JSNES_FRAMES ?? 180);

/** A digest of each frame's picture, and of the sound that came with it. */
function play(make: (options: NESOptions) => Console, rom: Uint8Array, frames = FRAMES): string[] {
  const digests: string[] = [];
  let hash = createHash("sha256");
  let samples = 0;
  const nes = make({
    onFrame: (picture) => void hash.update(Uint32Array.from(picture)),
    onAudioSample: (left, right) => {
      samples++;
      hash.update(Float64Array.of(left, right));
    },
  });
  nes.loadROM(rom);
  for (let frame = 0; frame < frames; frame++) {
    if (frame % 50 === 20) nes.buttonDown(1, frame % 8);
    if (frame % 50 === 40) nes.buttonUp(1, (frame - 20) % 8);
    nes.frame();
    digests.push(`${samples} ${nes.cpu.cycles} ${hash.digest("hex").slice(0, 16)}`);
    hash = createHash("sha256");
  }
  return digests;
}

const own = (options: NESOptions): Console => new JsnesConsole(options);

const translated =
  (tier: Tier) =>
  (options: NESOptions): Console =>
    new TranslatedNes({ ...options, tier });

describe("a console with a translated CPU", () => {
  const expected = play(own, testRom());

  it("has a test program that moves and makes sound", () => {
    expect(new Set(expected.map((digest) => digest.split(" ")[2])).size).toBeGreaterThan(FRAMES - 10);
  });

  it.each(["auto", "js", "wasm", "interpreter"] as const)("shows and plays the same in tier %s", (tier) => {
    expect(play(translated(tier), testRom())).toEqual(expected);
  });

  it("lets DMA for samples take its cycles", () => {
    const withSample = play(own, testRom(true), 60);
    expect(withSample).not.toEqual(expected.slice(0, 60));
    expect(play(translated("auto"), testRom(true), 60)).toEqual(withSample);
  });
});
