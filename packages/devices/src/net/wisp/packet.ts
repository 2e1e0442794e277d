/**
 * Packets of WISP, version 1 (github.com/MercuryWorkshop/wisp-protocol, 1.2): many connections and sockets for datagrams, the
 * streams, on one connection that carries messages. A packet is a message:
 *
 *   type (1) | stream (4, little-endian) | what the type has
 *
 *   CONNECT    client   1: TCP, 2: UDP (1) | port (2, little-endian) | host, in UTF-8
 *   DATA       both     bytes of a connection, or one datagram
 *   CONTINUE   relay    packets of DATA that may follow on a connection (4, little-endian); on stream 0 first of all, for
 *                       connections that are to come
 *   CLOSE      both     why (1); it ends the stream at once
 *
 * What comes from the other side is hostile: a packet is read within its bounds or said to be malformed, and why.
 */

/** Numbers of the types. */
export const wispTypes = { connect: 1, data: 2, continue: 3, close: 4 } as const;
const protocols = { tcp: 1, udp: 2 } as const;

/** Why streams end. */
export const wispReasons = {
  unknown: 0x01,
  /** By the one side's will. */
  voluntary: 0x02,
  /** The network has broken it. */
  network: 0x03,
  /** What was asked for can't be. */
  invalid: 0x41,
  unreachable: 0x42,
  timeout: 0x43,
  refused: 0x44,
  /** Nothing was taken for too long. */
  stalled: 0x47,
  /** The relay's owner does not let it. */
  blocked: 0x48,
  /** The relay has no room for it. */
  throttled: 0x49,
  /** The client can't take more. */
  client: 0x81,
} as const;

/** Bytes before what a type has. */
const HEADER_BYTES = 5;
const CONNECT_BYTES = HEADER_BYTES + 3;
/** Longest name that there can be, with room for an address in brackets (RFC 1035, section 2.3.4). */
const MOST_HOST_BYTES = 255;
/** The highest number of a stream, and of packets that may follow. */
export const MOST_NUMBER = 0xffff_ffff;

/** A packet. */
export type WispPacket =
  | {
      readonly type: "connect";
      readonly stream: number;
      readonly protocol: "tcp" | "udp";
      readonly host: string;
      readonly port: number;
    }
  | { readonly type: "data"; readonly stream: number; readonly data: Uint8Array }
  | { readonly type: "continue"; readonly stream: number; readonly count: number }
  | { readonly type: "close"; readonly stream: number; readonly reason: number };

/** Bytes that are no packet. */
export interface MalformedPacket {
  readonly type: "malformed";
  /** The stream that they were meant to open; undefined if nothing of them can be believed. */
  readonly stream: number | undefined;
  readonly why: string;
}

/** Reads a message. What a packet of data carries is a part of the message, not a copy. */
export function parseWisp(bytes: Uint8Array): WispPacket | MalformedPacket {
  const malformed = (why: string, stream?: number): MalformedPacket => ({ type: "malformed", stream, why });
  if (bytes.length < HEADER_BYTES) return malformed(`a packet of ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const stream = view.getUint32(1, true);
  const type = bytes[0]!;
  switch (type) {
    case wispTypes.connect: {
      if (bytes.length <= CONNECT_BYTES) return malformed("CONNECT to nowhere", stream);
      const number = bytes[HEADER_BYTES]!;
      const protocol = number === protocols.tcp ? "tcp" : number === protocols.udp ? "udp" : undefined;
      if (protocol === undefined) return malformed(`CONNECT of a stream of type ${number}`, stream);
      const port = view.getUint16(HEADER_BYTES + 1, true);
      if (port === 0) return malformed("CONNECT to port 0", stream);
      const host = hostIn(bytes.subarray(CONNECT_BYTES));
      if (host === undefined) return malformed("CONNECT to what is no name", stream);
      return { type: "connect", stream, protocol, host, port };
    }
    case wispTypes.data:
      return { type: "data", stream, data: bytes.subarray(HEADER_BYTES) };
    case wispTypes.continue:
      if (bytes.length !== HEADER_BYTES + 4) return malformed(`CONTINUE of ${bytes.length} bytes`);
      return { type: "continue", stream, count: view.getUint32(HEADER_BYTES, true) };
    case wispTypes.close:
      if (bytes.length !== HEADER_BYTES + 1) return malformed(`CLOSE of ${bytes.length} bytes`);
      return { type: "close", stream, reason: bytes[HEADER_BYTES]! };
    default:
      return malformed(`a packet of type ${type}`);
  }
}

/** A name or an address: printable, without spaces, and as long as one can be. */
function hostIn(bytes: Uint8Array): string | undefined {
  if (bytes.length > MOST_HOST_BYTES) return undefined;
  try {
    const host = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return /^[^\p{C}\p{Z}]+$/u.test(host) ? host : undefined;
  } catch {
    return undefined;
  }
}

/** Asks for a stream. @throws RangeError for a host that is empty or too long: a mistake of the program's */
export function wispConnect(stream: number, protocol: "tcp" | "udp", host: string, port: number): Uint8Array {
  const name = new TextEncoder().encode(host);
  if (name.length === 0 || name.length > MOST_HOST_BYTES)
    throw new RangeError(`a host of ${name.length} bytes`);
  const { bytes, view } = packet(wispTypes.connect, stream, 3 + name.length);
  bytes[HEADER_BYTES] = protocols[protocol];
  view.setUint16(HEADER_BYTES + 1, port, true);
  bytes.set(name, CONNECT_BYTES);
  return bytes;
}

/** Carries bytes, in the pieces in which they are there. */
export function wispData(stream: number, pieces: readonly Uint8Array[]): Uint8Array {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const { bytes } = packet(wispTypes.data, stream, length);
  let at = HEADER_BYTES;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Says how many packets of data may follow. */
export function wispContinue(stream: number, count: number): Uint8Array {
  const { bytes, view } = packet(wispTypes.continue, stream, 4);
  view.setUint32(HEADER_BYTES, count, true);
  return bytes;
}

/** Ends a stream. */
export function wispClose(stream: number, reason: number): Uint8Array {
  const { bytes } = packet(wispTypes.close, stream, 1);
  bytes[HEADER_BYTES] = reason;
  return bytes;
}

function packet(type: number, stream: number, length: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(HEADER_BYTES + length);
  const view = new DataView(bytes.buffer);
  bytes[0] = type;
  view.setUint32(1, stream, true);
  return { bytes, view };
}
