/**
 * Packets (virtio 1.2, section 5.10.6): a header, and behind it the bytes of a stream.
 *
 *   src_cid 8, dst_cid 8, src_port 4, dst_port 4, len 4, type 2, op 2, flags 4, buf_alloc 4, fwd_cnt 4
 */

/** Bytes of a header. */
export const VSOCK_HEADER_BYTES = 44;

/** What a packet asks for or tells (VIRTIO_VSOCK_OP_*). */
export const vsockOps = {
  request: 1,
  response: 2,
  reset: 3,
  shutdown: 4,
  readWrite: 5,
  creditUpdate: 6,
  creditRequest: 7,
} as const;

/** Types of sockets (VIRTIO_VSOCK_TYPE_*). */
export const vsockTypes = { stream: 1 } as const;

/** Flags of a shutdown: what its sender does no more. */
export const vsockShutdown = { receive: 1, send: 2, both: 3 } as const;

/** A header. An address above 32 bits, which nobody has, reads as Infinity. */
export interface VsockHeader {
  readonly sourceCid: number;
  readonly destinationCid: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Bytes behind the header, as its sender says. */
  readonly length: number;
  readonly type: number;
  readonly op: number;
  readonly flags: number;
  /** Bytes that its sender keeps for the stream. */
  readonly bufferBytes: number;
  /** Bytes that its sender's user has taken from the stream so far, modulo 2^32. */
  readonly forwarded: number;
}

/** Reads a header. */
export function parseVsockHeader(bytes: Uint8Array): VsockHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const cid = (at: number) => (view.getUint32(at + 4, true) === 0 ? view.getUint32(at, true) : Infinity);
  return {
    sourceCid: cid(0),
    destinationCid: cid(8),
    sourcePort: view.getUint32(16, true),
    destinationPort: view.getUint32(20, true),
    length: view.getUint32(24, true),
    type: view.getUint16(28, true),
    op: view.getUint16(30, true),
    flags: view.getUint32(32, true),
    bufferBytes: view.getUint32(36, true),
    forwarded: view.getUint32(40, true),
  };
}

/** The bytes of a header. */
export function vsockHeader(header: VsockHeader): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(VSOCK_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, header.sourceCid, true);
  view.setUint32(8, header.destinationCid, true);
  view.setUint32(16, header.sourcePort, true);
  view.setUint32(20, header.destinationPort, true);
  view.setUint32(24, header.length, true);
  view.setUint16(28, header.type, true);
  view.setUint16(30, header.op, true);
  view.setUint32(32, header.flags, true);
  view.setUint32(36, header.bufferBytes, true);
  view.setUint32(40, header.forwarded, true);
  return bytes;
}
