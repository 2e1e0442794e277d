/**
 * A cartridge of our own: a picture that scrolls in two halves, sprites that bounce, two pulses and noise that change
 * with each frame, and a main program that computes without end.
 *
 * What is shown and heard depends on when everything happens: the sprite-0 hit is waited for in a loop, the frame
 * counter of the sound unit interrupts the computation, and how far that has come is on the screen.
 */
import { assemble6502 } from "@hyperfile/example-mos6502";

/** The computation, with what it keeps in the zero page. */
const names = `
crc = $00        ; of the computation, 2 bytes
rounds = $02     ; how often it was done, 2 bytes
seed = $08
work = $0300
`;
const routines = `
compute:
        ldx #0            ; fills a page with noise, sorts a part of it, takes a CRC of all of it
fill:   jsr random
        sta work,x
        inx
        bne fill
sort:   ldx #0
        ldy #0
pass:   lda work,x
        cmp work+1,x
        bcc placed
        beq placed
        pha
        lda work+1,x
        sta work,x
        pla
        sta work+1,x
        iny
placed: inx
        cpx #16
        bne pass
        cpy #0
        bne sort
        ldx #0
sum:    lda crc+1
        eor work,x
        sta crc+1
        ldy #8
bit8:   asl crc
        rol crc+1
        bcc plain
        lda crc
        eor #$21
        sta crc
        lda crc+1
        eor #$10
        sta crc+1
plain:  dey
        bne bit8
        inx
        bne sum
        rts

random: lda seed
        asl a
        bcc even
        eor #$1d
even:   sta seed
        rts

`;

/** Has a sample played over and over: its bytes are fetched in between the CPU's cycles. */
const sample = `
        lda #$4e
        sta $4010
        lda #$00
        sta $4012
        lda #$0f
        sta $4013
        lda #$1b
        sta $4015
`;

const program = (sound: string): string => `${names}
ppuctrl = $2000
ppumask = $2001
ppustatus = $2002
scroll = $2005
ppuaddr = $2006
ppudata = $2007
frames = $04
irqs = $05
low = $06
pad = $0a
oam = $0200

reset:  sei
        cld
        ldx #$ff
        txs
        inx
        stx ppuctrl
        stx ppumask
        bit ppustatus
warm1:  bit ppustatus
        bpl warm1
        lda #0
clear:  sta $00,x
        sta $0300,x
        sta $0400,x
        inx
        bne clear
warm2:  bit ppustatus
        bpl warm2

        lda #$3f          ; palettes
        sta ppuaddr
        lda #$00
        sta ppuaddr
        tax
colour: lda palette,x
        sta ppudata
        inx
        cpx #32
        bne colour

        lda #$20          ; both name tables, and what colours them
        sta ppuaddr
        lda #$00
        sta ppuaddr
        sta low
        ldy #8
        ldx #0
tiles:  txa
        eor low
        and #$0f
        sta ppudata
        inx
        bne tiles
        inc low
        dey
        bne tiles

        ldx #0            ; 64 sprites; number 0 splits the picture
sprite: txa
        asl a
        sta oam,x
        inx
        lda #$11
        sta oam,x
        inx
        txa
        and #3
        sta oam,x
        inx
        txa
        sta oam,x
        inx
        bne sprite
        lda #100
        sta oam
        lda #$10
        sta oam+1
        lda #0
        sta oam+2
        lda #128
        sta oam+3

        lda #$0b          ; pulse 1, pulse 2, noise
        sta $4015
        lda #$9f
        sta $4000
        lda #$08
        sta $4001
        lda #$56
        sta $4004
        lda #$9a
        sta $4005
        lda #$24
        sta $400c
${sound}
        lda #$00
        sta $4017         ; the frame counter interrupts
        lda #$5a
        sta seed
        lda #$90
        sta ppuctrl
        lda #$1e
        sta ppumask
        cli

main:   jsr compute
        inc rounds
        bne main
        inc rounds+1
        jmp main

${routines}
nmi:    pha
        txa
        pha
        tya
        pha
        inc frames
        lda #$02
        sta $4014         ; sprites
        lda #$20          ; how far the computation is
        sta ppuaddr
        lda #$42
        sta ppuaddr
        ldx #3
show:   lda crc,x
        lsr a
        lsr a
        lsr a
        lsr a
        sta ppudata
        lda crc,x
        and #$0f
        sta ppudata
        dex
        bpl show
        lda irqs
        and #$0f
        sta ppudata
        lda #$01          ; the buttons
        sta $4016
        lsr a
        sta $4016
        ldx #8
button: lda $4016
        lsr a
        rol pad
        dex
        bne button
        lda pad
        and #$0f
        sta ppudata
        lda ppustatus
        lda frames
        sta scroll
        lda #0
        sta scroll
        lda #$90
        sta ppuctrl

        ldx #4            ; moves the sprites
move:   txa
        lsr a
        lsr a
        and #3
        clc
        adc oam+3,x
        sta oam+3,x
        txa
        and #$08
        beq down
        dec oam,x
        jmp moved
down:   inc oam,x
moved:  inx
        inx
        inx
        inx
        bne move

        lda frames        ; sound
        and #$1f
        tax
        lda tune,x
        sta $4002
        lda #$01
        sta $4003
        txa
        and #$07
        bne quiet
        lda frames
        sta $4006
        lda #$08
        sta $4007
        lda frames
        lsr a
        lsr a
        and #$8f
        sta $400e
        lda #$10
        sta $400f
quiet:
hit0:   bit ppustatus     ; the last frame's hit ends with the blank
        bvs hit0
hit1:   bit ppustatus
        bvc hit1
        ldx #20
delay:  dex
        bne delay
        lda frames
        eor #$ff
        sta scroll
        lda #0
        sta scroll
        pla
        tay
        pla
        tax
        pla
        rti

irq:    pha
        lda $4015         ; acknowledges
        isc irqs          ; INC and SBC in one: undocumented, as games use
        pla
        rti

palette: .byte $0f,$01,$11,$21,$0f,$06,$16,$26,$0f,$09,$19,$29,$0f,$0c,$1c,$2c
        .byte $0f,$30,$27,$17,$0f,$24,$14,$04,$0f,$2a,$1a,$0a,$0f,$37,$38,$28
tune:   .byte $d5,$be,$a9,$9f,$8e,$7e,$70,$6a,$70,$7e,$8e,$9f,$a9,$be,$d5,$fd
        .byte $d5,$a9,$8e,$70,$6a,$70,$8e,$a9,$d5,$be,$a9,$9f,$8e,$7e,$70,$6a
        .org $fffa
        .word nmi, reset, irq
`;

const PRG_BYTES = 0x8000;
const CHR_BYTES = 0x2000;

/** Tiles, the same for the background and the sprites: sixteen patterns of stripes and dots, a full one for the sprite that is hit, and a ball. */
function patterns(): Uint8Array {
  const bytes = new Uint8Array(CHR_BYTES);
  for (let tile = 0; tile < 16; tile++) {
    for (let row = 0; row < 8; row++) {
      bytes[tile * 16 + row] = (0x11 * tile) ^ (row & 1 ? 0xff : 0) ^ (1 << row);
      bytes[tile * 16 + 8 + row] = (tile << (row & 3)) & 0xff;
    }
  }
  bytes.fill(0xff, 0x10 * 16, 0x10 * 16 + 8);
  bytes.set([0x3c, 0x7e, 0xff, 0xff, 0xff, 0xff, 0x7e, 0x3c], 0x11 * 16);
  bytes.set([0x00, 0x18, 0x24, 0x42, 0x42, 0x24, 0x18, 0x00], 0x11 * 16 + 8);
  bytes.copyWithin(CHR_BYTES / 2, 0, CHR_BYTES / 2);
  return bytes;
}

/** A cartridge without banks, in the iNES format (nesdev wiki, "INES"), from a program at $8000. */
export function cartridge(source: string): Uint8Array {
  const { bytes } = assemble6502(source, 0x8000);
  const rom = new Uint8Array(16 + PRG_BYTES + CHR_BYTES);
  rom.set([0x4e, 0x45, 0x53, 0x1a, PRG_BYTES / 0x4000, CHR_BYTES / 0x2000, 1]);
  rom.set(bytes, 16);
  rom.set(patterns(), 16 + PRG_BYTES);
  return rom;
}

/** The cartridge that the tests and the benchmark play; `hasSample` if it plays a sample, too. */
export const testRom = (hasSample = false): Uint8Array => cartridge(program(hasSample ? sample : ""));

/** A cartridge that computes the same, and does nothing else: no picture, no sound, no interrupts. */
export const computeRom = (): Uint8Array =>
  cartridge(`${names}
reset:  sei
        cld
        ldx #$40
        stx $4017
        ldx #$ff
        txs
        lda #$5a
        sta seed
main:   jsr compute
        inc rounds
        bne main
        inc rounds+1
        jmp main
${routines}
idle:   rti
        .org $fffa
        .word idle, reset, idle
`);
