/**
 * A bare-metal guest with a driver of a block device in slot 0: it writes numbered records, each with a flush where the
 * device has one, and prints a record's number when that is complete. Whatever has been printed is to be on the disk.
 */
import { assemble } from "@hyperfile/decoder";
import { RAM_BASE } from "@hyperfile/devices";
import type { BlockBackend } from "@hyperfile/devices/disk";
import { acknowledge, interrupts, register, ring } from "./virtio-guest.js";

/** Bytes of a record: a sector of its number, again and again. */
export const RECORD_BYTES = 512;

/** What the guest does. */
export interface BlockGuestOptions {
  /** Records until it powers off. */
  readonly records: number;
  /** Places for records, which are used in turn. */
  readonly places: number;
  /** Sectors from one place to the next. */
  readonly stride: number;
  /** Whether it computes instead of waiting for interrupts. */
  readonly isBusy?: boolean;
}

const WRITE = 2;
const NEXT = 1;
const FLUSH = 1 << 9;

/** Code of the guest, for the start of RAM. */
export function blockGuest(options: BlockGuestOptions): Uint8Array {
  const { records, places, stride, isBusy = false } = options;
  const descriptor = (index: number, label: string, length: number, flags: number): string => `
        la   t0, ${label}
        sd   t0, ${16 * index}(s1)
        li   t0, ${length}
        sw   t0, ${16 * index + 8}(s1)
        li   t0, ${flags | ((index + 1) << 16)}
        sw   t0, ${16 * index + 12}(s1)`;
  const { bytes } = assemble(
    `
        li   s0, 0x10001000     # the first slot
        la   s1, ring
        li   s4, 0x10000000     # the UART
        ${register(0x70, 0)} ${register(0x70, 1)} ${register(0x70, 3)}
        ${register(0x24, 1)} ${register(0x20, 1)}
        ${register(0x14, 0)} ${register(0x24, 0)}
        lw   t0, 0x10(s0)
        andi s8, t0, ${FLUSH}
        sw   s8, 0x20(s0)
        ${register(0x70, 11)} ${register(0x30, 0)} ${register(0x38, 8)}
        ${ring(0x80, 0)} ${ring(0x90, 0x100)} ${ring(0xa0, 0x200)}
        ${register(0x44, 1)} ${register(0x70, 15)}
        ${descriptor(0, "header", 16, NEXT)}
        ${descriptor(1, "data", RECORD_BYTES, NEXT)}
        ${descriptor(2, "status", 1, WRITE)}
        ${descriptor(3, "flush", 16, NEXT)}
        ${descriptor(4, "status", 1, WRITE)}
        ${interrupts}
        la   s5, header
        la   s6, data
        li   s2, 0              # requests made available
        li   s3, 1              # the record
record: li   t0, ${records}
        bgtu s3, t0, off
        addi t0, s3, -1
        li   t1, ${places}
        remu t0, t0, t1
        li   t1, ${stride}
        mul  t0, t0, t1
        sd   t0, 8(s5)
        mv   t0, s6
        addi t1, s6, ${RECORD_BYTES}
1:      sw   s3, 0(t0)
        addi t0, t0, 4
        bltu t0, t1, 1b
        li   a0, 0
        call ask
        beqz s8, 7f             # each write is durable
        li   a0, 3
        call ask
7:      call print
        addi s3, s3, 1
        j    record

ask:    addi t0, s1, 0x100
        andi t1, s2, 7
        slli t1, t1, 1
        add  t1, t1, t0
        sh   a0, 4(t1)
        addi s2, s2, 1
        sh   s2, 2(t0)
        sw   zero, 0x50(s0)
        slli t2, s2, 48
        srli t2, t2, 48
2:      lhu  t1, 0x202(s1)
        beq  t1, t2, 3f
        addi s7, s7, 1
        ${isBusy ? "" : `wfi${acknowledge}`}
        j    2b
3:      la   t0, status
        lbu  t1, 0(t0)
        bnez t1, bad
        ret

print:  la   t0, digits
        mv   t1, s3
        li   t2, 10
4:      remu t3, t1, t2
        addi t3, t3, '0'
        addi t0, t0, -1
        sb   t3, 0(t0)
        divu t1, t1, t2
        bnez t1, 4b
        la   t1, digits
5:      lbu  t3, 0(t0)
        sb   t3, 0(s4)
        addi t0, t0, 1
        bleu t0, t1, 5b
        ret

bad:    li   t0, 'E'
        sb   t0, 0(s4)
off:    li   t0, 0x100000
        li   t1, 0x5555
        sw   t1, 0(t0)
6:      j    6b

        .balign 16
header: .word 1, 0, 0, 0
flush:  .word 4, 0, 0, 0
status: .word 0xff
        .word 0, 0, 0
digits: .byte 10
        .balign 4096
ring:   .zero 4096
data:   .zero ${RECORD_BYTES}
`,
    { xlen: 64, origin: RAM_BASE },
  );
  return bytes;
}

/**
 * What is wrong with a disk of whose records the first `printed` were flushed.
 * @returns a line a fault
 */
export async function recordFaults(
  disk: BlockBackend,
  printed: number,
  { places, stride }: Pick<BlockGuestOptions, "places" | "stride">,
): Promise<string[]> {
  const faults: string[] = [];
  for (let place = 0; place < places; place++) {
    const bytes = new Uint8Array(RECORD_BYTES);
    await disk.read(place * stride * RECORD_BYTES, [bytes]);
    const words = new Uint32Array(bytes.buffer);
    const record = words[0]!;
    // The last record of this place that was flushed; a later one may be there, even in part where it was not.
    const flushed = place < printed ? printed - ((printed - 1 - place) % places) : 0;
    const isWhole = words.every((word) => word === record);
    const isRight = record >= flushed && (record === 0 || (record - 1) % places === place);
    if (!isWhole || !isRight) faults.push(`place ${place} has ${record}, and ${flushed} was flushed`);
  }
  return faults;
}
