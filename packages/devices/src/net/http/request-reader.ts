/**
 * Requests of HTTP/1.1 (RFC 9112) as a server reads them from the bytes of a connection: one after the other, part by part, as
 * far as the bytes that came go. What can't be read, or could be read in two ways, is a fault with a status to answer; nothing
 * can be read behind it. Lines, heads and what waits are bounded.
 */
import { ByteQueue } from "../byte-queue.js";

/** Bytes of a line of a request, of its head, and of what frames the parts of its body. */
const [MOST_LINE, MOST_HEAD, MOST_FRAMING] = [16 << 10, 32 << 10, 1 << 10];
const MOST_FIELDS = 100;
/** Empty lines before a request, and lines behind its body. */
const [MOST_EMPTY, MOST_TRAILERS] = [4, 32];
const LF = 10;

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  readonly target: string;
  /** The second number of the version: 0 or 1. */
  readonly minor: 0 | 1;
  /** Names in lower case, in their order. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** The one that was given; undefined where an old client gives none. */
  readonly host: string | undefined;
  /** Bytes of the body, or that only its end will tell. */
  readonly length: number | "chunked";
  /** Whether the client waits to be told that the body is wanted. */
  readonly expects: boolean;
  /** Whether another request may follow. */
  readonly keepsAlive: boolean;
}

/** What comes next. */
export type RequestPart =
  | { readonly kind: "head"; readonly head: RequestHead }
  | { readonly kind: "body"; readonly data: Uint8Array }
  /** The body has ended; the next request begins. */
  | { readonly kind: "end" }
  /** There are not enough bytes. */
  | { readonly kind: "wait" }
  | { readonly kind: "fault"; readonly status: number; readonly why: string };

class Fault extends Error {
  constructor(
    readonly status: number,
    why: string,
  ) {
    super(why);
  }
}

/** The reader of a connection. */
export class RequestReader {
  private readonly input = new ByteQueue();
  private state: "start" | "fields" | "body" | "size" | "chunk" | "chunk-end" | "trailers" | "over" = "start";
  /** The part of a line that came. */
  private line = "";
  private emptyLines = 0;
  private headBytes = 0;
  private start: { method: string; target: string; minor: 0 | 1 } | undefined;
  private fields: (readonly [string, string])[] = [];
  /** Bytes that are left of the body, or of its part. */
  private left = 0;
  private trailers = 0;

  /** Bytes that wait. */
  get waiting(): number {
    return this.input.length;
  }

  /** Whether a request has begun, and not ended. */
  get isInside(): boolean {
    return this.state !== "start" || this.line !== "";
  }

  /** Takes bytes, which stay as they are from then on. */
  push(bytes: Uint8Array): void {
    if (this.state !== "over") this.input.push(bytes);
  }

  /** What comes next. */
  next(): RequestPart {
    try {
      for (;;) {
        const part = this.step();
        if (part !== undefined) return part;
      }
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.state = "over";
      this.input.clear();
      return { kind: "fault", status: error.status, why: error.message };
    }
  }

  /** One step; undefined if another one may follow. */
  private step(): RequestPart | undefined {
    switch (this.state) {
      case "start":
      case "fields":
        return this.readHead();
      case "body":
      case "chunk":
        return this.readBody();
      case "size":
      case "chunk-end":
      case "trailers":
        return this.readFraming();
      case "over":
        return { kind: "wait" };
    }
  }

  private readHead(): RequestPart | undefined {
    const line = this.takeLine(MOST_LINE, 431);
    if (line === undefined) return { kind: "wait" };
    this.headBytes += line.length + 2;
    if (this.headBytes > MOST_HEAD) throw new Fault(431, `a head of more than ${MOST_HEAD} bytes`);
    if (this.state === "start") {
      if (line !== "") this.begin(line);
      else if (++this.emptyLines > MOST_EMPTY) throw new Fault(400, "empty lines before a request");
      return undefined;
    }
    if (line !== "") {
      this.fields.push(fieldOf(line));
      if (this.fields.length > MOST_FIELDS) throw new Fault(431, `more than ${MOST_FIELDS} fields`);
      return undefined;
    }
    const head = headOf(this.start!, this.fields);
    this.state = head.length === "chunked" ? "size" : "body";
    this.left = head.length === "chunked" ? 0 : head.length;
    return { kind: "head", head };
  }

  private begin(line: string): void {
    const [, method, target, major, minor] =
      /^([!#$%&'*+.^_`|~\w-]+) ([\x21-\x7e]+) HTTP\/(\d)\.(\d)$/.exec(line) ?? [];
    if (method === undefined || target === undefined)
      throw new Fault(400, "the first line is not one of HTTP/1.1");
    if (major !== "1") throw new Fault(505, `HTTP/${major}.${minor}: only HTTP/1.1 is spoken here`);
    this.start = { method, target, minor: minor === "0" ? 0 : 1 };
    this.state = "fields";
  }

  private readBody(): RequestPart | undefined {
    if (this.left === 0) {
      if (this.state === "body") return this.finish();
      this.state = "chunk-end";
      return undefined;
    }
    const [data] = this.input.slice(0, this.left);
    if (data === undefined) return { kind: "wait" };
    this.input.drop(data.length);
    this.left -= data.length;
    return { kind: "body", data };
  }

  /** What is between the parts of a chunked body, and behind it (RFC 9112, section 7.1). */
  private readFraming(): RequestPart | undefined {
    const line = this.takeLine(MOST_FRAMING, 400);
    if (line === undefined) return { kind: "wait" };
    if (this.state === "chunk-end") {
      if (line !== "") throw new Fault(400, "a part of the body is longer than it says");
      this.state = "size";
      return undefined;
    }
    if (this.state === "trailers") {
      if (line === "") return this.finish();
      if (++this.trailers > MOST_TRAILERS) throw new Fault(431, `more than ${MOST_TRAILERS} trailers`);
      fieldOf(line);
      return undefined;
    }
    const size = /^([0-9a-f]{1,8})[ \t]*(;.*)?$/i.exec(line)?.[1];
    if (size === undefined) throw new Fault(400, "a part of the body without its size");
    this.left = Number.parseInt(size, 16);
    this.state = this.left === 0 ? "trailers" : "chunk";
    return undefined;
  }

  private finish(): RequestPart {
    this.state = "start";
    this.fields = [];
    this.start = undefined;
    this.headBytes = this.emptyLines = this.trailers = 0;
    return { kind: "end" };
  }

  /** A line without its end; undefined if it has not come whole. */
  private takeLine(most: number, status: number): string | undefined {
    for (const piece of this.input.slice(0, most + 2 - this.line.length)) {
      const at = piece.indexOf(LF);
      const part = at < 0 ? piece : piece.subarray(0, at + 1);
      for (const byte of part) this.line += String.fromCharCode(byte);
      this.input.drop(part.length);
      if (at < 0) continue;
      const line = this.line.replace(/\r?\n$/, "");
      this.line = "";
      // Some would end a line there, and some would not.
      if (/[\0\r]/.test(line)) throw new Fault(400, "a line with a character that can't be in it");
      return line;
    }
    if (this.line.length > most) throw new Fault(status, `a line of more than ${most} bytes`);
    return undefined;
  }
}

function fieldOf(line: string): readonly [string, string] {
  const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*)$/s.exec(line) ?? [];
  if (name === undefined || value === undefined) throw new Fault(400, "a line of the head that is no field");
  return [name.toLowerCase(), value.replace(/[ \t]+$/, "")];
}

function headOf(
  start: { readonly method: string; readonly target: string; readonly minor: 0 | 1 },
  fields: readonly (readonly [string, string])[],
): RequestHead {
  const all = (name: string): string[] => fields.filter(([each]) => each === name).map(([, value]) => value);
  const words = (name: string): string[] =>
    all(name).flatMap((value) => value.toLowerCase().split(/[ \t]*,[ \t]*/));
  const hosts = all("host");
  const isHostRight = hosts.length === 1 || (hosts.length === 0 && start.minor === 0);
  if (!isHostRight) throw new Fault(400, `${hosts.length} fields Host: there has to be one`);
  const codings = words("transfer-encoding");
  const lengths = new Set(words("content-length"));
  // Where two of them could be believed, whoever is behind might believe the other one (RFC 9112, section 6.3).
  if (codings.length > 0 && (lengths.size > 0 || start.minor === 0))
    throw new Fault(400, "two lengths of one body");
  if (codings.length > 0 && codings.join() !== "chunked")
    throw new Fault(501, `the transfer encoding ${codings.join(", ")}: only chunked is known here`);
  const [length = "0", ...others] = lengths;
  if (others.length > 0 || !/^\d{1,15}$/.test(length)) throw new Fault(400, "a content length that is none");
  const connection = words("connection");
  return {
    ...start,
    fields,
    host: hosts[0],
    length: codings.length > 0 ? "chunked" : Number(length),
    expects: start.minor === 1 && words("expect").includes("100-continue"),
    keepsAlive: start.minor === 1 ? !connection.includes("close") : connection.includes("keep-alive"),
  };
}
