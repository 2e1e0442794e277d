/**
 * A console with our CPU shows and plays the same as one with jsnes's own, frame by frame.
 */
import { createHash } from "node:crypto";
import { assemble6502 } from "@hyperfile/example-mos6502";
import type { Tier } from "@hyperfile/jit";
import type { NESOptions } from "jsnes";
import { describe, expect, it } from "vitest";
import { TranslatedNes } from "../src/console.js";
import { type Console, JsnesConsole } from "../src/jsnes.js";
import { cartridge, testRom } from "../src/test-rom.js";

const FRAMES = Number(process.env.JSNES_FRAMES ?? 130);

/** A console, and a digest of each frame's picture and of the sound that came with it. */
class Player {
  readonly digests: string[] = [];
  readonly nes: Console;
  private hash = createHash("sha256");
  private samples = 0;

  constructor(make: (options: NESOptions) => Console, rom: Uint8Array) {
    this.nes = make({
      onFrame: (picture) => void this.hash.update(Uint32Array.from(picture)),
      onAudioSample: (left, right) => {
        this.samples++;
        this.hash.update(Float64Array.of(left, right));
      },
    });
    this.nes.loadROM(rom);
  }

  play(frames: number): this {
    const { nes, digests } = this;
    for (let frame = 0; frame < frames; frame++) {
      if (digests.length % 50 === 20) nes.buttonDown(1, digests.length % 8);
      if (digests.length % 50 === 40) nes.buttonUp(1, (digests.length - 20) % 8);
      nes.frame();
      digests.push(`${this.samples} ${nes.cpu.cycles} ${this.hash.digest("hex").slice(0, 16)}`);
      this.hash = createHash("sha256");
    }
    return this;
  }
}

function play(make: (options: NESOptions) => Console, rom: Uint8Array, frames = FRAMES): string[] {
  return new Player(make, rom).play(frames).digests;
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

  it("takes over saved states, and hands its own on", () => {
    const ways = [
      [own, translated("wasm")],
      [translated("wasm"), own],
      [translated("wasm"), translated("js")],
    ] as const;
    const [first, ...others] = ways.map(([from, to]) => {
      const before = new Player(from, testRom()).play(50);
      const after = new Player(to, testRom());
      after.nes.fromJSON(JSON.parse(JSON.stringify(before.nes.toJSON())));
      return after.play(50).digests;
    });
    expect(new Set(first).size).toBe(50);
    for (const digests of others) expect(digests).toEqual(first);
  });

  it("runs what a cartridge with banks brings to one place", () => {
    const played = play(own, bankedCartridge(), 40);
    expect(new Set(played.map((digest) => digest.split(" ")[2])).size).toBeGreaterThan(5);
    expect(play(translated("auto"), bankedCartridge(), 40)).toEqual(played);
    expect(play(translated("js"), bankedCartridge(), 40)).toEqual(played);
  });

  it("leaves code in the mirrors of RAM, and what a Game Genie changes, to jsnes's own CPU", () => {
    const genie = (make: (options: NESOptions) => Console) => (options: NESOptions) => {
      const nes = make(options) as Console & {
        gameGenie: { addCode(code: string): void; setEnabled(isOn: boolean): void };
      };
      const load = nes.loadROM.bind(nes);
      nes.loadROM = (rom) => {
        load(rom);
        nes.gameGenie.addCode("SXIOPO");
        nes.gameGenie.setEnabled(true);
      };
      return nes;
    };
    expect(play(genie(translated("wasm")), testRom(), 20)).toEqual(play(genie(own), testRom(), 20));
    const mirrored = play(own, mirrorCartridge(), 20);
    expect(new Set(mirrored.map((digest) => digest.split(" ")[2])).size).toBeGreaterThan(5);
    expect(play(translated("wasm"), mirrorCartridge(), 20)).toEqual(mirrored);
  });
});

/** Shows the low bits of what is at $10 in every frame. */
const showing = `
      nmi: pha
      bit $2002
      lda #$3f
      sta $2006
      lda #0
      sta $2006
      lda $10
      and #$3f
      sta $2007
      pla
      rti`;

/** UxROM: three banks of 16 KiB with the same routine made differently at $8000, and the main program at $c000. */
function bankedCartridge(): Uint8Array {
  const bank = (number: number) => `
    ldx #${20 + number}
    loop: lda $10
    adc #${3 + 2 * number}
    sta $10
    ${number === 1 ? "eor $11" : "dec $11"}
    dex
    bne loop
    rts`;
  const main = `
    start: ldx #$ff
    txs
    bit $2002
    lda #$80
    sta $2000
    next: ldy #2
    one: tya
    sta table,y
    jsr $8000
    dey
    bpl one
    jmp next
    table: .byte 0, 1, 2
    ${showing}
    .org $fffa
    .word nmi, start, nmi`;
  const rom = new Uint8Array(16 + 4 * 0x4000);
  rom.set([0x4e, 0x45, 0x53, 0x1a, 4, 0, 0x20]);
  for (let number = 0; number < 3; number++)
    rom.set(assemble6502(bank(number), 0x8000).bytes, 16 + 0x4000 * number);
  rom.set(assemble6502(main, 0xc000).bytes, 16 + 3 * 0x4000);
  return rom;
}

/** Copies a routine to RAM, and runs it there and through a mirror. */
const mirrorCartridge = (): Uint8Array =>
  cartridge(`
    start: ldx #$ff
    txs
    bit $2002
    lda #$80
    sta $2000
    ldx #15
    copy: lda routine,x
    sta $0300,x
    dex
    bpl copy
    next: jsr $0300
    jsr $0b00
    jsr $1300
    jmp next
    routine: ldx #9
    inc $10
    dex
    bne *-3
    rts
    ${showing}
    .org $fffa
    .word nmi, start, nmi`);
