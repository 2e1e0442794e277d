/**
 * Blocks of captures in the pcapng format (draft-ietf-opsawg-pcapng), as Wireshark and tcpdump read them. A capture is a
 * section header, then for each interface its description before its first packet, and statistics at the end. Little-endian;
 * times are nanoseconds since 1970. Each function gives one whole block, and a file of whole blocks is whole.
 */

/** Types of blocks (section 10.1). */
const blocks = { section: 0x0a0d0d0a, interface: 1, statistics: 5, packet: 6 } as const;
const BYTE_ORDER = 0x1a2b3c4d;
/** LINKTYPE_ETHERNET. */
const LINK_ETHERNET = 1;
const END_OF_OPTIONS = 0;
/** Options of each block by their names in sections 4.1, 4.2, 4.3 and 4.6. */
const options = {
  shb_userappl: 4,
  if_name: 2,
  if_tsresol: 9,
  epb_flags: 2,
  epb_dropcount: 4,
  isb_starttime: 2,
  isb_endtime: 3,
  isb_ifrecv: 4,
  isb_ifdrop: 5,
} as const;
/** Negative power of ten of a unit of time. */
const NANOSECONDS = 9;
/** Bits 0 and 1 of `epb_flags` (section 4.3.1). */
const [INBOUND, OUTBOUND] = [1, 2];
/** Bytes of every block beside its body, and of an option's head. */
const [BLOCK_BYTES, OPTION_BYTES] = [12, 4];

/** Bytes that are kept of a packet unless told otherwise: all of the largest ones, as in tcpdump. */
export const DEFAULT_SNAP_LENGTH = 0x40000;
/** Bytes of a block of {@link interfaceStatistics}. */
export const STATISTICS_BYTES = BLOCK_BYTES + 12 + 4 * (OPTION_BYTES + 8) + OPTION_BYTES;

/** Bytes of a block of {@link enhancedPacket} beside the packet's, at most. */
export const MOST_PACKET_OVERHEAD =
  BLOCK_BYTES + 20 + 3 + (OPTION_BYTES + 4) + (OPTION_BYTES + 8) + OPTION_BYTES;

/** A packet of a capture. */
export interface CapturedPacket {
  /** Number of the interface: descriptions are counted from 0. */
  readonly interfaceId: number;
  /** From the interface's end into the network (outbound, as its owner sees it), or to it. */
  readonly direction: "in" | "out";
  readonly bytes: Uint8Array;
  readonly time: bigint;
  /** Packets that are missing between the interface's last one and this. */
  readonly dropped?: number;
}

/** What became of an interface's packets. */
export interface CapturedInterface {
  readonly interfaceId: number;
  readonly began: bigint;
  readonly ended: bigint;
  /** Packets that were seen, and those of them that are missing from the capture. */
  readonly received: number;
  readonly dropped: number;
}

/** The section header (section 4.1), which a capture begins with. The length of the section is not told. */
export function sectionHeader(): Uint8Array {
  const application = new TextEncoder().encode("hyperfile");
  const body = new Body(16 + sizeOf(application.length) + OPTION_BYTES);
  body.uint32(BYTE_ORDER).uint16(1).uint16(0).uint64(-1n);
  return body.option(options.shb_userappl, application).block(blocks.section);
}

/** The description of an Ethernet interface (section 4.2). @param snapLength bytes that are kept of each packet */
export function interfaceDescription(name: string, snapLength: number): Uint8Array {
  const text = new TextEncoder().encode(name);
  const body = new Body(8 + sizeOf(text.length) + sizeOf(1) + OPTION_BYTES);
  body.uint16(LINK_ETHERNET).uint16(0).uint32(snapLength);
  return body
    .option(options.if_name, text)
    .option(options.if_tsresol, Uint8Array.of(NANOSECONDS))
    .block(blocks.interface);
}

/** A packet (section 4.3). @param snapLength that of its interface */
export function enhancedPacket(packet: CapturedPacket, snapLength: number): Uint8Array {
  const { interfaceId, direction, bytes, time, dropped = 0 } = packet;
  const kept = bytes.length > snapLength ? bytes.subarray(0, snapLength) : bytes;
  const isIncomplete = dropped > 0;
  const body = new Body(20 + padded(kept.length) + sizeOf(4) + (isIncomplete ? sizeOf(8) : 0) + OPTION_BYTES);
  body.uint32(interfaceId).time(time).uint32(kept.length).uint32(bytes.length).bytes(kept);
  body.option(options.epb_flags, Uint8Array.of(direction === "in" ? OUTBOUND : INBOUND, 0, 0, 0));
  if (isIncomplete) body.head(options.epb_dropcount, 8).uint64(BigInt(dropped));
  return body.block(blocks.packet);
}

/** Statistics of an interface (section 4.6), which a capture ends with. */
export function interfaceStatistics(statistics: CapturedInterface): Uint8Array {
  const { interfaceId, began, ended, received, dropped } = statistics;
  const body = new Body(STATISTICS_BYTES - BLOCK_BYTES);
  body.uint32(interfaceId).time(ended);
  body.head(options.isb_starttime, 8).time(began).head(options.isb_endtime, 8).time(ended);
  body.head(options.isb_ifrecv, 8).uint64(BigInt(received));
  return body.head(options.isb_ifdrop, 8).uint64(BigInt(dropped)).block(blocks.statistics);
}

const padded = (length: number): number => Math.ceil(length / 4) * 4;
/** Bytes of an option with a value of so many (section 3.5). */
const sizeOf = (length: number): number => OPTION_BYTES + padded(length);

/** A block that is being written; what nobody writes is zero, padding and the end of options as well. */
class Body {
  private readonly all: Uint8Array;
  private readonly view: DataView;
  private at = 8;

  /** @param length of the body, with its options */
  constructor(length: number) {
    this.all = new Uint8Array(BLOCK_BYTES + length);
    this.view = new DataView(this.all.buffer);
  }

  uint16(value: number): this {
    this.view.setUint16(this.at, value, true);
    this.at += 2;
    return this;
  }

  uint32(value: number): this {
    this.view.setUint32(this.at, value, true);
    this.at += 4;
    return this;
  }

  uint64(value: bigint): this {
    this.view.setBigUint64(this.at, BigInt.asUintN(64, value), true);
    this.at += 8;
    return this;
  }

  /** The upper half comes first, in either byte order. */
  time(value: bigint): this {
    return this.uint32(Number(BigInt.asUintN(32, value >> 32n))).uint32(Number(BigInt.asUintN(32, value)));
  }

  bytes(value: Uint8Array): this {
    this.all.set(value, this.at);
    this.at += padded(value.length);
    return this;
  }

  head(code: number, length: number): this {
    return this.uint16(code).uint16(length);
  }

  option(code: number, value: Uint8Array): this {
    return this.head(code, value.length).bytes(value);
  }

  /** The block (section 3.1); its options are over. */
  block(type: number): Uint8Array {
    const { length } = this.all;
    this.head(END_OF_OPTIONS, 0);
    this.view.setUint32(0, type, true);
    this.view.setUint32(4, length, true);
    this.view.setUint32(length - 4, length, true);
    return this.all;
  }
}
