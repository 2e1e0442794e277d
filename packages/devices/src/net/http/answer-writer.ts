/** Answers of HTTP/1.1 (RFC 9112) as a server writes them. */

const encoder = new TextEncoder();
/** Ends what comes in parts. */
export const lastChunk = encoder.encode("0\r\n\r\n");
/** Says that the body of a request is wanted. */
export const continueAnswer = encoder.encode("HTTP/1.1 100 Continue\r\n\r\n");

/** What the usual statuses are called (RFC 9110, section 15). */
const reasons: Readonly<Record<number, string>> = {
  200: "OK",
  302: "Found",
  400: "Bad Request",
  413: "Content Too Large",
  421: "Misdirected Request",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  502: "Bad Gateway",
  505: "HTTP Version Not Supported",
};

/**
 * The head of an answer.
 * @param reason what the status is called; what it is usually called unless given
 */
export function answerHead(
  status: number,
  fields: readonly (readonly [string, string])[],
  reason = reasons[status] ?? "",
): Uint8Array {
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`);
  const text = `HTTP/1.1 ${status} ${reason}\r\n${lines.join("")}\r\n`;
  // Fields are bytes to whom they belong: each character is one.
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** An answer of text, whole. @param hasBody false for an answer to HEAD, which has the length only */
export function textAnswer(
  status: number,
  text: string,
  {
    keepsAlive,
    hasBody,
    fields = [],
  }: { keepsAlive: boolean; hasBody: boolean; fields?: readonly (readonly [string, string])[] },
): Uint8Array {
  const body = encoder.encode(text);
  const head = answerHead(status, [
    ...fields,
    ["content-type", "text/plain; charset=utf-8"],
    ["content-length", String(body.length)],
    ["connection", keepsAlive ? "keep-alive" : "close"],
  ]);
  if (!hasBody) return head;
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

/** A part of a body, in pieces: its size, itself, its end. */
export const chunk = (data: Uint8Array): readonly Uint8Array[] => [
  encoder.encode(`${data.length.toString(16)}\r\n`),
  data,
  encoder.encode("\r\n"),
];
