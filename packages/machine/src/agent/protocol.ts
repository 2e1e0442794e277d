/**
 * What host and guest agent say to each other: frames over a stream, each with its payload's length (u32), its type (u32)
 * and the payload, little-endian. `agent/src/protocol.h` says what each type carries.
 *
 * The guest is hostile input. A frame that is too long, or none of those that the operation has, ends the connection;
 * nothing is kept for a frame that has not been announced within bounds.
 */
import { AgentError } from "./errors.js";

export const PROTOCOL_VERSION = 1;
/** The port of AF_VSOCK at which agents listen. */
export const AGENT_PORT = 18521;
export const HEADER_BYTES = 8;
/** Bytes of the longest payload. */
export const MAX_PAYLOAD = 131072;
/** Bytes of input that may be on their way to a command. */
export const INPUT_WINDOW = 262144;
/** Folders within folders that are copied. */
export const MAX_DEPTH = 128;

/** What a connection is for. */
export const Operation = {
  ping: 1,
  exec: 2,
  copyIn: 3,
  copyOut: 4,
  power: 5,
  clock: 6,
  hostName: 7,
  identity: 8,
} as const;

/** What becomes of the power. */
export const Power = { off: 0, reboot: 1 } as const;

/** Types of frames. */
export const FrameType = {
  open: 1,
  argument: 16,
  variable: 17,
  folder: 18,
  user: 19,
  terminal: 20,
  start: 21,
  input: 24,
  inputEnd: 25,
  signal: 26,
  size: 27,
  file: 32,
  enter: 33,
  link: 34,
  data: 35,
  leave: 36,
  finish: 37,
  done: 64,
  failed: 65,
  warning: 66,
  started: 72,
  output: 73,
  errors: 74,
  taken: 75,
  exit: 76,
} as const;

/** A frame that came. */
export interface Frame {
  readonly type: number;
  readonly payload: Uint8Array;
}

/** The bytes of a frame. */
export function encodeFrame(type: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(HEADER_BYTES + length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, true);
  view.setUint32(4, type, true);
  let at = HEADER_BYTES;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Numbers of 32 bits, one after another. */
export function words(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (const [at, value] of values.entries()) view.setUint32(4 * at, value, true);
  return new Uint8Array(view.buffer);
}

/** A view of a payload's numbers. @throws AgentError `E_AGENT_PROTOCOL` unless it has that length */
export function numbersOf({ payload, type }: Frame, length: number): DataView {
  if (payload.length !== length)
    throw malformed(`a frame of type ${type} has ${payload.length} bytes, not ${length}`);
  return new DataView(payload.buffer, payload.byteOffset, payload.length);
}

/** The guest said what it may not. */
export const malformed = (what: string): AgentError =>
  new AgentError("E_AGENT_PROTOCOL", `the guest's agent does not keep to the protocol: ${what}`);

/**
 * Takes a stream apart. It keeps one incomplete frame and what came with it; each byte is copied a bounded number of times,
 * however small the pieces are in which it comes.
 */
export class FrameReader {
  private rest: Uint8Array = new Uint8Array(0);
  /** Whether what follows `rest` in its memory is free. */
  private ownsMemory = false;

  /** Bytes that were pushed and not given as frames. */
  get kept(): number {
    return this.rest.length;
  }

  /** Takes what came, which is the callee's from then on; frames are had by {@link next}. */
  push(bytes: Uint8Array): void {
    const { rest } = this;
    if (rest.length === 0) {
      this.rest = bytes;
      this.ownsMemory = false;
      return;
    }
    const length = rest.length + bytes.length;
    const end = rest.byteOffset + rest.length;
    if (this.ownsMemory && end + bytes.length <= rest.buffer.byteLength) {
      this.rest = new Uint8Array(rest.buffer, rest.byteOffset, length);
    } else {
      this.rest = new Uint8Array(2 * length).subarray(0, length);
      this.rest.set(rest);
      this.ownsMemory = true;
    }
    this.rest.set(bytes, rest.length);
  }

  /** The next whole frame; undefined if there is none yet. @throws AgentError `E_AGENT_PROTOCOL` for one that is too long */
  next(): Frame | undefined {
    const { rest } = this;
    if (rest.length < HEADER_BYTES) return undefined;
    const view = new DataView(rest.buffer, rest.byteOffset);
    const length = view.getUint32(0, true);
    if (length > MAX_PAYLOAD) throw malformed(`a frame has ${length} bytes, more than ${MAX_PAYLOAD}`);
    const end = HEADER_BYTES + length;
    if (rest.length < end) return undefined;
    this.rest = rest.subarray(end);
    return { type: view.getUint32(4, true), payload: rest.subarray(HEADER_BYTES, end) };
  }
}
