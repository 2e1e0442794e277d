/**
 * Answers over HTTP. What a client does not read costs a fixed amount and a limited time: long answers are made as they
 * are read, and a connection that takes nothing for a while is cut off.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { fileErrorReason } from "../../files/file-reason.js";
import { HyperfileError, problemLine } from "../../hyperfile/types.js";
import { RequestError } from "./routes.js";

/** Milliseconds of one turn of the event loop that the long answers of all clients may take. */
const TURN_MS = 10;
/** Milliseconds in which a client must take something of an answer. */
export const STALL_MS = 30_000;
/** Most bytes of a request's body, and of all bodies that are read or in use. */
const [MOST_BODY, MOST_BODIES] = [4 * 2 ** 20, 64 * 2 ** 20];

/** HTTP statuses of errors by their code; other codes of ours mean that the state of things forbids it. */
const statuses = new Map([
  ["E_HYPERFILE", 422],
  ["E_FILE", 422],
  ["E_SETTING", 400],
  ["E_REQUEST", 400],
  ["E_ALLOTMENT", 400],
  ["E_VM_UNKNOWN", 404],
  ["E_SNAPSHOT_UNKNOWN", 404],
  ["E_POOL_UNKNOWN", 404],
  ["E_NETWORK_UNKNOWN", 404],
  ["E_NOT_FOUND", 404],
  ["E_BUSY", 503],
  ["E_EXEC_TIMEOUT", 504],
  ["E_DISK", 507],
]);
const CONFLICT = 409;

/** An error as it is answered. */
export interface ErrorAnswer {
  readonly status: number;
  readonly text: string;
}

/** What to answer for an error. */
export function errorAnswer(error: unknown): ErrorAnswer {
  const { code, message } = asOurs(error);
  const problems = error instanceof HyperfileError ? error.problems.map(problemLine) : undefined;
  return {
    status: statuses.get(code) ?? (code === "E_INTERNAL" ? 500 : CONFLICT),
    text: JSON.stringify({ code, message, ...(problems === undefined ? {} : { problems }) }),
  };
}

function asOurs(error: unknown): { readonly code: string; readonly message: string } {
  const { code, message, syscall, path } = error as {
    code?: unknown;
    message?: string;
    syscall?: string;
    path?: string;
  };
  // Of the daemon's own files, since those that a user names have errors of their own.
  if (syscall !== undefined)
    return {
      code: "E_DISK",
      message: `the daemon can't ${syscall} ${path ?? "a file of its own"}: ${fileErrorReason(error)}`,
    };
  if (typeof code === "string" && code.startsWith("E_")) return { code, message: message ?? code };
  return { code: "E_INTERNAL", message: message ?? String(error) };
}

/** Sends a whole answer. @param stallMs milliseconds in which the client must take something of it */
export function send(
  response: ServerResponse,
  status: number,
  body: string | Buffer,
  type: string,
  stallMs = STALL_MS,
): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  cutOffWhenStalled(response, stallMs);
  response.end(body);
}

/** Long answers that stand in line for a turn. */
const line: (() => void)[] = [];

/**
 * Waits until it is this answer's turn. In one turn of the event loop one answer is made and no second one, however many
 * there are: whatever else has come waits for no more than that.
 */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (line.push(resolve) === 1) setImmediate(serveLine);
  });
}

function serveLine(): void {
  line.shift()!();
  if (line.length > 0) setImmediate(serveLine);
}

/**
 * Sends an answer part by part, each when the client has room for it. Clients that read as fast as parts are made, and
 * clients that ask for many answers at once, do not keep others waiting.
 * @param stallMs milliseconds in which the client must take something of it
 */
export async function sendParts(
  response: ServerResponse,
  parts: AsyncIterable<Uint8Array | string> | Iterable<string>,
  type: string,
  stallMs = STALL_MS,
): Promise<void> {
  response.writeHead(200, { "content-type": type });
  cutOffWhenStalled(response, stallMs);
  await nextTurn();
  let turnEnds = performance.now() + TURN_MS;
  for await (const part of parts) {
    if (response.destroyed) return;
    const hasRoom = response.write(part);
    if (hasRoom && performance.now() < turnEnds) continue;
    if (!hasRoom) await roomIn(response);
    await nextTurn();
    turnEnds = performance.now() + TURN_MS;
  }
  response.end();
}

/** Waits until a client has taken some of an answer, or is gone. */
function roomIn(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

/** Values as a JSON list, one element at a time. */
export function* jsonList(values: Iterable<unknown>): Iterable<string> {
  let separator = "[";
  for (const value of values) {
    yield separator + JSON.stringify(value);
    separator = ",";
  }
  yield separator === "[" ? "[]" : "]";
}

/** Node ends a connection that times out, and takes the time back when the answer is out. */
function cutOffWhenStalled(response: ServerResponse, stallMs: number): void {
  response.socket?.setTimeout(stallMs);
}

let bodies = 0;

/**
 * A request's body as JSON, for the time of an action; an empty object if there is none.
 * @throws RequestError `E_REQUEST` if it is too large, or no JSON object; `E_BUSY` if others have too much under way
 */
export async function withBody<Result>(
  request: IncomingMessage,
  action: (body: Readonly<Record<string, unknown>>) => Promise<Result>,
): Promise<Result> {
  let bytes = 0;
  try {
    const parts: Buffer[] = [];
    for await (const part of request as AsyncIterable<Buffer>) {
      bytes += part.length;
      bodies += part.length;
      if (bytes > MOST_BODY)
        throw new RequestError("E_REQUEST", `the request has more than ${MOST_BODY} bytes`);
      if (bodies > MOST_BODIES)
        throw new RequestError("E_BUSY", "too many large requests are under way: try again");
      parts.push(part);
    }
    return await action(bytes === 0 ? {} : parseBody(Buffer.concat(parts)));
  } finally {
    bodies -= bytes;
  }
}

function parseBody(bytes: Buffer): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    throw new RequestError("E_REQUEST", `the request is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new RequestError("E_REQUEST", "the request is not a JSON object");
  return value as Record<string, unknown>;
}
