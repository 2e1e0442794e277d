/**
 * Captures in the pcapng format (draft-ietf-opsawg-pcapng), as Wireshark and tcpdump read it: a section header, an
 * interface a port, and a packet a frame with its direction and the time in nanoseconds. Little-endian.
 */

const SECTION = 0x0a0d0d0a;
const INTERFACE = 1;
const PACKET = 6;
const BYTE_ORDER = 0x1a2b3c4d;
const LINK_ETHERNET = 1;
const options = { end: 0, name: 2, flags: 2, resolution: 9, application: 4 } as const;
const NANOSECONDS = 9;

/** A packet of a capture. */
export interface CapturedPacket {
  /** Name of the interface. */
  readonly port: string;
  /** From the interface's end, or to it. */
  readonly direction: "in" | "out";
  readonly bytes: Uint8Array;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
}

/** Writes a capture, block by block; where the bytes go is the caller's business. */
export class PcapngWriter {
  private readonly interfaces = new Map<string, number>();
  private isBegun = false;

  /** @param snapLength bytes that are kept of a packet; all unless given */
  constructor(private readonly snapLength = 0x40000) {}

  /** The bytes that a packet adds to the capture, with the blocks that have to come before it. */
  packet({ port, direction, bytes, time }: CapturedPacket): Uint8Array {
    const blocks: Uint8Array[] = [];
    if (!this.isBegun) blocks.push(this.begin());
    let id = this.interfaces.get(port);
    if (id === undefined) {
      id = this.interfaces.size;
      this.interfaces.set(port, id);
      blocks.push(interfaceBlock(port, this.snapLength));
    }
    const kept = bytes.subarray(0, this.snapLength);
    const head = new Uint8Array(20);
    const view = new DataView(head.buffer);
    view.setUint32(0, id, true);
    view.setUint32(4, Number(BigInt.asUintN(32, time >> 32n)), true);
    view.setUint32(8, Number(BigInt.asUintN(32, time)), true);
    view.setUint32(12, kept.length, true);
    view.setUint32(16, bytes.length, true);
    // From an end into the switch is what its interface has sent: outbound.
    const flags = Uint8Array.of(direction === "in" ? 2 : 1, 0, 0, 0);
    blocks.push(block(PACKET, [head, padded(kept), option(options.flags, flags), endOfOptions]));
    return joined(blocks);
  }

  /** The first block: a capture without packets has nothing else. Empty after the first packet. */
  begin(): Uint8Array {
    if (this.isBegun) return new Uint8Array();
    this.isBegun = true;
    const head = new Uint8Array(16);
    const view = new DataView(head.buffer);
    view.setUint32(0, BYTE_ORDER, true);
    view.setUint16(4, 1, true);
    // The length of the section is not known.
    view.setBigInt64(8, -1n, true);
    return block(SECTION, [head, option(options.application, text("hyperfile")), endOfOptions]);
  }
}

function interfaceBlock(name: string, snapLength: number): Uint8Array {
  const head = new Uint8Array(8);
  const view = new DataView(head.buffer);
  view.setUint16(0, LINK_ETHERNET, true);
  view.setUint32(4, snapLength, true);
  return block(INTERFACE, [
    head,
    option(options.name, text(name)),
    option(options.resolution, Uint8Array.of(NANOSECONDS)),
    endOfOptions,
  ]);
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const endOfOptions = new Uint8Array(4);

function option(code: number, value: Uint8Array): Uint8Array {
  const head = new Uint8Array(4);
  const view = new DataView(head.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, value.length, true);
  return joined([head, padded(value)]);
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const body = joined(parts);
  const bytes = new Uint8Array(12 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, bytes.length, true);
  bytes.set(body, 8);
  view.setUint32(8 + body.length, bytes.length, true);
  return bytes;
}

function padded(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  result.set(bytes);
  return result;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
