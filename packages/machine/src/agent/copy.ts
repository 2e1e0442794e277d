/**
 * Files and folders on their way into a guest and out of it, as one sequence of parts: a folder is entered, what it holds
 * follows, and it is left; a file's bytes follow it to its end. Names have no folders in them: where a part belongs is where
 * the copy is. So a guest can name nothing outside of what is copied, and what it sends is checked for the rest.
 */
import { AgentConnection, type AgentLimits, printable } from "./connection.js";
import { errorText } from "./error-numbers.js";
import { AgentError } from "./errors.js";
import {
  encodeFrame,
  type Frame,
  FrameType,
  MAX_DEPTH,
  MAX_PAYLOAD,
  malformed,
  Operation,
} from "./protocol.js";
import type { ConnectAgent } from "./stream.js";

/** What is known of a file, folder or link. */
export interface CopyEntry {
  /** Without folders; neither `.` nor `..`. */
  readonly name: string;
  /** Permissions, as chmod() has them. */
  readonly mode: number;
  /** When it was changed last: seconds since 1970, and nanoseconds. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Bytes of a file; what comes may differ, if it changes meanwhile. */
  readonly size: number;
}

/** A part of a copy. */
export type CopyPart =
  | ({ readonly kind: "file" | "enter" } & CopyEntry)
  | ({ readonly kind: "link"; readonly target: string } & CopyEntry)
  | { readonly kind: "data"; readonly bytes: Uint8Array }
  | { readonly kind: "end" }
  | { readonly kind: "leave" }
  /** Something was left out. */
  | { readonly kind: "warning"; readonly text: string };

const textEncoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true });
/** Bytes of an entry before its name. */
const ENTRY_BYTES = 24;
/** Bytes of a name (NAME_MAX). */
const MOST_NAME = 255;
const NANOSECONDS = 1_000_000_000;
const entryTypes = { file: FrameType.file, enter: FrameType.enter, link: FrameType.link } as const;

/**
 * Copies into a guest. A folder that is there takes the source under its own name, as `cp` has it; else the target is the
 * copy's name.
 * @param parts what is copied: one file, folder or link with what it holds
 * @throws AgentError (the promise rejects) with what can't be written; what was copied before stays
 */
export async function copyIn(
  connect: ConnectAgent,
  parts: AsyncIterable<CopyPart>,
  source: string,
  target: string,
  limits: AgentLimits,
): Promise<void> {
  for (const [what, text] of [
    ["source", source],
    ["target", target],
  ])
    if (text === "" || text!.includes("\0"))
      throw new AgentError("E_AGENT_REQUEST", `the ${what} of a copy needs a name, without zero characters`);
  const place = textEncoder.encode(`${source}\0${target}`);
  const connection = new AgentConnection(connect, limits, Operation.copyIn, place);
  let answer: { readonly error?: unknown } | undefined;
  const finished = async () => {
    await connection.expect(FrameType.started);
    await connection.expect(FrameType.done);
  };
  const answered = finished().then(
    () => {
      answer = {};
    },
    (error: unknown) => {
      answer = { error };
    },
  );
  try {
    for await (const part of parts) {
      if (part.kind === "warning") continue;
      for (const frame of framesOf(part)) {
        const held = connection.sendFrame(frame);
        if (held !== undefined) await Promise.race([held, answered]);
      }
      if (answer !== undefined) break;
    }
    if (answer === undefined) connection.send(FrameType.finish);
    await answered;
  } finally {
    connection.close();
  }
  if (answer?.error !== undefined) throw answer.error;
}

/** Copies out of a guest. @throws AgentError (the iteration rejects) with what can't be read, and for what no agent would send */
export async function* copyOut(
  connect: ConnectAgent,
  path: string,
  limits: AgentLimits,
): AsyncGenerator<CopyPart> {
  if (path === "" || path.includes("\0"))
    throw new AgentError("E_AGENT_REQUEST", "the source of a copy needs a name, without zero characters");
  const connection = new AgentConnection(connect, limits, Operation.copyOut, textEncoder.encode(path));
  const state = new CopyState();
  try {
    for (;;) {
      const frame = await connection.frame();
      if (frame.type === FrameType.finish) {
        state.finish();
        return;
      }
      const part = partOf(frame);
      state.check(part);
      yield part;
    }
  } finally {
    connection.close();
  }
}

/** Whether parts come in an order that makes sense. */
class CopyState {
  private depth = 0;
  private isInFile = false;
  private hasRoot = false;

  check({ kind }: CopyPart): void {
    if (kind === "warning") return;
    if ((kind === "data" || kind === "end") !== this.isInFile)
      throw malformed(`a copy can't go on with ${kind}`);
    if (kind === "data") return;
    if (kind === "end") {
      this.isInFile = false;
      return;
    }
    if (kind === "leave") {
      if (this.depth === 0) throw malformed("a folder was left that was not entered");
      this.depth--;
      return;
    }
    if (this.depth === 0 && this.hasRoot) throw malformed("a copy has two sources");
    this.hasRoot = true;
    if (kind === "file") this.isInFile = true;
    if (kind !== "enter") return;
    if (this.depth === MAX_DEPTH)
      throw malformed(`there are more than ${MAX_DEPTH} folders within each other`);
    this.depth++;
  }

  finish(): void {
    if (!this.hasRoot || this.depth > 0 || this.isInFile) throw malformed("a copy ended in the middle");
  }
}

/** The frames of a part. */
function framesOf(part: Exclude<CopyPart, { kind: "warning" }>): Uint8Array[] {
  switch (part.kind) {
    case "leave":
      return [encodeFrame(FrameType.leave)];
    case "end":
      return [encodeFrame(FrameType.data)];
    case "data": {
      const frames: Uint8Array[] = [];
      for (let at = 0; at < part.bytes.length; at += MAX_PAYLOAD)
        frames.push(encodeFrame(FrameType.data, part.bytes.subarray(at, at + MAX_PAYLOAD)));
      return frames;
    }
    default: {
      const text = part.kind === "link" ? `${part.name}\0${part.target}` : part.name;
      const head = new DataView(new ArrayBuffer(ENTRY_BYTES));
      head.setUint32(0, part.mode & 0o7777, true);
      head.setUint32(4, part.nanoseconds, true);
      head.setBigInt64(8, BigInt(Math.trunc(part.seconds)), true);
      head.setBigUint64(16, BigInt(part.size), true);
      return [encodeFrame(entryTypes[part.kind], new Uint8Array(head.buffer), textEncoder.encode(text))];
    }
  }
}

function partOf(frame: Frame): CopyPart {
  const { type, payload } = frame;
  switch (type) {
    case FrameType.leave:
      if (payload.length > 0) throw malformed("the end of a folder has a payload");
      return { kind: "leave" };
    case FrameType.data:
      return payload.length === 0 ? { kind: "end" } : { kind: "data", bytes: payload };
    case FrameType.warning: {
      if (payload.length < 4) throw malformed("a warning has no number");
      const errorNumber = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
      const text = printable(payload.subarray(4));
      return { kind: "warning", text: errorNumber === 0 ? text : `${text}: ${errorText(errorNumber)}` };
    }
    case FrameType.file:
      return { kind: "file", ...entryOf(payload, false).entry };
    case FrameType.enter:
      return { kind: "enter", ...entryOf(payload, false).entry };
    case FrameType.link: {
      const { target, entry } = entryOf(payload, true);
      return { kind: "link", ...entry, target };
    }
    default:
      throw malformed(`a frame of type ${type} is no part of a copy`);
  }
}

function entryOf(
  payload: Uint8Array,
  isLink: boolean,
): { readonly entry: CopyEntry; readonly target: string } {
  if (payload.length <= ENTRY_BYTES) throw malformed("an entry has no name");
  const view = new DataView(payload.buffer, payload.byteOffset);
  const [mode, nanoseconds] = [view.getUint32(0, true), view.getUint32(4, true)];
  const seconds = Number(view.getBigInt64(8, true));
  const size = Number(view.getBigUint64(16, true));
  if (mode > 0o7777 || nanoseconds >= NANOSECONDS) throw malformed("an entry has an impossible mode or time");
  const text = payload.subarray(ENTRY_BYTES);
  const zero = text.indexOf(0);
  if (zero >= 0 !== isLink) throw malformed(isLink ? "a link has no target" : "a name has a zero byte");
  const nameBytes = isLink ? text.subarray(0, zero) : text;
  const name = textOf(nameBytes);
  if (nameBytes.length > MOST_NAME || /^\.{0,2}$/.test(name) || name.includes("/"))
    throw malformed("an entry's name has folders, or is none");
  const target = isLink ? textOf(text.subarray(zero + 1)) : "";
  if (isLink && (target === "" || target.includes("\0"))) throw malformed("a link has no target");
  return { entry: { name, mode, nanoseconds, seconds, size }, target };
}

/** A name as text; bytes that are no UTF-8 become `%` and their number. */
function textOf(bytes: Uint8Array): string {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) =>
      byte < 0x80 ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase()}`,
    ).join("");
  }
}
