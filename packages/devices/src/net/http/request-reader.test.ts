import fc from "fast-check";
import { expect, test } from "vitest";
import { type RequestHead, RequestReader } from "./request-reader.js";

const bytesOf = (value: string): Uint8Array => Uint8Array.from(value, (character) => character.charCodeAt(0));

/** What there is in bytes, given in pieces: heads, bodies joined, and what kept the rest from being read. */
function read(pieces: readonly Uint8Array[]) {
  const reader = new RequestReader();
  const requests: { head: RequestHead; body: string; isWhole: boolean }[] = [];
  let fault: string | undefined;
  for (const piece of pieces) {
    reader.push(piece);
    for (;;) {
      const part = reader.next();
      if (part.kind === "wait") break;
      if (part.kind === "head") requests.push({ head: part.head, body: "", isWhole: false });
      else if (part.kind === "body") requests.at(-1)!.body += Buffer.from(part.data).toString("latin1");
      else if (part.kind === "end") requests.at(-1)!.isWhole = true;
      else {
        fault = `${part.status} ${part.why}`;
        break;
      }
    }
  }
  return { requests, fault, isInside: reader.isInside, waiting: reader.waiting };
}

/** Cuts bytes at places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort(
    (one, other) => one - other,
  );
  return [...ends, bytes.length].map((end, at) => bytes.subarray(at === 0 ? 0 : ends[at - 1], end));
}

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/);
const value = fc.stringMatching(/^([!-~]([ -~]{0,20}[!-~])?)?$/);
const field = fc
  .tuple(token, value)
  .filter(([name]) => !/^(host|content-length|transfer-encoding|connection|expect)$/i.test(name));
const body = fc.oneof(
  fc.constant({ kind: "none" as const }),
  fc.record({
    kind: fc.constant("length" as const),
    data: fc.string({ maxLength: 50, unit: "binary-ascii" }),
  }),
  fc.record({
    kind: fc.constant("chunked" as const),
    parts: fc.array(fc.string({ minLength: 1, maxLength: 30, unit: "binary-ascii" }), { maxLength: 4 }),
  }),
);
const request = fc.record({
  method: token,
  target: fc.stringMatching(/^\/[!-~]{0,20}$/),
  fields: fc.array(field, { maxLength: 5 }),
  body,
});

test("requests are read as they were written, wherever their bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(request, { maxLength: 3 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (requests, places) => {
        const written = requests.map(({ method, target, fields, body: each }) => {
          const lines = [
            `${method} ${target} HTTP/1.1`,
            "Host: a.test",
            ...fields.map(([name, text]) => `${name}:${text}`),
          ];
          if (each.kind === "length") lines.push(`Content-Length:  ${each.data.length} `);
          if (each.kind === "chunked") lines.push("Transfer-Encoding: Chunked");
          const rest =
            each.kind === "length"
              ? each.data
              : each.kind === "chunked"
                ? `${each.parts.map((part) => `${part.length.toString(16)};x=y\r\n${part}\r\n`).join("")}0\r\nTrailer: 1\r\n\r\n`
                : "";
          return `${lines.join("\r\n")}\r\n\r\n${rest}`;
        });
        const { requests: found, fault, isInside, waiting } = read(cut(bytesOf(written.join("")), places));
        expect([fault, isInside, waiting]).toEqual([undefined, false, 0]);
        const bodyOf = (each: (typeof requests)[number]["body"]): string =>
          each.kind === "length" ? each.data : each.kind === "chunked" ? each.parts.join("") : "";
        expect(found.map(({ head, body: got, isWhole }) => [head.method, head.target, got, isWhole])).toEqual(
          requests.map(({ method, target, body: each }) => [method, target, bodyOf(each), true]),
        );
        for (const [at, { fields }] of requests.entries())
          for (const [name, text] of fields)
            expect(found[at]!.head.fields).toContainEqual([name.toLowerCase(), text]);
      },
    ),
    { numRuns: 300 },
  );
});

const start = "GET / HTTP/1.1\r\nHost: a\r\n";
test.each([
  ["400 the first line is not one of HTTP/1.1", "garbage\r\n"],
  ["400 the first line is not one of HTTP/1.1", "GET  / HTTP/1.1\r\n"],
  ["400 the first line is not one of HTTP/1.1", "GET / HTTP/1.1 \r\n"],
  ["400 the first line is not one of HTTP/1.1", "GE(T / HTTP/1.1\r\n"],
  ["505 HTTP/2.0: only HTTP/1.1 is spoken here", "PRI * HTTP/2.0\r\n"],
  ["400 a line with a character that can't be in it", "\x16\x03\x01\x02\0\x01\n"],
  ["400 empty lines before a request", "\r\n\r\n\r\n\r\n\r\n"],
  ["400 0 fields Host: there has to be one", "GET / HTTP/1.1\r\n\r\n"],
  ["400 2 fields Host: there has to be one", `${start}Host: b\r\n\r\n`],
  ["400 a line of the head that is no field", `${start}no field\r\n`],
  ["400 a line of the head that is no field", `${start} folded: line\r\n`],
  ["400 a line of the head that is no field", `${start}Name : value\r\n`],
  ["400 a line with a character that can't be in it", `${start}A: b\rC: d\r\n`],
  ["400 a content length that is none", `${start}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`],
  ["400 a content length that is none", `${start}Content-Length: -1\r\n\r\n`],
  ["400 a content length that is none", `${start}Content-Length: 1e3\r\n\r\n`],
  ["400 two lengths of one body", `${start}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`],
  ["400 two lengths of one body", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"],
  [
    "501 the transfer encoding gzip, chunked: only chunked is known here",
    `${start}Transfer-Encoding: gzip, chunked\r\n\r\n`,
  ],
  ["400 a part of the body without its size", `${start}Transfer-Encoding: chunked\r\n\r\nz\r\n`],
  ["400 a part of the body without its size", `${start}Transfer-Encoding: chunked\r\n\r\n-1\r\n`],
  ["400 a part of the body without its size", `${start}Transfer-Encoding: chunked\r\n\r\n123456789\r\n`],
  ["400 a part of the body is longer than it says", `${start}Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n`],
  ["400 a line of more than 1024 bytes", `${start}Transfer-Encoding: chunked\r\n\r\n1;${"x".repeat(2000)}`],
  ["431 more than 32 trailers", `${start}Transfer-Encoding: chunked\r\n\r\n0\r\n${"A: b\r\n".repeat(40)}`],
  ["431 a line of more than 16384 bytes", `GET /${"x".repeat(20_000)}`],
  ["431 more than 100 fields", `${start}${"A: b\r\n".repeat(200)}`],
  ["431 a head of more than 32768 bytes", `${start}${`A: ${"b".repeat(9000)}\r\n`.repeat(5)}`],
])("%s: that is refused", (fault, bytes) => {
  for (const pieces of [[bytesOf(bytes)], [...bytesOf(bytes)].map((byte) => Uint8Array.of(byte))]) {
    const result = read(pieces);
    expect(result.fault).toBe(fault);
    expect(result.waiting).toBe(0);
  }
});

test("any bytes are read within bounds: what waits never grows beyond a line", () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }),
      fc.nat({ max: 3 }),
      (pieces, kind) => {
        const before = [
          "",
          start,
          `${start}Transfer-Encoding: chunked\r\n\r\n`,
          `${start}Content-Length: 9\r\n\r\n`,
        ][kind]!;
        const { waiting } = read([bytesOf(before), ...pieces]);
        expect(waiting).toBe(0);
      },
    ),
    { numRuns: 500 },
  );
});

test("what a head says of the connection is understood", () => {
  const head = (text: string): RequestHead => read([bytesOf(`${text}\r\n\r\n`)]).requests[0]!.head;
  expect(head("GET / HTTP/1.1\r\nHost: a")).toMatchObject({
    keepsAlive: true,
    expects: false,
    length: 0,
    minor: 1,
  });
  expect(head("GET / HTTP/1.1\nHost: a\nConnection: x, Close")).toMatchObject({ keepsAlive: false });
  expect(head("GET / HTTP/1.0")).toMatchObject({ keepsAlive: false, host: undefined, minor: 0 });
  expect(head("GET / HTTP/1.0\r\nConnection: Keep-Alive")).toMatchObject({ keepsAlive: true });
  expect(head("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3, 3")).toMatchObject({
    ...{ expects: true, length: 3 },
  });
});
