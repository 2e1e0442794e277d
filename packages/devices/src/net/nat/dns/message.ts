/** Messages of DNS (RFC 1035), as far as one that passes them on looks into them. */
import { formatIp, ipBytes } from "../../addresses.js";
import { read16, write16, write32 } from "../../frames/ip.js";

/** Types of records. */
export const dnsTypes = { a: 1, ptr: 12, aaaa: 28, opt: 41 } as const;
/** Codes of answers; those beyond 15 need an OPT record (RFC 6891, section 9). */
export const dnsCodes = {
  ...{ ok: 0, format: 1, failure: 2, name: 3, notImplemented: 4, refused: 5, badVersion: 16 },
} as const;
/** Bytes of a message's header. */
export const HEADER_BYTES = 12;
/** Most bytes of an answer by UDP to a client that does not say what it takes (RFC 1035, section 4.2.1). */
const PLAIN_UDP_BYTES = 512;
/**
 * Most bytes of an answer by UDP: what fits the smallest packet that a link of IPv6 must take (1280 bytes) behind its
 * headers, so that no answer goes in fragments.
 */
const MOST_UDP_BYTES = 1232;
const OPT_BYTES = 11;
const MOST_LABELS = 128;
const MOST_NAME_BYTES = 255;
const CLASS_INTERNET = 1;
const ANSWER_FLAGS = 0x8080;
/** Flags of a query that wants the whole answer (RFC 1035, section 4.1.1, RD). */
const RECURSION = [1, 0] as const;
const TRUNCATED = 0x0200;
/** Records of an answer that are looked at. */
const MOST_RECORDS = 256;
/** Records of a query in which OPT is looked for. */
const MOST_QUERY_RECORDS = 8;

/** A question. */
export interface DnsQuestion {
  readonly id: number;
  readonly opcode: number;
  /** In lower case, without the dot at its end. */
  readonly name: string;
  readonly type: number;
  readonly isInternet: boolean;
  /** Where the question ends. */
  readonly end: number;
  /** Most bytes of an answer by UDP: 512, or what the client says and is not too much for its network. */
  readonly mostBytes: number;
  /** The version of EDNS that the client speaks; undefined if it speaks none. */
  readonly edns: number | undefined;
}

/** Reads a query; undefined for bytes that are none. */
export function parseQuery(bytes: Uint8Array): DnsQuestion | undefined {
  if (bytes.length < HEADER_BYTES || (bytes[2]! & 0x80) !== 0 || read16(bytes, 4) !== 1) return undefined;
  const name = readName(bytes, HEADER_BYTES);
  if (name === undefined || name.end + 4 > bytes.length) return undefined;
  const end = name.end + 4;
  const opt = optOf(bytes, end);
  return {
    id: read16(bytes, 0),
    opcode: (bytes[2]! >> 3) & 15,
    name: name.text,
    type: read16(bytes, name.end),
    isInternet: read16(bytes, name.end + 2) === CLASS_INTERNET,
    end,
    mostBytes: Math.max(PLAIN_UDP_BYTES, Math.min(MOST_UDP_BYTES, opt?.payload ?? 0)),
    edns: opt?.version,
  };
}

/** A query for records of a name, with the identifier 0; undefined for text that is no name. */
export function nameQuery(name: string, type: number): Uint8Array | undefined {
  const labels = name.replace(/\.$/, "").split(".");
  const isName = labels.every((label) => /^[a-z0-9_-]{1,63}$/i.test(label));
  if (!isName || name.length > MOST_NAME_BYTES - 2) return undefined;
  const bytes = labels.flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
  return Uint8Array.of(0, 0, ...RECURSION, 0, 1, 0, 0, 0, 0, 0, 0, ...bytes, 0, 0, type, 0, CLASS_INTERNET);
}

/** What an OPT record among those behind the question says (RFC 6891, section 6.1.2). */
function optOf(bytes: Uint8Array, start: number): { payload: number; version: number } | undefined {
  const records = read16(bytes, 6) + read16(bytes, 8) + read16(bytes, 10);
  let at = start;
  for (let left = Math.min(records, MOST_QUERY_RECORDS); left > 0; left--) {
    const name = readName(bytes, at);
    if (name === undefined || name.end + 10 > bytes.length) return undefined;
    if (name.text === "" && read16(bytes, name.end) === dnsTypes.opt)
      return { payload: read16(bytes, name.end + 2), version: bytes[name.end + 5]! };
    at = name.end + 10 + read16(bytes, name.end + 8);
  }
  return undefined;
}

/** A name, in lower case, and where it ends; undefined if it is malformed. Pointers lead backwards only. */
function readName(bytes: Uint8Array, start: number): { text: string; end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  let end: number | undefined;
  let length = 0;
  for (let limit = start; labels.length < MOST_LABELS; ) {
    const size = bytes[at];
    if (size === undefined) return undefined;
    if (size === 0) return { text: labels.join("."), end: end ?? at + 1 };
    if (size >= 0xc0) {
      const target = ((size & 0x3f) << 8) | (bytes[at + 1] ?? 0xff);
      if (target >= limit) return undefined;
      end ??= at + 2;
      limit = target;
      at = target;
      continue;
    }
    length += size + 1;
    if (size > 63 || at + 1 + size > bytes.length || length > MOST_NAME_BYTES) return undefined;
    let label = "";
    for (let index = at + 1; index <= at + size; index++) label += String.fromCharCode(bytes[index]!);
    labels.push(label.toLowerCase());
    at += 1 + size;
  }
  return undefined;
}

/** The addresses in an answer; none if it is malformed. */
export function addressesIn(bytes: Uint8Array): readonly string[] {
  if (bytes.length < HEADER_BYTES) return [];
  let at = HEADER_BYTES;
  for (let left = Math.min(read16(bytes, 4), MOST_RECORDS); left > 0; left--) {
    const name = readName(bytes, at);
    if (name === undefined) return [];
    at = name.end + 4;
  }
  const found: string[] = [];
  for (let left = Math.min(read16(bytes, 6), MOST_RECORDS); left > 0; left--) {
    const name = readName(bytes, at);
    if (name === undefined || name.end + 10 > bytes.length) return [];
    const type = read16(bytes, name.end);
    const data = name.end + 10;
    const length = read16(bytes, name.end + 8);
    if (data + length > bytes.length) return [];
    const isAddress = (type === dnsTypes.a && length === 4) || (type === dnsTypes.aaaa && length === 16);
    if (isAddress) found.push(formatIp(bytes.subarray(data, data + length)));
    at = data + length;
  }
  return found;
}

/** An answer of one's own to a query, with records of addresses or one name; with OPT where the query has it. */
export function dnsAnswer(
  query: Uint8Array,
  question: DnsQuestion,
  code: number,
  records: readonly { readonly type: number; readonly data: Uint8Array }[] = [],
  ttl = 60,
): Uint8Array {
  const size = records.reduce((sum, { data }) => sum + 12 + data.length, question.end);
  const hasOpt = question.edns !== undefined;
  const bytes = new Uint8Array(size + (hasOpt ? OPT_BYTES : 0));
  bytes.set(query.subarray(0, question.end));
  // An answer; it is asked for recursion, and has it.
  write16(bytes, 2, ANSWER_FLAGS | (read16(query, 2) & 0x7900) | (code & 15));
  write16(bytes, 4, 1);
  write16(bytes, 6, records.length);
  write16(bytes, 8, 0);
  write16(bytes, 10, 0);
  if (hasOpt) writeOpt(bytes, size, code);
  let at = question.end;
  for (const { type, data } of records) {
    // The name of the question.
    write16(bytes, at, 0xc000 | HEADER_BYTES);
    write16(bytes, at + 2, type);
    write16(bytes, at + 4, CLASS_INTERNET);
    write32(bytes, at + 6, ttl);
    write16(bytes, at + 10, data.length);
    bytes.set(data, at + 12);
    at += 12 + data.length;
  }
  return bytes;
}

/** Whether an answer is not the whole one. */
export const isTruncated = (answer: Uint8Array): boolean => (read16(answer, 2) & TRUNCATED) !== 0;

/** An answer as it goes by UDP: one that is too long says that the whole one is to be asked for by TCP. */
export function byUdp(answer: Uint8Array, question: DnsQuestion): Uint8Array {
  const { end, mostBytes, edns } = question;
  if (answer.length <= mostBytes) return answer;
  const bytes = new Uint8Array(end + (edns === undefined ? 0 : OPT_BYTES));
  bytes.set(answer.subarray(0, end));
  write16(bytes, 2, read16(answer, 2) | TRUNCATED);
  for (const at of [6, 8, 10]) write16(bytes, at, 0);
  if (edns !== undefined) writeOpt(bytes, end, 0);
  return bytes;
}

/** Writes an OPT record of version 0 behind the others, and counts it. */
function writeOpt(bytes: Uint8Array, at: number, code: number): void {
  write16(bytes, at + 1, dnsTypes.opt);
  write16(bytes, at + 3, MOST_UDP_BYTES);
  bytes[at + 5] = code >> 4;
  write16(bytes, 10, 1);
}

/** The data of a record with an address. */
export const addressRecord = (ip: string): { type: number; data: Uint8Array } => {
  const data = ipBytes(ip);
  return { type: data.length === 4 ? dnsTypes.a : dnsTypes.aaaa, data };
};

/** The data of a record with a name. */
export function nameRecord(name: string): { type: number; data: Uint8Array } {
  const labels = name.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
  return { type: dnsTypes.ptr, data: Uint8Array.of(...labels, 0) };
}

/** The address that a name for reverse look-up means; undefined for other names. */
export function reverseAddress(name: string): string | undefined {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (four !== null) return four.slice(1).reverse().join(".");
  if (!/^([0-9a-f]\.){32}ip6\.arpa$/.test(name)) return undefined;
  const digits = name.slice(0, 64).split(".").reverse().join("");
  return formatIp(Uint8Array.from(digits.match(/../g)!, (pair) => Number.parseInt(pair, 16)));
}
